//! One keep-alive HTTP/1.1 connection that submits intents.
//!
//! A general client would take more of the processor than the gate it measures, so this one writes
//! prepared bytes and reads the status line and the length of the answer only.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::load::Submit;

/// An answer larger than this is no answer to a submit.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A connection to the gate.
pub(crate) struct GateConnection {
    stream: TcpStream,
    head: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl GateConnection {
    /// Connects with an agent's key.
    pub(crate) async fn open(address: SocketAddr, key: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let head = format!(
            "POST /v1/intents HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: "
        );
        Ok(Self { stream, head, request: Vec::new(), answer: Vec::new() })
    }

    /// Sends one intent and returns status and body.
    pub(crate) async fn send(&mut self, payload: &str) -> Result<(u16, &[u8])> {
        let body =
            [r#"{"resource":"leads.outbound_call","trigger":"webhook","payload":"#, payload, "}"]
                .concat();
        self.request.clear();
        let length = body.len().to_string();
        for part in [self.head.as_str(), length.as_str(), "\r\n\r\n", body.as_str()] {
            self.request.extend_from_slice(part.as_bytes());
        }
        self.stream.write_all(&self.request).await?;
        let (status, body) = self.read_answer().await?;
        Ok((status, &self.answer[body..]))
    }

    /// Reads one whole answer; returns its status and where its body begins.
    async fn read_answer(&mut self) -> Result<(u16, usize)> {
        self.answer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.answer).await?;
            ensure!(read > 0, "the gate closed the connection");
            ensure!(self.answer.len() <= ANSWER_BYTES_MAX, "an endless answer");
            let Some(end) = self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&self.answer[..end])?;
            let status = head.get(9..12).context("no status line")?.parse()?;
            let body = end + 4;
            let length = content_length(head)?;
            ensure!(body + length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
            while self.answer.len() < body + length {
                let read = self.stream.read_buf(&mut self.answer).await?;
                ensure!(read > 0, "the gate closed the connection in an answer");
            }
            ensure!(self.answer.len() == body + length, "more than one answer");
            return Ok((status, body));
        }
    }
}

impl Submit for GateConnection {
    async fn submit(&mut self, number: u64) -> Result<()> {
        let payload = payload(&lead_id(number));
        let (status, body) = self.send(&payload).await?;
        if status != 200 {
            bail!("the gate answered {status}: {}", String::from_utf8_lossy(body));
        }
        Ok(())
    }
}

fn content_length(head: &str) -> Result<usize> {
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value.trim())
    });
    Ok(value.context("an answer without a length")?.parse()?)
}

/// The dedup key of a submit; no two of one run are equal.
pub(crate) fn lead_id(number: u64) -> String {
    format!("lead-{number:012}")
}

/// A payload of about 300 bytes, the same for every system.
pub(crate) fn payload(lead_id: &str) -> String {
    const REST: &str = "\",\"phone\":\"+1-555-010-2233\",\"rep\":\"rep-7\",\
        \"script\":\"inbound-demo\",\"notes\":\"Asked for a demo on Thursday after four; speaks \
        for a team of thirty, uses a spreadsheet today, wants to see imports and the audit trail \
        first. Do not call before noon their time; ask for Jean.\"}";
    ["{\"lead_id\":\"", lead_id, REST].concat()
}
