//! The simulated database beside RocksDB itself, and what disks may do to it.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::engine::family;

const NAMES: [&str; 2] = ["a", "b"];

type Row = (Vec<u8>, Vec<u8>);
type Model = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

#[derive(Debug, Clone)]
enum Write {
    Put(usize, Vec<u8>, Vec<u8>),
    Delete(usize, Vec<u8>),
    DeleteRange(usize, Vec<u8>, Vec<u8>),
}

#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<Write>),
    Sync,
    Flush,
    Reopen,
    FailedSync,
    /// With how much of what was not synced left on the disk, in parts of 256.
    PowerCut(u8),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0_u8..4, 0..4)
}

fn write() -> impl Strategy<Value = Write> {
    let value = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        6 => (0..2_usize, key(), value).prop_map(|(of, key, value)| Write::Put(of, key, value)),
        2 => (0..2_usize, key()).prop_map(|(of, key)| Write::Delete(of, key)),
        1 => (0..2_usize, key(), key())
            .prop_filter("a range", |(_, from, to)| from <= to)
            .prop_map(|(of, from, to)| Write::DeleteRange(of, from, to)),
    ]
}

fn batch() -> impl Strategy<Value = Step> {
    prop::collection::vec(write(), 1..6).prop_map(Step::Batch)
}

fn add(batch: &mut WriteBatch, db: &DB, write: &Write) {
    match write {
        Write::Put(of, key, value) => batch.put_cf(family(db, NAMES[*of]), key, value),
        Write::Delete(of, key) => batch.delete_cf(family(db, NAMES[*of]), key),
        Write::DeleteRange(of, from, to) => {
            batch.delete_range_cf(family(db, NAMES[*of]), from, to);
        }
    }
}

fn add_real(batch: &mut rocksdb::WriteBatch, db: &rocksdb::DB, write: &Write) {
    let of = |at: usize| db.cf_handle(NAMES[at]).expect("opened");
    match write {
        Write::Put(at, key, value) => batch.put_cf(of(*at), key, value),
        Write::Delete(at, key) => batch.delete_cf(of(*at), key),
        Write::DeleteRange(at, from, to) => batch.delete_range_cf(of(*at), from, to),
    }
}

fn open_real(dir: &Path) -> rocksdb::DB {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    rocksdb::DB::open_cf(&options, dir, NAMES).expect("RocksDB opens")
}

fn open(dir: &Path) -> DB {
    DB::open(dir, &NAMES).expect("opens")
}

fn owned((key, value): (&[u8], &[u8])) -> Row {
    (key.to_vec(), value.to_vec())
}

/// The rows of an iterator from the first and from the last: both databases' have the same words.
macro_rules! there_and_back {
    ($rows:expr) => {{
        let (mut rows, mut there, mut back) = ($rows, Vec::new(), Vec::new());
        rows.seek_to_first();
        while let Some(row) = rows.item() {
            there.push(owned(row));
            rows.next();
        }
        rows.seek_to_last();
        while let Some(row) = rows.item() {
            back.push(owned(row));
            rows.prev();
        }
        (there, back)
    }};
}

/// Keys and values of a family between two keys, there and back again.
fn walk(
    db: &DB,
    of: &'static str,
    (from, to): (&[u8], &[u8]),
    is_frozen: bool,
) -> (Vec<Row>, Vec<Row>) {
    let snapshot = db.snapshot();
    let options = || {
        let mut options = ReadOptions::default();
        if is_frozen {
            options.set_snapshot(&snapshot);
        }
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        options
    };
    let rows = db.raw_iterator_cf_opt(family(db, of), options());
    let (there, back) = there_and_back!(rows);
    let walked = |mode| -> Vec<Row> {
        let rows = db.iterator_cf_opt(family(db, of), options(), mode);
        rows.map(|row| row.expect("row")).map(|(key, value)| owned((&key, &value))).collect()
    };
    assert_eq!(walked(IteratorMode::Start), there);
    assert_eq!(walked(IteratorMode::End), back);
    for key in [&[][..], &[1], &[1, 2], &[3, 3, 3]] {
        let (forward, reverse) = (
            there.iter().filter(|(known, _)| known.as_slice() >= key).cloned(),
            back.iter().filter(|(known, _)| known.as_slice() <= key).cloned(),
        );
        assert!(walked(IteratorMode::From(key, Direction::Forward)).into_iter().eq(forward));
        assert!(walked(IteratorMode::From(key, Direction::Reverse)).into_iter().eq(reverse));
        let found = db.get_cf_opt(family(db, of), key, &options()).expect("a look-up");
        let known = there.iter().find(|(known, _)| known == key);
        let is_inside = from <= key && key < to;
        assert!(!is_inside || found.as_deref() == known.map(|(_, value)| value.as_slice()));
    }
    (there, back)
}

