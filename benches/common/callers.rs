//! Callers of the gate, each with a connection of its own: submits, batches of them, reads.
#![allow(dead_code, reason = "each bench uses its part of it")]

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::http::HttpConnection;
use crate::load::Caller;

/// Submits one intent a call.
pub(crate) struct Submits(HttpConnection);

/// Submits a batch a call.
pub(crate) struct Batches {
    connection: HttpConnection,
    items: u64,
    body: String,
}

/// Reads one intent a call, linearizably.
pub(crate) struct Reads {
    connection: HttpConnection,
    requests: Arc<[String]>,
}

impl Submits {
    /// Connects with an agent's key.
    pub(crate) async fn open(address: SocketAddr, key: &str) -> Result<Self> {
        Ok(Self(HttpConnection::open(address, key, "application/json").await?))
    }

    /// Submits the intent of a lead; status and body of the answer.
    pub(crate) async fn submit(&mut self, lead_id: &str) -> Result<(u16, &[u8])> {
        self.0.exchange("POST /v1/intents", &intent(lead_id)).await
    }

    /// Submits one that is allowed; its id.
    pub(crate) async fn accepted(&mut self, number: u64) -> Result<String> {
        let (status, body) = self.submit(&lead_id(number)).await?;
        let answer: Value = serde_json::from_slice(body)?;
        ensure!(status == 200 && answer["status"] == "approved", "not approved: {answer}");
        Ok(answer["intentId"].as_str().context("an answer without an id")?.to_owned())
    }
}

impl Caller for Submits {
    async fn call(&mut self, number: u64) -> Result<()> {
        let (status, body) = self.submit(&lead_id(number)).await?;
        if status != 200 {
            bail!("the gate answered {status}: {}", String::from_utf8_lossy(body));
        }
        Ok(())
    }
}

impl Batches {
    /// Connects with an agent's key; each batch has so many intents.
    pub(crate) async fn open(address: SocketAddr, key: &str, items: u64) -> Result<Self> {
        let connection = HttpConnection::open(address, key, "application/x-ndjson").await?;
        Ok(Self { connection, items, body: String::new() })
    }
}

impl Caller for Batches {
    async fn call(&mut self, number: u64) -> Result<()> {
        self.body.clear();
        for item in 0..self.items {
            self.body.push_str(&intent(&lead_id_in_batch(number, item)));
            self.body.push('\n');
        }
        let (status, body) = self.connection.exchange("POST /v1/intents/batch", &self.body).await?;
        let answer = String::from_utf8_lossy(body);
        ensure!(status == 200, "the gate answered {status}: {answer}");
        let approved = answer.matches(r#""answer_status":"approved""#).count();
        ensure!(u64::try_from(approved)? == self.items, "not all were approved: {answer}");
        Ok(())
    }
}

impl Reads {
    /// Connects with the key of somebody who may read these intents.
    pub(crate) async fn open(
        address: SocketAddr,
        key: &str,
        requests: Arc<[String]>,
    ) -> Result<Self> {
        let connection = HttpConnection::open(address, key, "application/json").await?;
        Ok(Self { connection, requests })
    }

    /// The request of each intent.
    pub(crate) fn requests(ids: &[String]) -> Arc<[String]> {
        ids.iter().map(|id| format!("GET /v1/intents/{id}")).collect()
    }
}

impl Caller for Reads {
    async fn call(&mut self, number: u64) -> Result<()> {
        let place = usize::try_from(number)? % self.requests.len();
        let (status, body) = self.connection.exchange(&self.requests[place], "").await?;
        ensure!(status == 200, "the gate answered {status}: {}", String::from_utf8_lossy(body));
        Ok(())
    }
}

/// The dedup key of a submit; no two of one run are equal.
pub(crate) fn lead_id(number: u64) -> String {
    format!("lead-{number:012}")
}

/// The same of an item of a batch.
pub(crate) fn lead_id_in_batch(number: u64, item: u64) -> String {
    format!("lead-{number:08}-{item:03}")
}

/// The body of a submit.
fn intent(lead_id: &str) -> String {
    [
        r#"{"resource":"leads.outbound_call","trigger":"webhook","payload":"#,
        payload(lead_id).as_str(),
        "}",
    ]
    .concat()
}

/// A payload of about 300 bytes, the same for every system.
pub(crate) fn payload(lead_id: &str) -> String {
    const REST: &str = "\",\"phone\":\"+1-555-010-2233\",\"rep\":\"rep-7\",\
        \"script\":\"inbound-demo\",\"notes\":\"Asked for a demo on Thursday after four; speaks \
        for a team of thirty, uses a spreadsheet today, wants to see imports and the audit trail \
        first. Do not call before noon their time; ask for Jean.\"}";
    ["{\"lead_id\":\"", lead_id, REST].concat()
}
