//! One node of `qgate dev` as a child process.
//!
//! It runs in a process group of its own: Ctrl-C reaches `dev` only, which stops its children in
//! order. It ends with `dev` all the same, however that ends: it reads a pipe that `dev` holds.
//! Invariant: a process is signalled only while this is its parent and has not reaped it.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{ChildStdin, Command};
use types::limits::DRAIN_MS_MAX;

use crate::failure::Failure;
use crate::output::{harmless, note};
use crate::signals::STOP_AT_EOF;

/// How long a node may take to stop before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(30);
// First its door gets its moment, then its calls and notifications theirs.
const _: () = assert!(STOP_WITHIN.as_millis() > 2 * DRAIN_MS_MAX as u128);
/// Bytes of the log that are shown when a node ends too early.
const TAIL_BYTES: u64 = 2_000;

/// A running node, or one that has ended.
pub(crate) struct Child {
    id: u64,
    pid: u32,
    config: PathBuf,
    log: PathBuf,
    process: tokio::process::Child,
    /// Open as long as this is here; waiting for the process would close it inside of it.
    _leash: Option<ChildStdin>,
}

impl Child {
    /// Starts `qgate serve --config FILE`; its output goes to the end of `log`.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn start(id: u64, config: &Path, log: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::refused(format!("node {id} cannot be started: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let output = OpenOptions::new().create(true).append(true).mode(0o600).open(log);
        let mut process = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::piped())
            .env(STOP_AT_EOF, "1")
            // It prints the first admin key, which lies in a file of its own already.
            .stdout(Stdio::null())
            .stderr(output.map_err(failed)?)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let pid = process.id().expect("a child that was not waited for has an id");
        let leash = process.stdin.take();
        let (config, log) = (config.to_path_buf(), log.to_path_buf());
        Ok(Self { id, pid, config, log, process, _leash: leash })
    }

    /// Which node it is.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Ends it at once, without a word to it.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub(crate) async fn kill(mut self) -> Result<(), Failure> {
        let failed =
            |error| Failure::refused(format!("node {} cannot be killed: {error}", self.id));
        self.process.kill().await.map_err(failed)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Fails if it has ended already, with the end of its log.
    ///
    /// # Errors
    /// Exactly then.
    pub(crate) fn check_runs(&mut self) -> Result<(), Failure> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failure::refused(format!(
                "node {} ended before it answered ({status}); the end of its log:\n{}",
                self.id,
                self.tail()
            ))
            .next(self.where_to_look())),
            Err(error) => Err(Failure::refused(format!("node {}: {error}", self.id))),
        }
    }

    /// Where its log lies.
    pub(crate) fn where_to_look(&self) -> String {
        format!("its log is {}", self.log.display())
    }

    /// Waits until it ends, and says how, and how it is started again.
    pub(crate) async fn ended(&mut self) -> String {
        let how = match self.process.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        format!(
            "node {} ended ({how}); start it again with: qgate serve --config {}",
            self.id,
            self.config.display()
        )
    }

    /// Asks it to stop and waits; kills it when it takes too long.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        let failed =
            |error| Failure::refused(format!("node {} cannot be stopped: {error}", self.id));
        if self.process.try_wait().map_err(failed)?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).map_err(|error| failed(error.into()))?;
        }
        let stopped: Result<std::io::Result<ExitStatus>, _> =
            tokio::time::timeout(STOP_WITHIN, self.process.wait()).await;
        match stopped {
            Ok(status) => {
                let status = status.map_err(failed)?;
                if !status.success() {
                    note(&format!(
                        "node {} stopped with {status}; {}",
                        self.id,
                        self.where_to_look()
                    ));
                }
                Ok(())
            }
            Err(_) => {
                note(&format!("node {} did not stop in time and is killed", self.id));
                self.process.kill().await.map_err(failed)
            }
        }
    }

    /// The last lines of its log.
    fn tail(&self) -> String {
        let read = || {
            let mut file = OpenOptions::new().read(true).open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let lines: Vec<String> = text.lines().map(|line| format!("  {}", harmless(line))).collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}
