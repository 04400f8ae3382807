//! What can go wrong, in one line each: what it was, why, and what to do next.
//!
//! Invariant: the same fault of a file gives the same line each time it is found, so that it can be
//! told from a new one; no line holds anything of a key.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error};

use crate::certificate::shown;
use crate::name::NodeName;

/// Why there is no identity, or no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used. What was in force stays in force.
    #[error("{role} file {}: {problem}; {next}", path.display())]
    File {
        /// What the file is for.
        role: &'static str,
        /// As configured.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        next: &'static str,
    },
    /// The identity cannot be used with this build. Should not happen.
    #[error("no TLS on this node: {0}; report it")]
    Unusable(String),
    /// The other node is of another cluster, so it was not even greeted.
    #[error("{to} is of another cluster than this node, {own}; correct the address or the id")]
    OtherCluster {
        /// Who was to be reached.
        to: NodeName,
        /// Who this node is.
        own: NodeName,
    },
    /// One of the two sides refused the other.
    #[error("no TLS with {peer}: {problem}; {next}")]
    Handshake {
        /// The other's address, and its name if it was expected.
        peer: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        next: &'static str,
    },
    /// The handshake took too long.
    #[error("no TLS with {peer}: not agreed on within {} ms; try again", within.as_millis())]
    TimedOut {
        /// The other's address, and its name if it was expected.
        peer: String,
        /// The limit.
        within: Duration,
    },
}

impl TlsError {
    pub(crate) fn handshake(peer: String, fault: Fault) -> Self {
        Self::Handshake { peer, problem: fault.problem, next: fault.next }
    }
}

/// Why a client's certificate is refused that an authority verified. Travels through rustls.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotOurs(pub(crate) String);

/// What is wrong and what to do, without where.
pub(crate) struct Fault {
    pub(crate) problem: String,
    pub(crate) next: &'static str,
}

impl Fault {
    pub(crate) fn new(problem: impl Into<String>, next: &'static str) -> Self {
        Self { problem: problem.into(), next }
    }

    /// What ended a handshake.
    pub(crate) fn of_handshake(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            Some(error) => Self::of_tls(error),
            None => Self::new(
                format!("the connection broke ({error})"),
                "if it stays so, the log of the other side says why",
            ),
        }
    }

    fn of_tls(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => {
                Self::new("it showed no certificate", "only nodes of this cluster are let in")
            }
            Error::InvalidCertificate(error) => {
                let Self { problem, next } = Self::of_certificate(error);
                Self::new(format!("its certificate {problem}"), next)
            }
            Error::AlertReceived(AlertDescription::NoApplicationProtocol)
            | Error::NoApplicationProtocol => Self::without_h2(),
            Error::AlertReceived(alert) => {
                Self::new(format!("it refused with {alert:?}"), "its log says why")
            }
            Error::PeerIncompatible(_) => Self::new(
                format!("the two sides have nothing in common ({error})"),
                "nodes speak TLS 1.3",
            ),
            Error::InvalidMessage(_) => {
                Self::new("what it sent is not TLS", "nodes speak TLS 1.3 on this port")
            }
            other => Self::new(other.to_string(), "the log of the other side may say why"),
        }
    }

    /// What is wrong with a certificate, as the rest of a sentence that begins with it.
    pub(crate) fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::ExpiredContext { not_after, .. } => Self::new(
                format!("ended on {}", shown(not_after.as_secs())),
                "renew it, and compare the clocks",
            ),
            CertificateError::NotValidYetContext { not_before, .. } => Self::new(
                format!("begins on {}", shown(not_before.as_secs())),
                "compare the clocks",
            ),
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::new(
                "is signed by no CA in force here",
                "its CA must stand in the CA file of this node",
            ),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::new(
                    "is not for both sides of a connection",
                    "its extended key usage needs serverAuth and clientAuth",
                )
            }
            CertificateError::NotValidForNameContext { presented, .. } => Self::new(
                format!("is for another: {}", plain(presented)),
                "correct the address or the id of the node",
            ),
            CertificateError::Other(error) => match error.0.downcast_ref::<NotOurs>() {
                Some(NotOurs(problem)) => Self::of_name(problem.clone()),
                None => Self::new(format!("is refused ({})", error.0), "issue another"),
            },
            other => Self::new(format!("is refused ({other})"), "issue another"),
        }
    }

    /// A certificate that is good and names the wrong node, or none.
    pub(crate) fn of_name(problem: String) -> Self {
        Self::new(problem, "a node's certificate is for one node-<id>.<cluster id>.qgate.internal")
    }

    pub(crate) fn without_h2() -> Self {
        Self::new("it does not speak HTTP/2", "only nodes are served on this port")
    }
}

/// Names without the words that TLS puts around them.
fn plain(names: &[String]) -> String {
    let name = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    names.iter().map(name).collect::<Vec<_>>().join(", ")
}
