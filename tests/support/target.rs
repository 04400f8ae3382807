//! An HTTP target on loopback whose answers the test gives, request by request.
//!
//! Each request comes to the test with its connection, which stays open until the test answers it,
//! resets it or drops it. Connections are read in the order in which they came, so a request of the
//! test's own tells that nothing came before it which the test has not seen.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::DEADLINE;

/// The path of the test's own last request.
const LAST: &str = "/nothing-more";

/// A listening target.
pub struct Target {
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Called>,
    accepting: JoinHandle<()>,
}

/// One request, not answered yet.
pub struct Called {
    pub method: String,
    pub path: String,
    headers: BTreeMap<String, String>,
    pub body: String,
    stream: TcpStream,
}

impl Target {
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (arrived, requests) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A process that is killed leaves connections without a whole request.
                let Some(called) = Called::read(stream).await else { continue };
                if arrived.send(called).is_err() {
                    return;
                }
            }
        });
        Self { address, requests, accepting }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next request.
    pub async fn next(&mut self) -> Called {
        let next = timeout(DEADLINE, self.requests.recv()).await;
        next.expect("nobody called").expect("the target accepts")
    }

    /// Fails if a request came that the test has not taken.
    pub async fn nothing_more(&mut self) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let last = format!("GET {LAST} HTTP/1.1\r\n\r\n");
        stream.write_all(last.as_bytes()).await.unwrap();
        let next = self.next().await;
        assert_eq!(next.path, LAST, "one request too many: {}", next.body);
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Called {
    async fn read(mut stream: TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let mut lines = head.lines();
                let mut first = lines.next()?.split(' ');
                let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
                let header = |line: &str| {
                    let (name, value) = line.split_once(':')?;
                    Some((name.to_ascii_lowercase(), value.trim().to_owned()))
                };
                let headers: BTreeMap<_, _> = lines.filter_map(header).collect();
                let length = headers.get("content-length").map_or("0", String::as_str);
                if body.len() >= length.parse().ok()? {
                    let body = body.to_owned();
                    return Some(Self { method, path, headers, body, stream });
                }
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// A header; empty if it was not sent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// The fencing token.
    pub fn fence(&self) -> u64 {
        self.header("gate-fence").parse().expect("a fence is a number")
    }

    pub async fn answer(self, status: u16, body: &str) {
        self.answer_with(status, "", body).await;
    }

    /// Answers with more headers, each with its line end.
    pub async fn answer_with(mut self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        self.stream.write_all(answer.as_bytes()).await.unwrap();
        self.stream.shutdown().await.unwrap();
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}
