//! What befell the nodes, counted: a fault counts only once it was seen to take effect.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::strike::PHASES;

/// What may befall a cluster. The names are those of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// kill -9 of any node.
    Kill,
    KillLeader,
    KillAll,
    /// The leader stands still until another one leads.
    Pause,
    /// Two sides that do not hear each other.
    Partition,
    /// One hears the others and is not heard, or the other way round.
    OneWay,
    /// Two that do not hear each other, and both hear the rest.
    Bridge,
    PowerLost,
    /// Of all machines at once.
    Blackout,
    DiskFull,
    SyncFailed,
    ClockJumped,
    /// A node joins and votes, and another leaves for ever.
    Membership,
    /// Every node is stopped in order and started again, one by one.
    Rolling,
    /// A node loses its data, is not let in, and is replaced.
    Wiped,
    /// A bit of a node's files is another one when it starts again; it is replaced.
    BitFlipped,
    /// A node ends while it puts a snapshot in the place of its state, at a place of this number.
    Install(usize),
}

impl Fault {
    /// All of them, each as often as it should come up beside the others.
    pub(crate) fn weights() -> Vec<(Self, u32)> {
        let mut all = vec![
            (Self::Kill, 200),
            (Self::KillLeader, 250),
            (Self::KillAll, 60),
            (Self::Pause, 52),
            (Self::Partition, 60),
            (Self::OneWay, 30),
            (Self::Bridge, 30),
            (Self::PowerLost, 50),
            (Self::Blackout, 52),
            (Self::DiskFull, 27),
            (Self::SyncFailed, 27),
            (Self::ClockJumped, 27),
            (Self::Membership, 27),
            (Self::Rolling, 10),
            (Self::Wiped, 5),
            (Self::BitFlipped, 15),
        ];
        all.extend((0..PHASES.len()).map(|phase| (Self::Install(phase), 11)));
        all
    }

    pub(crate) fn name(self) -> String {
        let name = match self {
            Self::Kill => "kill",
            Self::KillLeader => "kill-leader",
            Self::KillAll => "kill-all",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::Bridge => "bridge",
            Self::PowerLost => "power-lost",
            Self::Blackout => "blackout",
            Self::DiskFull => "disk-full",
            Self::SyncFailed => "sync-failed",
            Self::ClockJumped => "clock-jumped",
            Self::Membership => "membership",
            Self::Rolling => "rolling",
            Self::Wiped => "wiped",
            Self::BitFlipped => "bit-flipped",
            Self::Install(phase) => {
                return format!("install-{}", PHASES[phase].name);
            }
        };
        name.to_owned()
    }
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// Bytes and names that a power cut took.
    pub(crate) lost_bytes: u64,
    pub(crate) lost_names: u64,
    /// Nodes that ended since they saw a wrong bit.
    pub(crate) damage_found: u64,
    /// Messages that a partition took.
    pub(crate) lost_messages: u64,
    /// Terms in which somebody was seen to lead, and who.
    led: BTreeMap<u64, u64>,
    /// Nodes whose clocks ran fast or slow.
    pub(crate) drifts: u64,
    /// Answers to keys whose first sending had none.
    pub(crate) lost_replies: u64,
    pub(crate) answers: u64,
    pub(crate) reads: u64,
    pub(crate) accepted: u64,
    /// Words of people that count.
    pub(crate) votes: u64,
    pub(crate) effects: u64,
    pub(crate) in_doubt: u64,
    pub(crate) rejected: u64,
    pub(crate) expired: u64,
    /// Times that somebody let nothing more begin.
    pub(crate) freezes: u64,
}

impl Tally {
    pub(crate) fn took_effect(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn led(&mut self, leader: u64, term: u64) {
        self.led.insert(term, leader);
    }

    /// A run in which nothing was at stake proves nothing.
    pub(crate) fn must_prove_something(&self) -> Result<(), String> {
        let leaders: BTreeSet<u64> = self.led.values().copied().collect();
        let cuts = [Fault::PowerLost, Fault::Blackout];
        let is_cut = cuts.iter().any(|cut| self.faults.contains_key(cut));
        for (is_so, what) in [
            (leaders.len() > 1, "one node led all the time"),
            (!is_cut || self.lost_bytes > 0, "no power cut took anything"),
            (self.effects > 0, "nothing was carried out"),
            (self.votes > 0, "nobody was heard"),
            (self.rejected > 0, "nothing was rejected"),
            (self.expired > 0, "nothing expired"),
            (self.freezes > 0, "nothing was frozen"),
            (self.lost_replies > 0, "no reply was lost"),
        ] {
            if !is_so {
                return Err(format!("it proves nothing, {what}"));
            }
        }
        Ok(())
    }

    /// The columns of a record: names and numbers.
    pub(crate) fn columns(&self) -> Vec<(String, u64)> {
        let mut columns: Vec<(String, u64)> = Fault::weights()
            .into_iter()
            .map(|(fault, _)| (fault.name(), self.faults.get(&fault).copied().unwrap_or(0)))
            .collect();
        let rest = [
            ("lost-bytes", self.lost_bytes),
            ("lost-names", self.lost_names),
            ("damage-found", self.damage_found),
            ("lost-messages", self.lost_messages),
            ("terms", self.led.len() as u64),
            ("drifts", self.drifts),
            ("lost-replies", self.lost_replies),
            ("answers", self.answers),
            ("reads", self.reads),
            ("accepted", self.accepted),
            ("votes", self.votes),
            ("effects", self.effects),
            ("in-doubt", self.in_doubt),
            ("rejected", self.rejected),
            ("expired", self.expired),
            ("freezes", self.freezes),
        ];
        columns.extend(rest.map(|(name, count)| (name.to_owned(), count)));
        columns
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.columns().into_iter().filter(|(_, count)| *count > 0);
        let words: Vec<String> = shown.map(|(name, count)| format!("{count} {name}")).collect();
        f.write_str(&words.join(", "))
    }
}
