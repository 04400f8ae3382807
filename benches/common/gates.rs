//! The gates under measurement: `qgate dev --nodes 3` with the policies of the incidents.
#![allow(dead_code, reason = "each bench uses its part of it")]

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::callers::{Batches, Reads, Submits, lead_id};
use crate::load::Numbers;
use crate::support::cluster::Cluster;
use crate::support::ports::base_port;
use crate::support::scrape;

const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/incident");

/// A running cluster.
pub(crate) struct Gates {
    cluster: Cluster,
}

impl Gates {
    /// Starts it on an empty directory and free ports.
    pub(crate) fn start(binary: &Path, home: &Path) -> Self {
        Self { cluster: Cluster::start(binary, home, Path::new(POLICIES), 3, base_port()) }
    }

    pub(crate) fn nodes(&self) -> Vec<u64> {
        self.cluster.ids()
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        self.cluster.ids().into_iter().map(|node| self.cluster.process_id(node)).collect()
    }

    pub(crate) async fn leader(&self) -> u64 {
        self.cluster.leader().await
    }

    pub(crate) async fn follower(&self) -> u64 {
        self.cluster.follower().await
    }

    /// The term of the leader; it grows with each election.
    pub(crate) async fn term(&self) -> Result<u64> {
        let status = self.cluster.status(self.leader().await).await.context("no status")?;
        status["term"].as_u64().context("a status without a term")
    }

    fn address(&self, node: u64) -> Result<SocketAddr> {
        Ok(self.address_of(node, "http")?.parse()?)
    }

    fn address_of(&self, node: u64, port: &str) -> Result<&str> {
        let nodes = self.cluster.file["nodes"].as_array().context("dev.json has no nodes")?;
        let node = nodes.iter().find(|found| found["id"] == node).context("no such node")?;
        let url = node[port].as_str().context("dev.json has no address")?;
        url.strip_prefix("http://").context("no http address")
    }

    /// A metric without labels that counts.
    pub(crate) fn metric(&self, node: u64, name: &str) -> Result<u64> {
        Ok(self.fraction(node, name)?.parse()?)
    }

    /// A metric without labels, as it is written.
    pub(crate) fn fraction(&self, node: u64, name: &str) -> Result<String> {
        let text = scrape(self.address_of(node, "metrics")?);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no metric {name}"))?.to_owned())
    }

    /// Sends a signal to nodes, and waits until they are gone.
    pub(crate) fn kill(&mut self, nodes: &[u64], signal: Signal) {
        nodes.iter().for_each(|node| self.cluster.signal(*node, signal));
        nodes.iter().for_each(|node| self.cluster.gone(*node));
    }

    pub(crate) fn start_again(&mut self, node: u64) {
        self.cluster.start_again(node);
    }

    pub(crate) async fn ready(&self, node: u64) {
        self.cluster.ready(node).await;
    }

    pub(crate) async fn submits(&self, node: u64, count: u16) -> Result<Vec<Submits>> {
        let (address, mut callers) = (self.address(node)?, Vec::new());
        for _ in 0..count {
            callers.push(Submits::open(address, self.cluster.text("/agent_key")).await?);
        }
        Ok(callers)
    }

    pub(crate) async fn batches(&self, node: u64, count: u16, of: u64) -> Result<Vec<Batches>> {
        let (address, mut callers) = (self.address(node)?, Vec::new());
        for _ in 0..count {
            callers.push(Batches::open(address, self.cluster.text("/agent_key"), of).await?);
        }
        Ok(callers)
    }

    pub(crate) async fn reads(&self, node: u64, count: u16, ids: &[String]) -> Result<Vec<Reads>> {
        let requests = Reads::requests(ids);
        let (address, mut callers) = (self.address(node)?, Vec::new());
        for _ in 0..count {
            let key = self.cluster.text("/agent_key");
            callers.push(Reads::open(address, key, requests.clone()).await?);
        }
        Ok(callers)
    }

    /// It allows new leads and refuses one again: policy and dedup are at work. The ids.
    pub(crate) async fn prove(&self, numbers: &Numbers, count: u64) -> Result<Vec<String>> {
        let mut callers = self.submits(self.leader().await, 1).await?;
        let caller = callers.first_mut().context("no caller")?;
        let mut ids = Vec::new();
        for _ in 0..count {
            let number = numbers.next();
            ids.push(caller.accepted(number).await?);
            if number == 0 {
                let (status, body) = caller.submit(&lead_id(number)).await?;
                let answer: Value = serde_json::from_slice(body)?;
                ensure!(status == 409, "a duplicate was not refused: {status} {answer}");
            }
        }
        Ok(ids)
    }
}
