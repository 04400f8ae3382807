//! The load: intents sent over so many connections, in an open or a closed loop.
//!
//! Open: each intent is due at a time of its own, whatever becomes of the earlier ones, and its
//! latency runs from there, whether a connection was free or not. Closed: a connection sends again
//! when it is answered; while the gate stalls nothing is sent, so a stall counts once per
//! connection, however many intents would have met it (coordinated omission).
//!
//! Invariant: what waits is a number, not a list; no more requests exist than connections.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::{Client, Error, Request, Submitted};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::bench::schedule::Schedule;
use crate::bench::tally::Tally;
use crate::bench::varied::Varied;
use crate::failure::Failure;
use crate::output::note;
use crate::signals::StopSignals;

/// How often a run looks whether it is behind.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The longest that the pacing thread sleeps before it looks whether it is to end.
const NAP_MAX: Duration = Duration::from_millis(50);
/// How long requests on their way may take once a run ends early.
const DRAIN: Duration = Duration::from_secs(5);

/// What is to be done.
pub(crate) struct Load {
    /// One for each connection.
    pub(crate) clients: Vec<Client>,
    pub(crate) bodies: Varied,
    /// The open loop's rate per second; without one the loop is closed.
    pub(crate) rate: Option<u64>,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    /// The longest that an intent may wait for a connection.
    pub(crate) backlog: Duration,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its time was over, and everything is answered.
    Done,
    /// More is due than is answered.
    Behind {
        /// Answers per second until then, cut to a whole number.
        sustained_per_second: u64,
    },
    /// Somebody stopped it, by this signal.
    Stopped(&'static str),
}

/// What a run gave; its answers are in the tally.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran {
    pub(crate) end: End,
    /// Intents that were sent.
    pub(crate) sent: u64,
    /// From the start to the end, answers on their way included.
    pub(crate) took: Duration,
    /// The time that the measured answers fell into.
    pub(crate) measured_for: Duration,
}

/// The state of a run, shared by its connections on one thread.
struct Course<'a> {
    load: &'a Load,
    tally: &'a RefCell<Tally>,
    /// The number of the first intent: earlier ones were sent before.
    first_number: u64,
    begins: Instant,
    schedule: Option<Schedule>,
    /// Intents that are due and that no connection has taken.
    due: Arc<Semaphore>,
    stopping: Arc<AtomicBool>,
    taken: Cell<u64>,
    answers_before: u64,
}

impl Load {
    /// Sends one intent, and waits for its answer.
    pub(crate) async fn send(&self, client: &Client, number: u64) -> Result<Submitted, Error> {
        let request = Request::new(client::Method::Post, &["v1", "intents"])
            .json_text(self.bodies.body(number))
            .idempotency_key(self.bodies.request_key(number));
        client.submit_request(request).await
    }

    /// Runs until its time is over, it is behind, or it is stopped.
    ///
    /// # Errors
    /// If the pacing thread cannot start.
    pub(crate) async fn run(
        &self,
        tally: &RefCell<Tally>,
        first_number: u64,
        stop: &mut StopSignals,
    ) -> Result<Ran, Failure> {
        let length = self.warm_up + self.measured;
        let answers_before = tally.borrow().answers();
        let course = Course {
            load: self,
            tally,
            first_number,
            begins: Instant::now(),
            schedule: self.rate.map(|rate| Schedule::new(rate, length)),
            due: Arc::new(Semaphore::new(0)),
            stopping: Arc::new(AtomicBool::new(false)),
            taken: Cell::new(0),
            answers_before,
        };
        let pacer = course.schedule.map(|schedule| course.pace(schedule)).transpose()?;
        let (end, cut) = course.drive(stop).await;
        drop(pacer);
        Ok(course.ran(end, cut))
    }
}

