//! The files of an identity: read, bounded, and checked against each other as a whole.
//!
//! Files are read one after the other, so a reader may see a new one beside an old one, or half of
//! one. Whatever does not fit together is refused as a whole, and the next reading sees the rest.
//! Invariant: credentials exist only if the key is the certificate's, an authority in the CA file
//! verifies that certificate now for both sides of a connection, and it names one node.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};
use zeroize::Zeroizing;

use crate::certificate::Contents;
use crate::error::{Fault, TlsError};
use crate::name::NodeName;
use crate::session;

/// Bytes of a file; a hundred certificates are a tenth of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where an identity is kept, in PEM. Replace a file by renaming a complete one to its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The authorities that nodes are verified by: one, or an old and a new one while nodes
    /// change from one to the other.
    pub ca: PathBuf,
    /// The node's certificate, and after it those between it and the authority, if any.
    pub certificate: PathBuf,
    /// The private key of the node's certificate.
    pub key: PathBuf,
}

/// What the files held, checked.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// Those authorities of the CA file that have not ended.
    authorities: Vec<CertificateDer<'static>>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) name: NodeName,
    pub(crate) expires_at: u64,
    /// When the last of the authorities ends, in seconds since 1970.
    pub(crate) authorities_expire_at: u64,
}

impl Credentials {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// Which file is wrong, and what of it.
    pub(crate) fn read(files: &Files) -> Result<Self, TlsError> {
        let ca = Source { role: "CA", path: &files.ca };
        let certificate = Source { role: "certificate", path: &files.certificate };
        let key = Source { role: "key", path: &files.key };
        let now = UnixTime::now();

        let (authorities, authorities_expire_at) = authorities(&ca, now)?;
        let roots = Arc::new(roots(&ca, &authorities)?);
        let chain = certificates(&certificate)?;
        let (name, expires_at) = node(&certificate, &chain)?;
        verify(&certificate, &chain, &roots, &name, now)?;
        let key = Arc::new(key_of(&key, &certificate, chain)?);
        Ok(Self { authorities, roots, key, name, expires_at, authorities_expire_at })
    }

    /// Nothing is different. A key is the certificate's, so it need not be compared.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.authorities == other.authorities && self.key.cert == other.key.cert
    }
}

/// One of the files.
struct Source<'a> {
    role: &'static str,
    path: &'a Path,
}

impl Source<'_> {
    fn error(&self, problem: impl Into<String>, next: &'static str) -> TlsError {
        TlsError::File { role: self.role, path: self.path.into(), problem: problem.into(), next }
    }

    fn fault(&self, Fault { problem, next }: Fault) -> TlsError {
        self.error(format!("the certificate {problem}"), next)
    }

    /// Says what without showing any of it: it may be a key.
    fn pem(&self, error: &PemError) -> TlsError {
        let problem = match error {
            PemError::MissingSectionEnd { .. } => "not whole: a section has no end",
            PemError::IllegalSectionStart { .. } => "not PEM: a section begins wrongly",
            PemError::Base64Decode(_) => "not PEM: a section is not base64",
            _ => "not PEM",
        };
        self.error(problem, "write it again, as a whole")
    }

    /// The bytes of the file. They may be a key, so no copy stays behind.
    fn read(&self) -> Result<Zeroizing<Vec<u8>>, TlsError> {
        let unreadable =
            |error| self.error(format!("cannot be read ({error})"), "check its path and rights");
        let file = File::open(self.path).map_err(unreadable)?;
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(self.error("longer than 1 MiB", "keep only what this node needs"));
        }
        Ok(bytes)
    }
}

/// All certificates of a file; at least one.
fn certificates(source: &Source<'_>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = source.read()?;
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        found.push(certificate.map_err(|error| source.pem(&error))?);
    }
    if found.is_empty() {
        return Err(source.error("holds no certificate", "write it again, as a whole"));
    }
    Ok(found)
}

/// The authorities of the CA file that have not ended, and when the last of them does.
/// Verification itself asks no authority for its age, so one that has ended is left out here, at
/// the next reading.
fn authorities(
    source: &Source<'_>,
    now: UnixTime,
) -> Result<(Vec<CertificateDer<'static>>, u64), TlsError> {
    let (mut found, mut last_end) = (Vec::new(), 0);
    for certificate in certificates(source)? {
        let contents = Contents::read(&certificate)
            .map_err(|problem| source.fault(Fault::new(problem, "write it again")))?;
        if !contents.is_authority {
            return Err(source.error("holds a certificate that is no CA's", "take it out"));
        }
        if contents.ends_at >= now.as_secs() {
            found.push(certificate);
            last_end = contents.ends_at.max(last_end);
        }
    }
    if found.is_empty() {
        return Err(source.error("every CA in it has ended", "add the new one"));
    }
    Ok((found, last_end))
}

fn roots(
    source: &Source<'_>,
    authorities: &[CertificateDer<'static>],
) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| {
            source.error(format!("holds a CA that cannot be used ({error})"), "replace it")
        })?;
    }
    Ok(roots)
}

/// Who the first certificate is for, and when it ends.
fn node(
    source: &Source<'_>,
    chain: &[CertificateDer<'static>],
) -> Result<(NodeName, u64), TlsError> {
    let malformed = |problem| source.fault(Fault::new(problem, "issue another"));
    let leaf = chain.first().ok_or_else(|| malformed("is missing".to_owned()))?;
    let contents = Contents::read(leaf).map_err(malformed)?;
    let name = contents.node().map_err(|problem| source.fault(Fault::of_name(problem)))?;
    Ok((name, contents.ends_at))
}

/// Other nodes would accept the certificate now, as client and as server.
fn verify(
    source: &Source<'_>,
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    name: &NodeName,
    now: UnixTime,
) -> Result<(), TlsError> {
    let refused = |error: String| source.error(format!("refused ({error})"), "issue another");
    let (leaf, between) = chain.split_first().ok_or_else(|| refused("nothing in it".into()))?;
    let server = ServerName::try_from(name.to_string());
    let server = server.map_err(|error| refused(error.to_string()))?;
    let as_client = session::client_verifier(roots)?.verify_client_cert(leaf, between, now);
    let as_server =
        session::server_verifier(roots)?.verify_server_cert(leaf, between, &server, &[], now);
    match as_client.map(drop).and(as_server.map(drop)) {
        Ok(()) => Ok(()),
        Err(Error::InvalidCertificate(error)) => Err(source.fault(Fault::of_certificate(&error))),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// The key, if it is that of the first certificate.
fn key_of(
    source: &Source<'_>,
    certificate: &Source<'_>,
    chain: Vec<CertificateDer<'static>>,
) -> Result<CertifiedKey, TlsError> {
    let bytes = source.read()?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        PemError::NoItemsFound => {
            source.error("holds no private key", "write the key of the certificate there")
        }
        error => source.pem(&error),
    })?;
    let key = session::provider().key_provider.load_private_key(key).map_err(|error| {
        source.error(format!("not a key that can be used ({error})"), "use ECDSA, Ed25519 or RSA")
    })?;
    let key = CertifiedKey::new(chain, key);
    key.keys_match().map_err(|_| {
        let path = certificate.path.display();
        let problem = format!("not the key of the certificate in {path}");
        source.error(problem, "write both files of one pair")
    })?;
    Ok(key)
}
