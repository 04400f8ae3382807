//! What asks this process to stop: signals, and for a node of `qgate dev` the end of `dev`.

use std::future::pending;
use std::os::fd::AsFd;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// In the environment of a process that stops when its standard input ends: whoever holds the
/// other end of that pipe may be killed, and the pipe ends all the same.
pub(crate) const STOP_AT_EOF: &str = "QGATE_STOP_AT_EOF";

/// Waits for SIGINT, SIGTERM or SIGHUP. Made before anything is started, so that none is missed.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
    parent: Option<Receiver>,
}

impl StopSignals {
    /// Takes over the signals; SIGHUP stays ignored where it was, as under `nohup`.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub(crate) fn new() -> Result<Self, Failure> {
        let take =
            |kind| signal(kind).map_err(|error| Failure::refused(format!("no signals: {error}")));
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = (!ignores_hangup(&status)).then(|| take(SignalKind::hangup())).transpose()?;
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
            hangup,
            parent: None,
        })
    }

    /// The same, and the end of standard input where [`STOP_AT_EOF`] is set.
    ///
    /// # Errors
    /// As [`StopSignals::new`], and if standard input is no pipe then.
    pub(crate) fn of_a_node() -> Result<Self, Failure> {
        let mut signals = Self::new()?;
        if std::env::var_os(STOP_AT_EOF).is_some() {
            let input = std::io::stdin().as_fd().try_clone_to_owned();
            let pipe = input.and_then(Receiver::from_owned_fd);
            signals.parent = Some(pipe.map_err(|error| {
                Failure::refused(format!("{STOP_AT_EOF} is set, and stdin is no pipe: {error}"))
                    .next(format!("unset {STOP_AT_EOF}"))
            })?);
        }
        Ok(signals)
    }

    /// Resolves with the name of what arrived.
    pub(crate) async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            () = hung_up(&mut self.hangup) => "SIGHUP",
            () = ended(&mut self.parent) => "the end of the process that started it",
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(signal) => _ = signal.recv().await,
        None => pending().await,
    }
}

/// Resolves when nobody holds the other end any more.
async fn ended(parent: &mut Option<Receiver>) {
    let Some(pipe) = parent else { return pending().await };
    let mut bytes = [0_u8; 64];
    while pipe.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

/// Whether the process was started with SIGHUP ignored, by the mask that the system shows of it.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_that_is_ignored_stays_so() {
        let cases = [
            ("Name:\tx\nSigIgn:\t0000000000000001\n", true),
            ("SigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n", false),
            ("", false),
        ];
        for (status, expected) in cases {
            assert_eq!(ignores_hangup(status), expected, "{status}");
        }
    }
}
