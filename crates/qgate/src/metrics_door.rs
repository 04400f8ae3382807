//! The metrics of a node: recorded from its start on, served on a port of their own.
//!
//! Invariant: a node without the port has no recorder, so that nothing piles up unscraped.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gate::Gate;
use http_api::{Exporter, Sampler, Samplers};
use meters::{Counter, Gauge, number};
use procfs::process::{LimitValue, Process};
use replica::Replica;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::failure::Failure;

/// The door, before the node is there.
pub(crate) struct MetricsDoor {
    listener: TcpListener,
    exporter: Exporter,
}

impl MetricsDoor {
    /// Makes this process record. Before anything that records is made.
    ///
    /// # Errors
    /// If the process records elsewhere already.
    pub(crate) fn new(listener: TcpListener) -> Result<Self, Failure> {
        let cannot = |error: String| Failure::refused(format!("no metrics: {error}"));
        let exporter = Exporter::new().map_err(|error| cannot(error.to_string()))?;
        exporter.install().map_err(|error| cannot(error.to_string()))?;
        Ok(Self { listener, exporter })
    }

    /// Begins to serve a node's metrics.
    pub(crate) fn open(self, node: u64, gate: &Arc<Gate>, replica: &Arc<Replica>) -> OpenDoor {
        let (gate, replica) = (gate.clone(), replica.clone());
        let process = ProcessMeters::new();
        let peers = replica.clone();
        let kept: Vec<Sampler> = vec![
            Box::new(move || gate.sample()),
            Box::new(move || replica.sample()),
            Box::new(move || process.sample()),
        ];
        let passing: Vec<Sampler> = vec![Box::new(move || peers.sample_peers())];
        let samplers = Samplers { kept, passing };
        let address = self.listener.local_addr().map(|address| address.to_string());
        tracing::info!(node, metrics = address.unwrap_or_default(), "serving metrics");
        let stopping = watch::Sender::new(false);
        let mut told = stopping.subscribe();
        let serving = self.exporter.serve(self.listener, samplers, async move {
            // An error means that the node is gone, which is the same.
            let _ = told.wait_for(|stop| *stop).await;
        });
        OpenDoor { node, stopping, serving: tokio::spawn(serving) }
    }
}

/// The door, while it serves.
pub(crate) struct OpenDoor {
    node: u64,
    stopping: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl OpenDoor {
    /// Stops serving; a scrape that has begun is answered.
    pub(crate) async fn close(self) {
        self.stopping.send_replace(true);
        match self.serving.await {
            Ok(()) => tracing::info!(node = self.node, "metrics stopped"),
            Err(error) => tracing::error!(node = self.node, %error, "metrics ended in a panic"),
        }
    }
}

/// What the system knows of this process.
struct ProcessMeters {
    cpu_seconds: Counter,
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
}

impl ProcessMeters {
    fn new() -> Self {
        // As good as the process's own start: it has only read its configuration by now.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        meters::PROCESS_START_TIME_SECONDS.gauge(&[]).set(now.as_secs_f64());
        Self {
            cpu_seconds: meters::PROCESS_CPU_SECONDS.counter(&[]),
            resident_bytes: meters::PROCESS_RESIDENT_MEMORY_BYTES.gauge(&[]),
            virtual_bytes: meters::PROCESS_VIRTUAL_MEMORY_BYTES.gauge(&[]),
            open_fds: meters::PROCESS_OPEN_FDS.gauge(&[]),
            max_fds: meters::PROCESS_MAX_FDS.gauge(&[]),
            threads: meters::PROCESS_THREADS.gauge(&[]),
        }
    }

    fn sample(&self) {
        let found = Process::myself().and_then(|process| {
            Ok((process.stat()?, process.fd_count()?, process.limits()?.max_open_files.soft_limit))
        });
        let (stat, open_fds, max_fds) = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "the system tells nothing of this process");
                return self.unknown();
            }
        };
        let ticks = stat.utime + stat.stime;
        self.cpu_seconds.absolute(ticks / procfs::ticks_per_second().max(1));
        self.resident_bytes.set(number(stat.rss * procfs::page_size()));
        self.virtual_bytes.set(number(stat.vsize));
        self.open_fds.set(number(open_fds as u64));
        self.max_fds.set(match max_fds {
            LimitValue::Value(limit) => number(limit),
            LimitValue::Unlimited => 0.0,
        });
        self.threads.set(number(u64::try_from(stat.num_threads).unwrap_or(0)));
    }

    /// No number rather than an old one.
    fn unknown(&self) {
        let gauges = [
            &self.resident_bytes,
            &self.virtual_bytes,
            &self.open_fds,
            &self.max_fds,
            &self.threads,
        ];
        gauges.iter().for_each(|gauge| gauge.set(f64::NAN));
    }
}
