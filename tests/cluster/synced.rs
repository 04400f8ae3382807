//! Every answer and every call has its sync: between the write of a request into the log and the
//! answer on the socket, and between the write of a claim and the call of its target, the system
//! was asked to put that file on the disk, and said that it did.
//!
//! A kill cannot show a missing sync, since the system keeps what was written; so the calls of a
//! real node into the system are looked at (`strace`). Invariant: the order is the trace's own,
//! nothing is measured in time.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use serde_json::json;
use support::node::{LOOPBACK, Node};
use support::target::Target;
use support::until;
use tempfile::TempDir;

const REQUESTS: usize = 25;
/// What the trace is made of.
const CALLS: &str = "trace=write,writev,pwrite64,pwritev,fdatasync,fsync,sendto,sendmsg";

/// One call into the system that succeeded.
#[derive(Debug, Clone)]
struct Call {
    /// Line of its begin and of its end.
    begin: usize,
    end: usize,
    name: String,
    /// The file or socket.
    path: String,
    /// Its arguments as the trace shows them.
    arguments: String,
}

impl Call {
    fn of(begin: usize, end: usize, text: &str) -> Option<Self> {
        let (name, arguments) = text.split_once('(')?;
        let path = arguments.split_once('<')?.1.split_once('>')?.0;
        let (name, path, arguments) = (name.to_owned(), path.to_owned(), arguments.to_owned());
        Some(Self { begin, end, name, path, arguments })
    }

    fn is_log_write(&self) -> bool {
        let is_log = self.path.contains("/raft/") && self.path.ends_with(".log");
        is_log && self.name.contains("write")
    }

    fn is_sync(&self) -> bool {
        self.name == "fdatasync" || self.name == "fsync"
    }

    fn is_answer(&self) -> bool {
        self.arguments.contains("\"HTTP/1.1 2")
    }

    fn is_call(&self) -> bool {
        self.arguments.contains("\"POST /calls ")
    }
}

/// The calls of a trace, of all threads, in the order of their ends.
fn calls(trace: &str) -> Vec<Call> {
    let mut found = Vec::new();
    let mut open: HashMap<&str, (usize, &str)> = HashMap::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, text)) = line.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(begun) = text.strip_suffix("<unfinished ...>") {
            open.insert(thread, (number, begun));
            continue;
        }
        let succeeded = |text: &str| {
            let result = text.rsplit_once(" = ").map_or("", |(_, result)| result);
            result.starts_with(|first: char| first.is_ascii_digit())
        };
        if !succeeded(text) {
            open.remove(thread);
        } else if text.starts_with("<...") {
            let (begin, begun) = open.remove(thread).unwrap_or((number, ""));
            found.extend(Call::of(begin, number, begun));
        } else {
            found.extend(Call::of(number, number, text));
        }
    }
    found
}

/// The end of the first sync of what was written, after it.
fn synced(calls: &[Call], written: &Call) -> Option<usize> {
    let of_it = |call: &&Call| call.is_sync() && call.path == written.path;
    let after = calls.iter().filter(of_it).filter(|sync| sync.begin > written.end);
    after.map(|sync| sync.end).min()
}

/// The requests that were answered before their place in the log was synced, and those whose target
/// was called before a claim was.
fn unsynced(calls: &[Call], markers: &[String]) -> Vec<String> {
    let mut missing = Vec::new();
    let mut calling = calls.iter().filter(|call| call.is_call());
    for marker in markers {
        let submit = calls
            .iter()
            .find(|call| call.is_log_write() && call.arguments.contains(marker.as_str()));
        let submit = submit.unwrap_or_else(|| panic!("{marker} was never written to the log"));
        let answers = calls.iter().filter(|call| call.is_answer() && call.begin > submit.begin);
        let answer = answers.min_by_key(|call| call.begin);
        let answer = answer.unwrap_or_else(|| panic!("{marker} was never answered"));
        let submit_synced = synced(calls, submit);
        if submit_synced.is_none_or(|end| end > answer.begin) {
            missing.push(format!("the answer to {marker}"));
        }
        // They come in the order of the submits, each with its claim: the write after the submit's.
        let call = calling.next().unwrap_or_else(|| panic!("nobody was called for {marker}"));
        let since = submit_synced.unwrap_or(submit.end);
        let mut claims = calls.iter().filter(|write| write.is_log_write() && write.begin > since);
        if !claims.any(|claim| synced(calls, claim).is_some_and(|end| end < call.begin)) {
            missing.push(format!("the call for {marker}"));
        }
    }
    missing
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_and_no_call_comes_before_its_sync() {
    let home = TempDir::new().unwrap();
    let (probe, trace) = (home.path().join("probe"), home.path().join("trace"));
    let probed = Command::new("strace").arg("-o").arg(&probe).arg("true").output();
    let traces = probed.is_ok_and(|output| output.status.success())
        && fs::read_to_string(&probe).is_ok_and(|text| text.contains("exited with 0"));
    if !traces {
        println!("skipped: strace is not there, or may not trace here");
        return;
    }
    let file = trace.to_str().unwrap();
    // The tracer steps aside, so that the node is a child of this process.
    let tracer = ["strace", "-D", "-f", "-y", "-s", "65536", "-e", CALLS, "-e", "signal=none"];
    let before = [&tracer[..], &["-o", file]].concat();
    let mut target = Target::start().await;
    let mut node = Node::start_under(home.path(), LOOPBACK, &before).await;
    let document = format!("kind: http\nrequest: {{url: \"{}\"}}\n", target.url("/calls"));
    node.put("destinations", "phone.calls", &document).await;
    let mut markers = Vec::new();
    for number in 0..REQUESTS {
        let marker = format!("sync-marker-{number}-of-{REQUESTS}");
        let id = node.submit("phone.calls", json!({ "lead_id": marker })).await;
        target.next().await.answer(200, "").await;
        node.in_phase(&id, "succeeded").await;
        markers.push(marker);
    }
    node.stop();
    // Its own last line is that of the last thread.
    let trace = until("the trace is whole", || {
        let text = fs::read_to_string(&trace).unwrap();
        let ended = text.lines().next_back().is_some_and(|line| line.contains("+++ exited with 0"));
        ended.then_some(text)
    });
    let all = calls(&trace);
    let missing = unsynced(&all, &markers);
    assert!(missing.is_empty(), "before a sync: {missing:?}");
    // Were there no syncs, this would say so of every request.
    let without: Vec<Call> = all.into_iter().filter(|call| !call.is_sync()).collect();
    assert_eq!(unsynced(&without, &markers).len(), 2 * REQUESTS);
}
