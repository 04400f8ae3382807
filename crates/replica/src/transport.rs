//! One connection between nodes, in plain text or by mTLS, and the door where others arrive.
//!
//! Invariant: a handshake holds up nobody but its own connection, and never for long.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt as _;
use machine::net::{TcpListener, TcpStream};
use tls::{Identity, NodeName, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use types::limits::PEER_CONNECTIONS_MAX;

/// How long a handshake may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// The rest after the operating system refused a connection.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// A connection to or from another node.
pub(crate) enum Stream {
    Plain(TcpStream),
    /// With the name of the node at the other end.
    Tls(Box<TlsStream>, NodeName),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream, _) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream, _) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream, _) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream, _) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream, _) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream, _) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Who is at the other end of a connection, by its certificate; `None` in plain text.
#[derive(Debug, Clone)]
pub(crate) struct Certified(pub(crate) Option<NodeName>);

impl Connected for Stream {
    type ConnectInfo = Certified;

    fn connect_info(&self) -> Certified {
        Certified(match self {
            Self::Plain(_) => None,
            Self::Tls(_, name) => Some(name.clone()),
        })
    }
}

/// Handshakes under way, oldest first. Beyond their number the oldest ends for the newest: that of
/// a node takes a few round trips, and one that is never finished must not keep others out.
#[derive(Default)]
struct Handshakes(VecDeque<AbortHandle>);

impl Handshakes {
    fn begin(&mut self, handshake: impl Future<Output = ()> + Send + 'static) {
        if self.0.len() >= PEER_CONNECTIONS_MAX {
            self.0.retain(|handshake| !handshake.is_finished());
        }
        if self.0.len() >= PEER_CONNECTIONS_MAX
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(tokio::spawn(handshake).abort_handle());
    }
}

/// Connections as they arrive, their handshakes done.
pub(crate) fn arrivals(
    listener: TcpListener,
    identity: Option<Arc<Identity>>,
) -> impl futures::Stream<Item = io::Result<Stream>> {
    let (sender, receiver) = mpsc::channel(PEER_CONNECTIONS_MAX);
    tokio::spawn(accept(listener, identity, sender));
    ReceiverStream::new(receiver).map(Ok)
}

async fn accept(
    listener: TcpListener,
    identity: Option<Arc<Identity>>,
    arrived: mpsc::Sender<Stream>,
) {
    let mut handshakes = Handshakes::default();
    loop {
        let accepted = tokio::select! {
            () = arrived.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection of a node cannot be taken");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        _ = stream.set_nodelay(true);
        let Some(identity) = identity.clone() else {
            if arrived.send(Stream::Plain(stream)).await.is_err() {
                return;
            }
            continue;
        };
        let arrived = arrived.clone();
        handshakes.begin(async move {
            match identity.accept(stream, HANDSHAKE_WAIT).await {
                Ok((stream, name)) => {
                    _ = arrived.send(Stream::Tls(Box::new(stream), name)).await;
                }
                Err(error) => tracing::debug!(%error, "a node's connection was refused"),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tls::Files;
    use tls::authority::Authority;

    use super::*;

    const CLUSTER_ID: &str = "0123456789abcdef0123456789abcdef";

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_flood_of_handshakes_that_never_end_locks_no_node_out() {
        let dir = tempfile::tempdir().expect("dir");
        let authority = Authority::make("nodes").expect("an authority");
        let identity = |node: u64| {
            let name = NodeName::new(CLUSTER_ID, node).expect("a name");
            let pair = authority.issue(&name, &[], 1).expect("a certificate");
            let path = |ending: &str| dir.path().join(format!("{node}.{ending}"));
            let files = Files { ca: path("ca"), certificate: path("pem"), key: path("key") };
            fs::write(&files.ca, authority.certificate_pem()).expect("write");
            fs::write(&files.certificate, pair.certificate_pem).expect("write");
            fs::write(&files.key, pair.key_pem).expect("write");
            Identity::load(files).expect("an identity")
        };
        let (server, client) = (identity(1), identity(2));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut arriving = std::pin::pin!(arrivals(listener, Some(server.clone())));
        let mut silent = Vec::new();
        for _ in 0..2 * PEER_CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.expect("connected"));
        }
        let stream = TcpStream::connect(address).await.expect("connected");
        let connected = client.connect(stream, server.name(), HANDSHAKE_WAIT).await;
        connected.expect("a node comes in");
        let arrived = arriving.next().await.expect("open").expect("a connection");
        assert!(matches!(arrived, Stream::Tls(_, name) if name.node() == 2));
    }
}
