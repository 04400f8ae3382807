//! One connection between nodes, in plain text or by mTLS, and the door where others arrive.
//!
//! Invariant: a handshake holds up nobody but its own connection, and never for long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt as _;
use tls::{Identity, NodeName, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
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
    let places = Arc::new(Semaphore::new(PEER_CONNECTIONS_MAX));
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
        // Beyond that the oldest handshakes end first.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        _ = stream.set_nodelay(true);
        let Some(identity) = identity.clone() else {
            if arrived.send(Stream::Plain(stream)).await.is_err() {
                return;
            }
            continue;
        };
        let arrived = arrived.clone();
        tokio::spawn(async move {
            let _place = place;
            match identity.accept(stream, HANDSHAKE_WAIT).await {
                Ok((stream, name)) => {
                    _ = arrived.send(Stream::Tls(Box::new(stream), name)).await;
                }
                Err(error) => tracing::debug!(%error, "a node's connection was refused"),
            }
        });
    }
}
