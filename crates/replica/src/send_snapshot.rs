//! A snapshot on its way to another node: what the receiver lacks, file by file, at a bounded pace.
//!
//! Promise: it takes no more of the network than it may, so that entries and heartbeats pass.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use store::state::{Held, Snapshot};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
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
/// A receiver that says nothing for so long is not there; it may be busy comparing and installing.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);
/// How often a receiver may ask for files in one go: those that arrive damaged again and again have
/// another cause than the way.
pub(crate) const ROUNDS_MAX: u32 = 3;

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
    // Newer ones are published meanwhile, and the oldest go.
    let held = machine::blocking(move || Snapshot::open(&snapshot.0)?.hold());
    let held = held.await.map_err(|error| failed(&error))?;
    let snapshot = Arc::new(held.map_err(|error| failed(&error))?);
    let manifest = snapshot.manifest.to_bytes().into();
    let (parts, receiver) = mpsc::channel::<SnapshotPart>(CHUNKS_AHEAD);
    let parts = Parts(parts);
    parts.push(Part::Header(SnapshotHeader { vote: Some(convert::vote(vote)), manifest })).await?;
    let mut replies = within(client.snapshot(ReceiverStream::new(receiver))).await?.into_inner();
    for _ in 0..ROUNDS_MAX {
        match next(&mut replies).await.inspect_err(|status| look_at_own(status, &snapshot))? {
            Reply::Installed(vote) => return convert::vote_of(Some(vote)),
            Reply::Wanted(SnapshotWanted { files }) => {
                let sending = send_files(&snapshot, files, pace, &parts);
                tokio::select! {
                    biased;
                    sent = sending => match sent {
                        // Why it went away is in its answer.
                        Err(_) if parts.0.is_closed() => return Err(reason(&mut replies).await),
                        sent => sent?,
                    },
                    early = replies.message() => return Err(refusal(early)),
                }
            }
        }
    }
    match next(&mut replies).await.inspect_err(|status| look_at_own(status, &snapshot))? {
        Reply::Installed(vote) => convert::vote_of(Some(vote)),
        Reply::Wanted(_) => Err(Status::invalid_argument("files are wanted again and again")),
    }
}

/// Sends what is wanted, and that it is all.
async fn send_files(
    snapshot: &Snapshot,
    files: Vec<SnapshotFile>,
    pace: &Pace,
    parts: &Parts,
) -> Result<(), Status> {
    for file in files {
        if !snapshot.manifest.files.iter().any(|known| known.name == file.name) {
            return Err(Status::invalid_argument("a file is wanted that is not there"));
        }
        parts.push(Part::File(file.clone())).await?;
        send_file(&snapshot.dir, &file, pace, parts).await?;
    }
    parts.push(Part::End(SnapshotEnd {})).await
}

/// What a receiver said that takes no more.
async fn reason(replies: &mut tonic::Streaming<SnapshotReply>) -> Status {
    match within(replies.message()).await {
        Ok(None) => Status::unavailable("the receiver of a snapshot went away"),
        answer => refusal(answer),
    }
}

/// An answer before everything was sent.
fn refusal(answer: Result<Option<SnapshotReply>, Status>) -> Status {
    match answer {
        Err(status) => status,
        Ok(Some(_)) => Status::invalid_argument("an answer before everything was sent"),
        Ok(None) => Status::unavailable("the receiver of a snapshot said nothing"),
    }
}