fn walk_real(db: &rocksdb::DB, of: &str, (from, to): (&[u8], &[u8])) -> (Vec<Row>, Vec<Row>) {
    let mut options = rocksdb::ReadOptions::default();
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(to);
    let rows = db.raw_iterator_cf_opt(db.cf_handle(of).expect("opened"), options);
    there_and_back!(rows)
}

fn apply(model: &mut Model, write: &Write) {
    match write {
        Write::Put(of, key, value) => {
            model.insert((*of, key.clone()), value.clone());
        }
        Write::Delete(of, key) => {
            model.remove(&(*of, key.clone()));
        }
        Write::DeleteRange(of, from, to) => {
            model.retain(|(at, key), _| at != of || !(from <= key && key < to));
        }
    }
}

fn content(db: &DB) -> Model {
    let rows = |of: usize| {
        let (there, _) = walk(db, NAMES[of], (&[], &[0xff]), false);
        there.into_iter().map(move |(key, value)| ((of, key), value))
    };
    (0..NAMES.len()).flat_map(rows).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The same done to RocksDB: every look-up and every way through the rows must agree.
    #[test]
    fn it_holds_what_rocksdb_holds(
        steps in prop::collection::vec(
            prop_oneof![8 => batch(), 1 => Just(Step::Flush), 1 => Just(Step::Reopen)],
            1..20,
        ),
        ranges in prop::collection::vec((key(), key()), 4),
    ) {
        let (dir, real_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mut db, mut real) = (open(dir.path()), open_real(real_dir.path()));
        for step in steps {
            match step {
                Step::Batch(writes) => {
                    let (mut batch, mut twin) = (WriteBatch::default(), Default::default());
                    for write in &writes {
                        add(&mut batch, &db, write);
                        add_real(&mut twin, &real, write);
                    }
                    db.write(batch).unwrap();
                    real.write(twin).unwrap();
                }
                Step::Reopen => {
                    drop((db, real));
                    (db, real) = (open(dir.path()), open_real(real_dir.path()));
                }
                _ => db.flush_cfs_opt(&[], &FlushOptions::default()).unwrap(),
            }
            let all: (&[u8], &[u8]) = (&[], &[0xff]);
            let ranges = ranges.iter().map(|(from, to)| (from.as_slice(), to.as_slice()));
            for range in ranges.chain([all]).filter(|(from, to)| from <= to) {
                for of in NAMES {
                    let expected = walk_real(&real, of, range);
                    prop_assert_eq!(&walk(&db, of, range, true), &expected);
                    prop_assert_eq!(&walk(&db, of, range, false), &expected);
                    for (key, value) in expected.0 {
                        let found = db.get_cf(family(&db, of), &key).unwrap();
                        prop_assert_eq!(found, Some(value));
                    }
                }
            }
        }
    }

    /// Whatever a disk does, what is found later is what was there after some write, and after none
    /// that is older than the last sync.
    #[test]
    fn a_disk_takes_back_the_end_of_what_was_not_synced(
        steps in prop::collection::vec(
            prop_oneof![
                8 => batch(),
                2 => Just(Step::Sync),
                1 => Just(Step::Flush),
                1 => Just(Step::Reopen),
                1 => Just(Step::FailedSync),
                2 => any::<u8>().prop_map(Step::PowerCut),
            ],
            1..40,
        ),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut db = open(dir.path());
        // What there was after each write, and how many of them are surely on the disk.
        let (mut past, mut sure) = (vec![Model::new()], 0);
        let mut is_failed = false;
        for step in steps {
            match step {
                Step::Batch(writes) => {
                    let mut batch = WriteBatch::default();
                    let mut model = past.last().unwrap().clone();
                    for write in &writes {
                        add(&mut batch, &db, write);
                        apply(&mut model, write);
                    }
                    db.write(batch).unwrap();
                    past.push(model);
                    prop_assert_eq!(&content(&db), past.last().unwrap());
                    continue;
                }
                Step::Sync => {
                    db.flush_wal(true).unwrap();
                    if !is_failed {
                        sure = past.len() - 1;
                    }
                    continue;
                }
                Step::Flush if is_failed => continue,
                Step::Flush => {
                    db.flush_cfs_opt(&[], &FlushOptions::default()).unwrap();
                    sure = past.len() - 1;
                    continue;
                }
                Step::FailedSync => {
                    disk::fail_next_sync(dir.path());
                    prop_assert!(db.flush_wal(true).is_err());
                    is_failed = true;
                    continue;
                }
                Step::Reopen => drop(db),
                Step::PowerCut(part) => {
                    drop(db);
                    disk::cut_power(dir.path(), |bytes| bytes * u64::from(part) / 256).unwrap();
                    db = open(dir.path());
                    let found = content(&db);
                    let at = past[sure..].iter().position(|past| *past == found);
                    prop_assert!(at.is_some(), "{found:?} was never there after {sure}");
                    prop_assert!(!is_failed || found == past[sure], "a lost sync came back");
                    past.truncate(sure + at.unwrap() + 1);
                    (sure, is_failed) = (past.len() - 1, false);
                    continue;
                }
            }
            db = open(dir.path());
            // The process ended and the machine did not: all is there but what a sync lost.
            past.truncate(if is_failed { sure + 1 } else { past.len() });
            prop_assert_eq!(&content(&db), past.last().unwrap());
            (sure, is_failed) = (past.len() - 1, false);
        }
    }
}

