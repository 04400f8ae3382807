//! A power cut in the middle of a write: of the pages that were not synced any may have reached
//! the disk, over whatever the file held before.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

const PAGE: usize = 4096;
/// So small that log files are written again all the time.
const OPTIONS: LogOptions =
    LogOptions { tail_bytes: 0, memtable_bytes: 64 * 1024, before_sync: None };

#[derive(Debug, Clone)]
enum Step {
    /// Entries of these many bytes, in some writes before the next sync.
    Append(Vec<Vec<usize>>),
    Vote,
    /// Deletes so many of the newest entries.
    Truncate(u64),
    /// Deletes the oldest entries, up to so many before the newest.
    Purge(u64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![8 => 1usize..900, 1 => 900usize..20_000];
    let entries = prop::collection::vec(bytes, 1..12);
    let step = prop_oneof![
        10 => prop::collection::vec(entries, 1..6).prop_map(Step::Append),
        2 => Just(Step::Vote),
        1 => (1u64..20).prop_map(Step::Truncate),
        1 => (1u64..40).prop_map(Step::Purge),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 10..40)
}

/// The files of a data directory at a moment without background work.
type Image = BTreeMap<PathBuf, Vec<u8>>;

fn image(store: &LogStore, dir: &Path) -> Image {
    let busy = [
        "rocksdb.mem-table-flush-pending",
        "rocksdb.num-running-flushes",
        "rocksdb.compaction-pending",
        "rocksdb.num-running-compactions",
    ];
    let runs = |what: &&str| store.db.property_int_value(*what).expect("known") != Some(0);
    while busy.iter().any(runs) {
        std::thread::yield_now();
    }
    let raft = fs::read_dir(dir.join("raft")).expect("list");
    raft.map(|file| file.expect("file").path())
        .filter(|path| path.file_name().is_some_and(|name| name != "LOCK"))
        .chain([dir.join("hwm")])
        .map(|path| {
            let bytes = fs::read(&path).expect("read");
            (path.strip_prefix(dir).expect("below it").to_owned(), bytes)
        })
        .collect()
}

fn is_wal(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "log")
}

/// What the disk holds if the power fails during the write that led from one image to the other.
/// Nothing if a new log file was begun, for which the database has its own order.
fn torn(before: &Image, after: &Image, mut seed: u64) -> Option<Image> {
    if !before.keys().eq(after.keys()) {
        return None;
    }
    let mut torn = before.clone();
    for (path, new) in after.iter().filter(|(path, _)| is_wal(path)) {
        let old = torn.get_mut(path).expect("the same files");
        old.resize(old.len().max(new.len()), 0);
        for (old, new) in old.chunks_mut(PAGE).zip(new.chunks(PAGE)) {
            // splitmix64: every page is old or new.
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            if mixed >> 63 == 1 {
                old[..new.len()].copy_from_slice(new);
            }
        }
    }
    Some(torn)
}

fn restore(image: &Image) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("dir");
    fs::create_dir(dir.path().join("raft")).expect("create");
    for (path, bytes) in image {
        fs::write(dir.path().join(path), bytes).expect("write");
    }
    dir
}

/// What was appended, by index.
#[derive(Debug, Clone, Default)]
struct Expected {
    entries: BTreeMap<u64, Vec<u8>>,
    next: u64,
    first: u64,
    votes: u64,
}

impl Expected {
    /// The store has a run from the first entry on that ends at `ends` or later, and nothing else.
    fn check(&self, store: &LogStore, ends: u64) {
        let next = store.last().map_or(self.first, |last| last + 1);
        assert!((ends..=self.next).contains(&next), "{ends}..={} has {next}", self.next);
        let found = store.read(0..u64::MAX, usize::MAX).expect("read");
        assert_eq!(found.len() as u64, next - self.first);
        for ((index, found), expected) in found.iter().zip(self.first..) {
            assert_eq!(*index, expected);
            assert_eq!(Some(&found.to_vec()), self.entries.get(index), "entry {index}");
        }
    }
}

