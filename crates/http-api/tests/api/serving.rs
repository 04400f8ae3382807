//! Serving over a socket: answers, keeps connections, and closes in order.

use http_api::HttpConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::support::{BASIC, Door, basic};

async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let read = stream.read(&mut chunk).await.unwrap();
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1).unwrap_or("0");
            body.len() >= length.lines().next().unwrap().parse::<usize>().unwrap()
        });
        if whole || read == 0 {
            return text;
        }
    }
}

#[tokio::test]
async fn a_long_poll_is_answered_and_the_door_closes_when_it_is_told_to() {
    let door = Door::policed(&[("basic", BASIC)]).await;
    let id = door.submit(basic(500)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let config = HttpConfig { version: "0.0.0-test" };
    let serving = tokio::spawn(http_api::serve(listener, door.gate.clone(), config, async move {
        let _ = stopped.await;
    }));
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: gate\r\n\r\n").await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
    let poll = format!(
        "GET /v1/intents/{id}?wait=60s HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {}\r\n\r\n",
        door.agent
    );
    stream.write_all(poll.as_bytes()).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: gate\r\n\r\n").await.unwrap();
    assert!(answer(&mut idle).await.starts_with("HTTP/1.1 200"));
    stop.send(()).unwrap();
    let polled = answer(&mut stream).await;
    assert!(
        polled.starts_with("HTTP/1.1 200") && polled.contains("\"phase\":\"held\""),
        "{polled}"
    );
    serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(idle.read(&mut [0; 8]).await.unwrap(), 0);
}
