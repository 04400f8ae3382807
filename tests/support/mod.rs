//! The real binary for tests: started on free ports, looked at, killed, stopped.
//!
//! Every wait ends by a deadline, and every process that is started here is stopped here, also
//! when a test fails.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part of it")]

pub mod cluster;
pub mod history;
pub mod load;
pub mod node;
pub mod operator;
pub mod ports;
pub mod target;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use client::{Client, Endpoint, Request, Settings};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use types::Digest;

/// How long anything here may take.
pub const DEADLINE: Duration = Duration::from_secs(90);
/// The rest between two looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Prints a line that is seen whether the test passes or not: figures of a run.
pub fn shown(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

/// A process that does not outlive its test.
pub struct Process(pub Child);

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().expect("the binary starts"))
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(&mut self, signal: Signal) -> ExitStatus {
        kill_process(pid(self.0.id()), signal).expect("it runs");
        self.wait()
    }

    pub fn wait(&mut self) -> ExitStatus {
        until("the process ends", || self.0.try_wait().expect("it is ours"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = kill_process(pid(self.0.id()), Signal::TERM);
            let ends = Instant::now() + DEADLINE;
            while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < ends {
                thread::sleep(LOOK_EVERY);
            }
            let _ = self.0.kill();
        }
    }
}

/// A running `qgate dev` and what it wrote into `dev.json`.
pub struct Dev {
    /// The launcher.
    pub process: Process,
    /// Its `dev.json`.
    pub file: Value,
}

impl Dev {
    pub fn start(data: &Path, policies: &Path, base_port: u16) -> Self {
        let (out, log) = (log_file(data, "dev.out"), log_file(data, "dev.log"));
        let mut command = qgate();
        command.arg("dev").arg("--data").arg(data.join("dev")).arg("--policies").arg(policies);
        command.arg("--base-port").arg(base_port.to_string()).stdout(out).stderr(log);
        let mut process = Process::start(&mut command);
        let path = data.join("dev/dev.json");
        let file = until("dev.json appears", || {
            if let Some(status) = process.0.try_wait().unwrap() {
                let log = fs::read_to_string(data.join("dev.log")).unwrap();
                panic!("qgate dev ended with {status}: {log}");
            }
            fs::read(&path).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap())
        });
        Self { process, file }
    }

    pub fn text(&self, pointer: &str) -> &str {
        self.file.pointer(pointer).and_then(Value::as_str).expect(pointer)
    }

    /// What the metrics port says.
    pub fn metrics(&self) -> String {
        scrape(self.text("/nodes/0/metrics").trim_start_matches("http://"))
    }

    pub fn client(&self, key: &str) -> Client {
        let endpoint: Endpoint = self.text("/nodes/0/http").parse().unwrap();
        Client::new(Settings::new(vec![endpoint]).with_key(self.text(key))).unwrap()
    }

    /// The command line, with one of the keys.
    pub fn qgate(&self, key: &str, words: &[&str]) -> Output {
        let mut command = qgate();
        command.env("QGATE_ENDPOINT", self.text("/nodes/0/http"));
        command.env("QGATE_API_KEY", self.text(key));
        command.args(words).output().unwrap()
    }
}

/// What the metrics port at an address says.
pub fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the metrics port listens");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// The value of one series that the metrics port at an address shows.
pub fn metric(address: &str, series: &str) -> f64 {
    let text = scrape(address);
    let start = format!("{series} ");
    let found = text.lines().find_map(|line| line.strip_prefix(&start));
    found.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().expect("a number")
}

pub fn qgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qgate"));
    command.env_remove("QGATE_ENDPOINT").env_remove("QGATE_API_KEY");
    command
}

pub fn log_file(data: &Path, name: &str) -> fs::File {
    fs::File::create(data.join(name)).unwrap()
}

pub fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).expect("a process id is not 0")
}

/// Looks again and again until there is something, or the deadline is over.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let ends = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < ends, "{what}: not within {DEADLINE:?}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Hexadecimal digits that are packed to half of that: other ones for each number.
pub fn digits(number: usize, chars: usize) -> String {
    let mut text = String::with_capacity(chars);
    let mut digest = Digest::of(&number.to_be_bytes());
    while text.len() < chars {
        digest = Digest::of(&digest.0);
        write!(text, "{digest}").expect("memory takes it");
    }
    text
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/incident").join(name)
}

pub fn incident(name: &str) -> Value {
    serde_json::from_slice(&fs::read(fixture(name)).unwrap()).unwrap()
}

/// Waits until a node says that it is ready.
pub async fn ready(dev: &Dev) {
    let client = dev.client("/admin_key");
    let ends = Instant::now() + DEADLINE;
    while let Err(error) = client.send(Request::get(&["readyz"]).anonymous()).await {
        assert!(Instant::now() < ends, "the node is not ready: {error}");
    }
}
