//! Raft's calls to other nodes.
//!
//! Promise: a call that cannot be made, or is not answered in time, says so; nothing waits for
//! ever. Invariant: an answer is that of the node it was meant for, in this cluster.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, stream};
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential,
};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::Status;

use crate::convert;
use crate::held::{Held, HeldBytes};
use crate::outstanding::Outstanding;
use crate::peers::{At, Client, Peers, Purpose};
use crate::raft::{NodeAddress, TypeConfig};
use crate::send_snapshot;
use crate::state_machine::SnapshotDir;
use crate::turns::{Turns, end_of};

/// Entries that are not acknowledged for so long are sent anew, over a new stream. A disk may be
/// slow, a follower that says nothing at all is not there.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);
/// Rests between tries to reach a node.
const REST_MIN: Duration = Duration::from_millis(20);
const REST_MAX: Duration = Duration::from_millis(500);

/// Makes a way to each node.
pub(crate) struct Network {
    pub(crate) peers: Arc<Peers>,
    pub(crate) pace: send_snapshot::Pace,
    pub(crate) held: HeldBytes,
}

impl Network {
    fn way(&self, target: u64, node: &NodeAddress, purpose: Purpose) -> Way {
        let Self { peers, pace, held } = self;
        let (peers, pace, held) = (peers.clone(), pace.clone(), held.clone());
        Way { peers, target, address: node.clone(), purpose, pace, held, rest: REST_MIN }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: u64, node: &NodeAddress) -> Way {
        self.way(target, node, Purpose::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &NodeAddress) -> Way {
        self.way(target, node, Purpose::Urgent)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &NodeAddress) -> Way {
        self.way(target, node, Purpose::Snapshot)
    }
}

/// The way to one node for one purpose.
pub(crate) struct Way {
    peers: Arc<Peers>,
    target: u64,
    address: NodeAddress,
    purpose: Purpose,
    pace: send_snapshot::Pace,
    held: HeldBytes,
    /// Before the next stream, after one that was not made.
    rest: Duration,
}

/// Raft rests after this error and tries again.
pub(crate) fn unreachable(status: &Status) -> Unreachable<TypeConfig> {
    Unreachable::from_string(format!("{:?}: {}", status.code(), status.message()))
}

impl Way {
    fn client(&self, purpose: Purpose) -> Result<Client, Unreachable<TypeConfig>> {
        let client = self.peers.client(At::member(self.target, &self.address), purpose);
        client.map_err(|status| unreachable(&status))
    }

    /// Makes a call that has its answer within `wait`.
    async fn call<T>(
        &self,
        wait: Duration,
        call: impl AsyncFnOnce(Client) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, RPCError<TypeConfig>> {
        let client = self.client(Purpose::Urgent)?;
        match tokio::time::timeout(wait, call(client)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(unreachable(&status).into()),
            Err(_) => Err(unreachable(&Status::deadline_exceeded("no answer in time")).into()),
        }
    }

    async fn append_stream<S>(
        &self,
        input: S,
    ) -> Result<
        BoxStream<'static, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>,
        Status,
    >
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let mut client = self.peers.client(At::member(self.target, &self.address), self.purpose)?;
        let waiting = Outstanding::new(ACKNOWLEDGED_WITHIN, Instant::now());
        let held = Held::new(self.held.clone());
        let way = Arc::new((held, Mutex::new(waiting)));
        let sent = way.clone();
        let turns = Turns::default();
        let requests = turns.requests(input).then(move |request| {
            let sent = sent.clone();
            async move {
                let (held, waiting) = sent.as_ref();
                held.add(&request).await;
                waiting.lock().sent(end_of(&request), Instant::now());
                convert::append_request(&request)
            }
        });
        let replies = client.append(requests).await?.into_inner();
        let state = (replies, way, turns);
        let results = stream::try_unfold(state, |(mut replies, way, turns)| async move {
            turns.has_read();
            loop {
                let (held, waiting) = way.as_ref();
                let (now, due) = (Instant::now(), waiting.lock().due());
                if due.is_some_and(|due| due <= now) {
                    return Err(Status::deadline_exceeded("entries were not acknowledged in time"));
                }
                // What is sent meanwhile is due after this look.
                let look = due.unwrap_or(now + ACKNOWLEDGED_WITHIN);
                let Ok(reply) = tokio::time::timeout_at(look, replies.message()).await else {
                    continue;
                };
                let Some(reply) = reply? else { return Ok(None) };
                held.confirmed();
                let result = convert::append_reply_of(reply)?;
                if let Ok(upto) = &result {
                    waiting.lock().acknowledged(upto.map(|id| id.index), Instant::now());
                }
                if turns.may_read(result.as_ref().ok().map(|upto| upto.map(|id| id.index))) {
                    return Ok(Some((result, (replies, way, turns))));
                }
            }
        });
        Ok(results.map(|result| result.map_err(|status| unreachable(&status).into())).boxed())
    }
}

impl RaftNetworkV2<TypeConfig> for Way {
    type SnapshotData = SnapshotDir;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = convert::append_request(&request);
        let call = async |mut client: Client| client.heartbeat(request).await;
        let reply = self.call(option.hard_ttl(), call).await;
        if reply.is_err() && self.purpose == Purpose::Urgent {
            self.peers.tallies.heartbeat_failed(self.target);
        }
        let reply = reply?;
        let result = convert::append_reply_of(reply).map_err(|status| unreachable(&status))?;
        Ok(convert::single(result))
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<
            BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>,
            RPCError<TypeConfig>,
        >,
    >
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        if self.purpose == Purpose::Urgent {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            match self.append_stream(input).await {
                Ok(results) => {
                    self.rest = REST_MIN;
                    Ok(results)
                }
                Err(status) => {
                    // Raft rests where it reads the next entries, and nobody came to that.
                    tokio::time::sleep(self.rest).await;
                    self.rest = (self.rest * 2).min(REST_MAX);
                    Err(unreachable(&status).into())
                }
            }
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = convert::vote_request(&request);
        let call = async |mut client: Client| client.vote(request).await;
        let reply = self.call(option.hard_ttl(), call).await?;
        convert::vote_reply_of(reply).map_err(|status| unreachable(&status).into())
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = convert::vote_request(&request);
        let call = async |mut client: Client| client.pre_vote(request).await;
        let reply = self.call(option.hard_ttl(), call).await?;
        convert::vote_reply_of(reply).map_err(|status| unreachable(&status).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotDir>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let client = self.client(Purpose::Snapshot)?;
        let on_its_way = self.peers.tallies.sending(self.target);
        let sending = send_snapshot::send(client, &vote, snapshot.snapshot, &self.pace);
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = sending => match sent {
                Ok(vote) => {
                    on_its_way.installed();
                    Ok(SnapshotResponse::new(vote))
                }
                Err(status) => Err(unreachable(&status).into()),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let asked = convert::transfer_request(&request);
        let call = async |mut client: Client| client.transfer_leader(asked).await;
        let reply = self.call(option.hard_ttl(), call).await?;
        convert::transfer_reply_of(reply, &request).map_err(|status| unreachable(&status).into())
    }

    fn backoff(&self) -> Option<Backoff> {
        let doubled = std::iter::successors(Some(REST_MIN), |rest| Some((*rest * 2).min(REST_MAX)));
        Some(Backoff::new(doubled))
    }
}