fn wait(append: impl FnOnce(Done) -> Result<(), StoreError>) {
    let (sender, receiver) = mpsc::channel();
    append(Box::new(move |result| _ = sender.send(result))).expect("written");
    receiver.recv().expect("called").expect("durable");
}

/// Opens an image after a power cut, checks it, goes on with it, and opens it once more.
fn survives(image: &Image, expected: &Expected, ends: u64) {
    let dir = restore(image);
    let store = LogStore::open(dir.path(), &OPTIONS).expect("opens");
    expected.check(&store, ends);
    let next = store.last().map_or(expected.first, |last| last + 1);
    let mut longer = expected.clone();
    longer.entries.split_off(&next);
    longer.entries.insert(next, b"after the cut".to_vec());
    longer.next = next + 1;
    wait(|done| store.append(vec![(next, b"after the cut".to_vec())], done));
    longer.check(&store, next + 1);
    let cut_again = restore(&self::image(&store, dir.path()));
    drop(store);
    longer.check(&LogStore::open(cut_again.path(), &OPTIONS).expect("again"), next + 1);
}

fn run(steps: Vec<Step>, seed: u64) {
    let dir = tempfile::tempdir().expect("dir");
    let mut store = LogStore::open(dir.path(), &OPTIONS).expect("open");
    let mut expected = Expected::default();
    for (position, step) in steps.into_iter().enumerate() {
        let before = image(&store, dir.path());
        let ends = expected.next;
        match step {
            Step::Append(writes) => {
                let last = writes.len() - 1;
                for (at, sizes) in writes.into_iter().enumerate() {
                    let letter = b'a' + u8::try_from((position + at) % 26).expect("small");
                    let payloads = sizes.into_iter().map(|bytes| vec![letter; bytes]);
                    let entries: Vec<_> = (expected.next..).zip(payloads).collect();
                    expected.next += entries.len() as u64;
                    expected.entries.extend(entries.iter().cloned());
                    if at == last {
                        wait(|done| store.append(entries, done));
                    } else {
                        store.append(entries, Box::new(|_| {})).expect("written");
                    }
                }
                let after = image(&store, dir.path());
                for cut in 0..3 {
                    let Some(torn) = torn(&before, &after, seed ^ (position as u64) << 8 ^ cut)
                    else {
                        break;
                    };
                    survives(&torn, &expected, ends);
                }
            }
            Step::Vote => {
                expected.votes += 1;
                let vote = expected.votes.to_be_bytes();
                wait(|done| store.save_meta(MetaKind::Vote, &vote, done));
            }
            Step::Truncate(newest) => {
                let next = expected.next.saturating_sub(newest).max(expected.first);
                store.truncate_after(next.checked_sub(1)).expect("truncate");
                expected.entries.split_off(&next);
                expected.next = next;
            }
            Step::Purge(kept) => {
                let Some(through) = expected.next.checked_sub(kept + 1) else { continue };
                if through < expected.first {
                    continue;
                }
                store.purge_through(through, b"purged").expect("purge");
                expected.entries = expected.entries.split_off(&(through + 1));
                expected.first = through + 1;
            }
            Step::Restart => {
                drop(store);
                store = LogStore::open(dir.path(), &OPTIONS).expect("open again");
            }
        }
        // Whatever came before, it is on the disk when the next append is.
        wait(|done| store.append(Vec::new(), done));
        expected.check(&store, expected.next);
        if position % 5 == 4 {
            let cut = image(&store, dir.path());
            survives(&cut, &expected, expected.next);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, max_shrink_iters: 60, ..<_>::default() })]

    #[test]
    fn a_power_cut_takes_back_only_what_was_not_durable(steps in steps(), seed: u64) {
        run(steps, seed);
    }
}
