//! The identity of this node, in force: it accepts and makes connections, and can be replaced.
//!
//! A handshake uses what was in force when it began; connections that exist are not touched.
//! Invariant: the identity is that of one node of one cluster for as long as the process runs, and
//! what is in force was whole and valid when it came into force.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use machine::net::TcpStream;
use parking_lot::Mutex;
use rustls::CommonState;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::certificate::node_of;
use crate::credentials::{Credentials, Files};
use crate::error::{Fault, TlsError};
use crate::name::NodeName;
use crate::session;

/// A connection on which both sides know each other.
pub type TlsStream = tokio_rustls::TlsStream<TcpStream>;

/// Who this node is, and how it proves that.
pub struct Identity {
    files: Files,
    name: NodeName,
    in_force: ArcSwap<InForce>,
    /// Held while files are read: of two readings the later one must win.
    reading: Mutex<()>,
}

/// All that a handshake needs, replaced as one.
struct InForce {
    credentials: Credentials,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl InForce {
    fn new(credentials: Credentials) -> Result<Self, TlsError> {
        let acceptor = session::acceptor(&credentials)?;
        let connector = session::connector(&credentials)?;
        Ok(Self { credentials, acceptor, connector })
    }
}

impl Identity {
    /// Reads the files; blocks on the disk.
    ///
    /// # Errors
    /// Which file is wrong and what of it: unreadable, not whole, a key that is not the
    /// certificate's, a certificate that no CA of the CA file verifies now as client and as server,
    /// or one that does not name one node.
    pub fn load(files: Files) -> Result<Arc<Self>, TlsError> {
        let credentials = Credentials::read(&files)?;
        let name = credentials.name.clone();
        let in_force = ArcSwap::from_pointee(InForce::new(credentials)?);
        Ok(Arc::new(Self { files, name, in_force, reading: Mutex::new(()) }))
    }

    /// Who this node is.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The end of the validity of the certificate in force, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.in_force.load().credentials.expires_at
    }

    /// The end of the last of the authorities in force, in seconds since 1970.
    #[must_use]
    pub fn authorities_expire_at(&self) -> u64 {
        self.in_force.load().credentials.authorities_expire_at
    }

    /// Reads the files again; blocks on the disk. True if something is different and in force now.
    ///
    /// # Errors
    /// As for [`Identity::load`], or a certificate of another node than this. What was in force
    /// stays in force.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let _reading = self.reading.lock();
        let credentials = Credentials::read(&self.files)?;
        if credentials.name != self.name {
            return Err(TlsError::File {
                role: "certificate",
                path: self.files.certificate.clone(),
                problem: format!("it is for {}, and this node is {}", credentials.name, self.name),
                next: "put this node's own there; to make it another node, start it anew",
            });
        }
        if credentials.is_same(&self.in_force.load().credentials) {
            return Ok(false);
        }
        self.in_force.store(Arc::new(InForce::new(credentials)?));
        Ok(true)
    }

    /// The server's side of a new connection: the other must prove within the given time that it
    /// is a node of this cluster. Says which.
    ///
    /// # Errors
    /// No agreement: no certificate, one of another authority or cluster, one that has ended, a
    /// side that does not speak TLS 1.3 and HTTP/2, a connection that broke or took too long.
    pub async fn accept(
        &self,
        tcp: TcpStream,
        within: Duration,
    ) -> Result<(TlsStream, NodeName), TlsError> {
        let peer = address_of(&tcp);
        let acceptor = self.in_force.load().acceptor.clone();
        let stream = in_time(&peer, within, acceptor.accept(tcp)).await?;
        let name = agreed(stream.get_ref().1).map_err(|fault| TlsError::handshake(peer, fault))?;
        Ok((stream.into(), name))
    }

    /// The client's side of a new connection: the other must prove within the given time that it
    /// is exactly that node.
    ///
    /// With TLS 1.3 a client is done before the server has seen its certificate. If the server
    /// refuses this node, the first read from the stream says so.
    ///
    /// # Errors
    /// As for [`Identity::accept`], or another node than the one wanted.
    pub async fn connect(
        &self,
        tcp: TcpStream,
        to: &NodeName,
        within: Duration,
    ) -> Result<TlsStream, TlsError> {
        if to.cluster_id() != self.name.cluster_id() {
            return Err(TlsError::OtherCluster { to: to.clone(), own: self.name.clone() });
        }
        let peer = format!("{to} at {}", address_of(&tcp));
        let server = ServerName::try_from(to.to_string())
            .map_err(|error| TlsError::Unusable(error.to_string()))?;
        let connector = self.in_force.load().connector.clone();
        let stream = in_time(&peer, within, connector.connect(server, tcp)).await?;
        match agreed(stream.get_ref().1) {
            Ok(name) if name == *to => Ok(stream.into()),
            Ok(name) => {
                let fault = Fault::of_name(format!("its certificate is for another: {name}"));
                Err(TlsError::handshake(peer, fault))
            }
            Err(fault) => Err(TlsError::handshake(peer, fault)),
        }
    }
}

async fn in_time<T>(
    peer: &str,
    within: Duration,
    handshake: impl Future<Output = io::Result<T>>,
) -> Result<T, TlsError> {
    match timeout(within, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(TlsError::handshake(peer.to_owned(), Fault::of_handshake(&error))),
        Err(_) => Err(TlsError::TimedOut { peer: peer.to_owned(), within }),
    }
}

/// What TLS itself leaves open after a handshake: both must speak HTTP/2 (a side that names no
/// protocol is let through by TLS), and the other's certificate must name one node, not a pattern.
fn agreed(session: &CommonState) -> Result<NodeName, Fault> {
    if session.alpn_protocol() != Some(session::ALPN) {
        return Err(Fault::without_h2());
    }
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    let certificate =
        certificate.ok_or_else(|| Fault::of_name("it showed no certificate".into()))?;
    node_of(certificate).map_err(|problem| Fault::of_name(format!("its certificate {problem}")))
}

fn address_of(tcp: &TcpStream) -> String {
    tcp.peer_addr().map_or_else(|_| "a closed connection".into(), |address| address.to_string())
}
