//! `qgate demo` as a person runs it: the real binary, its own gate and targets, every check.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::process::Output;

use serde_json::Value;
use support::qgate;

fn demo(arguments: &[&str]) -> Output {
    qgate().arg("demo").args(arguments).output().expect("the binary starts")
}

#[test]
fn the_story_ends_well_and_shows_its_numbers() {
    let told = demo(&[]);
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{text}{}", String::from_utf8_lossy(&told.stderr));
    for shown in [
        "records in the intent: 847",
        "clean values it would clear: 705",
        "records written at the CRM: 0",
        "status: duplicate_blocked",
        "messages with a token: 104 of 312",
        "messages to people about it: 1",
        "checks held.",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(!text.contains("FAILED"), "{text}");
}

#[test]
fn its_checks_are_data_too() {
    let told = demo(&["--output", "json"]);
    let report: Value = serde_json::from_slice(&told.stdout).expect("stdout is JSON alone");
    assert!(told.status.success(), "{report:#}");
    assert_eq!(report["passed"], true);
    assert_eq!(report["checks_failed"], 0);
    let checks = report["checks"].as_array().expect("the checks are listed");
    assert_eq!(report["checks_total"], checks.len());
    let found = |what: &str| {
        let check = checks.iter().find(|check| check["check"] == what);
        check.unwrap_or_else(|| panic!("{what}: {report:#}"))["found"].clone()
    };
    assert_eq!(found("clean values it would clear"), 705);
    assert_eq!(found("messages with a token"), "104 of 312");
}
