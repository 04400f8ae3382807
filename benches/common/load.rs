//! Load by a set of callers, closed or open, the same for every system.
//!
//! Closed: each caller calls again as soon as it is answered. While the system stalls nothing is
//! sent, so a stall counts once per caller, however many would have met it (coordinated omission).
//! Open: calls have a time at which they are due, and their latency runs from there, whether a
//! caller was free or not.
#![allow(dead_code, reason = "each bench uses its part of it")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::numbers::Latencies;

/// One caller of a system under load, with a connection of its own or a share of one.
pub(crate) trait Caller: Send + 'static {
    /// Calls with this number; fails unless the answer is the one that was wanted.
    fn call(&mut self, number: u64) -> impl Future<Output = Result<()>> + Send;
}

/// The numbers of a run; no two calls share one.
#[derive(Clone, Default)]
pub(crate) struct Numbers(Arc<AtomicU64>);

impl Numbers {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// When a phase measures.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

impl Window {
    pub(crate) fn of_seconds(warm_up: u64, measured: u64) -> Self {
        let [warm_up, measured] = [warm_up, measured].map(Duration::from_secs);
        Self { warm_up, measured }
    }
}

/// What a phase gave.
pub(crate) struct Phase {
    pub(crate) latencies: Latencies,
    pub(crate) measured: Duration,
}

impl Phase {
    /// Answers per second inside the measured time, cut to a whole number.
    pub(crate) fn per_second(&self) -> u64 {
        let answers = u128::try_from(self.latencies.len()).unwrap_or(u128::MAX);
        let rate = answers * 1_000_000_000 / self.measured.as_nanos().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

/// Every caller calls again as soon as it is answered.
///
/// Only calls that begin and end inside the measured time count.
pub(crate) async fn closed<C: Caller>(
    callers: &mut Vec<C>,
    window: Window,
    numbers: &Numbers,
) -> Result<Phase> {
    let begins = Instant::now() + window.warm_up;
    let ends = begins + window.measured;
    let mut tasks = JoinSet::new();
    for mut caller in callers.drain(..) {
        let numbers = numbers.clone();
        tasks.spawn(async move {
            let mut latencies = Latencies::default();
            loop {
                let sent = Instant::now();
                if sent >= ends {
                    return Ok((caller, latencies));
                }
                caller.call(numbers.next()).await?;
                let answered = Instant::now();
                if sent >= begins && answered <= ends {
                    latencies.add(answered - sent);
                }
            }
        });
    }
    let latencies = joined(tasks, callers).await?;
    Ok(Phase { latencies, measured: window.measured })
}

/// Calls are due at this rate, whatever becomes of the earlier ones.
///
/// # Errors
/// If what is due is not answered within the measured time once more: the rate is too high.
pub(crate) async fn open<C: Caller>(
    callers: &mut Vec<C>,
    window: Window,
    per_second: u64,
    numbers: &Numbers,
) -> Result<Phase> {
    ensure!(per_second > 0, "an open loop needs a rate above 0");
    let begins = Instant::now() + window.warm_up;
    let ends = begins + window.measured;
    let (due, queue) = mpsc::unbounded_channel::<Instant>();
    // A thread of its own: the runtime's timer counts milliseconds, that of the kernel finer.
    let pacer = std::thread::spawn(move || {
        let first = Instant::now();
        for number in 0_u64.. {
            let offset = u128::from(number) * 1_000_000_000 / u128::from(per_second);
            let at = first + Duration::from_nanos(u64::try_from(offset).unwrap_or(u64::MAX));
            if at >= ends {
                return;
            }
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if due.send(at).is_err() {
                return;
            }
        }
    });
    let queue = Arc::new(Mutex::new(queue));
    let mut tasks = JoinSet::new();
    for mut caller in callers.drain(..) {
        let (queue, numbers) = (queue.clone(), numbers.clone());
        tasks.spawn(async move {
            let mut latencies = Latencies::default();
            loop {
                let next = queue.lock().await.recv().await;
                let Some(due) = next else {
                    return Ok((caller, latencies));
                };
                caller.call(numbers.next()).await?;
                if due >= begins {
                    latencies.add(due.elapsed());
                }
            }
        });
    }
    let limit = window.warm_up + window.measured * 2;
    let latencies = tokio::time::timeout(limit, joined(tasks, callers)).await;
    let latencies =
        latencies.with_context(|| format!("{per_second}/s is more than it takes"))??;
    ensure!(pacer.join().is_ok(), "the pacing thread panicked");
    Ok(Phase { latencies, measured: window.measured })
}

/// Waits for all tasks and gives the callers back.
async fn joined<C: Caller>(
    mut tasks: JoinSet<Result<(C, Latencies)>>,
    callers: &mut Vec<C>,
) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    while let Some(ended) = tasks.join_next().await {
        let (caller, mut its) = ended??;
        callers.push(caller);
        latencies.append(std::mem::take(&mut its));
    }
    Ok(latencies)
}
