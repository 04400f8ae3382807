//! The client against real sockets on loopback: what is sent, what is refused, what is known.
#![cfg(test)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outbound::{AddressRule, Client, NotSent, OutboundAnswer, OutboundRequest, Roots, SendError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use types::limits;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

fn client() -> Client {
    Client::new(AddressRule::new(&["127.0.0.0/8", "::1/128"]).unwrap(), Roots::none())
}

fn post(url: String) -> OutboundRequest {
    OutboundRequest {
        method: "POST".into(),
        url,
        headers: vec![("X-One".into(), "1".into())],
        body: "payload".into(),
        timeout: Duration::from_secs(20),
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Reads one request to the end of its body.
async fn request_of(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"payload") {
        if stream.read_buf(&mut bytes).await.unwrap() == 0 {
            break;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Answers one request with these bytes, then closes; gives the request as it came.
fn answering(listener: TcpListener, answer: Vec<u8>) -> JoinHandle<String> {
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = request_of(&mut stream).await;
        // The client may hang up within a long answer.
        let _ = stream.write_all(&answer).await;
        request
    })
}

async fn answered_with(answer: &[u8]) -> Result<OutboundAnswer, SendError> {
    let (listener, address) = listen().await;
    let server = answering(listener, answer.to_vec());
    let result = client().send(post(format!("http://{address}/x"))).await;
    assert!(server.await.unwrap().ends_with("payload"));
    result
}

#[tokio::test]
async fn a_request_arrives_as_it_was_made() {
    let (listener, address) = listen().await;
    let server = answering(listener, OK.into());
    let answer = client().send(post(format!("http://{address}/x?y=%26#z"))).await.unwrap();
    assert_eq!((answer.status, &*answer.body, answer.truncated), (200, &b"hi"[..], false));
    assert_eq!(answer.header("content-length"), Some("2"));
    let expected = format!(
        "POST /x?y=%26 HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-one: 1\r\n\
         content-length: 7\r\n\r\npayload"
    );
    assert_eq!(server.await.unwrap(), expected);
}

#[tokio::test]
async fn each_request_has_a_connection_of_its_own() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            request_of(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            // Kept open: the client must not come back on it.
            tokio::spawn(async move { stream.read_u8().await });
        }
    });
    let client = client();
    for _ in 0..2 {
        client.send(post(format!("http://{address}/"))).await.unwrap();
    }
    server.await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let (other, elsewhere) = listen().await;
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/\r\n\r\n");
    let answer = answered_with(answer.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header("Location"), Some(format!("http://{elsewhere}/").as_str()));
    assert_untouched(&other);
}

