//! Runs the simulation in a process of its own, and of one that breaks a promise looks for a
//! shorter one that breaks it too: the same seed, with fewer of its faults.

use std::env;
use std::fs;
use std::io;
use std::process::{Command, ExitCode, Output, Stdio};

use crate::line;

/// How long one run may take, of which one takes some five seconds for a simulated minute.
const RUN_SECONDS_MAX: u64 = 3_600;

/// As many faults as a run is thought to have that did not come to say.
const FAULTS: u64 = 64;

/// Runs it as this process was asked to, but for one thing more.
fn once(more: &[&str]) -> io::Result<Output> {
    let asked = env::args_os().skip(1).filter(|argument| argument != "--events");
    // In the group of this process, so that what ends this ends it too.
    let mut command = Command::new("timeout");
    command
        .arg("--foreground")
        .arg(RUN_SECONDS_MAX.to_string())
        .arg(env::current_exe()?)
        .args(asked)
        .arg("--once");
    command.args(more).stdin(Stdio::null()).stderr(Stdio::inherit());
    command.output()
}

/// Runs it, and where that is a violation says how few of its faults it takes, and where the events
/// of that run are.
pub(crate) fn run(faults: Option<u64>, events: bool) -> ExitCode {
    let first = match once(if events { &["--events"] } else { &[] }) {
        Ok(first) => first,
        Err(error) => {
            line(&format!("cannot run: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let text = String::from_utf8_lossy(&first.stdout);
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
    if !before.is_empty() {
        line(before);
    }
    line(last);
    if first.status.success() {
        return ExitCode::SUCCESS;
    }
    // Vacuity is no violation of fewer faults.
    if faults.is_none() && last.contains("violation") && !last.contains("it proves nothing") {
        match shortest(faults_of(&text).unwrap_or(FAULTS)) {
            Ok(Some(few)) => line(&few),
            Ok(None) => line("no run with fewer of its faults has a violation"),
            Err(error) => line(&format!("no shorter run was looked for: {error}")),
        }
    }
    line(last);
    ExitCode::FAILURE
}

/// How many faults a run says that it had.
fn faults_of(text: &str) -> Option<u64> {
    let counts = text.lines().find(|line| line.contains(" events, "))?;
    let count = counts.split(", ").find_map(|count| count.strip_suffix(" faults"))?;
    count.parse().ok()
}

/// The fewest faults with which a violation was seen, by halving; a smaller number need not show
/// none.
fn shortest(all: u64) -> io::Result<Option<String>> {
    let (mut less, mut enough) = (0, all);
    // It may take none at all.
    let mut middle = 0;
    while less < enough {
        if once(&["--faults", &middle.to_string()])?.status.success() {
            less = middle + 1;
        } else {
            enough = middle;
        }
        middle = less.midpoint(enough.saturating_sub(1));
    }
    if enough == all {
        return Ok(None);
    }
    let number = enough.to_string();
    let events = once(&["--faults", &number, "--events"])?;
    let name = format!("qgate-sim-{}.events", std::process::id());
    let path = env::temp_dir().join(name);
    fs::write(&path, &events.stdout)?;
    let text = String::from_utf8_lossy(&events.stdout);
    // Events of the end may follow it.
    let what = text.rsplit_once("violation: ").and_then(|(_, what)| what.lines().next());
    let what = what.unwrap_or_default();
    let few = format!("the first {number} of its faults are enough (--faults {number}): {what}");
    Ok(Some(format!("{few}\nevents of that run: {}", path.display())))
}
