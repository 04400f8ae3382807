//! The development authority: what it issues is believed, what it must not issue it refuses.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tls::NodeName;
use tls::authority::{AUTHORITY_DAYS, Authority, AuthorityError, NODE_DAYS_MAX};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::place::{CLUSTER, Place, agree, identity, node, odd_authority};

#[tokio::test]
async fn an_authority_read_again_is_the_same() {
    let first = Authority::make("Quorum Gate Entwicklung Ä").unwrap();
    let again = Authority::load(first.certificate_pem(), &first.key_pem()).unwrap();
    assert_eq!(again.certificate_pem(), first.certificate_pem());
    assert_eq!(again.key_pem(), first.key_pem());
    let (_one, one) = identity(&first, &node(1));
    let (_two, two) = identity(&again, &node(2));
    agree(&one, &two).await;
    agree(&two, &one).await;
}

#[test]
fn certificates_say_what_they_are_for() {
    let authority = Authority::make("Test").unwrap();
    let der = der(authority.certificate_pem());
    let ca = X509Certificate::from_der(&der).unwrap().1;
    let constraints = ca.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    assert_eq!(days(&ca), i64::from(AUTHORITY_DAYS));

    let extra = ["gate-1.example".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let name = NodeName::new(CLUSTER, u64::MAX).unwrap();
    let pair = authority.issue(&name, &extra, 7).unwrap();
    let der = self::der(&pair.certificate_pem);
    let leaf = X509Certificate::from_der(&der).unwrap().1;
    assert!(!leaf.is_ca());
    assert_eq!(days(&leaf), 7);
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth && !usage.any && !usage.code_signing);
    let names = leaf.subject_alternative_name().unwrap().unwrap().value;
    assert_eq!(names.general_names.len(), 4);
    let place = Place::new(authority.certificate_pem(), &pair);
    let identity = place.load();
    assert_eq!(*identity.name(), name);
    let end = u64::try_from(leaf.validity().not_after.timestamp()).unwrap();
    assert_eq!(identity.expires_at(), end);
    // The key is a secret.
    assert!(!format!("{pair:?}").contains("PRIVATE"), "{pair:?}");
}

#[test]
fn what_must_not_be_issued_is_refused() {
    let authority = Authority::make("Test").unwrap();
    let issue = |extra: &str, days| {
        let extra: Vec<_> = extra.split_whitespace().map(str::to_owned).collect();
        authority.issue(&node(1), &extra, days).map(drop)
    };
    assert_eq!(issue("localhost 10.0.0.1", NODE_DAYS_MAX), Ok(()));
    for days in [0, NODE_DAYS_MAX + 1, u32::MAX] {
        assert_eq!(issue("", days), Err(AuthorityError::Days(days)));
    }
    let sibling = node(2).to_string();
    let sibling = sibling.as_str();
    for name in [sibling, "*.qgate.internal", "x.QGATE.internal.", "*.example", "a/b", "ä"] {
        assert_eq!(issue(name, 1), Err(AuthorityError::ExtraName(name.to_owned())));
    }
    for name in ["", "a\nb", &"a".repeat(65)] {
        assert_eq!(Authority::make(name).err(), Some(AuthorityError::CommonName), "{name:?}");
    }
}

#[test]
fn what_is_no_authority_is_not_loaded() {
    let (one, two) = (Authority::make("Test").unwrap(), Authority::make("Test").unwrap());
    let leaf = one.issue(&node(1), &[], 30).unwrap();
    let (ended_pem, ended_key) = odd_authority((-10, -1));
    let (brief_pem, brief_key) = odd_authority((-10, 10));
    #[rustfmt::skip]
    let cases: [(&str, &str, &str); 6] = [
        (one.certificate_pem(), &two.key_pem(), "the CA key is not that of the CA certificate"),
        (&leaf.certificate_pem, &leaf.key_pem,  "the CA certificate is no authority's"),
        (&ended_pem,            &ended_key,     "the CA certificate ended on"),
        ("",                    &one.key_pem(), "the CA certificate is no PEM"),
        (one.certificate_pem(), "",             "the CA key is no PKCS #8 key in PEM"),
        (one.certificate_pem(), one.certificate_pem(), "the CA key is no PKCS #8 key in PEM"),
    ];
    for (certificate, key, expected) in cases {
        let error = Authority::load(certificate, key).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let brief = Authority::load(&brief_pem, &brief_key).unwrap();
    assert!(brief.issue(&node(1), &[], 9).is_ok());
    let error = brief.issue(&node(1), &[], 11).unwrap_err().to_string();
    assert!(error.ends_with("ask for fewer days"), "{error}");
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Without the hour before the present.
fn days(certificate: &X509Certificate<'_>) -> i64 {
    let validity = certificate.validity();
    (validity.not_after.timestamp() - validity.not_before.timestamp()) / (24 * 60 * 60)
}
