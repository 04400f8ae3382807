//! What the log of the leader did meanwhile, from the metrics ports of the nodes.
//!
//! Counters of a process begin at 0 with it, and a node that leads for a part of a run only wrote a
//! part of its entries: without one leader for the whole run nothing is said.

use client::{Client, Endpoint, Settings};
use serde_json::{Value, json};

use crate::failure::Failure;

/// What to do where a port is none.
const PORTS: &str = "name the metrics ports of nodes: `metrics` in dev.json, `metrics.listen` in \
                     node.yaml";

/// The metrics ports that were named.
pub(crate) struct Ports(Vec<(String, Client)>);

/// What one node's port said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    leads: bool,
    /// When the process began, as it is printed: another text is another process.
    started: String,
    syncs: u64,
    bytes: u64,
    leader_changes: u64,
}

/// What happened between two looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Work {
    /// The port of the node that led all the time, with the syncs and bytes of its log.
    pub(crate) leader: Option<Led>,
    /// Leaders that began to lead; nothing if no node ran all the time.
    pub(crate) leader_changes: Option<u64>,
}

/// The log of the node that led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Led {
    pub(crate) port: String,
    pub(crate) syncs: u64,
    pub(crate) bytes: u64,
}

impl Ports {
    /// Clients of these ports; they get no key.
    ///
    /// # Errors
    /// If the HTTP client cannot start.
    pub(crate) fn of(ports: &[Endpoint]) -> Result<Self, Failure> {
        let client = |port: &Endpoint| {
            Ok((port.to_string(), Client::new(Settings::new(vec![port.clone()]))?))
        };
        ports.iter().map(client).collect::<Result<_, client::Error>>().map(Self).map_err(Into::into)
    }

    /// Looks at all of them.
    ///
    /// # Errors
    /// The first port that does not answer with the metrics of a gate.
    pub(crate) async fn look(&self) -> Result<Vec<Seen>, Failure> {
        let mut seen = Vec::with_capacity(self.0.len());
        for (port, client) in &self.0 {
            let text = client.text(&["metrics"]).await;
            let text = text.map_err(|error| Failure::from(error).next(PORTS))?;
            seen.push(Seen::of(&text).ok_or_else(|| {
                Failure::refused(format!("{port} shows no metrics of a gate")).next(PORTS)
            })?);
        }
        Ok(seen)
    }

    /// What happened from one look to a later one.
    pub(crate) fn between(&self, before: &[Seen], after: &[Seen]) -> Work {
        let pairs = || before.iter().zip(after).filter(|(was, is)| was.started == is.started);
        let changes = |(was, is): (&Seen, &Seen)| is.leader_changes.checked_sub(was.leader_changes);
        let leader_changes = pairs().filter_map(changes).max();
        let names = self.0.iter().map(|(port, _)| port);
        let mut all = names.zip(before.iter().zip(after));
        let led = all.find(|(_, (was, is))| {
            was.leads && is.leads && was.started == is.started && leader_changes == Some(0)
        });
        let leader = led.and_then(|(port, (was, is))| {
            let syncs = is.syncs.checked_sub(was.syncs)?;
            let bytes = is.bytes.checked_sub(was.bytes)?;
            Some(Led { port: port.clone(), syncs, bytes })
        });
        Work { leader, leader_changes }
    }
}

impl Seen {
    /// Reads the text form of Prometheus.
    fn of(text: &str) -> Option<Self> {
        let series = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::trim)
        };
        let number = |name: &str| series(name)?.parse::<u64>().ok();
        Some(Self {
            leads: series(meters::IS_LEADER.name)? == "1",
            started: series(meters::PROCESS_START_TIME_SECONDS.name)?.to_owned(),
            syncs: number(&format!("{}_count", meters::WAL_FSYNC_SECONDS.name))?,
            bytes: number(meters::WAL_BYTES.name)?,
            leader_changes: number(meters::LEADER_CHANGES.name)?,
        })
    }
}

