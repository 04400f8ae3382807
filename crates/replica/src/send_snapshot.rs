//! A snapshot on its way to another node: what the receiver lacks, file by file, at a bounded pace.
//!
//! Promise: it takes no more of the network than it may, so that entries and heartbeats pass.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use store::state::Snapshot;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use types::limits::SNAPSHOT_CHUNK_BYTES;
use wire::peer::snapshot_part::Part;
use wire::peer::snapshot_reply::Reply;
use wire::peer::{
    SnapshotEnd, SnapshotFile, SnapshotHeader, SnapshotPart, SnapshotReply, SnapshotWanted,
};

use crate::convert;
use crate::peers::Client;
use crate::raft::Vote;
use crate::state_machine::SnapshotDir;

/// Chunks that were read and not yet taken by the connection.
const CHUNKS_AHEAD: usize = 4;
/// A receiver that says nothing for so long is not there; it may be busy installing.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// Bytes per second that all snapshots of this node take together.
#[derive(Clone)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    free_from: Arc<Mutex<Instant>>,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        let free_from = Arc::new(Mutex::new(Instant::now()));
        Self { bytes_per_second: bytes_per_second.max(1), free_from }
    }

    /// Waits until so many bytes may go.
    async fn pass(&self, bytes: usize) {
        let begins = {
            let mut free_from = self.free_from.lock();
            let begins = (*free_from).max(Instant::now());
            let micros = (bytes as u64).saturating_mul(1_000_000) / self.bytes_per_second;
            *free_from = begins + Duration::from_micros(micros);
            begins
        };
        tokio::time::sleep_until(begins).await;
    }
}

/// Sends a snapshot and waits until it is installed; the answer is the receiver's vote.
pub(crate) async fn send(
    mut client: Client,
    vote: &Vote,
    snapshot: SnapshotDir,
    pace: &Pace,
) -> Result<Vote, Status> {
    let failed = |error: &dyn std::error::Error| Status::internal(format!("snapshot: {error}"));
    let dir = snapshot.0;
    let snapshot = Snapshot::open(&dir).map_err(|error| failed(&error))?;
    let manifest = snapshot.manifest.to_bytes().into();
    let (parts, receiver) = mpsc::channel::<SnapshotPart>(CHUNKS_AHEAD);
    let parts = Parts(parts);
    parts.push(Part::Header(SnapshotHeader { vote: Some(convert::vote(vote)), manifest })).await?;
    let mut replies = within(client.snapshot(ReceiverStream::new(receiver))).await?.into_inner();
    match next(&mut replies).await? {
        Reply::Installed(vote) => return convert::vote_of(Some(vote)),
        Reply::Wanted(SnapshotWanted { files }) => {
            for file in files {
                let known = snapshot.manifest.files.iter().any(|known| known.name == file.name);
                if !known {
                    return Err(Status::invalid_argument("a file is wanted that is not there"));
                }
                parts.push(Part::File(file.clone())).await?;
                send_file(&dir, &file, pace, &parts).await?;
            }
        }
    }
    parts.push(Part::End(SnapshotEnd {})).await?;
    match next(&mut replies).await? {
        Reply::Installed(vote) => convert::vote_of(Some(vote)),
        Reply::Wanted(_) => Err(Status::invalid_argument("a second list of files")),
    }
}

/// Where the parts of a snapshot go.
struct Parts(mpsc::Sender<SnapshotPart>);

impl Parts {
    async fn push(&self, part: Part) -> Result<(), Status> {
        let gone = |_| Status::unavailable("the receiver of a snapshot went away");
        self.0.send(SnapshotPart { part: Some(part) }).await.map_err(gone)
    }
}

async fn send_file(
    dir: &Path,
    file: &SnapshotFile,
    pace: &Pace,
    parts: &Parts,
) -> Result<(), Status> {
    let failed = |error: std::io::Error| Status::internal(format!("{}: {error}", file.name));
    let mut open = File::open(dir.join(&file.name)).await.map_err(failed)?;
    open.seek(std::io::SeekFrom::Start(file.offset)).await.map_err(failed)?;
    loop {
        let mut chunk = vec![0; SNAPSHOT_CHUNK_BYTES];
        let length = open.read(&mut chunk).await.map_err(failed)?;
        if length == 0 {
            return Ok(());
        }
        chunk.truncate(length);
        pace.pass(length).await;
        parts.push(Part::Chunk(Bytes::from(chunk))).await?;
    }
}

async fn next(replies: &mut tonic::Streaming<SnapshotReply>) -> Result<Reply, Status> {
    let ended = || Status::unavailable("the receiver of a snapshot said nothing");
    within(replies.message()).await?.and_then(|reply| reply.reply).ok_or_else(ended)
}

async fn within<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = |_| Status::deadline_exceeded("the receiver of a snapshot does not answer");
    tokio::time::timeout(ANSWER_WITHIN, answer).await.map_err(late)?
}
