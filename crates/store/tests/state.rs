//! The state store from outside: rows and applied entry move together, snapshots are whole, and
//! an install replaces everything or nothing.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;

use common::{applied, key, row, write};
use ledger::table::Table;
use ledger::{Direction, MapState, Read, Writes};
use store::StoreError;
use store::state::{Snapshot, StateStore, Wanted};
use tempfile::TempDir;

fn scan(read: &dyn Read, from: &[u8], to: &[u8], direction: Direction) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    read.scan(from, to, direction, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .expect("scan");
    rows
}

const TABLES: [Table; 6] =
    [Table::Meta, Table::Leaves, Table::TreeNodes, Table::Intents, Table::Payloads, Table::Windows];

/// The same writes into the store and into an ordered map: every scan must agree.
#[test]
fn scans_agree_with_an_ordered_map() {
    let dir = tempfile::tempdir().expect("dir");
    let store = StateStore::open(dir.path()).expect("open");
    let mut map = MapState::default();
    for index in 0..60u64 {
        let table = TABLES[usize::try_from(index).expect("small") % TABLES.len()];
        let namespace = u32::try_from(index % 3).expect("small");
        let mut writes = Writes::from([(key(namespace, table, index), Some(vec![7; 3]))]);
        if index % 7 == 6 {
            let gone = key((namespace + 2) % 3, TABLES[0], index - 6);
            writes.insert(&gone, None);
        }
        map.write(&writes);
        store.write(&writes, &applied(index)).expect("write");
    }
    let mut bounds = vec![vec![], vec![0, 0, 0, 1], vec![0, 0, 0, 2], vec![0xff; 9]];
    for table in TABLES {
        bounds.push(key(1, table, 0));
        bounds.push(key(1, table, 30));
        bounds.push(vec![0, 0, 0, 1, table as u8]);
        bounds.push(vec![0, 0, 0, 1, table as u8 + 1]);
    }
    store
        .with_view(|view, _| {
            for (from, to) in bounds.iter().flat_map(|from| bounds.iter().map(move |to| (from, to)))
            {
                for direction in [Direction::Ascending, Direction::Descending] {
                    let (ours, theirs) =
                        (scan(view, from, to, direction), scan(&map, from, to, direction));
                    assert_eq!(ours, theirs, "{from:?} {to:?} {direction:?}");
                }
            }
            for (key, value) in &map.0 {
                assert_eq!(view.get(key).expect("get").as_ref(), Some(value));
            }
        })
        .expect("view");
}

