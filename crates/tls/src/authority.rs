//! A certificate authority for development: makes itself, and issues the certificates of nodes.
//!
//! Text in, text out: the caller keeps the files. Who has an authority already gives each node a
//! certificate of that one, with the name of the node among its DNS names.
//! Invariant: an authority signs nodes only, no further authorities, and nothing outlives it.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::certificate::{Contents, shown};
use crate::name::{NodeName, is_in_domain};

/// How long an authority is valid, in days.
pub const AUTHORITY_DAYS: u32 = 3650;

/// How long a node's certificate may be valid, in days.
pub const NODE_DAYS_MAX: u32 = 825;

/// Characters of an authority's name, as X.520 limits them.
const COMMON_NAME_CHARS_MAX: usize = 64;

const DAY_S: u64 = 24 * 60 * 60;

/// Validity begins this long before the present, for nodes whose clocks are behind.
const CLOCK_DIFFERENCE_S: u64 = 60 * 60;

/// An authority with its key.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    ends_at: u64,
}

/// What a node needs beside the authority's certificate. Its debug form hides the key.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateAndKey {
    /// For the certificate file.
    pub certificate_pem: String,
    /// For the key file: a secret.
    pub key_pem: String,
}

/// Why there is no authority, or no certificate of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The name of the authority cannot be used.
    #[error("an authority's name has 1 to 64 characters, none of them a control character")]
    CommonName,
    /// The certificate is none of an authority.
    #[error("the CA certificate {0}; give the certificate of the authority, in PEM")]
    Certificate(String),
    /// The key cannot be read.
    #[error("the CA key is no PKCS #8 key in PEM ({0}); convert it with `openssl pkcs8 -topk8`")]
    Key(String),
    /// The key is another's.
    #[error("the CA key is not that of the CA certificate; give both of one authority")]
    Mismatch,
    /// An additional name cannot stand in the certificate.
    #[error("`{0}` can be no further name of a node; give DNS names and IP addresses")]
    ExtraName(String),
    /// The validity is out of bounds.
    #[error("a node's certificate is valid for 1 to {NODE_DAYS_MAX} days, not {0}")]
    Days(u32),
    /// The certificate would be of no use after the authority's end.
    #[error("the authority ends on {0}, before the certificate would; ask for fewer days")]
    Outlives(String),
    /// The clock, the source of randomness or the algorithm failed.
    #[error("no certificate was made: {0}; try again")]
    Failed(String),
}

impl Authority {
    /// A new authority with a new key, valid for ten years.
    ///
    /// # Errors
    /// A name that cannot be used.
    pub fn make(common_name: &str) -> Result<Self, AuthorityError> {
        let chars = common_name.chars().count();
        if !(1..=COMMON_NAME_CHARS_MAX).contains(&chars) || common_name.contains(char::is_control) {
            return Err(AuthorityError::CommonName);
        }
        let mut parameters = parameters(common_name, AUTHORITY_DAYS)?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = parameters.self_signed(&key).map_err(failed)?;
        let contents = Contents::read(certificate.der()).map_err(AuthorityError::Certificate)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(parameters, key),
            ends_at: contents.ends_at,
        })
    }

    /// An authority that was made before.
    ///
    /// # Errors
    /// A certificate that is malformed, no authority's or has ended; a key that is malformed or
    /// another's.
    pub fn load(ca_certificate_pem: &str, ca_key_pem: &str) -> Result<Self, AuthorityError> {
        let bad = AuthorityError::Certificate;
        let certificate = CertificateDer::from_pem_slice(ca_certificate_pem.as_bytes())
            .map_err(|error| bad(format!("is no PEM ({error})")))?;
        let contents = Contents::read(&certificate).map_err(bad)?;
        if !contents.is_authority {
            return Err(bad("is no authority's".into()));
        }
        if contents.ends_at < now_s()? {
            return Err(bad(format!("ended on {}", shown(contents.ends_at))));
        }
        let key = KeyPair::from_pem(ca_key_pem)
            .map_err(|error| AuthorityError::Key(error.to_string()))?;
        if key.subject_public_key_info() != contents.public_key {
            return Err(AuthorityError::Mismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| bad(format!("cannot be used ({error})")))?;
        let certificate_pem = ca_certificate_pem.to_owned();
        Ok(Self { certificate_pem, issuer, ends_at: contents.ends_at })
    }

    /// A certificate with a new key for a node, from an hour ago on. Additional names are DNS names
    /// and IP addresses, for tools that connect by those.
    ///
    /// # Errors
    /// An additional name that is malformed or names a node, days out of bounds, or an end after
    /// that of the authority.
    pub fn issue(
        &self,
        node: &NodeName,
        extra_names: &[String],
        valid_days: u32,
    ) -> Result<CertificateAndKey, AuthorityError> {
        if !(1..=NODE_DAYS_MAX).contains(&valid_days) {
            return Err(AuthorityError::Days(valid_days));
        }
        if now_s()? + u64::from(valid_days) * DAY_S > self.ends_at {
            return Err(AuthorityError::Outlives(shown(self.ends_at)));
        }
        for name in extra_names {
            if is_in_domain(name) || ServerName::try_from(name.as_str()).is_err() {
                return Err(AuthorityError::ExtraName(name.clone()));
            }
        }
        let mut names = vec![node.to_string()];
        names.extend_from_slice(extra_names);
        let named = CertificateParams::new(names).map_err(failed)?;
        // The full name is longer than a common name may be.
        let mut parameters = parameters(&format!("node-{}", node.node()), valid_days)?;
        parameters.subject_alt_names = named.subject_alt_names;
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(failed)?;
        let key_pem = key.serialize_pem();
        Ok(CertificateAndKey { certificate_pem: certificate.pem(), key_pem })
    }

    /// The authority's certificate, for the CA file of every node.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's key: a secret that no node needs.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

impl fmt::Debug for CertificateAndKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("CertificateAndKey");
        shown.field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// What all certificates have in common: a name and a time.
fn parameters(common_name: &str, valid_days: u32) -> Result<CertificateParams, AuthorityError> {
    let now = now_s()?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters.not_before = epoch + Duration::from_secs(now.saturating_sub(CLOCK_DIFFERENCE_S));
    parameters.not_after = epoch + Duration::from_secs(now + u64::from(valid_days) * DAY_S);
    Ok(parameters)
}

fn now_s() -> Result<u64, AuthorityError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map(|now| now.as_secs()).map_err(|_| AuthorityError::Failed("it is before 1970".into()))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: rcgen::Error) -> AuthorityError {
    AuthorityError::Failed(error.to_string())
}
