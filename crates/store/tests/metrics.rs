//! What the stores tell of themselves: exact where they count, there where the database estimates.

mod common;

use std::sync::mpsc;

use common::write;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use store::log::{LogOptions, LogStore, MetaKind};
use store::state::StateStore;

/// The value of one series, named as it is printed.
#[track_caller]
fn value(handle: &PrometheusHandle, series: &str) -> f64 {
    let text = handle.render();
    let start = format!("{series} ");
    let found = text.lines().find_map(|line| line.strip_prefix(&start));
    found.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().expect("a number")
}

#[test]
fn every_durable_entry_is_counted_once() {
    let dir = tempfile::tempdir().expect("dir");
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let log = metrics::with_local_recorder(&recorder, || {
        LogStore::open(dir.path(), &LogOptions::default()).expect("open")
    });
    let append = |range: std::ops::Range<u64>| {
        let (sender, receiver) = mpsc::channel();
        let entries = range.map(|index| (index, vec![7; 100])).collect();
        log.append(entries, Box::new(move |result| _ = sender.send(result))).expect("append");
        receiver.recv().expect("called").expect("durable");
    };
    append(0..3);
    log.save_meta_wait(MetaKind::Vote, b"vote").expect("vote");
    append(3..8);
    log.truncate_after(Some(5)).expect("truncate");
    append(6..10);
    log.sample();
    let stats = log.stats();
    assert_eq!(value(&handle, "gate_wal_batch_entries_sum"), 12.0);
    assert_eq!(value(&handle, "gate_wal_entries_total"), 12.0);
    assert_eq!(value(&handle, "gate_wal_fsync_seconds_count"), meters::number(stats.syncs));
    assert_eq!(value(&handle, "gate_wal_bytes_total"), meters::number(stats.entry_bytes));
    assert_eq!(value(&handle, "gate_poisoned"), 0.0);
    assert!(value(&handle, r#"gate_rocksdb_memtable_bytes{database="raft"}"#) > 1_000.0);
}

#[test]
fn writes_flushes_and_snapshots_are_timed_and_the_database_is_asked() {
    let dir = tempfile::tempdir().expect("dir");
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let open = || StateStore::open(dir.path()).expect("open");
    let store = metrics::with_local_recorder(&recorder, open);
    store.sample();
    assert_eq!(value(&handle, "gate_snapshot_bytes"), 0.0);
    (0..30).for_each(|index| write(&store, index));
    store.flush().expect("flush");
    write(&store, 30);
    let snapshot = store.checkpoint().expect("snapshot");
    store.sample();
    let bytes: u64 = snapshot.manifest.files.iter().map(|file| file.bytes).sum();
    assert_eq!(value(&handle, "gate_state_write_seconds_count"), 31.0);
    assert_eq!(value(&handle, "gate_state_flush_seconds_count"), 2.0);
    assert_eq!(value(&handle, "gate_snapshot_build_seconds_count"), 1.0);
    assert_eq!(value(&handle, "gate_snapshot_bytes"), meters::number(bytes));
    let state = |name: &str| value(&handle, &format!("gate_rocksdb_{name}{{database=\"state\"}}"));
    assert!(state("keys") >= 31.0, "{}", state("keys"));
    assert!(state("sst_bytes") > 1_000.0);
    assert_eq!(state("immutable_memtables"), 0.0);
    assert_eq!(state("pending_compaction_bytes"), 0.0);
    assert!(state("block_cache_bytes") >= 0.0);
}
