//! One keep-alive HTTP/1.1 connection.
//!
//! A general client would take more of the processor than the gate it measures, so this one writes
//! prepared bytes and reads of an answer only its status, its length and its body.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer larger than this is none that a bench asks for.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A connection, with the key of a caller.
pub(crate) struct HttpConnection {
    stream: TcpStream,
    headers: String,
    request: Vec<u8>,
    received: Vec<u8>,
    body: Vec<u8>,
}

/// How an answer says where it ends.
enum Framing {
    Length(usize),
    Chunks,
}

impl HttpConnection {
    /// Connects; every request carries the key, and the content type with its body.
    pub(crate) async fn open(address: SocketAddr, key: &str, content_type: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let headers = format!(
            " HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: {content_type}\r\nContent-Length: "
        );
        let [request, received, body] = [Vec::new(), Vec::new(), Vec::new()];
        Ok(Self { stream, headers, request, received, body })
    }

    /// Sends a request, e.g. of `POST /v1/intents`, and returns status and body of its answer.
    pub(crate) async fn exchange(&mut self, what: &str, body: &str) -> Result<(u16, &[u8])> {
        self.request.clear();
        let length = body.len().to_string();
        for part in [what, self.headers.as_str(), length.as_str(), "\r\n\r\n", body] {
            self.request.extend_from_slice(part.as_bytes());
        }
        self.stream.write_all(&self.request).await?;
        self.received.clear();
        let head_end = loop {
            self.receive().await?;
            if let Some(end) = position(&self.received, b"\r\n\r\n") {
                break end;
            }
        };
        let head = std::str::from_utf8(&self.received[..head_end])?;
        let status = head.get(9..12).context("no status line")?.parse()?;
        let framing = Framing::of(head)?;
        self.received.drain(..head_end + 4);
        self.body.clear();
        match framing {
            Framing::Length(length) => self.take(length).await?,
            Framing::Chunks => loop {
                let size = self.chunk_size().await?;
                self.take(size).await?;
                ensure!(self.line().await?.is_empty(), "a chunk is longer than it says");
                if size == 0 {
                    break;
                }
            },
        }
        ensure!(self.received.is_empty(), "more than one answer");
        Ok((status, &self.body))
    }

    /// Moves so many bytes of what was received into the body.
    async fn take(&mut self, length: usize) -> Result<()> {
        ensure!(self.body.len() + length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        while self.received.len() < length {
            self.receive().await?;
        }
        self.body.extend(self.received.drain(..length));
        Ok(())
    }

    async fn chunk_size(&mut self) -> Result<usize> {
        let line = self.line().await?;
        Ok(usize::from_str_radix(&line, 16)?)
    }

    /// The next line, without its end.
    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = position(&self.received, b"\r\n") {
                let line = std::str::from_utf8(&self.received[..end])?.to_owned();
                self.received.drain(..end + 2);
                return Ok(line);
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.received).await?;
        ensure!(read > 0, "the gate closed the connection");
        ensure!(self.received.len() <= ANSWER_BYTES_MAX, "an endless answer");
        Ok(())
    }
}

impl Framing {
    fn of(head: &str) -> Result<Self> {
        let header = |wanted: &str| {
            head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then_some(value.trim())
            })
        };
        if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Ok(Self::Chunks);
        }
        let length = header("content-length").context("an answer without a length")?;
        Ok(Self::Length(length.parse()?))
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