/// What arrives damaged again and again may be so here already.
fn look_at_own(status: &Status, snapshot: &Arc<Held>) {
    if status.code() != Code::DataLoss {
        return;
    }
    let snapshot = snapshot.clone();
    drop(machine::blocking(move || match snapshot.verify_files() {
        Ok(()) => tracing::warn!("a snapshot was damaged on its way; here it is whole"),
        Err(error) => tracing::error!(%error, "the snapshot that this node sends is damaged"),
    }));
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
    let failed =
        |error: &dyn std::fmt::Display| Status::internal(format!("{}: {error}", file.name));
    let (path, offset) = (dir.join(&file.name), file.offset);
    let opening = machine::blocking(move || {
        let mut open = File::open(path)?;
        open.seek(SeekFrom::Start(offset)).map(|_| open)
    });
    let mut open =
        opening.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    loop {
        let reading = machine::blocking(move || {
            let mut chunk = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES);
            (&mut open).take(SNAPSHOT_CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
            Ok::<_, io::Error>((open, chunk))
        });
        let read = reading.await.map_err(|error| failed(&error))?;
        let (rest, chunk) = read.map_err(|error| failed(&error))?;
        if chunk.is_empty() {
            return Ok(());
        }
        open = rest;
        pace.pass(chunk.len()).await;
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

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::path::PathBuf;

    use gate::log::{Consistency, Log as _, Status as NodeStatus};
    use gate::seal::DataKey;
    use machine::net::TcpListener;
    use openraft::impls::leader_id_adv::LeaderId;
    use store::state::StateStore;
    use tempfile::TempDir;
    use types::{LogIndex, NodeId};

    use super::*;
    use crate::apply::{self, Applied, Chunk};
    use crate::peers::{At, Own, Peers, Purpose};
    use crate::raft::{Entry, LogId, NodeAddress, Payload};
    use crate::{Config, Replica};

    const INDEX: u64 = 100;

    /// A snapshot of another node, and one node that is to receive it.
    struct Pair {
        _dirs: [TempDir; 2],
        snapshot: Snapshot,
        receiver: Arc<Replica>,
        client: Client,
    }

    impl Pair {
        async fn new() -> Self {
            let dirs = [tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir")];
            let [own, other] = [dirs[0].path(), dirs[1].path()];
            let snapshot = {
                let state = StateStore::open(own).expect("state");
                let mut chunk = Chunk::default();
                let leader_id = LeaderId { term: 9, node_id: 2 };
                let log_id = LogId { leader_id, index: INDEX };
                chunk.push(Entry { log_id, payload: Payload::Blank });
                apply::apply(&state, &mut Applied::default(), chunk).expect("applied");
                state.checkpoint().expect("made")
            };
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("bound").to_string();
            let shown = NodeAddress { peer: address.clone(), ..NodeAddress::default() };
            let config = Config::new(other.to_owned(), NodeId(1), shown, DataKey::draw());
            let receiver = Replica::start(config, Some(listener)).await.expect("start");
            receiver.wait_for_leader(Duration::from_secs(30)).await.expect("it leads");
            let NodeStatus { cluster_id, members, .. } = receiver.status();
            let wait = Duration::from_secs(30);
            let peers = Peers::new(cluster_id, Own { node: NodeId(2), data: [2; 16] }, None, wait);
            let at = At { node: 1, address: &address, data: Some(members[0].incarnation) };
            let client = peers.client(at, Purpose::Snapshot).expect("a client");
            Self { _dirs: dirs, snapshot, receiver, client }
        }

        fn table(&self) -> PathBuf {
            let mut names = self.snapshot.manifest.files.iter().map(|file| &file.name);
            let name = names.find(|name| name.ends_with(".sst")).expect("a table");
            self.snapshot.dir.join(name)
        }

        async fn send(&self) -> Result<Vote, Status> {
            let vote = Vote { leader_id: LeaderId { term: 9, node_id: 2 }, committed: true };
            let snapshot = SnapshotDir(self.snapshot.dir.clone());
            send(self.client.clone(), &vote, snapshot, &Pace::new(u64::MAX)).await
        }

        async fn applied(&self) -> u64 {
            let read = self.receiver.read_point(Consistency::Stale, LogIndex(0));
            read.await.expect("it serves").index.0
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_damaged_byte_on_the_way_is_refused_and_stops_nobody() {
        let pair = Pair::new().await;
        let table = pair.table();
        let good = fs::read(&table).expect("read");
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(&table, bad).expect("write");
        let refused = pair.send().await.expect_err("damaged");
        assert_eq!(refused.code(), Code::DataLoss, "{refused}");
        assert!(pair.receiver.status().healthy);
        assert!(pair.applied().await < INDEX);

        fs::write(&table, good).expect("write");
        pair.send().await.expect("installed");
        assert!(pair.receiver.status().healthy);
        assert_eq!(pair.applied().await, INDEX);
        pair.receiver.shutdown().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_sender_learns_why_it_is_refused() {
        let pair = Pair::new().await;
        // More than was announced, and more than fits into a connection.
        let table = OpenOptions::new().write(true).open(pair.table()).expect("open");
        table.set_len(128 * 1024 * 1024).expect("room");
        let refused = pair.send().await.expect_err("refused");
        assert!(refused.message().contains("more bytes than it has"), "{refused}");
        pair.receiver.shutdown().await;
    }
}
