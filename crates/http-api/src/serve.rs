//! Serving: accept, answer, and when told to stop, finish what was begun.
//!
//! Invariant: every connection is a task that this function joins or, at its deadline, aborts.

use std::sync::Arc;
use std::time::Duration;

use gate::Gate;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use machine::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use types::limits::{CONNECTIONS_MAX, DRAIN_MS_MAX, HEAD_WAIT_MS_MAX};

use crate::HttpConfig;
use crate::routes;
use crate::state::App;
use crate::turns::Turns;

/// How long to rest when the system has no more sockets to give.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Serves until `shutdown` resolves, then lets requests end within the drain deadline.
///
/// # Errors
/// None today: a connection that cannot be accepted is logged and the next one is tried.
pub async fn serve(
    listener: TcpListener,
    gate: Arc<Gate>,
    config: HttpConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = App::new(gate, config);
    let router = routes::router(app.clone());
    connections(listener, router, shutdown, || app.stop()).await;
    Ok(())
}

/// Serves one router on one address; `stop` is called when no more connections are taken.
pub(crate) async fn connections(
    listener: TcpListener,
    router: axum::Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
    stop: impl FnOnce(),
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let turns = Turns::new();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let next = async {
            // The semaphore is never closed, so this waits for a place and nothing else.
            let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            Ok::<_, std::io::Error>((stream, place))
        };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = next => accepted,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let connection = turns.serve(graceful.watch(connect(stream, router.clone())));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    stop();
    drain(graceful, connections).await;
}

fn connect(
    stream: TcpStream,
    router: axum::Router,
) -> http1::Connection<TokioIo<TcpStream>, TowerToHyperService<axum::Router>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_WAIT_MS_MAX))
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}

async fn drain(graceful: GracefulShutdown, mut connections: JoinSet<()>) {
    let ended = tokio::time::timeout(Duration::from_millis(DRAIN_MS_MAX), async {
        graceful.shutdown().await;
        while connections.join_next().await.is_some() {}
    });
    if ended.await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut at the drain deadline");
    }
    connections.shutdown().await;
}
