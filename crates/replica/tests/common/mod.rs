//! What the tests of a single node share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod cluster;
pub mod peer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gate::log::{Committed, Log as _, Reach};
use gate::seal::DataKey;
use ledger::{Bootstrap, ChangeCluster, Command, CreateNamespace, Envelope, FirstKey, Reply};
use replica::raft::NodeAddress;
use replica::{Config, Replica};
use types::codec::encode;
use types::{AgentId, Digest, KeyId, NamespaceId, NodeId};

pub fn config(dir: &Path) -> Config {
    let address = NodeAddress {
        http: "h:1".into(),
        peer: "p:2".into(),
        region: "here".into(),
        ..NodeAddress::default()
    };
    Config::new(dir.to_owned(), NodeId(1), address, DataKey::draw())
}

pub async fn start(config: Config) -> Arc<Replica> {
    let replica = Replica::start(config, None).await.expect("start");
    let leader = replica.wait_for_leader(Duration::from_secs(30)).await;
    assert_eq!(leader, Ok(NodeId(1)));
    replica
}

fn first_key(number: u64) -> FirstKey {
    FirstKey {
        agent: AgentId(number),
        name: format!("agent {number}"),
        key: KeyId(number),
        key_hash: Digest::of(&number.to_be_bytes()),
    }
}

fn envelope(number: u64, credential: Option<KeyId>, command: Command) -> Vec<u8> {
    let mut request = [0; 16];
    request[..8].copy_from_slice(&number.to_be_bytes());
    let namespace = NamespaceId::DEFAULT;
    encode(&Envelope { request, credential, namespace, request_key: None, command })
}

pub fn tick(number: u64) -> Vec<u8> {
    envelope(number, None, Command::Tick)
}

pub fn bootstrap() -> Vec<u8> {
    let first = Bootstrap { cluster_id: "c".repeat(32), admin: first_key(1), node: None };
    envelope(1, None, Command::Bootstrap(first))
}

/// Of the first admin, or of the cluster itself.
pub fn change_cluster(number: u64, change: ChangeCluster) -> Vec<u8> {
    let key = (!matches!(change, ChangeCluster::Admit(_))).then_some(KeyId(1));
    envelope(number, key, Command::ChangeCluster(change))
}

/// A command whose reply is a number of its own, in the order of the log.
pub fn create_namespace(number: u64) -> Vec<u8> {
    create_namespace_named(number, &format!("n{number}"))
}

/// Refused if there is one of that name, and in the log all the same.
pub fn create_namespace_named(number: u64, name: &str) -> Vec<u8> {
    let made = CreateNamespace { name: name.to_owned(), admin: first_key(number) };
    envelope(number, Some(KeyId(1)), Command::CreateNamespace(Box::new(made)))
}

pub async fn propose(replica: &Replica, command: Vec<u8>) -> Committed {
    let receiver = replica.propose(command, Reach::Cluster).expect("queued");
    receiver.await.expect("answered").expect("committed")
}

pub fn namespace_of(committed: &Committed) -> u32 {
    match &committed.reply {
        Reply::Namespace(number) => number.0,
        other => panic!("no namespace: {other:?}"),
    }
}
