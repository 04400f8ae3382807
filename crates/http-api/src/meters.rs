//! Metrics of the door: requests by route, method and class of status, and how long they took.
//!
//! Labels come from the table of routes, never from a request: what no route matches is `other`.
//! Invariant: a request in flight is counted down however it ends, also when its caller leaves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use futures::{StreamExt, stream};
use meters::{Counter, Gauge, Histogram};

/// What stands for routes and methods that the table does not have.
const OTHER: &str = "other";

/// Metrics of one route.
struct RouteMeters {
    path: &'static str,
    method: Method,
    succeeded: Counter,
    redirected: Counter,
    refused: Counter,
    failed: Counter,
    gone: Counter,
    seconds: Histogram,
}

impl RouteMeters {
    fn new(path: &'static str, method: Method) -> Self {
        let word = word_of(&method);
        let counter = |class| meters::HTTP_REQUESTS.counter(&[path, word, class]);
        Self {
            path,
            method,
            succeeded: counter("2xx"),
            redirected: counter("3xx"),
            refused: counter("4xx"),
            failed: counter("5xx"),
            gone: counter("gone"),
            seconds: meters::HTTP_REQUEST_SECONDS.histogram(&[path, word]),
        }
    }

    fn class(&self, status: StatusCode) -> &Counter {
        match status.as_u16() {
            500.. => &self.failed,
            400.. => &self.refused,
            300.. => &self.redirected,
            _ => &self.succeeded,
        }
    }
}

/// A method as a label; those of the table are known words.
fn word_of(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => OTHER,
    }
}

/// All of the door's metrics.
pub(crate) struct Meters {
    routes: HashMap<&'static str, Vec<Arc<RouteMeters>>>,
    other: Arc<RouteMeters>,
    in_flight: Gauge,
    too_many: Counter,
    unavailable: Counter,
}

impl Meters {
    /// For a door with these routes.
    pub(crate) fn new(table: impl IntoIterator<Item = (Method, &'static str)>) -> Arc<Self> {
        let mut routes: HashMap<_, Vec<_>> = HashMap::new();
        for (method, path) in table {
            routes.entry(path).or_default().push(Arc::new(RouteMeters::new(path, method)));
        }
        Arc::new(Self {
            routes,
            other: Arc::new(RouteMeters::new(OTHER, Method::OPTIONS)),
            in_flight: meters::HTTP_REQUESTS_IN_FLIGHT.gauge(&[]),
            too_many: meters::HTTP_REFUSED.counter(&["429"]),
            unavailable: meters::HTTP_REFUSED.counter(&["503"]),
        })
    }

    /// For a door whose requests do not count.
    pub(crate) fn silent() -> Arc<Self> {
        metrics::with_local_recorder(&metrics::NoopRecorder, || Self::new([]))
    }

    /// Begins to watch a request.
    pub(crate) fn begin(self: &Arc<Self>, request: &Request) -> Watched {
        self.in_flight.increment(1.0);
        Watched {
            meters: self.clone(),
            route: self.route(request).clone(),
            at: Instant::now(),
            is_answered: false,
        }
    }

    fn route(&self, request: &Request) -> &Arc<RouteMeters> {
        let path = request.extensions().get::<MatchedPath>();
        let methods = path.and_then(|path| self.routes.get(path.as_str()));
        // A HEAD is answered by the route of its GET.
        let method = match request.method() {
            &Method::HEAD => &Method::GET,
            method => method,
        };
        let found = methods.and_then(|found| found.iter().find(|route| route.method == *method));
        found.unwrap_or(&self.other)
    }
}

/// A request that is being worked on.
pub(crate) struct Watched {
    meters: Arc<Meters>,
    route: Arc<RouteMeters>,
    at: Instant,
    is_answered: bool,
}

impl Watched {
    /// The route as the table has it.
    pub(crate) fn route(&self) -> &'static str {
        self.route.path
    }

    /// The request has its answer.
    pub(crate) fn answered(mut self, status: StatusCode) {
        self.is_answered = true;
        self.route.seconds.record(self.at.elapsed().as_secs_f64());
        self.route.class(status).increment(1);
        match status {
            StatusCode::TOO_MANY_REQUESTS => self.meters.too_many.increment(1),
            StatusCode::SERVICE_UNAVAILABLE => self.meters.unavailable.increment(1),
            _ => {}
        }
    }

    /// The head of a good answer is there; the request ends with its body.
    pub(crate) fn until_end(self, body: Body) -> Body {
        let steps = stream::unfold((body.into_data_stream(), self), |(mut body, watched)| async {
            match body.next().await {
                Some(Ok(bytes)) => Some((Ok(bytes), (body, watched))),
                // Without its end it is no answer: it counts as one whose caller has left.
                Some(Err(error)) => Some((Err(error), (body, watched))),
                None => {
                    watched.answered(StatusCode::OK);
                    None
                }
            }
        });
        Body::from_stream(steps)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.meters.in_flight.decrement(1.0);
        if !self.is_answered {
            self.route.gone.increment(1);
        }
    }
}
