//! The settings of both sides of a connection, in one place.
//!
//! The provider of the algorithms is named here rather than installed for the process, so that
//! nothing depends on who comes first. Sessions are never resumed: a resumed one would be spared
//! the verification, and an authority taken out of force must be out of force at once.
//! Invariant: neither side comes to an agreement without a certificate of a node of the cluster.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    RootCertStore, ServerConfig, SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::certificate::node_of;
use crate::credentials::Credentials;
use crate::error::{NotOurs, TlsError};

/// The protocol on top of TLS: gRPC speaks HTTP/2.
pub(crate) const ALPN: &[u8] = b"h2";

/// The algorithms.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Who verifies clients by these authorities.
pub(crate) fn client_verifier(
    roots: &Arc<RootCertStore>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider())
        .build()
        .map_err(|error| TlsError::Unusable(error.to_string()))
}

/// Who verifies servers by these authorities.
pub(crate) fn server_verifier(
    roots: &Arc<RootCertStore>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider())
        .build()
        .map_err(|error| TlsError::Unusable(error.to_string()))
}

/// The server's side.
pub(crate) fn acceptor(credentials: &Credentials) -> Result<TlsAcceptor, TlsError> {
    let verifier = NodesOnly {
        authorities: client_verifier(&credentials.roots)?,
        cluster_id: credentials.name.cluster_id().to_owned(),
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError::Unusable(error.to_string()))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(shown(&credentials.key)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The client's side.
pub(crate) fn connector(credentials: &Credentials) -> Result<TlsConnector, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError::Unusable(error.to_string()))?
        .with_webpki_verifier(server_verifier(&credentials.roots)?)
        .with_client_cert_resolver(Arc::new(shown(&credentials.key)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn shown(key: &Arc<CertifiedKey>) -> SingleCertAndKey {
    SingleCertAndKey::from(Arc::clone(key))
}

/// Lets in what the authorities verify and what then names a node of the cluster. Part of the
/// handshake, so that the other side is told by an alert.
#[derive(Debug)]
struct NodesOnly {
    authorities: Arc<dyn ClientCertVerifier>,
    cluster_id: String,
}

impl ClientCertVerifier for NodesOnly {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.authorities.verify_client_cert(end_entity, intermediates, now)?;
        let refused = |why| {
            let error = OtherError(Arc::new(NotOurs(why)));
            Error::InvalidCertificate(CertificateError::Other(error))
        };
        let name = node_of(end_entity).map_err(refused)?;
        if name.cluster_id() != self.cluster_id {
            return Err(refused(format!("is for another cluster: {name}")));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
