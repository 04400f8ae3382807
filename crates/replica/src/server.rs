//! The door for other nodes.
//!
//! Promise: a call is heard only from a node of this cluster that means this node, and whose
//! certificate says the same. Invariant: a heartbeat is answered without waiting for a disk.

use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::{Either, ready, select};
use futures::{Stream, StreamExt as _};
use machine::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use types::limits::{FORWARDS_MAX, PEER_MESSAGE_BYTES_MAX, PEER_STREAMS_MAX};
use types::{LogIndex, hex};
use wire::peer::peer_server::{Peer, PeerServer};
use wire::peer::{
    AppendReply, AppendRequest, ChangeReply, ChangeRequest, ForwardReply, ForwardRequest,
    JoinReply, JoinRequest, ProbeReply, ProbeRequest, ReadIndexReply, ReadIndexRequest,
    SnapshotPart, SnapshotReply, TransferReply, TransferRequest, VoteReply, VoteRequest,
};

use crate::convert::{self, StreamResult};
use crate::gather;
use crate::node::Core;
use crate::peers::{ALIVE_EVERY, CLUSTER, DATA, FROM, FROM_DATA, SILENCE_MAX, TO};
use crate::transport::{Certified, arrivals};
use crate::{join, members, reads, receive_snapshot};

/// How long connections may take to end when the node stops.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);
/// Of a connection.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Serves until the node stops.
pub(crate) fn open(core: Arc<Core>, listener: TcpListener) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut stopping = core.stopping.subscribe();
        let arriving = arrivals(listener, core.config.identity.clone());
        // Connections outlive the door, and must not keep the disk.
        let service = PeerServer::new(Door { core: Arc::downgrade(&core) })
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
        let mut told = stopping.clone();
        let told = async move { _ = told.wait_for(|stopping| *stopping).await };
        let served = Server::builder()
            .http2_keepalive_interval(Some(ALIVE_EVERY))
            .http2_keepalive_timeout(Some(SILENCE_MAX))
            .max_concurrent_streams(PEER_STREAMS_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(2 * WINDOW_BYTES)
            .add_service(service)
            .serve_with_incoming_shutdown(arriving, told);
        drop(core);
        tokio::select! {
            served = served => {
                if let Err(error) = served {
                    tracing::error!(%error, "the door for other nodes failed");
                }
            }
            // Other nodes are told to connect anew; who does not hear it is not waited for.
            () = async {
                _ = stopping.wait_for(|stopping| *stopping).await;
                tokio::time::sleep(LEAVE_WITHIN).await;
            } => {}
        }
    })
}

