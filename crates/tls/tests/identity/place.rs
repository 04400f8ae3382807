//! What the cases need: authorities, files, sockets, and sides of a connection that misbehave.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tls::authority::{Authority, CertificateAndKey};
use tls::{Files, Identity, NodeName, TlsError, TlsStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub(crate) const CLUSTER: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const OTHER_CLUSTER: &str = "ffffffffffffffffffffffffffffffff";

/// Nothing takes that long; a test that hangs ends.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);

pub(crate) fn node(number: u64) -> NodeName {
    NodeName::new(CLUSTER, number).unwrap()
}

/// The files of one node.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new(ca: &str, pair: &CertificateAndKey) -> Self {
        let place = Self(TempDir::new().unwrap());
        place.write("ca.pem", ca);
        place.write_pair(pair);
        place
    }

    pub(crate) fn write_pair(&self, pair: &CertificateAndKey) {
        self.write("node.pem", &pair.certificate_pem);
        self.write("node.key", &pair.key_pem);
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn files(&self) -> Files {
        let path = |name| self.path(name);
        Files { ca: path("ca.pem"), certificate: path("node.pem"), key: path("node.key") }
    }

    pub(crate) fn load(&self) -> Arc<Identity> {
        Identity::load(self.files()).unwrap()
    }
}

/// A place for a node with a certificate of that authority, and the identity in it.
pub(crate) fn identity(authority: &Authority, name: &NodeName) -> (Place, Arc<Identity>) {
    let pair = authority.issue(name, &[], 30).unwrap();
    let place = Place::new(authority.certificate_pem(), &pair);
    let identity = place.load();
    (place, identity)
}

/// Both ends of a connection on this machine: the accepting one first.
pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
    (accepted.unwrap().0, connected.unwrap())
}

/// A handshake of two identities: what the server and what the client came to.
pub(crate) async fn meet(
    server: &Identity,
    client: &Identity,
    wanted: &NodeName,
) -> (Result<(TlsStream, NodeName), TlsError>, Result<TlsStream, TlsError>) {
    let (accepted, connected) = sockets().await;
    tokio::join!(server.accept(accepted, WITHIN), client.connect(connected, wanted, WITHIN))
}

/// Both sides know each other.
pub(crate) async fn agree(server: &Identity, client: &Identity) -> (TlsStream, TlsStream) {
    let (accepted, connected) = meet(server, client, server.name()).await;
    let (accepted, who) = accepted.unwrap();
    assert_eq!(who, *client.name());
    (accepted, connected.unwrap())
}

/// The certificate that the other side showed.
pub(crate) fn shown(stream: &TlsStream) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

pub(crate) fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A certificate that [`Authority::issue`] would not make.
pub(crate) struct Odd {
    pub(crate) names: Vec<String>,
    /// From and to, in days from now.
    pub(crate) valid_days: (i64, i64),
    pub(crate) usages: Vec<ExtendedKeyUsagePurpose>,
}

impl Odd {
    /// Like a good one, for these names.
    pub(crate) fn named(names: &[&str]) -> Self {
        let names = names.iter().map(|name| name.replace("CLUSTER", CLUSTER)).collect();
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Self { names, valid_days: (-1, 1), usages }
    }

    pub(crate) fn of(name: &NodeName) -> Self {
        Self::named(&[&name.to_string()])
    }

    pub(crate) fn valid(mut self, from: i64, to: i64) -> Self {
        self.valid_days = (from, to);
        self
    }

    pub(crate) fn only(mut self, usage: ExtendedKeyUsagePurpose) -> Self {
        self.usages = vec![usage];
        self
    }

    pub(crate) fn signed_by(self, ca_pem: &str, ca_key_pem: &str) -> CertificateAndKey {
        let issuer =
            Issuer::from_ca_cert_pem(ca_pem, KeyPair::from_pem(ca_key_pem).unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = self.parameters().signed_by(&key, &issuer).unwrap();
        CertificateAndKey { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }

    pub(crate) fn by(self, authority: &Authority) -> CertificateAndKey {
        self.signed_by(authority.certificate_pem(), &authority.key_pem())
    }

    fn parameters(self) -> CertificateParams {
        let mut parameters = CertificateParams::new(self.names).unwrap();
        parameters.extended_key_usages = self.usages;
        set_validity(&mut parameters, self.valid_days);
        parameters
    }
}

/// An authority's certificate and key, valid from and to, in days from now.
pub(crate) fn odd_authority(valid_days: (i64, i64)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    set_validity(&mut parameters, valid_days);
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn set_validity(parameters: &mut CertificateParams, (from, to): (i64, i64)) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let at = |days: i64| {
        let unix_s = now.checked_add_signed(days * 24 * 60 * 60).unwrap();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_s)
    };
    (parameters.not_before, parameters.not_after) = (at(from), at(to));
}

/// A client that is no node of ours, or not quite.
pub(crate) fn raw_client(
    ca_pem: &str,
    shows: Option<&CertificateAndKey>,
    protocols: &[&str],
    version: &'static SupportedProtocolVersion,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(der(ca_pem)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shows {
        Some(pair) => config.with_client_auth_cert(chain(pair), key(pair)).unwrap(),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = bytes(protocols);
    TlsConnector::from(Arc::new(config))
}

/// A server that is no node of ours, or not quite, and takes any client.
pub(crate) fn raw_server(pair: &CertificateAndKey, protocols: &[&str]) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain(pair), key(pair))
        .unwrap();
    config.alpn_protocols = bytes(protocols);
    TlsAcceptor::from(Arc::new(config))
}

pub(crate) fn server_name(name: &NodeName) -> ServerName<'static> {
    ServerName::try_from(name.to_string()).unwrap()
}

fn chain(pair: &CertificateAndKey) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_slice_iter(pair.certificate_pem.as_bytes());
    all.collect::<Result<_, _>>().unwrap()
}

fn key(pair: &CertificateAndKey) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap()
}

fn bytes(protocols: &[&str]) -> Vec<Vec<u8>> {
    protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
}
