//! A started process that is asked to stop, and killed when it does not, by its id.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::machine::family;

/// How long a process may take to stop before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Stops its process when it is dropped.
pub(crate) struct Owned {
    child: Child,
    name: &'static str,
    stop: Signal,
}

impl Owned {
    /// Starts a process; `stop` is the signal that asks it to end in order.
    pub(crate) fn start(name: &'static str, command: &mut Command, stop: Signal) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { child, name, stop })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails if the process has ended.
    pub(crate) fn check_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended early ({status})", self.name),
        }
    }

    fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.ended() {
            return;
        }
        // It was not reaped, so the id is still that of this process.
        let _ = kill_process(Pid::from_child(&self.child), self.stop);
        let limit = Instant::now() + STOP_WITHIN;
        while Instant::now() < limit {
            if self.ended() {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        println!("{} did not stop within {} s; killed", self.name, STOP_WITHIN.as_secs());
        // With what it started, which would outlive it.
        for process in family(self.id()).into_iter().rev() {
            let id = i32::try_from(process).ok().and_then(Pid::from_raw);
            let _ = id.map(|id| kill_process(id, Signal::KILL));
        }
        let _ = self.child.wait();
    }
}