#[test]
fn a_scan_ends_at_a_break() {
    let dir = tempfile::tempdir().expect("dir");
    let store = StateStore::open(dir.path()).expect("open");
    (0..9).for_each(|index| write(&store, index));
    let mut seen = 0;
    store
        .with_view(|view, _| {
            view.scan(&[], &[0xff; 9], Direction::Ascending, &mut |_, _| {
                seen += 1;
                if seen == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        })
        .expect("view")
        .expect("scan");
    assert_eq!(seen, 4);
}

#[test]
fn a_view_keeps_its_moment() {
    let dir = tempfile::tempdir().expect("dir");
    let store = StateStore::open(dir.path()).expect("open");
    write(&store, 0);
    store
        .with_view(|view, index| {
            write(&store, 1);
            assert_eq!(index, Some(0));
            assert_eq!(view.get(&row(1)).expect("get"), None);
            assert_eq!(scan(view, &[], &[0xff; 9], Direction::Ascending).len(), 1);
            store.with_live(|live| assert!(live.get(&row(1)).expect("get").is_some()));
        })
        .expect("view");
    assert_eq!(store.with_view(|_, index| index).expect("view"), Some(1));
}

#[test]
fn a_restart_gives_back_rows_and_applied_entry() {
    let dir = tempfile::tempdir().expect("dir");
    let store = StateStore::open(dir.path()).expect("open");
    assert_eq!((store.applied(), store.flushed_index()), (None, None));
    (0..5).for_each(|index| write(&store, index));
    assert_eq!(store.flushed_index(), None);
    store.flush().expect("flush");
    assert_eq!(store.flushed_index(), Some(4));
    let hash = store.state_hash().expect("hash");
    drop(store);
    let store = StateStore::open(dir.path()).expect("open again");
    assert_eq!(store.applied(), Some(applied(4)));
    assert_eq!(store.flushed_index(), Some(4));
    assert_eq!(store.state_hash().expect("hash"), hash);
    write(&store, 5);
    assert_ne!(store.state_hash().expect("hash").1, hash.1);
}

#[test]
fn the_rows_of_another_build_are_not_read() {
    let dir = tempfile::tempdir().expect("dir");
    let store = StateStore::open(dir.path()).expect("open");
    write(&store, 1);
    store.flush().expect("flush");
    drop(store);
    StateStore::open(dir.path()).expect("its own");

    let (path, options) = (dir.path().join("state/gen-1"), rocksdb::Options::default());
    let families = rocksdb::DB::list_cf(&options, &path).expect("a database");
    let mut database = rocksdb::DB::open_cf(&options, &path, families).expect("open");
    let meta = database.cf_handle("meta").expect("there");
    database.delete_cf(meta, b"format").expect("as it was before there were formats");
    drop(database);
    let refused = StateStore::open(dir.path()).err().expect("other rows");
    assert!(matches!(refused, StoreError::Format { .. }), "{refused}");

    let families = rocksdb::DB::list_cf(&options, &path).expect("a database");
    database = rocksdb::DB::open_cf(&options, &path, families).expect("open");
    database.drop_cf("replies").expect("as it was before it had a family");
    drop(database);
    let families = rocksdb::DB::list_cf(&options, &path).expect("a database");
    let refused = StateStore::open(dir.path()).err().expect("other families");
    assert!(matches!(refused, StoreError::Format { .. }), "{refused}");
    let after = rocksdb::DB::list_cf(&options, &path).expect("a database");
    assert_eq!(after, families, "the build that wrote it reads it still");
}

#[test]
fn many_entries_or_many_bytes_want_a_flush() {
    let dir = tempfile::tempdir().expect("dir");
    let store = StateStore::open(dir.path()).expect("open");
    store.write(&Writes::new(), &applied(49_998)).expect("write");
    assert!(!store.needs_flush());
    store.write(&Writes::new(), &applied(49_999)).expect("write");
    assert!(store.needs_flush());
    store.flush().expect("flush");
    assert!(!store.needs_flush());
    let big = Writes::from([(key(1, Table::Payloads, 0), Some(vec![0; 64 << 20]))]);
    store.write(&big, &applied(50_000)).expect("write");
    assert!(store.needs_flush());
}

#[test]
fn the_hash_tells_moved_bytes_apart() {
    let eight = 8u64.to_be_bytes();
    let rows: [(Vec<u8>, Vec<u8>); 5] = [
        (b"ab".to_vec(), b"c".to_vec()),
        (b"a".to_vec(), b"bc".to_vec()),
        (b"abc".to_vec(), Vec::new()),
        // Alike if keys had no length: a key that spells the length of the other's value.
        (b"a".to_vec(), vec![0; 8]),
        ([&b"a"[..], &eight].concat(), Vec::new()),
    ];
    let hashes: BTreeSet<_> = rows
        .into_iter()
        .map(|(key, value)| {
            let dir = tempfile::tempdir().expect("dir");
            let store = StateStore::open(dir.path()).expect("open");
            store.write(&Writes::from([(key, Some(value))]), &applied(1)).expect("write");
            store.state_hash().expect("hash").1
        })
        .collect();
    assert_eq!(hashes.len(), 5);
}

#[test]
fn a_snapshot_moves_a_whole_state_to_another_node() {
    let (dir, other) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    let store = StateStore::open(dir.path()).expect("open");
    assert!(store.checkpoint().is_err(), "nothing is applied");
    (0..40).for_each(|index| write(&store, index));
    let hash = store.state_hash().expect("hash").1;
    let snapshot = store.checkpoint().expect("checkpoint");
    assert_eq!(store.latest_snapshot().expect("latest").as_ref(), Some(&snapshot));
    assert_eq!((snapshot.manifest.index, store.flushed_index()), (39, Some(39)));
    write(&store, 40);

    let receiver = StateStore::open(other.path()).expect("open");
    (0..7).for_each(|index| write(&receiver, index));
    let staged = receiver.staging_dir("received").expect("dir");
    common::copy_dir(&snapshot.dir, &staged);
    receiver
        .with_view(|old, _| {
            receiver.install(&staged).expect("install");
            assert!(old.get(&row(3)).expect("an old reader goes on").is_some());
            assert_eq!(old.get(&row(30)).expect("get"), None);
        })
        .expect("view");
    assert_eq!(receiver.state_hash().expect("hash"), (Some(39), hash));
    assert_eq!(receiver.applied(), Some(applied(39)));
    assert_eq!(receiver.flushed_index(), Some(39));
    let published = receiver.latest_snapshot().expect("latest").expect("published");
    assert_eq!(published.manifest, snapshot.manifest);
    published.verify().expect("still whole after the new generation ran");
    write(&receiver, 40);
    assert_eq!(receiver.state_hash().expect("hash"), store.state_hash().expect("hash"));
    drop(receiver);
    let receiver = StateStore::open(other.path()).expect("open again");
    assert_eq!(receiver.state_hash().expect("hash"), store.state_hash().expect("hash"));
    let generations = fs::read_dir(other.path().join("state")).expect("list").count();
    assert_eq!(generations, 1, "the old generation is gone");
}

#[test]
fn an_older_snapshot_never_replaces_newer_state_or_snapshot() {
    let dir = tempfile::tempdir().expect("dir");
    let store = StateStore::open(dir.path()).expect("open");
    write(&store, 5);
    let old = store.checkpoint().expect("checkpoint");
    let kept = store.staging_dir("kept").expect("dir");
    common::copy_dir(&old.dir, &kept);
    write(&store, 6);
    let new = store.checkpoint().expect("checkpoint");
    let refused = store.install(&kept);
    assert!(matches!(refused.err(), Some(StoreError::NotNewer { offered: 5, current: 6 })));
    assert_eq!(store.applied(), Some(applied(6)));
    assert_eq!(store.checkpoint().expect("the same again"), new);
    (7..10).for_each(|index| {
        write(&store, index);
        store.checkpoint().expect("checkpoint");
    });
    let snapshots = fs::read_dir(dir.path().join("snap")).expect("list");
    let names: Vec<_> = snapshots.map(|file| file.expect("file").file_name()).collect();
    let published = names.iter().filter(|name| !name.to_string_lossy().starts_with("tmp-"));
    assert_eq!(published.count(), 2, "{names:?}");
}

/// A store with its snapshot of nine entries, and an empty one that is to have it.
fn snapshot_and_receiver() -> ([TempDir; 2], StateStore, Snapshot, StateStore) {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("dir"));
    let [store, receiver] =
        [&dirs[0], &dirs[1]].map(|dir| StateStore::open(dir.path()).expect("open"));
    (0..9).for_each(|index| write(&store, index));
    let snapshot = store.checkpoint().expect("checkpoint");
    (dirs, store, snapshot, receiver)
}

#[test]
fn a_damaged_snapshot_is_refused_and_changes_nothing() {
    let (_dirs, _store, good, receiver) = snapshot_and_receiver();
    let names: Vec<_> = fs::read_dir(&good.dir)
        .expect("list")
        .map(|file| file.expect("file").file_name())
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        for damage in ["flip", "cut", "remove"] {
            let staged = receiver.staging_dir("received").expect("dir");
            common::copy_dir(&good.dir, &staged);
            let path = staged.join(&name);
            let mut bytes = fs::read(&path).expect("read");
            match damage {
                "flip" => {
                    let middle = bytes.len() / 2;
                    match bytes.get_mut(middle) {
                        Some(byte) => *byte ^= 1,
                        None => bytes.push(0),
                    }
                    fs::write(&path, bytes).expect("write");
                }
                "cut" if bytes.pop().is_some() => fs::write(&path, bytes).expect("write"),
                _ => fs::remove_file(&path).expect("remove"),
            }
            assert!(receiver.install(&staged).is_err(), "{name:?}: {damage}");
        }
    }
    let staged = receiver.staging_dir("received").expect("dir");
    common::copy_dir(&good.dir, &staged);
    fs::write(staged.join("000099.sst"), b"more").expect("write");
    assert!(receiver.install(&staged).is_err(), "one file too many");
    assert_eq!((receiver.applied(), receiver.latest_snapshot().expect("none")), (None, None));
}

