//! One node: the real replica, gate, executor and front door, on simulated sockets.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use executor::Means;
use executor::connectors::http::Patience;
use gate::{DocumentChecks, Gate, Settings};
use http_api::HttpConfig;
use machine::net::TcpListener;
use outbound::{AddressRule, Client, Roots, Secrets};
use replica::Replica;
use tokio::sync::watch;
use types::NodeId;

use crate::cluster::{Cluster, HTTP_PORT, PEER_PORT};

/// Runs until the process is killed or the node cannot go on.
pub(crate) async fn run(id: u64, cluster: Rc<Cluster>) -> turmoil::Result {
    let peers = TcpListener::bind(("0.0.0.0", PEER_PORT)).await?;
    let door = TcpListener::bind(("0.0.0.0", HTTP_PORT)).await?;
    let config = cluster.config(id).await;
    let replica = match Replica::start(config, Some(peers)).await {
        Ok(replica) => replica,
        Err(error) => return ended(&cluster, id, &error.to_string()),
    };
    let settings = Settings {
        open_registration: false,
        data_key: cluster.data_key.clone(),
        documents: DocumentChecks::default(),
    };
    let gate = Gate::new(replica.clone(), NodeId(id), settings);
    tokio::spawn(gate::run_tick(gate.clone(), std::future::pending()));
    tokio::spawn(gate.clone().run_watch());
    if id == 1 {
        bootstrap(&cluster, &replica, &gate).await?;
    }
    // It is told to stop when the node ends.
    let (_running, stopping) = watch::channel(false);
    tokio::spawn(executor::run(gate.clone(), Arc::new(means()), stopping));
    let config = HttpConfig { version: "simulated" };
    tokio::spawn(http_api::serve(door, gate, config, std::future::pending()));
    let why = replica.failed().await;
    ended(&cluster, id, &why)
}

/// What calls need: whatever stands in the simulation may be called.
fn means() -> Means {
    let addresses = AddressRule::new(&["192.168.0.0/16"]).expect("a network");
    Means {
        client: Client::new(addresses, Roots::none()),
        secrets: Secrets::new(Vec::new()).expect("none"),
        patience: Patience::default(),
        drain: Duration::ZERO,
    }
}

/// A node cannot go on. That is a violation unless its disk has failed it.
fn ended(cluster: &Cluster, id: u64, why: &str) -> turmoil::Result {
    tracing::info!(node = id, why, "a node cannot go on");
    // What a disk that fails says, and the store after it.
    let of_disk = [store::NO_SPACE, "Input/output error", "stopped after a failed write"];
    let says = |words: &[&str]| words.iter().any(|said| why.contains(said));
    if cluster.has_reason(id) && says(&of_disk) {
        Ok(())
    } else if cluster.is_damaged(id) {
        cluster.lost(id);
        Ok(())
    } else {
        Err(format!("node {id}: {why}").into())
    }
}

async fn bootstrap(
    cluster: &Cluster,
    replica: &Arc<Replica>,
    gate: &Arc<Gate>,
) -> Result<(), Box<dyn std::error::Error>> {
    if cluster.is_known() {
        return Ok(());
    }
    replica.wait_for_leader(Duration::from_secs(30)).await?;
    let cluster_id = gate.log().status().cluster_id;
    gate.bootstrap(&cluster_id, &cluster.admin_key).await?;
    cluster.known_as(&cluster_id);
    Ok(())
}
