//! A crash at every write boundary: the same work is run in a child process that aborts there,
//! then the directory is opened and must hold a prefix of the work, with all that was promised.
//!
//! Run with `cargo test -p store --features failpoints`.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use store::failpoint;
use store::log::{LogOptions, LogStore, MetaKind};
use store::state::{Snapshot, StateStore};

const CHILD: &str = "QGATE_CRASH_CHILD";

/// Tells the parent what was promised durable.
fn promise(what: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "promise {what}").and_then(|()| out.flush()).expect("write");
}

fn append(log: &LogStore, index: u64) {
    let (sender, receiver) = mpsc::channel();
    let entry = vec![(index, format!("entry {index}").into_bytes())];
    log.append(entry, Box::new(move |result| _ = sender.send(result))).expect("append");
    receiver.recv().expect("called").expect("durable");
    promise(&format!("last {index}"));
}

/// Log: appends, votes, a truncate, a purge that drops files.
fn work_on_log(dir: &Path) {
    let log = LogStore::open(dir, &LogOptions::default()).expect("open");
    let (sender, receiver) = mpsc::channel();
    let entries = (0..5_000).map(|index| (index, format!("entry {index}").into_bytes())).collect();
    log.append(entries, Box::new(move |result| _ = sender.send(result))).expect("append");
    receiver.recv().expect("called").expect("durable");
    promise("last 4999");
    for vote in 1..=3u64 {
        log.save_meta_wait(MetaKind::Vote, &vote.to_be_bytes()).expect("vote");
        promise(&format!("vote {vote}"));
        append(&log, 4_999 + vote);
    }
    promise("truncating 5000");
    log.truncate_after(Some(5_000)).expect("truncate");
    append(&log, 5_001);
    log.purge_through(4_500, b"purged").expect("purge");
    append(&log, 5_002);
    promise("purged 4500");
}

/// State: writes, a flush, a checkpoint, writes.
fn work_on_state(dir: &Path) {
    let state = StateStore::open(dir).expect("open");
    for index in 0..20 {
        common::write(&state, index);
        if index == 9 {
            state.flush().expect("flush");
            promise("flushed 9");
        }
        if index == 14 {
            let snapshot = state.checkpoint().expect("checkpoint");
            assert_eq!(snapshot.manifest.index, 14);
            promise("flushed 14");
            promise("snapshot 14");
        }
    }
}

/// State: a snapshot of entry 100 replaces entry 5.
fn work_on_install(dir: &Path) {
    let source = StateStore::open(&dir.join("source")).expect("open");
    (0..=100).for_each(|index| common::write(&source, index));
    // Checkpoint points belong to the other work: this one arms install points only.
    let snapshot = source.checkpoint().expect("checkpoint");
    let target = dir.join("target");
    std::fs::create_dir_all(&target).expect("create");
    let state = StateStore::open(&target).expect("open");
    (0..=5).for_each(|index| common::write(&state, index));
    state.flush().expect("flush");
    promise("flushed 5");
    let staged = state.staging_dir("received").expect("dir");
    common::copy_dir(&snapshot.dir, &staged);
    state.install(&staged).expect("install");
    promise("installed 100");
}

/// Not a test of its own: the body of the child process.
#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (work, dir) = task.split_once('=').expect("work=dir");
    let dir = PathBuf::from(dir);
    match work {
        "log" => work_on_log(&dir),
        "state" => work_on_state(&dir),
        _ => work_on_install(&dir),
    }
}

/// Runs the work up to the crash. Gives the promises, and whether it crashed.
fn crash(work: &str, dir: &Path, point: &str) -> (Vec<String>, bool) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["child", "--exact", "--nocapture"])
        .env(CHILD, format!("{work}={}", dir.display()))
        .env(failpoint::VARIABLE, point)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("spawn");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let promises = lines
        .map_while(Result::ok)
        .filter_map(|line| Some(line.split_once("promise ")?.1.to_owned()))
        .collect();
    let status = child.wait().expect("wait");
    (promises, !status.success())
}

fn last_promise(promises: &[String], what: &str) -> Option<u64> {
    let mut lines = promises.iter().rev();
    lines.find_map(|line| line.strip_prefix(what)?.trim().parse().ok())
}