#[tokio::test]
async fn long_answers_are_cut() {
    for (length, truncated) in
        [(limits::CAPTURE_BYTES_MAX, false), (limits::CAPTURE_BYTES_MAX + 1, true)]
    {
        let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        bytes.resize(bytes.len() + length, b'x');
        let answer = answered_with(&bytes).await.unwrap();
        assert_eq!(answer.truncated, truncated, "{length}");
        assert_eq!(answer.body.len(), limits::CAPTURE_BYTES_MAX, "{length}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_hung_up_on() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request_of(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        // Ends only when the client does.
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let answer = client().send(post(format!("http://{address}/"))).await.unwrap();
    assert_eq!((answer.status, answer.truncated), (200, true));
    assert_eq!(answer.body.len(), limits::CAPTURE_BYTES_MAX);
    server.await.unwrap();
}

#[tokio::test]
#[rustfmt::skip]
async fn what_happens_after_the_request_was_written_is_lost() {
    let long = "x".repeat(4 * limits::ANSWER_HEAD_BYTES_MAX);
    let long_head = format!("HTTP/1.1 200 OK\r\nX: {long}\r\n\r\n");
    let cases = [
        ("closed without an answer", ""),
        ("not HTTP",                 "hello\r\n\r\n"),
        ("half a head",              "HTTP/1.1 200 OK\r\nContent-Le"),
        ("half a body",              "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        ("a broken chunk",           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        ("an endless head",          &long_head),
    ];
    for (what, answer) in cases {
        match answered_with(answer.as_bytes()).await {
            Err(SendError::Lost(_)) => {}
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_reset_and_a_silence_are_lost_too() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request_of(&mut stream).await;
        // Closing at once with an RST rather than in order.
        stream.set_zero_linger().unwrap();
        drop(stream);
        let (mut stream, _) = listener.accept().await.unwrap();
        request_of(&mut stream).await;
        stream.read_u8().await
    });
    let result = client().send(post(format!("http://{address}/"))).await;
    assert!(matches!(result, Err(SendError::Lost(_))), "{result:?}");
    let mut request = post(format!("http://{address}/"));
    request.timeout = Duration::from_millis(1_000);
    let result = client().send(request).await;
    assert!(matches!(&result, Err(SendError::Lost(why)) if why.contains("in time")), "{result:?}");
    // Giving up closes the connection.
    assert_eq!(server.await.unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    // Bound and not listening: connections are refused, and no other test gets the port meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    for url in [format!("http://{address}/"), format!("https://{address}/")] {
        match client().send(post(url)).await {
            Err(error @ SendError::NotConnected { .. }) => {
                assert_eq!(error.public(), "no connection: connection refused");
                assert!(error.to_string().contains(&format!("connection: {address}:")), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_handshake_that_fails_is_no_connection() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        // Silent from here on.
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
    });
    for timeout in [20_000, 1_000] {
        let mut request = post(format!("https://{address}/"));
        request.timeout = Duration::from_millis(timeout);
        let result = client().send(request).await;
        assert!(
            matches!(&result, Err(SendError::NotConnected { what, .. }) if what.contains("TLS")),
            "{result:?}"
        );
    }
    server.await.unwrap();
}

#[tokio::test]
async fn tls_is_spoken_with_those_whose_certificate_is_believed() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let (listener, address) = listen().await;
    let acceptor = acceptor(certificate.clone(), key);
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let request = request_of(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        let _ = stream.shutdown().await;
        let (stream, _) = listener.accept().await.unwrap();
        assert!(acceptor.accept(stream).await.is_err(), "an unknown authority was believed");
        request
    });
    let mut roots = Roots::none();
    roots.add_pem(pem(&certificate).as_bytes()).unwrap();
    let rule = AddressRule::new(&["127.0.0.0/8"]).unwrap();
    let url = format!("https://localhost:{}/x", address.port());
    let answer = Client::new(rule, roots).send(post(url.clone())).await.unwrap();
    assert_eq!(answer.status, 200);
    let result = client().send(post(url)).await;
    assert!(
        matches!(&result, Err(SendError::NotConnected { what, .. }) if what.contains("TLS")),
        "{result:?}"
    );
    assert!(server.await.unwrap().starts_with("POST /x HTTP/1.1\r\n"));
}

#[tokio::test]
async fn addresses_that_the_rule_forbids_are_never_connected_to() {
    let (listener, address) = listen().await;
    let port = address.port();
    let public = Client::new(AddressRule::public_only(), Roots::none());
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://127.1:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        format!("https://127.0.0.1:{port}/"),
    ] {
        match public.send(post(url.clone())).await {
            Err(SendError::NotSent(NotSent::Refused(_))) => {}
            other => panic!("{url}: {other:?}"),
        }
    }
    assert_untouched(&listener);
}

#[tokio::test]
async fn a_request_can_be_taken_back_until_it_is_written() {
    let (listener, address) = listen().await;
    let server = answering(listener, Vec::new());
    let result = client().send_if(post(format!("http://{address}/")), &|| false).await;
    assert!(matches!(result, Err(SendError::NotSent(NotSent::TakenBack))), "{result:?}");
    assert_eq!(server.await.unwrap(), "", "nothing was written");
}

#[tokio::test]
async fn requests_that_cannot_be_written_whole_are_refused() {
    let (listener, address) = listen().await;
    type Change = fn(&mut OutboundRequest);
    #[rustfmt::skip]
    let cases: [(&str, Change); 11] = [
        ("method",      |request| request.method = "GET /".into()),
        ("method",      |request| request.method = "CONNECT".into()),
        ("method",      |request| request.method = String::new()),
        ("header name", |request| request.headers[0].0 = "X One".into()),
        ("header name", |request| request.headers[0].0 = "X:\r\nY".into()),
        ("control",     |request| request.headers[0].1 = "canary\r\nY: 2".into()),
        ("control",     |request| request.headers[0].1 = "canary\0".into()),
        ("longer",      |request| request.headers[0].1 = "x".repeat(limits::HEADER_BYTES_MAX + 1)),
        ("own",         |request| request.headers[0].0 = "Transfer-Encoding".into()),
        ("own",         |request| request.headers[0].0 = "HOST".into()),
        ("longer",      |request| request.body = vec![0; limits::OUTBOUND_BYTES_MAX + 1].into()),
    ];
    for (expected, change) in cases {
        let mut request = post(format!("http://{address}/"));
        change(&mut request);
        match client().send(request).await {
            Err(SendError::NotSent(NotSent::Request(why))) => {
                assert!(why.contains(expected) && !why.contains("canary"), "{expected}: {why}");
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert_untouched(&listener);
}

#[test]
fn nothing_prints_what_may_be_secret() {
    let mut request = post("http://a.example/canary".into());
    request.headers.push(("Authorization".into(), "canary".into()));
    request.body = "canary".into();
    assert_eq!(format!("{request:?}"), "OutboundRequest { method: \"POST\", .. }");
}

/// Nobody has connected.
fn assert_untouched(listener: &TcpListener) {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(listener.poll_accept(&mut context).is_pending());
}

fn acceptor(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> tokio_rustls::TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}
