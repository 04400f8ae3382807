//! The peer: three members of etcd on this machine, and callers of it.
//!
//! The messages are the part of etcd's public gRPC interface (`etcdserverpb`, version 3) that the
//! calls need: field numbers and names of methods, nothing else.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::callers::{lead_id, lead_id_in_batch, payload};
use crate::load::Caller;
use crate::process::Owned;
use crate::support::ports::base_port;

/// How long it may take until a member leads.
const START_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Connections that all callers share; more were slower, and fewer too.
const CHANNELS: usize = 8;
/// Between the ports of two members.
const PORT_STEP: u16 = 10;
/// Operations in one transaction; the default, 128, is below the batches of the bench.
const TRANSACTION_OPERATIONS_MAX: u32 = 4_096;
const QUOTA_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// A running cluster.
pub(crate) struct Etcd {
    members: Vec<Member>,
    pub(crate) shown: String,
}

struct Member {
    process: Owned,
    url: String,
}

impl Etcd {
    /// Starts three members with etcd's own defaults, but for the bounds that the bench would meet.
    pub(crate) async fn start(binary: &Path, home: &Path) -> Result<Self> {
        let said = Command::new(binary).arg("--version").output();
        let said = said.with_context(|| format!("cannot run {}", binary.display()))?;
        let shown = String::from_utf8_lossy(&said.stdout);
        let shown = shown.lines().next().context("etcd does not say its version")?.to_owned();
        let first = base_port();
        let ports: Vec<u16> = (0..3).map(|member| first + member * PORT_STEP).collect();
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let all: Vec<String> =
            ports.iter().map(|port| format!("m{port}={}", url(port + 1))).collect();
        let mut members = Vec::new();
        for port in ports {
            let log = home.join(format!("etcd-{port}.log"));
            let mut command = Command::new(binary);
            command.args(["--name", &format!("m{port}")]);
            command.arg("--data-dir").arg(home.join(format!("etcd-{port}")));
            for flag in ["--listen-client-urls", "--advertise-client-urls"] {
                command.args([flag, &url(port)]);
            }
            for flag in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
                command.args([flag, &url(port + 1)]);
            }
            command.args(["--initial-cluster", &all.join(","), "--log-level", "error"]);
            command.args(["--quota-backend-bytes", &QUOTA_BYTES.to_string()]);
            command.args(["--max-txn-ops", &TRANSACTION_OPERATIONS_MAX.to_string()]);
            command.args(["--max-request-bytes", "8388608"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log)?);
            let process = Owned::start("etcd", &mut command, Signal::TERM)?;
            members.push(Member { process, url: url(port) });
        }
        let mut etcd = Self { members, shown };
        etcd.wait(home).await?;
        Ok(etcd)
    }

    async fn wait(&mut self, home: &Path) -> Result<()> {
        let limit = Instant::now() + START_WITHIN;
        while Instant::now() < limit {
            self.members.iter_mut().try_for_each(|member| member.process.check_runs())?;
            if self.leader().await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let logs: Vec<PathBuf> = fs::read_dir(home)?.flatten().map(|entry| entry.path()).collect();
        anyhow::bail!("no member leads within {} s: {logs:?}", START_WITHIN.as_secs())
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.process.id()).collect()
    }

    /// The term of the members; it grows with each election.
    pub(crate) async fn term(&self) -> Result<u64> {
        Ok(self.status(0).await?.raft_term)
    }

    /// The place of the member that leads.
    pub(crate) async fn leader(&self) -> Result<usize> {
        for member in 0..self.members.len() {
            let status = self.status(member).await?;
            let own = status.header.unwrap_or_default().member_id;
            if status.leader != 0 && status.leader == own {
                return Ok(member);
            }
        }
        anyhow::bail!("no member of etcd leads")
    }

    async fn status(&self, member: usize) -> Result<StatusResponse> {
        let channel = Endpoint::from_shared(self.members[member].url.clone())?.connect().await?;
        let mut client = Grpc::new(channel);
        unary(&mut client, "/etcdserverpb.Maintenance/Status", StatusRequest {}).await
    }

    async fn channels(&self, member: usize) -> Result<Vec<Channel>> {
        let mut channels = Vec::new();
        for _ in 0..CHANNELS {
            let endpoint = Endpoint::from_shared(self.members[member].url.clone())?;
            channels.push(endpoint.tcp_nodelay(true).connect().await?);
        }
        Ok(channels)
    }

    /// Callers that share the connections to one member.
    pub(crate) async fn callers(
        &self,
        member: usize,
        count: u16,
        what: &What,
    ) -> Result<Vec<EtcdCaller>> {
        let channels = self.channels(member).await?;
        let in_turn = channels.iter().cycle().take(count.into());
        let caller = |channel: &Channel| EtcdCaller {
            client: Grpc::new(channel.clone())
                .max_decoding_message_size(16 * 1024 * 1024)
                .max_encoding_message_size(16 * 1024 * 1024),
            what: what.clone(),
        };
        Ok(in_turn.map(caller).collect())
    }
}

