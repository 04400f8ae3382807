//! What only the inside can provoke: a sync that fails, an entry that rots.

mod power;

use std::sync::atomic::Ordering;
use std::sync::mpsc;

use crate::engine;

use super::*;

fn append(store: &LogStore, range: Range<u64>) -> mpsc::Receiver<io::Result<()>> {
    let (sender, receiver) = mpsc::channel();
    let entries = range.map(|index| (index, format!("entry {index}").into_bytes())).collect();
    store.append(entries, Box::new(move |result| _ = sender.send(result))).expect("append");
    receiver
}

#[test]
fn a_failed_sync_is_final() {
    let dir = tempfile::tempdir().expect("dir");
    let store = LogStore::open(dir.path(), &LogOptions::default()).expect("open");
    append(&store, 0..3).recv().expect("called").expect("durable");
    store.queue.fail_syncs.store(true, Ordering::SeqCst);
    append(&store, 3..4).recv().expect("called").expect_err("not durable");
    store.queue.fail_syncs.store(false, Ordering::SeqCst);
    assert!(store.poisoned().expect("latched").contains("the disk said no"));
    let done: fn() -> Done = || Box::new(|_| unreachable!("refused before it is queued"));
    let refused = [
        store.append(vec![(4, vec![])], done()),
        store.save_meta(MetaKind::Vote, b"v", done()),
        store.save_meta_wait(MetaKind::Vote, b"v"),
        store.save_meta_lazy(MetaKind::Committed, b"c"),
        store.truncate_after(Some(1)),
        store.purge_through(1, b"p"),
        store.read(0..9, 9).map(|_| ()),
        store.meta(MetaKind::Vote).map(|_| ()),
    ];
    for (position, result) in refused.into_iter().enumerate() {
        assert!(matches!(result, Err(StoreError::Poisoned(_))), "operation {position}");
    }
    let marked = store.queue.marks.lock().file_next();
    assert!(marked <= 3, "the mark stays below what was never synced, is {marked}");
}

#[test]
fn what_waits_behind_a_failed_sync_fails_too() {
    let dir = tempfile::tempdir().expect("dir");
    let store = LogStore::open(dir.path(), &LogOptions::default()).expect("open");
    store.queue.fail_syncs.store(true, Ordering::SeqCst);
    let calls: Vec<_> = [0..1, 1..2]
        .map(|range| {
            let (sender, receiver) = mpsc::channel();
            let entries = range.map(|index| (index, vec![1])).collect();
            let done: Done = Box::new(move |result| _ = sender.send(result));
            (store.append(entries, done), receiver)
        })
        .into();
    for (queued, receiver) in calls {
        let failed = queued.is_err() || receiver.recv().expect("called").is_err();
        assert!(failed);
    }
}

#[test]
fn a_rotten_entry_is_never_served() {
    let dir = tempfile::tempdir().expect("dir");
    let store = LogStore::open(dir.path(), &LogOptions { tail_bytes: 0, ..LogOptions::default() })
        .expect("open");
    append(&store, 0..9).recv().expect("called").expect("durable");
    assert_eq!(store.read(0..9, usize::MAX).expect("whole").len(), 9);
    let log = family(&store.db, LOG);
    let mut value = store.db.get_cf(log, 4u64.to_be_bytes()).expect("get").expect("there");
    value[3] ^= 1;
    store.db.put_cf(log, 4u64.to_be_bytes(), &value).expect("put");
    assert_eq!(store.read(0..4, usize::MAX).expect("before it").len(), 4);
    assert!(matches!(store.read(0..9, usize::MAX), Err(StoreError::Damaged(_))));
    store.db.delete_cf(log, 4u64.to_be_bytes()).expect("delete");
    assert!(matches!(store.read(0..9, usize::MAX), Err(StoreError::Damaged(_))), "a hole");
}

fn keys_on_disk(store: &LogStore) -> Vec<u64> {
    store
        .db
        .iterator_cf(family(&store.db, LOG), IteratorMode::Start)
        .map(|row| u64::from_be_bytes(row.expect("row").0[..].try_into().expect("8 bytes")))
        .collect()
}

#[test]
fn a_truncate_leaves_nothing_on_the_disk_and_a_purge_no_whole_file() {
    let dir = tempfile::tempdir().expect("dir");
    let store = LogStore::open(dir.path(), &LogOptions::default()).expect("open");
    let log = family(&store.db, LOG);
    for first in [0, 100, 200] {
        append(&store, first..first + 100).recv().expect("called").expect("durable");
        store.db.flush_cf(log).expect("flush");
    }
    // One level down, where files can go; they follow each other, so they are moved as they are.
    store.db.compact_range_cf(log, None::<&[u8]>, None::<&[u8]>);
    store.truncate_after(Some(289)).expect("truncate");
    assert_eq!(keys_on_disk(&store), (0..290).collect::<Vec<_>>());
    store.purge_through(149, b"149").expect("purge");
    append(&store, 290..291).recv().expect("called").expect("durable");
    drop(store);
    let store = LogStore::open(dir.path(), &LogOptions::default()).expect("open");
    assert_eq!(keys_on_disk(&store), (100..291).collect::<Vec<_>>(), "one file of three went");
    assert_eq!((store.first(), store.last()), (Some(150), Some(290)));
    let read = store.read(0..u64::MAX, usize::MAX).expect("read");
    assert_eq!(read.first().map(|(index, _)| *index), Some(150), "the rest is never looked at");
}

#[test]
fn what_lies_behind_a_hole_in_the_unsynced_tail_is_given_up() {
    let dir = tempfile::tempdir().expect("dir");
    let store = LogStore::open(dir.path(), &LogOptions::default()).expect("open");
    append(&store, 0..20).recv().expect("called").expect("durable");
    drop(store);
    let lower = |next| {
        let mut file = mark::MarkFile::open(&dir.path().join("hwm")).expect("mark");
        file.store(mark::Mark { next, votes: 0 }).expect("store");
    };
    let hole = |index: u64| {
        let store = LogStore::open(dir.path(), &LogOptions::default()).expect("open");
        store.db.delete_cf(family(&store.db, LOG), index.to_be_bytes()).expect("delete");
        engine::sync_wal(&store.db).expect("sync");
        let last = store.last();
        drop(store);
        last
    };
    assert_eq!(hole(12), Some(19));
    lower(12);
    assert_eq!(hole(5), Some(11), "nothing behind entry 12 was durable");
    lower(9);
    let store = LogStore::open(dir.path(), &LogOptions::default()).expect("open");
    assert_eq!(store.last(), Some(11));
    let read = store.read(0..12, usize::MAX);
    assert!(matches!(read, Err(StoreError::Damaged(_))), "a hole in what was durable is damage");
    assert_eq!(store.read(6..99, usize::MAX).expect("behind it").len(), 6);
}