impl Course<'_> {
    /// Lets all connections work until they are done; says why they ended, and when that was known.
    async fn drive(&self, stop: &mut StopSignals) -> (End, Instant) {
        let clients = self.load.clients.iter();
        let mut connections: FuturesUnordered<_> =
            clients.map(|client| self.connection(client)).collect();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = Progress::new();
        let mut ended: Option<(End, Instant)> = None;
        loop {
            let given_up = ended.map(|(_, at)| at + DRAIN);
            let early = tokio::select! {
                left = connections.next() => match left {
                    Some(()) => continue,
                    None => break,
                },
                () = at(given_up) => break,
                signal = stop.wait() => match ended {
                    None => End::Stopped(signal),
                    // Asked once more: whatever is on its way stays unanswered.
                    Some(_) => break,
                },
                _ = look.tick() => {
                    progress.show(self);
                    if ended.is_some() || !self.is_behind() {
                        continue;
                    }
                    End::Behind { sustained_per_second: self.sustained_per_second() }
                }
            };
            ended = Some((early, Instant::now()));
            self.stopping.store(true, Ordering::Relaxed);
            // Wakes those that wait for something to be due.
            self.due.add_permits(self.load.clients.len());
        }
        ended.unwrap_or_else(|| (End::Done, Instant::now()))
    }

    async fn connection(&self, client: &Client) {
        match self.schedule {
            Some(schedule) => self.open(client, schedule).await,
            None => self.closed(client).await,
        }
    }

    async fn open(&self, client: &Client, schedule: Schedule) {
        while let Ok(permit) = self.due.acquire().await {
            permit.forget();
            let place = self.taken.get();
            if self.stopping.load(Ordering::Relaxed) || place >= schedule.all() {
                return;
            }
            self.taken.set(place + 1);
            let due = schedule.due(place);
            let answer = self.load.send(client, self.first_number + place).await;
            let is_measured = due >= self.load.warm_up;
            let latency = is_measured.then(|| self.begins.elapsed().saturating_sub(due));
            self.tally.borrow_mut().add(&answer, latency);
        }
    }

    async fn closed(&self, client: &Client) {
        let ends = self.load.warm_up + self.load.measured;
        loop {
            let sent = self.begins.elapsed();
            if self.stopping.load(Ordering::Relaxed) || sent >= ends {
                return;
            }
            let place = self.taken.get();
            self.taken.set(place + 1);
            let answer = self.load.send(client, self.first_number + place).await;
            let answered = self.begins.elapsed();
            // What reaches beyond the measured time is in no rate.
            let is_measured = sent >= self.load.warm_up && answered <= ends;
            self.tally.borrow_mut().add(&answer, is_measured.then(|| answered - sent));
        }
    }

    /// Starts the thread that says what is due: the runtime's timer counts milliseconds, that of
    /// the kernel finer.
    fn pace(&self, schedule: Schedule) -> Result<Pacer, Failure> {
        let (due, stopping, begins) = (self.due.clone(), self.stopping.clone(), self.begins);
        let connections = self.load.clients.len();
        let pacing = move || {
            let mut told = 0;
            loop {
                let now = schedule.due_by(begins.elapsed());
                due.add_permits(usize::try_from(now - told).unwrap_or(0));
                told = now;
                if told >= schedule.all() || stopping.load(Ordering::Relaxed) {
                    // One more for each connection, which finds that nothing is left.
                    return due.add_permits(connections);
                }
                let next = schedule.due(told).saturating_sub(begins.elapsed());
                std::thread::sleep(next.min(NAP_MAX));
            }
        };
        let thread = std::thread::Builder::new().name("pacer".to_owned()).spawn(pacing);
        let thread = thread.map_err(|error| {
            Failure::refused(format!("the pacing thread cannot start: {error}"))
        })?;
        Ok(Pacer { stopping: self.stopping.clone(), thread: Some(thread) })
    }

    /// Intents that are due and not sent.
    fn waiting(&self) -> u64 {
        let due = self.schedule.map_or(0, |schedule| schedule.due_by(self.begins.elapsed()));
        due.saturating_sub(self.taken.get())
    }

    /// An intent that is due has waited for a connection for longer than it may.
    fn is_behind(&self) -> bool {
        let Some(schedule) = self.schedule else { return false };
        let oldest = schedule.due(self.taken.get());
        let waits = self.begins.elapsed().saturating_sub(oldest);
        self.waiting() > 0 && waits > self.load.backlog
    }

    fn answers(&self) -> u64 {
        self.tally.borrow().answers() - self.answers_before
    }

    fn sustained_per_second(&self) -> u64 {
        per_second(self.answers(), self.begins.elapsed())
    }

    fn ran(&self, end: End, cut: Instant) -> Ran {
        let measured_from = self.begins + self.load.warm_up;
        let planned = match end {
            End::Done => self.load.measured,
            End::Behind { .. } | End::Stopped(_) => cut.saturating_duration_since(measured_from),
        };
        // Answers that came later count, and so does the time until then.
        let last = self.tally.borrow().last_measured();
        let reached = last.map(|last| last.saturating_duration_since(measured_from));
        let measured_for = reached.unwrap_or_default().max(planned);
        Ran { end, sent: self.taken.get(), took: self.begins.elapsed(), measured_for }
    }
}

/// A rate, cut to a whole number; 0 where no time has passed.
pub(crate) fn per_second(count: u64, span: Duration) -> u64 {
    let rate = u128::from(count) * 1_000_000_000;
    rate.checked_div(span.as_nanos()).and_then(|rate| u64::try_from(rate).ok()).unwrap_or(0)
}

/// Resolves at a time, if there is one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => pending().await,
    }
}

/// The pacing thread; it ends when this is dropped.
struct Pacer {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            note("the pacing thread ended in a panic; these figures are not to be trusted");
        }
    }
}

/// Says each second how it goes, at a terminal.
struct Progress {
    is_shown: bool,
    shown: u64,
    answers: u64,
}

impl Progress {
    fn new() -> Self {
        Self { is_shown: std::io::stderr().is_terminal(), shown: 0, answers: 0 }
    }

    fn show(&mut self, course: &Course<'_>) {
        let second = course.begins.elapsed().as_secs();
        if !self.is_shown || second == self.shown {
            return;
        }
        let answers = course.answers();
        let rate = (answers - self.answers) / (second - self.shown).max(1);
        (self.shown, self.answers) = (second, answers);
        let warm = second <= course.load.warm_up.as_secs();
        let waiting = course.waiting();
        let phase = if warm { ", warming up" } else { "" };
        note(&format!("{second:>5} s: {rate}/s answered, {waiting} due and not sent{phase}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_cut_and_no_time_gives_none() {
        let cases =
            [(999, 1_000, 999), (1_999, 2_000, 999), (5, 0, 0), (0, 10, 0), (u64::MAX, 1, 0)];
        for (count, millis, expected) in cases {
            assert_eq!(per_second(count, Duration::from_millis(millis)), expected, "{count}");
        }
    }
}
