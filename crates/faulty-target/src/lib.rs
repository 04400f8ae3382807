//! What the gate's destinations reach: it keeps what it was made to do, and answers as real ones do
//! on a bad day.
//!
//! Invariant: an effect is kept at the moment when it happens, whatever becomes of the answer.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use checker::effects::Effect;
use checker::freezes::Happened;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use machine::net::TcpListener;
use rand::RngExt as _;

/// How long it may take. Destinations give it less.
pub const HANGS: Duration = Duration::from_secs(3);

/// What happened so far. Cheap to clone.
#[derive(Clone)]
pub struct Target {
    done: Arc<Mutex<Done>>,
    now: fn() -> Duration,
}

#[derive(Default)]
struct Done {
    effects: Vec<(Duration, Effect)>,
    keys: HashSet<String>,
}

impl Target {
    /// One that has done nothing, with what tells it the time.
    #[must_use]
    pub fn new(now: fn() -> Duration) -> Self {
        Self { done: Arc::default(), now }
    }

    /// Answers whoever comes, for ever.
    pub async fn serve(self, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let shared = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| shared.called(request));
                // A caller that is killed breaks off.
                _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    /// Everything that it was made to do.
    ///
    /// # Panics
    /// If a call of it did.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        let done = self.done.lock().expect("nobody panics with it");
        done.effects.iter().map(|(_, effect)| effect.clone()).collect()
    }

    /// When it did what for which intent.
    ///
    /// # Panics
    /// If a call of it did.
    #[must_use]
    pub fn happened(&self) -> Vec<Happened> {
        let done = self.done.lock().expect("nobody panics with it");
        done.effects.iter().map(|(at, effect)| (*at, effect.intent.clone())).collect()
    }

    async fn called(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Empty<Bytes>>, std::io::Error> {
        let header = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (intent, fence) = (header("gate-intent"), header("gate-fence"));
        let honours_keys = request.uri().path() == "/keyed";
        let key = header("idempotency-key");
        let key = honours_keys.then_some(key);
        // A call that breaks off halfway does nothing.
        let content = request.into_body().collect().await.map_err(std::io::Error::other)?;
        let effect = Effect {
            intent,
            fence: fence.parse().unwrap_or_default(),
            content: String::from_utf8_lossy(&content.to_bytes()).into_owned(),
        };
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
        let mut done = self.done.lock().expect("nobody panics with it");
        if key.is_none_or(|key| done.keys.insert(key)) {
            done.effects.push(((self.now)(), effect));
        }
    }
}

fn answer(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut answer = Response::new(Empty::<Bytes>::new());
    *answer.status_mut() = status;
    answer
}
