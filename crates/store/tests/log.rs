//! The log store from outside: what was reported durable is there again, and nothing else is.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};

use store::StoreError;
use store::log::{Done, LogOptions, LogStore, MetaKind};

fn open(dir: &Path) -> LogStore {
    LogStore::open(dir, &LogOptions::default()).expect("open")
}

fn payload(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn entries(range: Range<u64>) -> Vec<(u64, Vec<u8>)> {
    range.map(|index| (index, payload(index))).collect()
}

fn signal() -> (Done, Receiver<io::Result<()>>) {
    let (sender, receiver) = mpsc::channel();
    (Box::new(move |result| _ = sender.send(result)), receiver)
}

fn append(log: &LogStore, range: Range<u64>) {
    let (done, receiver) = signal();
    log.append(entries(range), done).expect("append");
    receiver.recv().expect("called").expect("durable");
}

fn indexes(log: &LogStore, range: Range<u64>) -> Vec<u64> {
    let read = log.read(range, usize::MAX).expect("read");
    for (index, bytes) in &read {
        assert_eq!(**bytes, payload(*index));
    }
    read.into_iter().map(|(index, _)| index).collect()
}

#[test]
fn entries_are_readable_at_return_and_come_back_after_a_restart() {
    for tail_bytes in [0, 40, 1 << 20] {
        let dir = tempfile::tempdir().expect("dir");
        let options = LogOptions { tail_bytes, ..LogOptions::default() };
        let log = LogStore::open(dir.path(), &options).expect("open");
        let (done, receiver) = signal();
        log.append(entries(0..10), done).expect("append");
        assert_eq!(indexes(&log, 0..100), (0..10).collect::<Vec<_>>());
        assert_eq!(indexes(&log, 3..6), [3, 4, 5]);
        receiver.recv().expect("called").expect("durable");
        drop(log);
        let log = LogStore::open(dir.path(), &options).expect("open again");
        assert_eq!((log.first(), log.last()), (Some(0), Some(9)));
        assert_eq!(indexes(&log, 0..100), (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn a_read_stops_at_its_bytes_but_gives_at_least_one() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    append(&log, 0..9);
    let counts = [0, 7, 14, 20, 21].map(|bytes| log.read(0..9, bytes).expect("read").len());
    assert_eq!(counts, [1, 1, 2, 2, 3]);
}

#[test]
fn a_hole_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    append(&log, 0..3);
    for bad in [2..4, 4..5] {
        let result = log.append(entries(bad), Box::new(|_| {}));
        assert!(matches!(result, Err(StoreError::Hole { expected: 3, .. })));
    }
    let gap = vec![(3, payload(3)), (5, payload(5))];
    assert!(matches!(log.append(gap, Box::new(|_| {})), Err(StoreError::Hole { .. })));
    append(&log, 3..4);
    assert_eq!(indexes(&log, 0..9), [0, 1, 2, 3]);
}

#[test]
#[rustfmt::skip]
fn truncate_and_purge_keep_one_run() {
    type Case = (Option<Option<u64>>, Option<u64>, Range<u64>);
    let cases: [Case; 8] = [
        // truncate after, purge through, what is left of 0..10
        (None,             None,      0..10),
        (Some(Some(4)),    None,      0..5),
        (Some(Some(20)),   None,      0..10),
        (Some(None),       None,      0..0),
        (None,             Some(3),   4..10),
        (None,             Some(9),   10..10),
        (None,             Some(30),  31..31),
        (Some(Some(6)),    Some(2),   3..7),
    ];
    for (truncate, purge, left) in cases {
        let dir = tempfile::tempdir().expect("dir");
        let log = open(dir.path());
        append(&log, 0..10);
        if let Some(after) = truncate {
            log.truncate_after(after).expect("truncate");
        }
        if let Some(through) = purge {
            log.purge_through(through, &through.to_be_bytes()).expect("purge");
        }
        let expected: Vec<u64> = left.clone().collect();
        assert_eq!(indexes(&log, 0..99), expected, "{truncate:?} {purge:?}");
        append(&log, left.end..left.end + 2);
        drop(log);
        let log = open(dir.path());
        let expected: Vec<u64> = (left.start..left.end + 2).collect();
        assert_eq!(indexes(&log, 0..99), expected, "{truncate:?} {purge:?} after a restart");
        assert_eq!(log.purged(), purge);
        let saved = log.meta(MetaKind::LastPurged).expect("meta");
        assert_eq!(saved, purge.map(|through| through.to_be_bytes().to_vec()));
    }
}

#[test]
fn a_big_purge_and_a_second_one_leave_no_old_entry_behind() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    append(&log, 0..10_000);
    log.purge_through(5_000, b"first").expect("purge");
    append(&log, 10_000..10_001);
    log.purge_through(9_990, b"second").expect("purge");
    append(&log, 10_001..10_002);
    assert_eq!(indexes(&log, 0..99_999).len(), 11);
    drop(log);
    let log = open(dir.path());
    assert_eq!((log.first(), log.last()), (Some(9_991), Some(10_001)));
    assert_eq!(indexes(&log, 0..99_999).len(), 11);
}

#[test]
fn votes_and_appends_are_called_back_in_their_order() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    let (sender, receiver) = mpsc::channel();
    for turn in 0..200u64 {
        let sender = sender.clone();
        let done: Done = Box::new(move |result| _ = sender.send((turn, result.is_ok())));
        if turn % 3 == 0 {
            log.save_meta(MetaKind::Vote, &turn.to_be_bytes(), done).expect("vote");
        } else {
            let index = log.last().map_or(0, |last| last + 1);
            log.append(entries(index..index + 1), done).expect("append");
        }
    }
    let order: Vec<_> = receiver.iter().take(200).collect();
    assert_eq!(order, (0..200).map(|turn| (turn, true)).collect::<Vec<_>>());
    let stats = log.stats();
    assert_eq!(stats.operations, 200);
    assert_eq!(stats.entries, 133);
    assert!(stats.syncs <= 200 && stats.operations_per_sync_max >= 1);
    drop(log);
    let log = open(dir.path());
    let vote = log.meta(MetaKind::Vote).expect("meta").expect("saved");
    assert_eq!(vote, 198u64.to_be_bytes());
}

#[test]
fn a_waited_value_survives_and_a_second_process_is_told() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    log.save_meta_wait(MetaKind::Node, b"7").expect("durable");
    log.save_meta_lazy(MetaKind::Committed, b"c").expect("lazy");
    let second = LogStore::open(dir.path(), &LogOptions::default());
    assert!(matches!(second.err(), Some(StoreError::InUse(_))));
    drop(log);
    assert_eq!(open(dir.path()).meta(MetaKind::Node).expect("meta").as_deref(), Some(&b"7"[..]));
}

