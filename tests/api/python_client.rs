//! The public Python client, as its users install it, against a real gate.
//!
//! The client is installed at its pinned version and hash into a virtual environment below the
//! target directory, once; later runs need no network. Invariant: a client that cannot be installed
//! fails the test, it is never left out.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::Signal;
use support::Dev;
use support::ports::base_port;
use tempfile::TempDir;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

/// The interpreter of an environment that has the client.
fn python_with_client() -> PathBuf {
    let pinned = tests().join("api/python/requirements.txt");
    let wanted = fs::read(&pinned).unwrap();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-client");
    // Written last: a run that was cut off begins again.
    let (interpreter, installed) = (home.join("bin/python"), home.join("installed.txt"));
    let stands = fs::read(&installed).is_ok_and(|found| found == wanted);
    // An interpreter that was replaced since leaves an environment that does not start.
    if stands && Command::new(&interpreter).arg("-V").output().is_ok_and(|v| v.status.success()) {
        return interpreter;
    }
    let mut venv = Command::new("python3");
    let made = venv.args(["-m", "venv", "--clear"]).arg(&home).output();
    let made = made.unwrap_or_else(|error| panic!("python3 cannot be run: {error}"));
    succeeded(&made, "no virtual environment: run scripts/install-tools, it installs python3-venv");
    let mut pip = Command::new(&interpreter);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    pip.args(["--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement"]);
    let got = pip.arg(&pinned).output().unwrap();
    let next = "the client cannot be installed: pip must reach a package index once";
    succeeded(&got, next);
    fs::write(&installed, wanted).unwrap();
    interpreter
}

#[track_caller]
fn succeeded(output: &Output, otherwise: &str) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{otherwise}\n{stdout}{stderr}");
}

#[test]
fn the_public_python_client_works_unchanged() {
    let interpreter = python_with_client();
    let data = TempDir::new().unwrap();
    let mut dev = Dev::start(data.path(), &tests().join("fixtures/clients"), base_port());
    let mut drive = Command::new(interpreter);
    drive.arg("-I").arg(tests().join("api/python/drive.py"));
    drive.args(["/nodes/0/http", "/agent_key", "/reviewer_keys/0"].map(|name| dev.text(name)));
    let driven = drive.output().unwrap();
    succeeded(&driven, "the client meets another gate than it knows");
    let shown = String::from_utf8_lossy(&driven.stdout).into_owned();
    assert!(shown.ends_with("all checks passed\n"), "{shown}");
    assert!(dev.process.stop(Signal::TERM).success());
}