fn check_log(dir: &Path, promises: &[String], point: &str) {
    let log = LogStore::open(dir, &LogOptions::default())
        .unwrap_or_else(|error| panic!("{point}: {error}"));
    let last = log.last().map_or(0, |last| last);
    if let Some(promised) = last_promise(promises, "last") {
        let truncating = last_promise(promises, "truncating").unwrap_or(u64::MAX);
        assert!(last >= promised.min(truncating), "{point}: {promised} promised, {last} found");
    }
    let vote = log.meta(MetaKind::Vote).expect("meta");
    let vote = vote.map_or(0, |vote| u64::from_be_bytes(vote.try_into().expect("8 bytes")));
    assert!(vote >= last_promise(promises, "vote").unwrap_or(0), "{point}: vote {vote}");
    if last_promise(promises, "purged").is_some() {
        assert_eq!(log.purged(), Some(4_500), "{point}");
    }
    let entries = log.read(0..u64::MAX, usize::MAX).unwrap_or_else(|e| panic!("{point}: {e}"));
    for (index, bytes) in &entries {
        assert_eq!(**bytes, *format!("entry {index}").as_bytes(), "{point}");
    }
    assert_eq!(log.purged().is_some(), log.first() == Some(4_501), "{point}");
    append(&log, log.last().map_or(0, |last| last + 1));
}

/// The state holds exactly the rows of entries up to the applied one.
fn check_prefix(state: &StateStore, point: &str) -> Option<u64> {
    state
        .with_view(|view, index| {
            for entry in 0..120 {
                let is_there = view.get(&common::row(entry)).expect("get").is_some();
                assert_eq!(is_there, index.is_some_and(|index| entry <= index), "{point}: {entry}");
            }
            index
        })
        .expect("view")
}

fn check_state(dir: &Path, promises: &[String], point: &str) {
    let state = StateStore::open(dir).unwrap_or_else(|error| panic!("{point}: {error}"));
    let index = check_prefix(&state, point);
    assert!(index >= last_promise(promises, "flushed"), "{point}: {index:?}");
    let snapshot = state.latest_snapshot().expect("latest");
    if let Some(snapshot) = &snapshot {
        snapshot.verify().unwrap_or_else(|error| panic!("{point}: {error}"));
        assert!(Some(snapshot.manifest.index) <= state.flushed_index(), "{point}");
    }
    let published = snapshot.map(|snapshot| snapshot.manifest.index);
    assert!(published >= last_promise(promises, "snapshot"), "{point}");
    let next = index.map_or(0, |index| index + 1);
    common::write(&state, next);
    assert_eq!(state.checkpoint().expect("checkpoint").manifest.index, next, "{point}");
}

fn check_install(dir: &Path, promises: &[String], point: &str) {
    let state =
        StateStore::open(&dir.join("target")).unwrap_or_else(|error| panic!("{point}: {error}"));
    let index = check_prefix(&state, point);
    let switched = ["install.switched", "install.reopened", "install.published", "install.cleared"];
    let done = switched.contains(&point) || last_promise(promises, "installed").is_some();
    assert_eq!(index, Some(if done { 100 } else { 5 }), "{point}");
    assert!(!dir.join("target/state/install").exists(), "{point}");
    let generations = std::fs::read_dir(dir.join("target/state")).expect("list").count();
    assert_eq!(generations, 1, "{point}");
    let snapshot = Snapshot::open(&dir.join(format!("source/snap/{:020}", 100))).expect("source");
    let staged = state.staging_dir("received").expect("dir");
    common::copy_dir(&snapshot.dir, &staged);
    assert_eq!(state.install(&staged).is_ok(), !done, "{point}: once more");
    assert_eq!(check_prefix(&state, point), Some(100), "{point}");
}

#[test]
fn every_crash_leaves_a_prefix_with_all_that_was_promised() {
    let mut reached = BTreeSet::new();
    for point in failpoint::ALL {
        let turns: &[u32] = if point.starts_with("install") { &[1] } else { &[1, 2, 4] };
        for (work, turn) in ["log", "state", "install"]
            .into_iter()
            .flat_map(|work| turns.iter().map(move |turn| (work, turn)))
        {
            let is_install = point.starts_with("install");
            if is_install != (work == "install") {
                continue;
            }
            let dir = tempfile::tempdir().expect("dir");
            let (promises, crashed) = crash(work, dir.path(), &format!("{point}:{turn}"));
            if crashed {
                reached.insert(*point);
            }
            match work {
                "log" => check_log(dir.path(), &promises, point),
                "state" => check_state(dir.path(), &promises, point),
                _ => check_install(dir.path(), &promises, point),
            }
        }
    }
    let missed: Vec<_> = failpoint::ALL.iter().filter(|point| !reached.contains(*point)).collect();
    assert!(missed.is_empty(), "no work reaches {missed:?}");
}
