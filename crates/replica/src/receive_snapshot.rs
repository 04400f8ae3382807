//! A snapshot that arrives: received beside the state, then installed by Raft.
//!
//! Promise: the old state serves until the new one is whole; an error leaves the old one. What was
//! damaged on the way is thrown away and asked for again, so often and no more.

use std::sync::Arc;
use std::time::Duration;

use openraft::errors::Fatal;
use store::StoreError;
use store::state::{Incoming, StateStore, Wanted};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use wire::peer::snapshot_part::Part;
use wire::peer::snapshot_reply::Reply;
use wire::peer::{SnapshotFile, SnapshotPart, SnapshotReply, SnapshotWanted};

use crate::convert;
use crate::node::Core;
use crate::raft::{TypeConfig, Vote};
use crate::send_snapshot::ROUNDS_MAX;
use crate::state_machine;

/// A sender that says nothing for so long is not there.
const PART_WITHIN: Duration = Duration::from_secs(60);

/// Answers on their way.
pub(crate) type Replies = mpsc::Sender<Result<SnapshotReply, Status>>;

/// Receives one snapshot, installs it and says so.
pub(crate) async fn receive(core: Arc<Core>, parts: Streaming<SnapshotPart>, replies: Replies) {
    // Two at a time would write into the same files.
    let Ok(_one) = core.receiving.try_lock() else {
        let busy = Status::unavailable("another snapshot is being received");
        _ = replies.send(Err(busy)).await;
        return;
    };
    let mut stopping = core.stopping.subscribe();
    let result = tokio::select! {
        result = receive_one(&core, parts, &replies) => result,
        _ = stopping.wait_for(|stopping| *stopping) => {
            Err(Status::unavailable("this node is stopping"))
        }
    };
    if let Err(status) = &result {
        tracing::warn!(why = status.message(), "a snapshot was not installed");
    }
    let reply =
        result.map(|vote| SnapshotReply { reply: Some(Reply::Installed(convert::vote(&vote))) });
    _ = replies.send(reply).await;
}

async fn receive_one(
    core: &Arc<Core>,
    mut parts: Streaming<SnapshotPart>,
    replies: &Replies,
) -> Result<Vote, Status> {
    let Some(Part::Header(header)) = next(&mut parts).await? else {
        return Err(Status::invalid_argument("a snapshot begins with its header"));
    };
    let vote = convert::vote_of(header.vote)?;
    let state = core.state.clone();
    let manifest = header.manifest;
    let Some((mut incoming, wanted)) = blocking(move || begin(&state, &manifest)).await? else {
        // It is here already; the answer that said so was lost.
        let vote = core.raft.with_raft_state(|state| *state.vote_ref()).await;
        return vote.map_err(|error| Status::unavailable(error.to_string()));
    };
    want(replies, wanted).await?;
    let mut rounds = 1;
    loop {
        incoming = take_files(&mut parts, incoming).await?;
        let checked = blocking(move || {
            let wanted = incoming.check()?;
            Ok((incoming, wanted))
        });
        let damaged;
        (incoming, damaged) = checked.await?;
        let Some(first) = damaged.first() else { break };
        let (name, files) = (first.name.clone(), damaged.len());
        tracing::warn!(name, files, rounds, "a part of a snapshot is not as it was announced");
        if rounds == ROUNDS_MAX {
            let what = format!("{name} was not as announced {rounds} times; nothing is installed");
            return Err(Status::data_loss(what));
        }
        rounds += 1;
        want(replies, damaged).await?;
    }
    let snapshot = blocking(move || incoming.finish()).await?;
    let snapshot = state_machine::with_meta(snapshot)
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    match core.raft.install_full_snapshot(vote, snapshot).await {
        Ok(response) => Ok(response.vote),
        Err(Fatal::<TypeConfig>::Stopped) => Err(Status::unavailable("this node is stopping")),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

/// Asks for these files.
async fn want(replies: &Replies, files: Vec<Wanted>) -> Result<(), Status> {
    let files = files.into_iter().map(|Wanted { name, offset }| SnapshotFile { name, offset });
    let wanted = SnapshotWanted { files: files.collect() };
    let reply = SnapshotReply { reply: Some(Reply::Wanted(wanted)) };
    replies.send(Ok(reply)).await.map_err(|_| Status::cancelled("the sender went away"))
}

/// Takes what is sent, up to the end.
async fn take_files(
    parts: &mut Streaming<SnapshotPart>,
    mut incoming: Incoming,
) -> Result<Incoming, Status> {
    loop {
        match next(parts).await? {
            Some(Part::File(file)) => {
                incoming = blocking(move || {
                    incoming.file(&file.name, file.offset)?;
                    Ok(incoming)
                })
                .await?;
            }
            Some(Part::Chunk(bytes)) => {
                incoming = blocking(move || {
                    incoming.chunk(&bytes)?;
                    Ok(incoming)
                })
                .await?;
            }
            Some(Part::End(_)) => return Ok(incoming),
            Some(Part::Header(_)) => return Err(Status::invalid_argument("a second header")),
            None => return Err(Status::cancelled("the sender ended before the snapshot did")),
        }
    }
}

/// What is wanted of a snapshot; `None` if the state is as new.
fn begin(
    state: &StateStore,
    manifest: &[u8],
) -> Result<Option<(Incoming, Vec<Wanted>)>, StoreError> {
    let incoming = match state.receive(manifest) {
        Err(StoreError::NotNewer { .. }) => return Ok(None),
        received => received?,
    };
    let wanted = incoming.wanted()?;
    Ok(Some((incoming, wanted)))
}

async fn next(parts: &mut Streaming<SnapshotPart>) -> Result<Option<Part>, Status> {
    let late = |_| Status::deadline_exceeded("the sender of a snapshot says nothing");
    let part = tokio::time::timeout(PART_WITHIN, parts.message()).await.map_err(late)??;
    Ok(part.and_then(|part| part.part))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Status> {
    match machine::blocking(work).await {
        Ok(result) => result.map_err(|error| Status::failed_precondition(error.to_string())),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}
