//! Who is let in, who is believed, and who is not.

use std::io::ErrorKind;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use tls::NodeName;
use tls::TlsError;
use tls::authority::{Authority, CertificateAndKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream as ClientStream;

use crate::place::{
    OTHER_CLUSTER, Odd, WITHIN, agree, identity, meet, node, raw_client, raw_server, server_name,
    sockets,
};

const TWO_NODES: [&str; 2] = ["node-2.CLUSTER.qgate.internal", "node-3.CLUSTER.qgate.internal"];

#[tokio::test]
async fn two_nodes_know_each_other_and_talk() {
    let authority = Authority::make("Test").unwrap();
    let (_one, one) = identity(&authority, &node(1));
    let (_two, two) = identity(&authority, &node(2));
    let (mut accepted, mut connected) = agree(&one, &two).await;
    for stream in [&accepted, &connected] {
        let session = stream.get_ref().1;
        assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    }
    connected.write_all(b"ping").await.unwrap();
    let mut heard = [0; 4];
    accepted.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"ping");
}

/// A resumed session would spare a certificate its verification. Each side sees to it alone.
#[tokio::test]
async fn no_session_is_resumed() {
    let authority = Authority::make("Test").unwrap();
    let (_place, one) = identity(&authority, &node(1));
    let pair = authority.issue(&node(2), &[], 30).unwrap();
    let willing_client = raw_client(authority.certificate_pem(), Some(&pair), &["h2"], &TLS13);
    let willing_server = raw_server(&pair, &["h2"]);
    let (other, mut heard) = (node(2), [0; 1]);
    for round in 0..2 {
        let (accepted, connected) = sockets().await;
        let (accepted, connected) = tokio::join!(
            one.accept(accepted, WITHIN),
            willing_client.connect(server_name(&node(1)), connected),
        );
        let (mut accepted, mut connected) = (accepted.unwrap().0, connected.unwrap());
        let kind = connected.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Full), "server, round {round}");
        // What resumes a session comes before the first byte.
        accepted.write_all(b"x").await.unwrap();
        connected.read_exact(&mut heard).await.unwrap();

        let (accepted, connected) = sockets().await;
        let (accepted, connected) =
            tokio::join!(willing_server.accept(accepted), one.connect(connected, &other, WITHIN),);
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        let kind = connected.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Full), "client, round {round}");
        accepted.write_all(b"x").await.unwrap();
        connected.read_exact(&mut heard).await.unwrap();
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn clients_that_are_no_node_of_the_cluster_are_refused() {
    let ours = Authority::make("Test").unwrap();
    let stranger = Authority::make("Stranger").unwrap();
    // The same name with another key: an authority is its key.
    let namesake = Authority::make("Test").unwrap();
    let (_place, server) = identity(&ours, &node(1));
    let good = ours.issue(&node(2), &[], 30).unwrap();
    let below = signed_by_a_node(&ours);
    let elsewhere = NodeName::new(OTHER_CLUSTER, 2).unwrap();
    let h2: &[&str] = &["h2"];
    let like = || Odd::of(&node(2));
    let named = |names: &[&str]| Some(Odd::named(names).by(&ours));
    let cases = [
        // shows, speaks, in, and is told
        (Some(good.clone()),                         h2, &TLS13, None),
        (Some(like().by(&ours)),                     h2, &TLS13, None),
        (None,                                       h2, &TLS13, Some("it showed no certificate")),
        (Some(like().by(&stranger)),                 h2, &TLS13, Some("signed by no CA in force")),
        (Some(like().by(&namesake)),                 h2, &TLS13, Some("signed by no CA in force")),
        (Some(below),                                h2, &TLS13, Some("(EndEntityUsedAsCa)")),
        (Some(Odd::of(&elsewhere).by(&ours)),        h2, &TLS13, Some("is for another cluster: ")),
        (Some(like().valid(-2, -1).by(&ours)),       h2, &TLS13, Some("its certificate ended on")),
        (Some(like().valid(1, 2).by(&ours)),         h2, &TLS13, Some("its certificate begins")),
        (Some(like().only(ServerAuth).by(&ours)),    h2, &TLS13, Some("is not for both sides")),
        (named(&TWO_NODES),                          h2, &TLS13, Some("names more than one node")),
        (named(&["localhost"]),                      h2, &TLS13, Some("names no node")),
        (named(&["*.CLUSTER.qgate.internal"]),       h2, &TLS13, Some("which is no node's name")),
        (named(&["NODE-2.CLUSTER.qgate.internal"]),  h2, &TLS13, Some("which is no node's name")),
        (Some(good.clone()),              &["http/1.1"], &TLS13, Some("does not speak HTTP/2")),
        (Some(good.clone()),                        &[], &TLS13, Some("does not speak HTTP/2")),
        (Some(good),                                 h2, &TLS12, Some("nodes speak TLS 1.3")),
    ];
    for (number, (shows, speaks, version, expected)) in cases.into_iter().enumerate() {
        let client = raw_client(ours.certificate_pem(), shows.as_ref(), speaks, version);
        let (accepted, connected) = sockets().await;
        let at = connected.local_addr().unwrap();
        let (accepted, connected) = tokio::join!(
            server.accept(accepted, WITHIN),
            client.connect(server_name(&node(1)), connected),
        );
        match (accepted.map(|(_, who)| who), expected) {
            (Ok(who), None) => assert_eq!(who, node(2), "case {number}"),
            (Err(error), Some(expected)) => {
                let text = error.to_string();
                assert!(text.contains(expected), "case {number}: {text}");
                assert!(text.starts_with(&format!("no TLS with {at}: ")), "case {number}: {text}");
                assert_eq!(text.lines().count(), 1, "case {number}: {text}");
                // TLS lets one through that speaks of no protocol, and that one is just hung up on.
                let expected = if speaks.is_empty() { "end of stream" } else { "fatal alert" };
                let told = told(connected).await;
                assert!(told.contains(expected), "case {number}: {told}");
            }
            (other, _) => panic!("case {number}: {other:?}"),
        }
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn servers_that_are_not_the_node_wanted_are_refused() {
    let ours = Authority::make("Test").unwrap();
    let stranger = Authority::make("Stranger").unwrap();
    let (_place, client) = identity(&ours, &node(1));
    let (wanted, elsewhere) = (node(2), NodeName::new(OTHER_CLUSTER, 2).unwrap());
    let h2: &[&str] = &["h2"];
    let like = || Odd::of(&wanted);
    let named = |names: &[&str]| Odd::named(names).by(&ours);
    let cases = [
        // shows, speaks, and is told
        (like().by(&ours),                     h2,  None),
        (Odd::of(&node(3)).by(&ours),          h2,  Some("is for another: node-3.0")),
        (Odd::of(&elsewhere).by(&ours),        h2,  Some("is for another: node-2.f")),
        (named(&["localhost"]),                h2,  Some("is for another: localhost")),
        (like().by(&stranger),                 h2,  Some("is signed by no CA in force here")),
        (like().valid(-2, -1).by(&ours),       h2,  Some("its certificate ended on")),
        (like().only(ClientAuth).by(&ours),    h2,  Some("is not for both sides")),
        (named(&TWO_NODES),                    h2,  Some("names more than one node")),
        (named(&["*.CLUSTER.qgate.internal"]), h2,  Some("which is no node's name")),
        (like().by(&ours),                     &[], Some("does not speak HTTP/2")),
    ];
    for (number, (shows, speaks, expected)) in cases.into_iter().enumerate() {
        let server = raw_server(&shows, speaks);
        let (accepted, connected) = sockets().await;
        let (_accepted, connected) = tokio::join!(
            server.accept(accepted),
            client.connect(connected, &wanted, WITHIN),
        );
        match (connected, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                let text = error.to_string();
                assert!(text.contains(expected), "case {number}: {text}");
                let whom = format!("no TLS with {} at 127.0.0.1:", node(2));
                assert!(text.starts_with(&whom), "case {number}: {text}");
            }
            (other, _) => panic!("case {number}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_node_of_another_cluster_is_not_even_greeted() {
    let authority = Authority::make("Test").unwrap();
    let (_place, client) = identity(&authority, &node(1));
    let elsewhere = NodeName::new(OTHER_CLUSTER, 2).unwrap();
    let (mut accepted, connected) = sockets().await;
    let refused = client.connect(connected, &elsewhere, WITHIN).await;
    assert_eq!(refused.err(), Some(TlsError::OtherCluster { to: elsewhere, own: node(1) }));
    let mut heard = Vec::new();
    accepted.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"");
}

#[tokio::test]
async fn a_client_hears_at_its_first_read_that_it_is_refused() {
    let (ours, stranger) = (Authority::make("A").unwrap(), Authority::make("B").unwrap());
    let (_one, server) = identity(&ours, &node(1));
    let (place, _two) = identity(&stranger, &node(2));
    // The client believes the server; the server does not believe the client.
    place.write("ca.pem", &format!("{}{}", ours.certificate_pem(), stranger.certificate_pem()));
    let client = place.load();
    let (accepted, connected) = meet(&server, &client, &node(1)).await;
    assert!(accepted.is_err());
    let error = connected.unwrap().read(&mut [0; 1]).await.unwrap_err();
    assert!(error.to_string().contains("alert"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_silent_is_not_waited_for() {
    let authority = Authority::make("Test").unwrap();
    let (_place, identity) = identity(&authority, &node(1));
    let (accepted, connected) = sockets().await;
    let at = connected.local_addr().unwrap().to_string();
    let refused = identity.accept(accepted, WITHIN).await.err();
    assert_eq!(refused, Some(TlsError::TimedOut { peer: at, within: WITHIN }));
    let (accepted, connected) = sockets().await;
    let refused = identity.connect(connected, &node(2), WITHIN).await.err().unwrap().to_string();
    assert!(refused.ends_with(": not agreed on within 20000 ms; try again"), "{refused}");
    drop(accepted);
}

#[tokio::test]
async fn what_is_no_tls_is_refused() {
    let authority = Authority::make("Test").unwrap();
    let (_place, identity) = identity(&authority, &node(1));
    let (accepted, mut connected) = sockets().await;
    connected.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let error = identity.accept(accepted, WITHIN).await.err().unwrap().to_string();
    assert!(error.contains("what it sent is not TLS"), "{error}");
    let (accepted, connected) = sockets().await;
    drop(connected);
    let error = identity.accept(accepted, WITHIN).await.err().unwrap().to_string();
    assert!(error.contains("the connection broke"), "{error}");
}

/// A chain in which a node's certificate plays the authority.
fn signed_by_a_node(authority: &Authority) -> CertificateAndKey {
    let between = authority.issue(&node(2), &[], 30).unwrap();
    let mut pair = Odd::of(&node(3)).signed_by(&between.certificate_pem, &between.key_pem);
    pair.certificate_pem += &between.certificate_pem;
    pair
}

/// What the client was told, in the handshake or at the first read.
async fn told(connected: std::io::Result<ClientStream<TcpStream>>) -> String {
    match connected {
        Err(error) => error.to_string(),
        Ok(mut stream) => match stream.read(&mut [0; 1]).await {
            Ok(0) => "end of stream".into(),
            Ok(_) => "a byte".into(),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => "end of stream".into(),
            Err(error) => error.to_string(),
        },
    }
}
