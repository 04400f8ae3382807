//! Calls to a node as another one makes them, and a node that only answers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{Stream, stream};
use tokio::net::TcpListener;
use tonic::codegen::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};
use types::hex;
use wire::peer::join_reply::Reply;
use wire::peer::peer_client::PeerClient;
use wire::peer::peer_server::{Peer, PeerServer};
use wire::peer::{
    AppendReply, AppendRequest, ChangeReply, ChangeRequest, ForwardReply, ForwardRequest,
    JoinReply, JoinRequest, Joined, ProbeReply, ProbeRequest, ReadIndexReply, ReadIndexRequest,
    SnapshotPart, SnapshotReply, TransferReply, TransferRequest, VoteReply, VoteRequest,
};

type Mark = Box<dyn FnMut(Request<()>) -> Result<Request<()>, Status> + Send + Sync>;

/// A node in a call, with what its data are known by.
#[derive(Clone, Copy)]
pub struct Known(pub u64, pub [u8; 16]);

/// A client that says to be one node and means another, at this address.
pub fn caller(
    cluster_id: &str,
    from: Known,
    to: Known,
    address: &str,
) -> PeerClient<InterceptedService<Channel, Mark>> {
    let uri = format!("http://{address}");
    let channel = Endpoint::from_shared(uri).expect("an address").connect_lazy();
    let all = [
        ("gate-cluster", cluster_id.to_owned()),
        ("gate-node", from.0.to_string()),
        ("gate-node-data", hex(&from.1)),
        ("gate-to", to.0.to_string()),
        ("gate-data", hex(&to.1)),
    ];
    let mark: Mark = Box::new(move |mut request| {
        for (name, value) in &all {
            request.metadata_mut().insert(*name, value.parse().expect("ascii"));
        }
        Ok(request)
    });
    PeerClient::with_interceptor(channel, mark)
}

/// A node that takes everybody in and forgets it at once.
pub struct Forgetful(Arc<AtomicUsize>);

/// Starts it; says where it is and counts who asked.
pub async fn forgetful() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let service = PeerServer::new(Forgetful(asked.clone()));
    let arriving = stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(arriving));
    (address, asked)
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn nothing<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("it only takes in"))
}

#[tonic::async_trait]
impl Peer for Forgetful {
    type AppendStream = Replies<AppendReply>;
    type SnapshotStream = Replies<SnapshotReply>;
    type ForwardStream = Replies<ForwardReply>;

    async fn join(&self, _: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(JoinReply { reply: Some(Reply::Joined(Joined {})) }))
    }

    async fn append(
        &self,
        _: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        nothing()
    }

    async fn heartbeat(&self, _: Request<AppendRequest>) -> Result<Response<AppendReply>, Status> {
        nothing()
    }

    async fn vote(&self, _: Request<VoteRequest>) -> Result<Response<VoteReply>, Status> {
        nothing()
    }

    async fn pre_vote(&self, _: Request<VoteRequest>) -> Result<Response<VoteReply>, Status> {
        nothing()
    }

    async fn transfer_leader(
        &self,
        _: Request<TransferRequest>,
    ) -> Result<Response<TransferReply>, Status> {
        nothing()
    }

    async fn snapshot(
        &self,
        _: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        nothing()
    }

    async fn forward(
        &self,
        _: Request<Streaming<ForwardRequest>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        nothing()
    }

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeReply>, Status> {
        nothing()
    }

    async fn change(&self, _: Request<ChangeRequest>) -> Result<Response<ChangeReply>, Status> {
        nothing()
    }

    async fn read_index(
        &self,
        _: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexReply>, Status> {
        nothing()
    }
}
