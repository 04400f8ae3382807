//! One machine: its network, its disk, its clock, and the node that runs on it.
//!
//! Invariant: what runs here is the binary as it is built, and it does not know of any of this.

use std::fs;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use faulty_disk::{Disk, Mounted};
use rustix::process::{Signal, kill_process};

use crate::ground::Host;
use crate::support::{Process, log_file, pid};

/// More than a run needs.
const ROOM_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// As on a disk that is neither the fastest nor bad.
const SYNCS_TAKE: Range<Duration> = Duration::from_micros(100)..Duration::from_millis(4);
/// How long they take a disk that is slow: long enough that the power goes in the middle of one,
/// and not too long for a vote.
const SLOW_SYNCS_TAKE: Range<Duration> = Duration::from_millis(20)..Duration::from_millis(80);
const HTTP_PORT: u16 = 4000;
pub(crate) const PEER_PORT: u16 = 4002;
const METRICS_PORT: u16 = 4003;
/// How a clock runs that is right, and in step with all others.
const RIGHT: &str = "+0";

pub(crate) struct Machine {
    pub(crate) id: u64,
    pub(crate) host: Host,
    pub(crate) disk: Disk,
    home: PathBuf,
    /// Percent of the right rate, where its clocks run at another one: the wall clock, and the
    /// monotonic one by which it waits. The one since boot stays right.
    rate: Option<u32>,
    starts: u32,
    process: Option<Process>,
    _mounted: Mounted,
}

impl Machine {
    /// A machine with the configuration of a node, whose last lines are given; it does not run yet.
    pub(crate) fn new(id: u64, all: &Path, rate: Option<u32>, last_lines: &str) -> Self {
        let home = all.join(format!("node-{id}"));
        let mount = home.join("disk");
        fs::create_dir_all(&mount).expect("a directory");
        let disk = Disk::new(ROOM_BYTES);
        disk.syncs_take(SYNCS_TAKE);
        let mounted = disk.mount(&mount).expect("a mount");
        let host = Host::new(id);
        let own = host.address;
        let config = format!(
            "node: {{id: {id}}}\ndata_dir: disk/data\ndata_key_file: ../data.key\n\
             http: {{listen: \"{own}:{HTTP_PORT}\", plaintext: true}}\n\
             metrics: {{listen: \"{own}:{METRICS_PORT}\", plaintext: true}}\n\
             peer:\n  listen: \"{own}:{PEER_PORT}\"\n  tls: {{ca: ../ca/ca.pem, \
             certificate: ../ca/node-{id}.pem, key: ../ca/node-{id}.key}}\n\
             outbound: {{allow: [\"10.90.0.0/24\"]}}\ndisk_ballast_bytes: 0\n\
             disk_reserve_bytes: 16000000\nexecutor_drain_seconds: 3\n{last_lines}"
        );
        fs::write(home.join("node.yaml"), config).expect("a file");
        let machine =
            Self { id, host, disk, home, rate, starts: 0, process: None, _mounted: mounted };
        machine.set_clock(RIGHT);
        machine
    }

    /// Where the front door is.
    pub(crate) fn http(&self) -> String {
        format!("http://{}:{HTTP_PORT}", self.host.address)
    }

    /// The value of one series of its metrics.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        crate::support::metric(&format!("{}:{METRICS_PORT}", self.host.address), series)
    }

    /// Sets the clock, and lets it jump if the node runs: `+3600` is an hour ahead.
    pub(crate) fn set_clock(&self, offset: &str) {
        let new = self.home.join("clock.new");
        fs::write(&new, offset).expect("a file");
        fs::rename(new, self.home.join("clock")).expect("in its place");
    }

    pub(crate) fn set_clock_right(&self) {
        self.set_clock(RIGHT);
    }

    /// From now on its disk is slow, or not any more.
    pub(crate) fn slow_down(&self, is_slow: bool) {
        self.disk.syncs_take(if is_slow { SLOW_SYNCS_TAKE } else { SYNCS_TAKE });
    }

    /// Starts the node; it may not answer yet.
    pub(crate) fn start(&mut self, gate: &Path) {
        assert!(self.process.is_none(), "node {} runs", self.id);
        self.starts += 1;
        self.disk.power_on();
        let log = log_file(&self.home, &format!("serve-{}.log", self.starts));
        let enter = self.host.enter();
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).arg("env");
        command.arg("LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1");
        match self.rate {
            None => {
                let clock = self.home.join("clock");
                command.arg(format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()));
                // Clocks that are set do not move the steady one.
                command.args(["FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_CACHE_DURATION=1"]);
            }
            Some(percent) => {
                let (whole, rest) = (percent / 100, percent % 100);
                command.arg(format!("FAKETIME=+0 x{whole}.{rest:02}"));
            }
        }
        command.arg("FAKETIME_DISABLE_SHM=1").arg(gate);
        command.arg("serve").arg("--config").arg(self.home.join("node.yaml"));
        self.process = Some(Process::start(command.stdout(Stdio::null()).stderr(log)));
    }

    pub(crate) fn runs(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.as_ref().expect("it runs").0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(self.process_id()), signal).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) fn gone(&mut self) -> ExitStatus {
        self.process.take().expect("it runs").wait()
    }

    /// Whether it has ended by itself; then it counts as stopped.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        let status = self.process.as_mut()?.0.try_wait().expect("it is ours")?;
        self.process = None;
        Some(status)
    }

    /// Whether there is a process that has not ended.
    pub(crate) fn is_there(&self) -> bool {
        let Some(process) = &self.process else { return false };
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.0.id()));
        stat.is_ok_and(|line| !line.contains(") Z "))
    }

    /// Loses all data, and not the file beside it that says that there was some.
    pub(crate) fn wipe(&self) {
        fs::remove_dir_all(self.home.join("disk/data")).expect("its data");
    }

    /// Some bit of some file of its data becomes another one.
    pub(crate) fn flip_a_bit(&self) {
        let mount = self.home.join("disk");
        let mut files = Vec::new();
        below(&mount.join("data"), &mut files);
        let (path, bytes) = &files[rand::random_range(0..files.len())];
        let path = path.strip_prefix(&mount).expect("it is on the disk");
        let bit = rand::random_range(0..bytes * 8);
        self.disk.flip_bit(path.to_str().expect("a name"), bit).expect("the file has it");
    }

    /// kill -9: what it wrote is there.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.killed();
    }

    /// Waits for its end by SIGKILL: had it ended by itself before, somebody should know.
    pub(crate) fn killed(&mut self) {
        let status = self.gone();
        let words = self.last_words();
        assert_eq!(status.signal(), Some(9), "violation: node {}: {status}: {words}", self.id);
    }

    /// What it said last.
    pub(crate) fn last_words(&self) -> String {
        let path = self.home.join(format!("serve-{}.log", self.starts));
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// How often it said something since it was started last.
    pub(crate) fn said(&self, words: &str) -> usize {
        let path = self.home.join(format!("serve-{}.log", self.starts));
        fs::read_to_string(path).map_or(0, |text| text.matches(words).count())
    }
}

/// All files below a directory that have something in them, and how many bytes.
fn below(dir: &Path, files: &mut Vec<(PathBuf, u64)>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let about = entry.metadata().expect("it is there");
        if about.is_dir() {
            below(&entry.path(), files);
        } else if about.len() > 0 {
            files.push((entry.path(), about.len()));
        }
    }
}
