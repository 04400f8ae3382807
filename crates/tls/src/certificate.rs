//! What is read from a certificate: the node it names, when it ends, whether it is an authority's.
//!
//! Nothing here says that a certificate is to be believed: that is verified elsewhere, and first.
//! Invariant: a certificate gives a node's name only if it names one node, in our one spelling, and
//! nothing else in the domain of nodes, so no certificate stands for two nodes or for a pattern.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use crate::name::{NodeName, is_in_domain};

/// The parts of a certificate that we use.
pub(crate) struct Contents {
    /// DNS names in the domain of nodes, as they are spelled.
    node_names: Vec<String>,
    /// It may sign others.
    pub(crate) is_authority: bool,
    /// The end of its validity, in seconds since 1970.
    pub(crate) ends_at: u64,
    /// Its public key, with its algorithm.
    pub(crate) public_key: Vec<u8>,
}

impl Contents {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What is malformed.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let malformed = || "is malformed".to_owned();
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| malformed())?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        let mut node_names = Vec::new();
        let names = parsed.subject_alternative_name().map_err(|_| malformed())?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) if is_in_domain(name) => {
                    node_names.push((*name).to_owned());
                }
                GeneralName::Invalid(..) => return Err(malformed()),
                _ => {}
            }
        }
        Ok(Self {
            node_names,
            is_authority: parsed.is_ca(),
            ends_at: parsed.validity().not_after.timestamp().try_into().unwrap_or(0),
            public_key: parsed.public_key().raw.to_vec(),
        })
    }

    /// The node that the certificate is for.
    ///
    /// # Errors
    /// None is named, or more than one, or one in another spelling.
    pub(crate) fn node(&self) -> Result<NodeName, String> {
        match self.node_names.as_slice() {
            [] => Err("names no node".into()),
            [name] => name.parse().map_err(|_| format!("is for {name}, which is no node's name")),
            [first, second, ..] => Err(format!("names more than one node: {first}, {second}")),
        }
    }
}

/// The node that a certificate is for. The certificate has been verified already.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn node_of(certificate: &CertificateDer<'_>) -> Result<NodeName, String> {
    Contents::read(certificate)?.node()
}

/// A time as people read it.
pub(crate) fn shown(unix_s: u64) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|time| ASN1Time::from_timestamp(time).ok());
    let text = time.and_then(|time| time.to_rfc2822().ok());
    text.unwrap_or_else(|| format!("second {unix_s} of unix time"))
}