#[test]
fn a_state_without_its_pointer_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    drop(StateStore::open(dir.path()).expect("open"));
    fs::remove_file(dir.path().join("CURRENT")).expect("remove");
    assert!(matches!(StateStore::open(dir.path()).err(), Some(StoreError::Damaged(_))));
    fs::write(dir.path().join("CURRENT"), "gen-7\n").expect("write");
    assert!(matches!(StateStore::open(dir.path()).err(), Some(StoreError::Damaged(_))));
}

#[test]
fn a_pointer_with_a_wrong_bit_costs_no_state() {
    let (dir, other) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    let from = StateStore::open(other.path()).expect("open");
    (0..9).for_each(|index| write(&from, index));
    let store = StateStore::open(dir.path()).expect("open");
    store.install(&from.checkpoint().expect("checkpoint").dir).expect("install");
    let applied = store.applied();
    drop(store);
    let pointer = dir.path().join("CURRENT");
    let good = fs::read(&pointer).expect("read");
    assert_eq!(good, b"gen-2\n");
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&pointer, &bytes).expect("write");
        match StateStore::open(dir.path()) {
            // Other white space at its end changes nothing.
            Ok(store) => assert_eq!((bit / 8, store.applied()), (5, applied.clone()), "{bytes:?}"),
            Err(StoreError::Damaged(_)) => {}
            Err(other) => panic!("{bytes:?}: {other}"),
        }
        fs::write(&pointer, &good).expect("write");
        let store = StateStore::open(dir.path()).expect("all is there");
        assert_eq!(store.applied(), applied, "after {bytes:?}");
    }
}

