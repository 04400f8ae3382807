//! The gate under measurement: `qgate dev` with the three gates of the incident.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::callers::{Submits, lead_id};
use crate::load::Numbers;
use crate::ports::base_port;
use crate::process::Owned;

/// How long it may take until it answers.
const START_WITHIN: Duration = Duration::from_secs(60);
const POLICIES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/incident/gates.yaml");

/// A running gate with one node.
pub(crate) struct Gate {
    _process: Owned,
    address: SocketAddr,
    key: String,
    /// The node's process.
    pub(crate) node: u32,
}

impl Gate {
    /// Starts it on an empty directory and free ports.
    pub(crate) async fn start(binary: &Path, home: &Path) -> Result<Self> {
        let policies = home.join("policies");
        fs::create_dir_all(&policies)?;
        fs::copy(POLICIES, policies.join("gates.yaml"))?;
        let (data, log) = (home.join("gate"), home.join("gate.log"));
        let mut command = Command::new(binary);
        command.arg("dev").arg("--data").arg(&data).arg("--policies").arg(&policies);
        command.arg("--base-port").arg(base_port().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let mut process = Owned::start("qgate dev", &mut command, Signal::TERM)?;
        let answered = wait_for(&data.join("dev.json"), &mut process).await;
        let dev = answered.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        let node = &dev["nodes"][0];
        let http = node["http"].as_str().context("dev.json has no address")?;
        let address = http.strip_prefix("http://").context("no http address")?.parse()?;
        let key = dev["agent_key"].as_str().context("dev.json has no agent key")?.to_owned();
        let node = u32::try_from(node["pid"].as_u64().context("dev.json has no pid")?)?;
        Ok(Self { _process: process, address, key, node })
    }

    /// Keep-alive connections with the agent's key.
    pub(crate) async fn connections(&self, count: u16) -> Result<Vec<Submits>> {
        let mut connections = Vec::new();
        for _ in 0..count {
            connections.push(Submits::open(self.address, &self.key).await?);
        }
        Ok(connections)
    }

    /// It allows a new lead and refuses the same one again: policy and dedup are at work.
    pub(crate) async fn prove(&self, numbers: &Numbers) -> Result<()> {
        let mut connection = Submits::open(self.address, &self.key).await?;
        let number = numbers.next();
        connection.accepted(number).await?;
        let (status, body) = connection.submit(&lead_id(number)).await?;
        let answer = String::from_utf8_lossy(body);
        ensure!(status == 409, "a duplicate was not refused: {status} {answer}");
        Ok(())
    }
}

/// `dev.json` appears when everything in it answers.
async fn wait_for(file: &Path, process: &mut Owned) -> Result<Value> {
    let limit = Instant::now() + START_WITHIN;
    while Instant::now() < limit {
        process.check_runs()?;
        if let Ok(bytes) = fs::read(file) {
            return Ok(serde_json::from_slice(&bytes)?);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the gate did not answer within {} s", START_WITHIN.as_secs())
}
