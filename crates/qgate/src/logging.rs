//! Logs: one line per event on stderr, text or JSON.
//!
//! Invariant: keys are never logged; key types hide themselves, and no module logs headers.
//! `crates/http-api/tests/logs.rs` looks for planted ones.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};
use crate::failure::Failure;

/// Starts logging for this process.
///
/// # Errors
/// A filter that makes no sense.
pub(crate) fn start(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| {
        Failure::usage(format!("log.filter `{}` makes no sense: {error}", log.filter))
            .next("write it like `info` or `info,replica=debug`")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| Failure::refused(format!("logging cannot start: {error}")))
}