#[test]
fn a_snapshot_from_elsewhere_stays_where_it_is() {
    let (dir, other) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    let store = StateStore::open(dir.path()).expect("open");
    (0..9).for_each(|index| write(&store, index));
    let snapshot = store.checkpoint().expect("checkpoint");
    let receiver = StateStore::open(other.path()).expect("open");
    let installed = receiver.install(&snapshot.dir).expect("install");
    assert!(installed.dir.starts_with(other.path()));
    assert_eq!(installed.manifest, snapshot.manifest);
    snapshot.verify().expect("still whole");
    let kept = store.latest_snapshot().expect("latest");
    assert_eq!(kept, Some(snapshot));
}

#[test]
fn files_of_the_snapshot_before_are_not_wanted_again() {
    let (_dirs, store, first, receiver) = snapshot_and_receiver();
    (9..18).for_each(|index| write(&store, index));
    let second = store.checkpoint().expect("checkpoint");
    let mut incoming = receiver.receive(&first.manifest.to_bytes()).expect("receive");
    for file in &first.manifest.files {
        incoming.file(&file.name, 0).expect("named");
        incoming.chunk(&fs::read(first.dir.join(&file.name)).expect("read")).expect("taken");
    }
    drop(incoming);
    let incoming = receiver.receive(&second.manifest.to_bytes()).expect("the next one");
    let wanted: Vec<_> =
        incoming.wanted().expect("wanted").into_iter().map(|file| file.name).collect();
    let (here, missing): (Vec<_>, Vec<_>) =
        second.manifest.files.iter().partition(|file| first.manifest.files.contains(file));
    assert!(here.iter().any(|file| file.name.ends_with(".sst")), "{here:?}");
    assert_eq!(wanted, missing.iter().map(|file| file.name.clone()).collect::<Vec<_>>());
}

#[test]
fn a_snapshot_that_is_held_stays_however_many_follow() {
    let dir = tempfile::tempdir().expect("dir");
    let store = StateStore::open(dir.path()).expect("open");
    write(&store, 0);
    let first = store.checkpoint().expect("checkpoint");
    let held = first.hold().expect("held");
    (1..5).for_each(|index| {
        write(&store, index);
        store.checkpoint().expect("checkpoint");
    });
    assert!(!first.dir.exists(), "only so many are kept");
    held.verify_files().expect("whole");
    let place = held.dir.clone();
    drop(held);
    assert!(!place.exists(), "and no longer than it is held");
}

#[test]
fn what_arrives_damaged_is_thrown_away_and_wanted_again() {
    let (_dirs, store, good, receiver) = snapshot_and_receiver();
    let mut incoming = receiver.receive(&good.manifest.to_bytes()).expect("receive");
    let names = |wanted: Vec<Wanted>| wanted.into_iter().map(|file| file.name).collect::<Vec<_>>();
    let all = names(incoming.wanted().expect("wanted"));
    assert_eq!(all.len(), good.manifest.files.len());
    let bad = good.manifest.files.iter().find(|file| file.bytes > 0).expect("a file").name.clone();
    for name in &all {
        let mut bytes = fs::read(good.dir.join(name)).expect("read");
        if *name == bad {
            *bytes.last_mut().expect("bytes") ^= 1;
        }
        incoming.file(name, 0).expect("named");
        incoming.chunk(&bytes).expect("taken");
    }
    let wanted = incoming.check().expect("checked");
    assert_eq!(wanted, [Wanted { name: bad.clone(), offset: 0 }]);
    incoming.file(&bad, 0).expect("named");
    incoming.chunk(&fs::read(good.dir.join(&bad)).expect("read")).expect("taken");
    assert_eq!(incoming.check().expect("checked"), []);
    let snapshot = incoming.finish().expect("whole");
    receiver.install(&snapshot.dir).expect("installed");
    assert_eq!(receiver.state_hash().expect("hash"), store.state_hash().expect("hash"));
}