/// What a caller does.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A transaction that puts the payload of a lead, unless there is one.
    Create,
    /// So many of them in one transaction.
    CreateMany(u64),
    /// A linearizable read of one of the first leads.
    Read(u64),
}

/// A caller of one member.
pub(crate) struct EtcdCaller {
    client: Grpc<Channel>,
    what: What,
}

impl Caller for EtcdCaller {
    async fn call(&mut self, number: u64) -> Result<()> {
        match self.what {
            What::Create => self.create(vec![lead_id(number)]).await,
            What::CreateMany(items) => {
                self.create((0..items).map(|item| lead_id_in_batch(number, item)).collect()).await
            }
            What::Read(of) => {
                let request =
                    RangeRequest { key: lead_id(number % of).into_bytes(), serializable: false };
                let range: RangeResponse =
                    unary(&mut self.client, "/etcdserverpb.KV/Range", request).await?;
                ensure!(range.count == 1, "etcd has no such key");
                Ok(())
            }
        }
    }
}

impl EtcdCaller {
    pub(crate) async fn create(&mut self, keys: Vec<String>) -> Result<()> {
        let compare = keys.iter().map(|key| Compare::absent(key)).collect();
        let success = keys.iter().map(|key| RequestOp::put(key, &payload(key))).collect();
        let request = TxnRequest { compare, success };
        let answer: TxnResponse = unary(&mut self.client, "/etcdserverpb.KV/Txn", request).await?;
        ensure!(answer.succeeded, "the key was there");
        Ok(())
    }
}

async fn unary<Q, A>(client: &mut Grpc<Channel>, method: &'static str, request: Q) -> Result<A>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    client.ready().await?;
    let path = PathAndQuery::from_static(method);
    let codec = ProstCodec::<Q, A>::default();
    Ok(client.unary(tonic::Request::new(request), path, codec).await?.into_inner())
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
    #[prost(uint64, tag = "6")]
    raft_term: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bool, tag = "7")]
    serializable: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    #[prost(int64, tag = "4")]
    count: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnResponse {
    #[prost(bool, tag = "2")]
    succeeded: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Compare {
    /// 0: equal.
    #[prost(int32, tag = "1")]
    result: i32,
    /// 1: the revision in which the key was made, 0 while there is none.
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    #[prost(oneof = "Target", tags = "5")]
    is: Option<Target>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Target {
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
}

impl Compare {
    fn absent(key: &str) -> Self {
        Self { result: 0, target: 1, key: key.into(), is: Some(Target::CreateRevision(0)) }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct RequestOp {
    #[prost(oneof = "Operation", tags = "2")]
    operation: Option<Operation>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Operation {
    #[prost(message, tag = "2")]
    Put(PutRequest),
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl RequestOp {
    fn put(key: &str, value: &str) -> Self {
        let put = PutRequest { key: key.into(), value: value.into() };
        Self { operation: Some(Operation::Put(put)) }
    }
}
