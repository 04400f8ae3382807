//! What every bench does around its measurement: a runtime, signals, a directory, the build.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a bench. A signal ends it as a failure does: everything that was started is stopped.
///
/// Generators get one thread, so that they take at most one core from what they measure.
pub(crate) fn to_the_end(
    runtime: &mut Builder,
    bench: impl Future<Output = Result<()>>,
) -> ExitCode {
    let done = match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(until_stopped(bench)),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nfailed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn until_stopped(bench: impl Future<Output = Result<()>>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = bench => done,
        _ = terminate.recv() => anyhow::bail!("stopped by SIGTERM"),
        _ = interrupt.recv() => anyhow::bail!("stopped by SIGINT"),
    }
}

/// The options that every bench has.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The gate to measure; the targets of `make` give the one that is shipped
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_qgate"))]
    pub(crate) gate: PathBuf,
    /// Where all data lies while it runs
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Place {
    /// A directory of the bench, which goes when it ends.
    pub(crate) fn home(&self, prefix: &str) -> Result<TempDir> {
        let dir = &self.dir;
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(tempfile::Builder::new().prefix(prefix).tempdir_in(dir)?)
    }

    /// What the gate says of itself, and which of the profiles its directory is.
    pub(crate) fn build(&self) -> Result<String> {
        let binary = &self.gate;
        let said = Command::new(binary).arg("--version").output();
        let said = said.with_context(|| format!("cannot run {}", binary.display()))?;
        ensure!(said.status.success(), "{} does not say its version", binary.display());
        let profile = binary.parent().and_then(Path::file_name).unwrap_or_default();
        let version = String::from_utf8_lossy(&said.stdout);
        Ok(format!("{}, profile {}", version.trim(), profile.display()))
    }
}
