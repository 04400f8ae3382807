//! Loading and replacing: what comes into force, what does not, and what is said of it.

use std::fs;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use tls::authority::{Authority, CertificateAndKey};
use tls::{Identity, NodeName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::place::{
    OTHER_CLUSTER, Odd, Place, agree, der, identity, meet, node, odd_authority, shown,
};

#[tokio::test]
async fn a_new_certificate_comes_into_force_and_connections_go_on() {
    let authority = Authority::make("Test").unwrap();
    let (place, one) = identity(&authority, &node(1));
    let (_two, two) = identity(&authority, &node(2));
    assert_eq!(one.reload(), Ok(false));
    let (mut accepted, mut connected) = agree(&one, &two).await;
    let old = shown(&connected);
    let old_end = one.expires_at();

    let pair = authority.issue(&node(1), &[], 60).unwrap();
    place.write_pair(&pair);
    // Nothing happens before it is asked for.
    assert_eq!(shown(&agree(&one, &two).await.1), old);
    assert_eq!(one.reload(), Ok(true));
    assert_eq!(one.reload(), Ok(false));
    assert!(one.expires_at() > old_end + 29 * 24 * 60 * 60);

    // As server and as client.
    assert_eq!(shown(&agree(&one, &two).await.1), der(&pair.certificate_pem));
    assert_eq!(shown(&agree(&two, &one).await.0), der(&pair.certificate_pem));
    connected.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    accepted.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");
}

#[tokio::test]
async fn an_authority_is_replaced_with_an_overlap() {
    // Successive authorities often have the same name; only the keys differ.
    let (old, new) = (Authority::make("Test").unwrap(), Authority::make("Test").unwrap());
    let both = format!("{}{}", old.certificate_pem(), new.certificate_pem());
    let (one_place, one) = identity(&old, &node(1));
    let (two_place, two) = identity(&old, &node(2));
    let (_three_place, three) = identity(&old, &node(3));

    // First everybody believes both.
    for (place, identity) in [(&one_place, &one), (&two_place, &two)] {
        place.write("ca.pem", &both);
        assert_eq!(identity.reload(), Ok(true));
    }
    agree(&one, &two).await;
    // Then one after the other shows a certificate of the new one.
    for (place, identity) in [(&one_place, &one), (&two_place, &two)] {
        place.write_pair(&new.issue(identity.name(), &[], 30).unwrap());
        assert_eq!(identity.reload(), Ok(true));
        agree(&one, &two).await;
        agree(&two, &one).await;
    }
    // Node 3 was forgotten: it is believed as long as the old one is, and does not believe.
    let (accepted, connected) = meet(&three, &one, &node(3)).await;
    assert!(accepted.is_err() && connected.is_ok());
    let (_accepted, connected) = meet(&one, &three, &node(1)).await;
    assert!(connected.is_err());

    // Last the old one goes.
    for (place, identity) in [(&one_place, &one), (&two_place, &two)] {
        place.write("ca.pem", new.certificate_pem());
        assert_eq!(identity.reload(), Ok(true));
    }
    agree(&one, &two).await;
    let (_, connected) = meet(&three, &one, &node(3)).await;
    let error = connected.err().unwrap().to_string();
    assert!(error.contains("signed by no CA in force here"), "{error}");
    // Even if node 3 believes node 1 now, node 1 does not believe it any more.
    let place = Place::new(&both, &old.issue(&node(3), &[], 30).unwrap());
    let (accepted, _) = meet(&one, &place.load(), &node(1)).await;
    let error = accepted.err().unwrap().to_string();
    assert!(error.contains("signed by no CA in force here"), "{error}");
}

/// What is done to the files of node 1, and what is said of it.
type Damage = (&'static str, fn(&Place, &Authority), &'static str);

const DAMAGES: &[Damage] = &[
    (
        "half a certificate",
        |place, _| halve(place, "node.pem"),
        "certificate file DIR/node.pem: not whole: a section has no end",
    ),
    (
        "half a key",
        |place, _| halve(place, "node.key"),
        "key file DIR/node.key: not whole: a section has no end",
    ),
    (
        "half a CA",
        |place, _| halve(place, "ca.pem"),
        "CA file DIR/ca.pem: not whole: a section has no end",
    ),
    (
        "empty certificate",
        |place, _| place.write("node.pem", ""),
        "certificate file DIR/node.pem: holds no certificate",
    ),
    (
        "empty key",
        |place, _| place.write("node.key", ""),
        "key file DIR/node.key: holds no private key",
    ),
    ("empty CA", |place, _| place.write("ca.pem", ""), "CA file DIR/ca.pem: holds no certificate"),
    (
        "no file",
        |place, _| fs::remove_file(place.path("node.key")).unwrap(),
        "key file DIR/node.key: cannot be read",
    ),
    (
        "long file",
        |place, _| place.write("ca.pem", &" ".repeat(1024 * 1024 + 1)),
        "CA file DIR/ca.pem: longer than 1 MiB",
    ),
    (
        "no DER",
        |place, _| place.write("node.pem", NO_DER),
        "certificate file DIR/node.pem: the certificate is malformed",
    ),
    (
        "no DER in the CA",
        |place, _| place.write("ca.pem", NO_DER),
        "CA file DIR/ca.pem: the certificate is malformed",
    ),
    (
        "new certificate, old key",
        |place, ca| place.write("node.pem", &good(ca).certificate_pem),
        "key file DIR/node.key: not the key of the certificate in DIR/node.pem",
    ),
    (
        "old certificate, new key",
        |place, ca| place.write("node.key", &good(ca).key_pem),
        "key file DIR/node.key: not the key of the certificate in DIR/node.pem",
    ),
    (
        "another authority",
        |place, _| place.write("ca.pem", Authority::make("Test").unwrap().certificate_pem()),
        "certificate file DIR/node.pem: the certificate is signed by no CA",
    ),
    (
        "an authority that ended",
        |place, _| ended_authority(place),
        "CA file DIR/ca.pem: every CA in it has ended",
    ),
    (
        "no authority",
        |place, ca| place.write("ca.pem", &good(ca).certificate_pem),
        "CA file DIR/ca.pem: holds a certificate that is no CA's",
    ),
    (
        "ended",
        |place, ca| place.write_pair(&Odd::of(&node(1)).valid(-2, -1).by(ca)),
        "certificate file DIR/node.pem: the certificate ended on",
    ),
    (
        "not begun",
        |place, ca| place.write_pair(&Odd::of(&node(1)).valid(1, 2).by(ca)),
        "certificate file DIR/node.pem: the certificate begins on",
    ),
    (
        "server only",
        |place, ca| place.write_pair(&Odd::of(&node(1)).only(ServerAuth).by(ca)),
        "certificate file DIR/node.pem: the certificate is not for both sides",
    ),
    (
        "client only",
        |place, ca| place.write_pair(&Odd::of(&node(1)).only(ClientAuth).by(ca)),
        "certificate file DIR/node.pem: the certificate is not for both sides",
    ),
    (
        "no node",
        |place, ca| place.write_pair(&Odd::named(&["localhost"]).by(ca)),
        "certificate file DIR/node.pem: the certificate names no node",
    ),
    (
        "a pattern",
        |place, ca| place.write_pair(&Odd::named(&["*.CLUSTER.qgate.internal"]).by(ca)),
        "certificate file DIR/node.pem: the certificate is for *.0123456789abcdef",
    ),
];

const NO_DER: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

#[tokio::test]
async fn files_that_do_not_fit_are_refused_and_the_old_ones_stay_in_force() {
    for (label, damage, expected) in DAMAGES {
        let authority = Authority::make("Test").unwrap();
        let (place, one) = identity(&authority, &node(1));
        let (_two, two) = identity(&authority, &node(2));
        let before = shown(&agree(&one, &two).await.1);
        let files = ["ca.pem", "node.pem", "node.key"].map(|name| place.path(name));
        let good = files.clone().map(|path| fs::read(path).unwrap());

        damage(&place, &authority);
        let expected =
            expected.replace("DIR", place.path("").to_str().unwrap().trim_end_matches('/'));
        let loaded = Identity::load(place.files()).err().unwrap();
        let reloaded = one.reload().unwrap_err();
        assert_eq!(loaded, reloaded, "{label}");
        let text = reloaded.to_string();
        assert!(text.starts_with(&expected), "{label}: {text}");
        assert!(text.contains("; ") && text.lines().count() == 1, "{label}: {text}");
        // The same fault is the same error, so that it is told once.
        assert_eq!(one.reload().unwrap_err(), reloaded, "{label}");
        assert_eq!(shown(&agree(&one, &two).await.1), before, "{label}");

        files.iter().zip(&good).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        assert_eq!(one.reload(), Ok(false), "{label}");
    }
}

#[tokio::test]
async fn a_node_does_not_become_another() {
    let authority = Authority::make("Test").unwrap();
    let elsewhere = NodeName::new(OTHER_CLUSTER, 1).unwrap();
    for other in [node(2), elsewhere] {
        let (place, one) = identity(&authority, &node(1));
        place.write_pair(&authority.issue(&other, &[], 30).unwrap());
        let error = one.reload().unwrap_err().to_string();
        let expected = format!("it is for {other}, and this node is {}", node(1));
        assert!(error.contains(&expected), "{error}");
        assert_eq!(*one.name(), node(1));
        let (_three, three) = identity(&authority, &node(3));
        agree(&one, &three).await;
        // A process that starts anew may.
        assert_eq!(*place.load().name(), other);
    }
}

/// An authority beside a good one is left out once it has ended: verification would not ask.
#[tokio::test]
async fn an_authority_that_ended_is_not_believed() {
    let authority = Authority::make("Test").unwrap();
    let (old_pem, old_key) = odd_authority((-10, -1));
    let both = format!("{}{old_pem}", authority.certificate_pem());
    let (place, one) = identity(&authority, &node(1));
    place.write("ca.pem", &both);
    assert_eq!(one.reload(), Ok(false));
    let old = Odd::of(&node(2)).signed_by(&old_pem, &old_key);
    let client = crate::place::raw_client(
        authority.certificate_pem(),
        Some(&old),
        &["h2"],
        &rustls::version::TLS13,
    );
    let (accepted, connected) = crate::place::sockets().await;
    let (accepted, _connected) = tokio::join!(
        one.accept(accepted, crate::place::WITHIN),
        client.connect(crate::place::server_name(&node(1)), connected),
    );
    let error = accepted.err().unwrap().to_string();
    assert!(error.contains("signed by no CA in force here"), "{error}");
}

fn good(authority: &Authority) -> CertificateAndKey {
    authority.issue(&node(1), &[], 30).unwrap()
}

fn halve(place: &Place, name: &str) {
    let text = fs::read_to_string(place.path(name)).unwrap();
    place.write(name, &text[..text.len() / 2]);
}

fn ended_authority(place: &Place) {
    let (pem, key) = odd_authority((-10, -1));
    place.write("ca.pem", &pem);
    place.write_pair(&Odd::of(&node(1)).signed_by(&pem, &key));
}