impl Work {
    /// For programs; figures per intent are cut after three digits, upwards.
    pub(crate) fn to_json(&self, intents: u64) -> Value {
        let led = self.leader.as_ref();
        json!({
            "leader": led.map(|led| &led.port),
            "syncs": led.map(|led| led.syncs),
            "bytes": led.map(|led| led.bytes),
            "syncs_per_intent": led.and_then(|led| thousandths_up(led.syncs, intents)),
            "bytes_per_intent": led.and_then(|led| {
                (intents > 0).then(|| led.bytes.div_ceil(intents))
            }),
            "leader_changes": self.leader_changes,
        })
    }
}

/// A quotient, rounded up at the third digit; nothing if there is none.
fn thousandths_up(dividend: u64, divisor: u64) -> Option<f64> {
    if divisor == 0 {
        return None;
    }
    let quotient = (u128::from(dividend) * 1_000).div_ceil(u128::from(divisor));
    u32::try_from(quotient).ok().map(|quotient| f64::from(quotient) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(count: u16) -> Ports {
        let ports: Vec<Endpoint> =
            (0..count).map(|port| format!("http://127.0.0.1:{port}").parse().unwrap()).collect();
        Ports::of(&ports).unwrap()
    }

    fn seen(leads: bool, started: &str, syncs: u64, leader_changes: u64) -> Seen {
        Seen { leads, started: started.into(), syncs, bytes: 100 * syncs, leader_changes }
    }

    #[test]
    fn the_series_are_read_from_the_text() {
        let text = "# TYPE gate_is_leader gauge\ngate_is_leader 1\n\
            gate_process_start_time_seconds 1795713600.25\ngate_wal_fsync_seconds_bucket 9\n\
            gate_wal_fsync_seconds_count 12\ngate_wal_bytes_total 3456\n\
            gate_leader_changes_total 1\ngate_leader_changes_total_more 7\n";
        let expected = Seen {
            leads: true,
            started: "1795713600.25".into(),
            syncs: 12,
            bytes: 3_456,
            leader_changes: 1,
        };
        assert_eq!(Seen::of(text), Some(expected));
        assert_eq!(Seen::of(&text.replace("gate_wal_bytes_total", "x")), None);
        assert_eq!(Seen::of("<html>"), None);
    }

    #[test]
    fn only_a_node_that_led_all_the_time_speaks_for_the_log() {
        let before = [seen(true, "a", 10, 3), seen(false, "b", 10, 3)];
        let cases = [
            ([seen(true, "a", 30, 3), seen(false, "b", 29, 3)], Some(20), Some(0)),
            ([seen(false, "a", 30, 4), seen(true, "b", 29, 4)], None, Some(1)),
            // It lost the lead and got it back.
            ([seen(true, "a", 30, 5), seen(false, "b", 29, 5)], None, Some(2)),
            // It was started again, and leads again.
            ([seen(true, "c", 30, 1), seen(false, "b", 29, 4)], None, Some(1)),
            ([seen(true, "c", 30, 1), seen(false, "d", 29, 1)], None, None),
        ];
        for (after, syncs, changes) in cases {
            let work = ports(2).between(&before, &after);
            assert_eq!(work.leader.as_ref().map(|led| led.syncs), syncs, "{after:?}");
            assert_eq!(work.leader_changes, changes, "{after:?}");
        }
        // The leader's port was not named.
        let others = [seen(false, "b", 10, 3)];
        let work = ports(1).between(&others, &others);
        assert_eq!((work.leader, work.leader_changes), (None, Some(0)));
    }

    #[test]
    fn figures_per_intent_are_rounded_against_the_gate() {
        for (dividend, divisor, expected) in
            [(1, 3, Some(0.334)), (2, 1, Some(2.0)), (0, 5, Some(0.0)), (1, 0, None)]
        {
            assert_eq!(thousandths_up(dividend, divisor), expected, "{dividend}/{divisor}");
        }
    }
}
