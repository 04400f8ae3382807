//! The metrics door: `GET /metrics` in the text form of Prometheus, on a port of its own.
//!
//! The [`Exporter`] is the recorder that handles are made on: for the whole process in a node, for
//! one closure in tests. Values that merely stand somewhere are fetched by samplers, anew for each
//! scrape; series of what comes and goes live for one scrape. Invariant: one scrape at a time, away
//! from the threads that serve requests.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use machine::net::TcpListener;
use meters::Kind;
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio::sync::Mutex;

use crate::finish::{finish, unknown_method, unknown_route};
use crate::meters::Meters;
use crate::problem::Problem;
use crate::serve;

/// What is asked at each scrape.
pub type Sampler = Box<dyn Fn() + Send + Sync>;

/// All that is asked at each scrape.
#[derive(Default)]
pub struct Samplers {
    /// Bring gauges up to date whose handles are kept.
    pub kept: Vec<Sampler>,
    /// Make the series of what comes and goes, such as other nodes: the scrape shows those that
    /// are made in it, so that what went is not shown for ever. Counters and gauges only.
    pub passing: Vec<Sampler>,
}

/// The version of the text form.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// How often observations are folded into their buckets, so that they do not pile up unscraped.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// Where metrics are recorded, and how they are shown.
#[derive(Clone)]
pub struct Exporter {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl Exporter {
    /// A recorder that knows every metric of the table.
    ///
    /// # Errors
    /// If a histogram of the table has no buckets.
    pub fn new() -> Result<Self, BuildError> {
        let mut builder = PrometheusBuilder::new();
        for metric in meters::ALL.iter().filter(|metric| metric.kind == Kind::Histogram) {
            let matcher = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(matcher, metric.buckets)?;
        }
        let recorder = Arc::new(builder.build_recorder());
        meters::describe(&recorder);
        let handle = recorder.handle();
        Ok(Self { recorder, handle })
    }

    /// Makes it the recorder of this process. Before anything that records is made.
    ///
    /// # Errors
    /// If the process has one already.
    pub fn install(&self) -> Result<(), metrics::SetRecorderError<Arc<PrometheusRecorder>>> {
        metrics::set_global_recorder(self.recorder.clone())
    }

    /// Makes it the recorder of this thread for as long as `make` runs: what is made there records
    /// here ever after.
    pub fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.recorder, make)
    }

    /// `GET /metrics`, ready to be served or called in process.
    pub fn router(&self, samplers: Samplers) -> Router {
        let samplers = Arc::new(samplers);
        let scrape = Scrape { handle: self.handle.clone(), samplers, one: Arc::default() };
        Router::new()
            .route("/metrics", get(show))
            .fallback(unknown_route)
            .method_not_allowed_fallback(unknown_method)
            .layer(from_fn_with_state(Meters::silent(), finish))
            .with_state(scrape)
    }

    /// Serves the router and does the recorder's upkeep until `shutdown` resolves.
    pub async fn serve(
        self,
        listener: TcpListener,
        samplers: Samplers,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) {
        let upkeep = async {
            let mut clock = tokio::time::interval(UPKEEP_EVERY);
            clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                self.handle.run_upkeep();
            }
        };
        tokio::select! {
            () = serve::connections(listener, self.router(samplers), shutdown, || {}) => {}
            () = upkeep => {}
        }
    }
}

#[derive(Clone)]
struct Scrape {
    handle: PrometheusHandle,
    samplers: Arc<Samplers>,
    one: Arc<Mutex<()>>,
}

async fn show(State(scrape): State<Scrape>) -> Result<Response, Problem> {
    let one = scrape.one.clone().lock_owned().await;
    let rendered = machine::blocking(move || {
        scrape.samplers.kept.iter().for_each(|sample| sample());
        let text = scrape.handle.render() + &passing(&scrape.samplers.passing);
        drop(one);
        text
    });
    let text = rendered.await.map_err(|error| Problem::internal().because(&error))?;
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, TEXT);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Series of this moment, recorded where nothing of an earlier scrape is left.
fn passing(samplers: &[Sampler]) -> String {
    if samplers.is_empty() {
        return String::new();
    }
    let recorder = PrometheusBuilder::new().build_recorder();
    meters::describe(&recorder);
    metrics::with_local_recorder(&recorder, || samplers.iter().for_each(|sample| sample()));
    recorder.handle().render()
}
