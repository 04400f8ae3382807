//! What the gate's destinations reach: it keeps what it was made to do, and answers as real ones do
//! on a bad day.
//!
//! Invariant: an effect is kept at the moment when it happens, whatever becomes of the answer.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use checker::effects::Effect;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rand::RngExt as _;
use tokio::net::TcpListener;

use crate::ground::HUB;

/// Longer than the time that the destinations give it.
const HANGS: Duration = Duration::from_secs(3);

/// What happened so far. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Target(Arc<Mutex<Done>>);

#[derive(Default)]
struct Done {
    effects: Vec<Effect>,
    keys: HashSet<String>,
}

impl Target {
    /// Begins to listen; says where.
    pub(crate) async fn start() -> (Self, String) {
        let listener = TcpListener::bind((HUB, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let target = Self::default();
        let shared = target.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let shared = shared.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| shared.called(request));
                    // A caller that is killed breaks off.
                    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        (target, format!("http://{address}"))
    }

    /// Everything that it was made to do.
    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.0.lock().expect("nobody panics with it").effects.clone()
    }

    async fn called(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Empty<Bytes>>, std::io::Error> {
        let header = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let effect = Effect {
            intent: header("gate-intent"),
            fence: header("gate-fence").parse().unwrap_or_default(),
        };
        let honours_keys = request.uri().path() == "/keyed";
        let key = header("idempotency-key");
        let key = honours_keys.then_some(key);
        _ = request.into_body().collect().await;
        let target = self.clone();
        // What a target does it does though the caller is gone.
        tokio::spawn(async move { target.does(effect, key).await }).await.expect("it ends")
    }

    async fn does(
        &self,
        effect: Effect,
        key: Option<String>,
    ) -> Result<Response<Empty<Bytes>>, std::io::Error> {
        let (before, after) = {
            let mut numbers = rand::rng();
            (numbers.random_range(0..100_u32), numbers.random_range(0..100_u32))
        };
        match before {
            0..2 => return Ok(answer(StatusCode::INTERNAL_SERVER_ERROR)),
            2 => tokio::time::sleep(HANGS).await,
            _ => {}
        }
        self.happens(effect, key);
        match after {
            0..2 => Ok(answer(StatusCode::BAD_GATEWAY)),
            2 => Err(std::io::Error::other("the answer is lost")),
            3 => {
                tokio::time::sleep(HANGS).await;
                Ok(answer(StatusCode::OK))
            }
            _ => Ok(answer(StatusCode::OK)),
        }
    }

    fn happens(&self, effect: Effect, key: Option<String>) {
        let mut done = self.0.lock().expect("nobody panics with it");
        if key.is_none_or(|key| done.keys.insert(key)) {
            done.effects.push(effect);
        }
    }
}

fn answer(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut answer = Response::new(Empty::<Bytes>::new());
    *answer.status_mut() = status;
    answer
}
