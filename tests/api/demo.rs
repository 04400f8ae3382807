//! `qgate demo` as a person starts it: it passes, and it fails when somebody goes around the gate.
//!
//! Nothing in the demo knows of these tests: a write that no gate let pass is made from here, at
//! the address that the demo shows.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::{DEADLINE, Process, qgate};
use tempfile::TempDir;

/// The demo, with a place of its own for what is temporary.
fn demo(temporary: &Path) -> Command {
    let mut command = qgate();
    command.arg("demo").env("TMPDIR", temporary);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

/// The numbers that each incident is known for, as they are shown.
const SHOWN: [&str; 12] = [
    "ok      status: pending_approval",
    "ok      held by: gate crm-enrichment-guard, require_approval_over, gates.yaml:7",
    "ok      records in the intent: 847",
    "ok      clean values it would clear: 705",
    "ok      records written at the CRM: 0",
    "ok      status: duplicate_blocked",
    "ok      calls to lead-20931: 1",
    "ok      held by: gate email-template-guard, require_approval_if_template_error, gates.yaml:19",
    "ok      messages with a token: 104 of 312",
    "| *Held for approval: email.batch*",
    "ok      mails sent: 312",
    "checks held.",
];

#[test]
fn it_stops_the_three_incidents_and_leaves_nothing_behind() {
    let temporary = TempDir::new().unwrap();
    let output = demo(temporary.path()).output().unwrap();
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}\n{}", text(&output.stderr));
    for shown in SHOWN {
        assert!(told.contains(shown), "{shown:?} is not in\n{told}");
    }
    assert!(!told.contains("FAILED"), "{told}");
    assert!(is_empty(temporary.path()));
}

#[test]
fn its_checks_are_json_and_its_data_is_kept_when_asked() {
    let (temporary, home) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let kept = home.path().join("demo");
    let run = || {
        let mut command = demo(temporary.path());
        command.arg("--keep").arg(&kept).args(["--output", "json"]).output().unwrap()
    };
    let output = run();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("ok      clean values it would clear: 705"));
    let body: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&body["passed"], &body["checks_failed"]), (&json!(true), &json!(0)));
    let checks = body["checks"].as_array().unwrap();
    assert_eq!(body["checks_total"], checks.len());
    assert!(checks.iter().all(|check| check["ok"] == true && check["found"] == check["expected"]));
    let found = |scene: &str, what: &str| {
        let of = |check: &&Value| check["scene"].as_str().unwrap().starts_with(scene);
        let mut found = checks.iter().filter(of).filter(|check| check["check"] == what);
        found.next_back().unwrap_or_else(|| panic!("{scene} {what}"))["found"].clone()
    };
    let cases = [
        ("4", "clean values cleared at the CRM", json!(705)),
        ("4", "calls to lead-20931", json!(2)),
        ("4", "mails with a token", json!(104)),
        ("6", "values cleared at the CRM", json!(0)),
        ("6", "calls to lead-20931", json!(1)),
        ("6", "mails with a token", json!(0)),
    ];
    for (scene, what, expected) in cases {
        assert_eq!(found(scene, what), expected, "{scene} {what}");
    }
    assert_eq!(body["gate"]["decisions"].as_array().unwrap().len(), 5);
    assert!(body["gate"]["audit"]["root"].as_str().is_some_and(|root| root.len() == 64));

    assert!(kept.join("node-1/data").is_dir() && kept.join("policies/gates.yaml").is_file());
    let Output { status, stderr, .. } = run();
    assert_eq!(status.code(), Some(2), "a directory in use is refused");
    assert!(text(&stderr).contains("not empty"), "{}", text(&stderr));
    assert!(is_empty(temporary.path()));
}

/// Sends one write to a target, as somebody does who goes around the gate.
fn write_directly(crm: &str) {
    let address = crm.trim_start_matches("http://");
    let body = r#"{"records":[{"id":"003A00000","set":{"phone":""}}]}"#;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!("POST /contacts/bulk HTTP/1.1\r\nHost: {address}\r\nConnection: close");
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_write_around_the_gate_fails_the_demo() {
    let temporary = TempDir::new().unwrap();
    let mut process = Process::start(demo(temporary.path()).stdout(Stdio::piped()));
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    let crm = lines.by_ref().find_map(|line| {
        line.unwrap().trim().strip_prefix("CRM ").map(|url| url.trim().to_owned())
    });
    write_directly(&crm.expect("the demo shows where its CRM listens"));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(process.wait().code(), Some(1), "{}", rest.join("\n"));
    for shown in [
        "  FAILED  records written at the CRM: 1, expected 0",
        "  FAILED  values cleared at the CRM: 1, expected 0",
        "  ok      calls to lead-20931: 1",
    ] {
        assert!(rest.iter().any(|line| line == shown), "{shown:?}: {}", rest.join("\n"));
    }
    assert!(is_empty(temporary.path()));
}

#[test]
fn a_demo_that_is_stopped_or_cannot_start_fails_and_leaves_nothing_behind() {
    let temporary = TempDir::new().unwrap();
    let mut process = Process::start(demo(temporary.path()).stdout(Stdio::piped()));
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    lines.by_ref().find(|line| line.as_ref().unwrap().contains("for the gate to answer"));
    assert_eq!(process.stop(Signal::INT).code(), Some(1));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.starts_with("Not finished: ")), "{}", rest.join("\n"));
    assert!(is_empty(temporary.path()));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = demo(temporary.path()).args(["--base-port", &port]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--base-port"), "{}", text(&output.stderr));
    assert!(is_empty(temporary.path()));
}
