//! Ways to other nodes: connections that are kept, one for each thing that must not wait for
//! another.
//!
//! Promise: a call names its cluster, its sender and the node it is meant for, and has a deadline.
//! Invariant: entries, heartbeats, snapshots and forwarded commands never share a connection.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use machine::net::TcpStream;
use parking_lot::Mutex;
use tls::{Identity, NodeName};
use tonic::codegen::InterceptedService;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tower::service_fn;
use types::limits::PEER_MESSAGE_BYTES_MAX;
use types::{NodeId, hex};
use wire::peer::peer_client::PeerClient;

use crate::peer_meters::Tallies;
use crate::raft::NodeAddress;
use crate::transport::Stream;

/// Metadata of every call: the cluster, who calls, and whom; and what the data of both are known
/// by, unless that of the other is not known yet.
pub(crate) const CLUSTER: &str = "gate-cluster";
pub(crate) const FROM: &str = "gate-node";
pub(crate) const TO: &str = "gate-to";
pub(crate) const DATA: &str = "gate-data";
pub(crate) const FROM_DATA: &str = "gate-node-data";

/// Of a connection that says nothing: a dead one must not be believed in for long.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(2);
pub(crate) const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// What may be on its way without an answer. A window below this would halve the speed of
/// replication over a long way.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Entries.
    Append,
    /// Heartbeats, votes and whatever else is small and must be quick.
    Urgent,
    /// Snapshots.
    Snapshot,
    /// Commands and reads that were brought here.
    Forward,
}

pub(crate) type Client = PeerClient<InterceptedService<Channel, Named>>;

/// Connections to other nodes, made when they are first used.
pub(crate) struct Peers {
    cluster_id: String,
    own: Own,
    identity: Option<Arc<Identity>>,
    connect_wait: Duration,
    kept: Mutex<HashMap<(u64, Purpose), Kept>>,
    pub(crate) tallies: Tallies,
}

/// Who calls.
#[derive(Clone, Copy)]
pub(crate) struct Own {
    pub(crate) node: NodeId,
    /// Its incarnation.
    pub(crate) data: [u8; 16],
}

struct Kept {
    address: String,
    data: Option<[u8; 16]>,
    client: Client,
}

/// Where a node is, and with which data.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) node: u64,
    pub(crate) address: &'a str,
    /// Its incarnation; `None` where only the address is known.
    pub(crate) data: Option<[u8; 16]>,
}

impl<'a> At<'a> {
    /// A member of the cluster.
    pub(crate) fn member(node: u64, address: &'a NodeAddress) -> Self {
        Self { node, address: &address.peer, data: Some(address.incarnation) }
    }
}

impl Peers {
    pub(crate) fn new(
        cluster_id: String,
        own: Own,
        identity: Option<Arc<Identity>>,
        connect_wait: Duration,
    ) -> Self {
        let (kept, tallies) = (Mutex::default(), Tallies::default());
        Self { cluster_id, own, identity, connect_wait, kept, tallies }
    }

    /// A client for one purpose of a node. It connects when it is used, and again when the
    /// connection is lost.
    pub(crate) fn client(&self, at: At<'_>, purpose: Purpose) -> Result<Client, Status> {
        let At { node, address, data } = at;
        let mut kept = self.kept.lock();
        if let Some(found) = kept.get(&(node, purpose))
            && found.address == address
            && found.data == data
        {
            return Ok(found.client.clone());
        }
        let client = self.make(at)?;
        let known = Kept { address: address.to_owned(), data, client: client.clone() };
        kept.insert((node, purpose), known);
        Ok(client)
    }

    fn make(&self, At { node, address, data }: At<'_>) -> Result<Client, Status> {
        let bad = |what: &str| Status::failed_precondition(format!("node {node}: {what}"));
        if address.is_empty() {
            return Err(bad("it has no address for peers"));
        }
        let uri: Uri = format!("http://{address}")
            .parse()
            .map_err(|_| bad("its address for peers is not host:port"))?;
        let endpoint = Endpoint::from(uri)
            .connect_timeout(self.connect_wait)
            .http2_keep_alive_interval(ALIVE_EVERY)
            .keep_alive_timeout(SILENCE_MAX)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(2 * WINDOW_BYTES);
        let name =
            NodeName::new(&self.cluster_id, node).map_err(|error| bad(&error.to_string()))?;
        let security = self.identity.clone().map(|identity| (identity, name));
        let (address, wait) = (address.to_owned(), self.connect_wait);
        let channel = endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
            let (address, security) = (address.clone(), security.clone());
            async move {
                let connecting = connect(&address, security, wait);
                match tokio::time::timeout(wait, connecting).await {
                    Ok(stream) => stream.map(TokioIo::new),
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                }
            }
        }));
        let named = Named::new(&self.cluster_id, self.own, node, data)?;
        Ok(PeerClient::with_interceptor(channel, named)
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX))
    }
}

async fn connect(
    address: &str,
    security: Option<(Arc<Identity>, NodeName)>,
    wait: Duration,
) -> io::Result<Stream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match security {
        None => Ok(Stream::Plain(stream)),
        Some((identity, name)) => {
            let stream = identity.connect(stream, &name, wait).await.map_err(io::Error::other)?;
            Ok(Stream::Tls(Box::new(stream), name))
        }
    }
}

/// Writes into each call whom it is from and for.
#[derive(Clone)]
pub(crate) struct Named(Vec<(&'static str, MetadataValue<tonic::metadata::Ascii>)>);

impl Named {
    fn new(cluster_id: &str, from: Own, to: u64, data: Option<[u8; 16]>) -> Result<Self, Status> {
        let value = |text: String| {
            text.parse().map_err(|_| Status::internal("a cluster id has no such characters"))
        };
        let mut all = vec![
            (CLUSTER, value(cluster_id.to_owned())?),
            (FROM, value(from.node.0.to_string())?),
            (FROM_DATA, value(hex(&from.data))?),
            (TO, value(to.to_string())?),
        ];
        if let Some(data) = data {
            all.push((DATA, value(hex(&data))?));
        }
        Ok(Self(all))
    }
}

impl Interceptor for Named {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.0 {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}