/// The newest WAL file of the log and its bytes.
fn newest_wal(dir: &Path) -> (std::path::PathBuf, Vec<u8>) {
    let wals = fs::read_dir(dir.join("raft")).expect("list").map(|file| file.expect("file").path());
    let newest = wals
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
        .max()
        .expect("a WAL");
    let bytes = fs::read(&newest).expect("read");
    (newest, bytes)
}

/// A copy of a data directory as a power cut would leave it.
fn frozen(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("dir");
    fs::create_dir(copy.path().join("raft")).expect("create");
    for file in fs::read_dir(dir.join("raft")).expect("list") {
        let path = file.expect("file").path();
        if path.file_name().is_some_and(|name| name != "LOCK") {
            let name = path.file_name().expect("a name");
            fs::copy(&path, copy.path().join("raft").join(name)).expect("copy");
        }
    }
    fs::copy(dir.join("hwm"), copy.path().join("hwm")).expect("copy");
    copy
}

#[test]
fn a_tail_that_was_synced_and_is_gone_is_noticed() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    append(&log, 0..50);
    log.save_meta_wait(MetaKind::Vote, b"vote").expect("durable");
    drop(log);
    let whole = frozen(dir.path());
    drop(open(whole.path()));
    let (_, bytes) = newest_wal(dir.path());
    // Behind the last record lies what the file held before.
    let end = bytes.windows(4).rposition(|bytes| bytes == b"vote").expect("the last record") + 4;
    let mut noticed = 0;
    for keep in [end - 1, end / 2, 40, 0] {
        let cut = frozen(dir.path());
        let (path, bytes) = newest_wal(cut.path());
        fs::write(path, &bytes[..keep]).expect("cut");
        let result = LogStore::open(cut.path(), &LogOptions::default());
        match result.err() {
            Some(StoreError::LostSyncedRecords { .. }) => noticed += 1,
            other => panic!("cut to {keep} of {} bytes: {other:?}", bytes.len()),
        }
        let again = LogStore::open(cut.path(), &LogOptions::default());
        assert!(matches!(again.err(), Some(StoreError::LostSyncedRecords { .. })), "for good");
    }
    assert_eq!(noticed, 4);
}

#[test]
fn a_flipped_bit_in_the_synced_tail_is_noticed() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    append(&log, 0..50);
    drop(log);
    let copy = frozen(dir.path());
    let (path, mut bytes) = newest_wal(copy.path());
    let last = bytes.windows(8).rposition(|bytes| bytes == b"entry 49").expect("the last record");
    bytes[last / 2] ^= 1;
    fs::write(path, bytes).expect("write");
    assert!(LogStore::open(copy.path(), &LogOptions::default()).is_err());
}

#[test]
fn a_truncate_lowers_the_mark_so_that_a_restart_is_no_loss() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    append(&log, 0..50);
    drop(log);
    let log = open(dir.path());
    log.truncate_after(Some(9)).expect("truncate");
    append(&log, 10..12);
    drop(open(frozen(dir.path()).path()));
    drop(log);
    assert_eq!(indexes(&open(dir.path()), 0..99), (0..12).collect::<Vec<_>>());
}

#[test]
fn a_lost_mark_beside_a_used_log_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    append(&open(dir.path()), 0..3);
    fs::remove_file(dir.path().join("hwm")).expect("remove");
    for _ in 0..2 {
        let result = LogStore::open(dir.path(), &LogOptions::default());
        assert!(matches!(result.err(), Some(StoreError::Damaged(_))));
    }
}
