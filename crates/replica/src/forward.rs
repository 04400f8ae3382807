//! Commands that clients brought to this node, on their way to the node that leads.
//!
//! They travel in batches over one stream, and their answers come back as they are ready. Promise:
//! an answer is given when this node has applied it too, so that the caller can read what it
//! wrote. Invariant: a batch whose answer is lost goes back into the queue and to the next leader,
//! which recognises what it has already.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bugs::Bug;
use gate::log::{Committed, ProposeError};
use ledger::Reply;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use types::LogIndex;
use types::codec::decode;
use types::limits::FORWARDS_MAX;
use wire::peer::command_reply::Result as Outcome;
use wire::peer::{self, CommandReply, ForwardError, ForwardReply, ForwardRequest};

use crate::node::Core;
use crate::peers::{At, Purpose};
use crate::propose::Proposed;
use crate::queue::Item;
use crate::route::Route;

/// The rest after a leader said that it leads no more.
const REST: Duration = Duration::from_millis(10);

/// Batches on their way over one stream; `None` once the stream has ended.
type Open = Arc<Mutex<Option<HashMap<u64, Arc<Proposed>>>>>;

/// Sends batches to the leader.
pub(crate) struct Forwarder {
    core: Arc<Core>,
    stream: Option<Stream>,
}

struct Stream {
    route: Route,
    requests: mpsc::Sender<ForwardRequest>,
    open: Open,
    next: u64,
}

impl Forwarder {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, stream: None }
    }

    /// Sends a batch on its route. If that cannot be, it is back in the queue.
    pub(crate) async fn send(&mut self, route: Route, proposed: Arc<Proposed>) {
        let is_open = self
            .stream
            .as_ref()
            .is_some_and(|stream| stream.route == route && stream.open.lock().is_some());
        if !is_open {
            self.stream = self.connect(route);
        }
        let Some(stream) = &mut self.stream else {
            return proposed.give_back(false);
        };
        let Some(commands) = proposed.commands() else { return };
        let number = stream.next;
        stream.next += 1;
        match stream.open.lock().as_mut() {
            Some(open) => _ = open.insert(number, proposed),
            None => return proposed.give_back(false),
        }
        // If the stream has ended meanwhile, its end gives the batch back.
        _ = stream.requests.send(ForwardRequest { number, commands }).await;
    }

    fn connect(&self, route: Route) -> Option<Stream> {
        let address = self.core.address_of(route.leader)?;
        let client = self.core.peers.client(At::member(route.leader, &address), Purpose::Forward);
        let mut client = client.ok()?;
        let (requests, receiver) = mpsc::channel(FORWARDS_MAX);
        let open: Open = Arc::new(Mutex::new(Some(HashMap::new())));
        let (core, waiting) = (self.core.clone(), open.clone());
        tokio::spawn(async move {
            let ended = async {
                let mut replies = client.forward(ReceiverStream::new(receiver)).await?.into_inner();
                while let Some(reply) = replies.message().await? {
                    answer(&core, &waiting, reply).await?;
                }
                Err::<(), _>(Status::unavailable("the leader ended the stream"))
            };
            let mut stopping = core.stopping.subscribe();
            let ended = tokio::select! {
                ended = ended => ended,
                _ = stopping.wait_for(|stopping| *stopping) => Ok(()),
            };
            let left = waiting.lock().take().unwrap_or_default();
            let mut left: Vec<_> = left.into_iter().collect();
            // Later ones first, so that earlier ones end before them in the queue.
            left.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
            if let Err(status) = ended {
                tracing::debug!(leader = route.leader, why = status.message(), "forwarding ended");
                // One that is gone refuses at once, and who is next is not known yet.
                if !Bug::NoRest.is_planted() {
                    tokio::time::sleep(REST).await;
                }
            }
            left.into_iter().for_each(|(_, proposed)| proposed.give_back(true));
        });
        Some(Stream { route, requests, open, next: 0 })
    }
}

/// Answers the commands of one batch.
async fn answer(core: &Core, open: &Open, reply: ForwardReply) -> Result<(), Status> {
    let number = reply.number;
    let proposed = open.lock().as_mut().and_then(|open| open.remove(&number));
    let Some(items) = proposed.and_then(|proposed| proposed.take()) else {
        // Given up meanwhile.
        return Ok(());
    };
    let answered = match Item::with_answers(items, reply.replies) {
        Ok(answered) => answered,
        Err(items) => {
            core.queue.put_back(items, true);
            return Err(Status::internal("a batch has not one answer per command"));
        }
    };
    let mut newest = LogIndex(0);
    let mut done = Vec::new();
    let (mut not_begun, mut unknown) = (Vec::new(), Vec::new());
    for (item, CommandReply { result }) in answered {
        match result {
            Some(Outcome::Committed(committed)) => match committed_of(&committed) {
                Ok(committed) => {
                    newest = newest.max(committed.index);
                    done.push((item, committed));
                }
                Err(_) => unknown.push(item),
            },
            Some(Outcome::Error(error)) => match ForwardError::try_from(error) {
                Ok(ForwardError::QueueFull) => item.refuse_full(),
                Ok(ForwardError::NotLeader) => not_begun.push(item),
                _ => unknown.push(item),
            },
            None => unknown.push(item),
        }
    }
    if !not_begun.is_empty() {
        // It has just lost its place; who is next is not known yet.
        tokio::time::sleep(REST).await;
    }
    core.queue.put_back(not_begun, false);
    core.queue.put_back(unknown, true);
    finish(core, newest, done).await;
    Ok(())
}

/// Gives the answers out once they are applied here.
async fn finish(core: &Core, newest: LogIndex, done: Vec<(Item, Committed)>) {
    let mut progress = core.listeners.progress.subscribe();
    let applied = progress.wait_for(|progress| progress.index >= newest);
    let is_here =
        tokio::time::timeout(core.config.read_wait, applied).await.is_ok_and(|w| w.is_ok());
    for (item, committed) in done {
        item.end(if is_here { Ok(committed) } else { Err(ProposeError::Unknown) });
    }
}

fn committed_of(committed: &peer::Committed) -> Result<Committed, types::codec::CodecError> {
    let reply: Reply = decode(&committed.reply, "reply")?;
    Ok(Committed { index: LogIndex(committed.index), term: committed.term, reply })
}