struct Door {
    core: Weak<Core>,
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Door {
    /// Refuses whoever is not of this cluster with the data that it is known by, or does not mean
    /// this node with its data.
    fn check<T>(&self, request: &Request<T>) -> Result<(Arc<Core>, u64), Status> {
        let (core, from) = self.check_new(request)?;
        let text = |name| request.metadata().get(name).and_then(|value| value.to_str().ok());
        if text(DATA) != Some(hex(&core.config.address.incarnation).as_str()) {
            let what = "this node lost the data that it is known by";
            return Err(Status::failed_precondition(what));
        }
        // A node that is new here does not know the others yet.
        if let Some(known) = core.address_of(from)
            && text(FROM_DATA) != Some(hex(&known.incarnation).as_str())
        {
            return Err(Status::failed_precondition(format!(
                "node {from} calls with other data than the cluster knows it by; a node that lost \
                 its data is removed and joins under a new id"
            )));
        }
        Ok((core, from))
    }

    /// The same for a node that does not know the data of this one yet.
    fn check_new<T>(&self, request: &Request<T>) -> Result<(Arc<Core>, u64), Status> {
        let stopping = || Status::unavailable("this node is stopping");
        let core = self.core.upgrade().filter(|core| !*core.stopping.borrow());
        let core = core.ok_or_else(stopping)?;
        let text = |name: &str| {
            let value = request.metadata().get(name).and_then(|value| value.to_str().ok());
            value.ok_or_else(|| Status::invalid_argument(format!("the call has no {name}")))
        };
        let cluster = text(CLUSTER)?;
        if cluster != core.cluster_id {
            let own = &core.cluster_id;
            let what = format!("this node is of cluster {own}, the call of cluster {cluster}");
            return Err(Status::failed_precondition(what));
        }
        let own = core.config.node.0;
        if text(TO)? != own.to_string() {
            return Err(Status::failed_precondition(format!("this is node {own}, not that one")));
        }
        let from: u64 = text(FROM)?
            .parse()
            .map_err(|_| Status::invalid_argument(format!("{FROM} is not a node id")))?;
        let certified = request.extensions().get::<Certified>();
        if let Some(Certified(Some(name))) = certified
            && (name.node() != from || name.cluster_id() != cluster)
        {
            let what = format!("the certificate is that of node {}, not of {from}", name.node());
            return Err(Status::permission_denied(what));
        }
        if core.config.identity.is_some() && !matches!(certified, Some(Certified(Some(_)))) {
            return Err(Status::permission_denied("the call has no certificate"));
        }
        Ok((core, from))
    }
}

fn must_serve(core: &Core) -> Result<(), Status> {
    if core.is_healthy() { Ok(()) } else { Err(Status::unavailable("this node is out of service")) }
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

#[tonic::async_trait]
impl Peer for Door {
    type AppendStream = Replies<AppendReply>;
    type SnapshotStream = Replies<SnapshotReply>;
    type ForwardStream = Replies<ForwardReply>;

    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let (core, _) = self.check(&request)?;
        // What makes no sense ends the stream, and the leader begins another.
        let requests = request.into_inner().scan((), |(), request| {
            let request = request.and_then(convert::append_request_of);
            let known = request.inspect_err(|error| {
                tracing::debug!(why = error.message(), "a leader's stream ended");
            });
            ready(known.ok())
        });
        let results = core.raft.stream_append(requests);
        let replies = results.map(|result| match result {
            Ok(result) => Ok(convert::append_reply(&result)),
            Err(fatal) => Err(stopped(fatal)),
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn heartbeat(
        &self,
        request: Request<AppendRequest>,
    ) -> Result<Response<AppendReply>, Status> {
        let (core, _) = self.check(&request)?;
        let request = convert::append_request_of(request.into_inner())?;
        if !request.entries.is_empty() {
            return Err(Status::invalid_argument("a heartbeat has no entries"));
        }
        let (vote, previous) = (request.vote, request.prev_log_id);
        let raft = &core.raft;
        let appended = pin!(raft.append_entries(request));
        // Raft answers when everything that it has accepted is on the disk. That it has heard the
        // leader, and follows it, is known as soon as it has read the message, which it does in
        // their order; a vote is on the disk before the next message is read.
        let heard = pin!(async {
            let follows = raft.with_raft_state(move |state| *state.vote_ref() == vote).await;
            match follows {
                Ok(true) => {}
                // Its own answer says why.
                Ok(false) | Err(_) => std::future::pending().await,
            }
        });
        let result: StreamResult = match select(appended, heard).await {
            Either::Left((answer, _)) => convert::stream_result(answer.map_err(stopped)?, previous),
            Either::Right(((), appended)) => {
                // A conflict is answered at once, so it is there by now.
                match futures::future::poll_immediate(appended).await {
                    Some(answer) => convert::stream_result(answer.map_err(stopped)?, previous),
                    None => Ok(previous),
                }
            }
        };
        Ok(Response::new(convert::append_reply(&result)))
    }

    async fn vote(&self, request: Request<VoteRequest>) -> Result<Response<VoteReply>, Status> {
        let (core, _) = self.check(&request)?;
        core.may_vote()?;
        let request = convert::vote_request_of(request.into_inner())?;
        let reply = core.raft.vote(request).await.map_err(stopped)?;
        Ok(Response::new(convert::vote_reply(&reply)))
    }

    async fn pre_vote(&self, request: Request<VoteRequest>) -> Result<Response<VoteReply>, Status> {
        let (core, _) = self.check(&request)?;
        core.may_vote()?;
        let request = convert::vote_request_of(request.into_inner())?;
        let reply = core.raft.pre_vote(request).await.map_err(stopped)?;
        Ok(Response::new(convert::vote_reply(&reply)))
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferRequest>,
    ) -> Result<Response<TransferReply>, Status> {
        let (core, _) = self.check(&request)?;
        must_serve(&core)?;
        if let Some(why) = core.look.barred() {
            return Err(Status::unavailable(format!("this node must not lead now: {why}")));
        }
        let request = convert::transfer_request_of(request.into_inner())?;
        let reply = core.raft.handle_transfer_leader(request).await.map_err(stopped)?;
        Ok(Response::new(convert::transfer_reply(&reply)))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let (core, _) = self.check(&request)?;
        let (replies, receiver) = mpsc::channel(2);
        tokio::spawn(receive_snapshot::receive(core, request.into_inner(), replies));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn forward(
        &self,
        request: Request<Streaming<ForwardRequest>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        let (core, _) = self.check(&request)?;
        let (replies, receiver) = mpsc::unbounded_channel();
        tokio::spawn(bring(core, request.into_inner(), replies));
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(receiver))))
    }

    async fn probe(&self, request: Request<ProbeRequest>) -> Result<Response<ProbeReply>, Status> {
        let (core, _) = self.check(&request)?;
        Ok(Response::new(core.probed(request.get_ref())))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let (core, node) = self.check_new(&request)?;
        must_serve(&core)?;
        join::take_in(&core, node, request.into_inner()).await.map(Response::new)
    }

    async fn change(
        &self,
        request: Request<ChangeRequest>,
    ) -> Result<Response<ChangeReply>, Status> {
        let (core, _) = self.check(&request)?;
        must_serve(&core)?;
        let LogIndex(index) = members::passed_on(&core, request.into_inner()).await?;
        Ok(Response::new(ChangeReply { index }))
    }

    async fn read_index(
        &self,
        request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexReply>, Status> {
        let (core, _) = self.check(&request)?;
        let by_lease = request.into_inner().by_lease;
        match reads::index_here(&core, by_lease).await {
            Ok(index) => Ok(Response::new(ReadIndexReply { index, term: core.term() })),
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }
}

/// Queues what another node brings, as many batches at a time as it may have open.
async fn bring(core: Arc<Core>, mut requests: Streaming<ForwardRequest>, replies: gather::Replies) {
    let room = Arc::new(Semaphore::new(FORWARDS_MAX));
    let mut stopping = core.stopping.subscribe();
    loop {
        let permit = tokio::select! {
            permit = room.clone().acquire_owned() => permit,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let Ok(permit) = permit else { return };
        let request = tokio::select! {
            // Nobody hears the answers any more.
            () = replies.closed() => return,
            _ = stopping.wait_for(|stopping| *stopping) => return,
            request = requests.message() => request,
        };
        let Ok(Some(ForwardRequest { number, commands })) = request else { return };
        if commands.is_empty() {
            continue;
        }
        let places = gather::places(number, commands.len(), replies.clone(), permit);
        for (command, place) in commands.into_iter().zip(places) {
            if core.route.now().is_some_and(|route| route.is_here()) && core.is_healthy() {
                core.queue.push_brought(command, place);
            } else {
                place.fill(Err(gate::log::ProposeError::NoLeader));
            }
        }
    }
}