#[test]
fn a_full_disk_takes_nothing_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    db.put_cf(family(&db, "a"), b"1", b"one").unwrap();
    disk::fill(dir.path());
    let refused = db.put_cf(family(&db, "a"), b"2", b"two").expect_err("no room");
    assert!(refused.as_ref().contains(crate::error::NO_SPACE), "{refused}");
    assert!(db.flush_cfs_opt(&[], &FlushOptions::default()).is_err());
    drop(db);
    disk::heal(dir.path());
    let db = open(dir.path());
    assert_eq!(content(&db).len(), 1, "half a record is none");
    db.put_cf(family(&db, "a"), b"2", b"two").unwrap();
    drop(db);
    assert_eq!(content(&open(dir.path())).len(), 2);
}

#[test]
fn what_was_given_up_never_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    for key in 0..200_u64 {
        db.put_cf(family(&db, "a"), key.to_be_bytes(), b"x").unwrap();
    }
    let end = |last: u64| last.to_be_bytes();
    db.delete_file_in_range_cf(family(&db, "a"), end(0), end(150)).unwrap();
    assert_eq!(content(&db).len(), 72, "two files of 64 rows are gone");
    drop(db);
    disk::cut_power(dir.path(), |bytes| bytes).unwrap();
    let db = open(dir.path());
    assert_eq!(content(&db).keys().next().map(|(_, key)| key.as_slice()), Some(&end(128)[..]));
    assert_eq!(content(&db).len(), 72);
}

#[test]
fn a_directory_is_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    assert!(matches!(DB::open(dir.path(), &NAMES), Err(StoreError::InUse(_))));
    drop(db);
    open(dir.path());
}
