//! The faults: each is done to the nodes, seen to have taken effect, and ended.
//!
//! Invariant: at the end of each the nodes may still be coming back, so that the next one meets
//! them at that; but every one of them is started.

use faulty_disk::{Operation, Point, When};
use rand::RngExt as _;
use rustix::process::Signal;

use crate::ground::Lost;
use crate::support::node::eventually;
use crate::support::until;
use crate::tally::{Fault, Tally};
use crate::work::Work;
use crate::world::World;

/// How far a clock jumps, in seconds, ahead or back.
const JUMP_SECONDS: i64 = 3_600;
/// What a node says that has no room for new things.
const DISK_QUOTA: &str = "disk_quota";
/// A clock that others see this far off has jumped.
const JUMPED_US: i64 = 3_000_000_000;

/// A place in the course of an install, by what is done to the disk there.
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    operation: Operation,
    path: fn(&str) -> bool,
    /// So many of its kind are let pass, at least and at most.
    skips: (u32, u32),
}

/// A snapshot under the name that it keeps.
fn is_published(path: &str) -> bool {
    path.strip_prefix("data/snap/").is_some_and(|name| name.parse::<u64>().is_ok())
}

/// A file of the log of Raft.
fn is_log(path: &str) -> bool {
    path.starts_with("data/raft/") && path.ends_with(".log")
}

/// Every place where an install may end.
pub(crate) const PHASES: [Phase; 7] = [
    Phase {
        name: "receiving",
        operation: Operation::Write,
        path: |path| path.starts_with("data/snap/tmp-incoming/"),
        skips: (0, 40),
    },
    Phase {
        name: "received",
        operation: Operation::Sync,
        path: |path| path.starts_with("data/snap/tmp-incoming/"),
        skips: (0, 2),
    },
    Phase {
        name: "marked",
        operation: Operation::Rename,
        path: |path| path == "data/state/install",
        skips: (0, 0),
    },
    Phase {
        name: "copied",
        operation: Operation::Link,
        path: |path| path.starts_with("data/state/gen-"),
        skips: (0, 2),
    },
    Phase {
        name: "switched",
        operation: Operation::Rename,
        path: |path| path == "data/CURRENT",
        // The first one is that of a new node without any state.
        skips: (1, 1),
    },
    Phase { name: "published", operation: Operation::Rename, path: is_published, skips: (0, 0) },
    Phase {
        name: "cleared",
        operation: Operation::Remove,
        path: |path| path == "data/state/install",
        skips: (0, 0),
    },
];

/// What a fault needs.
pub(crate) struct Strike<'run> {
    pub(crate) world: &'run mut World,
    pub(crate) work: &'run Work,
    pub(crate) tally: &'run mut Tally,
}

fn some(range: std::ops::Range<u64>) -> u64 {
    rand::rng().random_range(range)
}

impl Strike<'_> {
    pub(crate) async fn with(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => {
                let id = self.any();
                self.kill(id).await;
            }
            Fault::KillLeader => {
                let id = self.world.leader().await;
                self.kill(id).await;
            }
            Fault::KillAll => self.kill_all().await,
            Fault::Pause => self.pause().await,
            Fault::Partition => self.partition().await,
            Fault::OneWay => self.one_way().await,
            Fault::Bridge => self.bridge().await,
            Fault::PowerLost => {
                let id = self.any();
                self.cut_power(&[id]).await;
                self.goes_on_without(id).await;
            }
            Fault::Blackout => {
                let ids = self.world.ids();
                self.cut_power(&ids).await;
                ids.into_iter().for_each(|id| self.world.start(id));
            }
            Fault::DiskFull => self.disk_full().await,
            Fault::SyncFailed => self.sync_failed().await,
            Fault::ClockJumped => self.clock_jumped().await,
            Fault::Membership => self.membership().await,
            Fault::Rolling => self.rolling().await,
            Fault::Wiped => self.wiped().await,
            Fault::BitFlipped => self.bit_flipped().await,
            Fault::Install(phase) => self.install(&PHASES[phase]).await,
        }
        self.tally.took_effect(fault);
        self.work.answers(some(5..60)).await;
        self.world.must_all_run();
        let (leader, term) = self.world.leader_among(&self.world.ids()).await;
        self.tally.led(leader, term);
    }

    fn any(&self) -> u64 {
        let ids = self.world.ids();
        ids[rand::random_range(0..ids.len())]
    }

    async fn kill(&mut self, id: u64) {
        self.world.machine_mut(id).kill();
        self.goes_on_without(id).await;
    }

    /// The others answer, then the node starts again.
    async fn goes_on_without(&mut self, id: u64) {
        // Others may be on their way back yet, and then there is no majority without this one.
        if rand::random_bool(0.7) {
            self.world.all_ready(&self.others(id)).await;
            self.work.answers(some(1..120)).await;
        }
        self.world.start(id);
    }

    fn others(&self, id: u64) -> Vec<u64> {
        self.world.ids().into_iter().filter(|other| *other != id).collect()
    }

    /// The leader more often than not.
    async fn leader_or_any(&self) -> u64 {
        if rand::random_bool(0.6) { self.world.leader().await } else { self.any() }
    }

    async fn kill_all(&mut self) {
        let ids = self.world.ids();
        for id in &ids {
            self.world.machine(*id).signal(Signal::KILL);
        }
        for id in &ids {
            self.world.machine_mut(*id).killed();
        }
        ids.into_iter().for_each(|id| self.world.start(id));
    }

    async fn pause(&mut self) {
        let ids = self.world.ids();
        self.world.all_ready(&ids).await;
        let (leader, term) = self.world.leader_among(&ids).await;
        self.world.machine(leader).signal(Signal::STOP);
        let (_, new_term) = self.world.leader_among(&self.others(leader)).await;
        assert!(new_term > term, "violation: term {new_term} after {term}");
        self.work.answers(some(10..100)).await;
        self.world.machine(leader).signal(Signal::CONT);
    }

    /// The sides of a cut, drawn: the leader alone, or whoever.
    async fn partition(&mut self) {
        let ids = self.world.ids();
        self.world.all_ready(&ids).await;
        let mut side = vec![self.leader_or_any().await];
        if ids.len() > 3 && rand::random_bool(0.5) {
            side.extend(ids.iter().find(|id| !side.contains(id)));
        }
        for one in &side {
            for other in ids.iter().filter(|other| !side.contains(other)) {
                self.lose(*one, *other, Lost::Both);
            }
        }
        self.stands_cut(&side).await;
    }

    async fn one_way(&mut self) {
        let one = self.leader_or_any().await;
        let way = if rand::random_bool(0.5) { Lost::In } else { Lost::Out };
        for other in self.others(one) {
            self.lose(one, other, way);
        }
        self.stands_cut(&[one]).await;
    }

    async fn bridge(&mut self) {
        let one = self.leader_or_any().await;
        let others = self.others(one);
        let other = others[rand::random_range(0..others.len())];
        self.lose(one, other, Lost::Both);
        self.stands_cut(&[one]).await;
    }

    fn lose(&self, one: u64, other: u64, lost: Lost) {
        let (one, other) = (self.world.machine(one), self.world.machine(other));
        one.host.lose(&other.host, lost);
    }

    /// The work gets on while messages are lost; then they are not any more.
    async fn stands_cut(&mut self, hosts: &[u64]) {
        self.work.answers(some(20..150)).await;
        let lost = |world: &World| -> u64 {
            hosts.iter().map(|host| world.machine(*host).host.lost()).sum()
        };
        let messages = eventually("messages are lost", || async {
            Some(lost(self.world)).filter(|lost| *lost > 0)
        })
        .await;
        self.tally.lost_messages += messages;
        hosts.iter().for_each(|host| self.world.machine(*host).host.heal());
    }

    /// The power of machines goes at one moment, more often than not while their disks are slow, so
    /// that much is on its way.
    async fn cut_power(&mut self, ids: &[u64]) {
        if rand::random_bool(0.7) {
            ids.iter().for_each(|id| self.world.machine(*id).slow_down(true));
            self.work.answers(some(5..40)).await;
        }
        // Stopped first, so that nothing happens between one disk and the next.
        for id in ids {
            self.world.machine(*id).signal(Signal::STOP);
        }
        ids.iter().for_each(|id| self.cut_disk(*id));
        for id in ids {
            self.world.machine_mut(*id).kill();
            self.world.machine(*id).slow_down(false);
        }
    }

    /// The power of a disk goes: of what was not synced some of the beginning survives.
    fn cut_disk(&mut self, id: u64) {
        let disk = &self.world.machine(id).disk;
        let lost = disk.cut_power(&mut |count| rand::random_range(0..=count));
        self.tally.lost_bytes += lost.bytes as u64;
        self.tally.lost_names += lost.names as u64;
    }

    async fn disk_full(&mut self) {
        let id = self.any();
        self.world.ready(id).await;
        self.work.answers(some(1..100)).await;
        let machine = self.world.machine_mut(id);
        let before = (machine.disk.refused_for_room(), machine.said(DISK_QUOTA));
        machine.disk.fill();
        // Either a write meets the end of the disk and the node ends, or the node sees it coming.
        eventually("the full disk is met", || async {
            let machine = self.world.machine(id);
            let now = (machine.disk.refused_for_room(), machine.said(DISK_QUOTA));
            (now.0 > before.0 || now.1 > before.1).then_some(())
        })
        .await;
        // The others may take new things no more until there is room: the work need not get on.
        let looks = some(1..50);
        let mut seen = 0;
        until("it ends, or has stood for a while", || {
            seen += 1;
            let is_enough = seen >= looks || !self.world.machine(id).is_there();
            is_enough.then_some(())
        });
        let machine = self.world.machine_mut(id);
        machine.disk.make_room();
        // One that has not ended yet may be about to.
        if machine.has_ended().is_none() {
            machine.signal(Signal::KILL);
            machine.gone();
        }
        self.world.start(id);
    }

    async fn sync_failed(&mut self) {
        let id = self.any();
        self.world.ready(id).await;
        let machine = self.world.machine_mut(id);
        let before = machine.disk.failed_syncs();
        // Nobody may go on with a file of which nobody knows what is on the disk: one failure in
        // the log of Raft ends the node. One of no consequence, as in a snapshot in the making,
        // is followed by another.
        let is_of_log = rand::random_bool(0.6);
        if is_of_log {
            machine.disk.fail_syncs(1, is_log);
        }
        let status = until("the node ends", || {
            if !is_of_log {
                machine.disk.fail_syncs(1, |_| true);
            }
            machine.has_ended()
        });
        machine.disk.fail_syncs(0, |_| true);
        assert!(machine.disk.failed_syncs() > before, "node {id} ended before a sync failed");
        assert!(!status.success(), "violation: node {id} ended well after a failed sync");
        if rand::random_bool(0.5) {
            self.cut_disk(id);
        }
        self.goes_on_without(id).await;
    }

    async fn clock_jumped(&mut self) {
        self.world.all_ready(&self.world.ids()).await;
        let movable = |id: &u64| !self.world.rates.contains_key(id);
        let ids: Vec<u64> = self.world.ids().into_iter().filter(movable).collect();
        let leader = self.world.leader().await;
        let is_leader = rand::random_bool(0.6) && ids.contains(&leader);
        let id = if is_leader { leader } else { ids[rand::random_range(0..ids.len())] };
        let ahead = rand::random_bool(0.5);
        let offset = if ahead { JUMP_SECONDS } else { -JUMP_SECONDS };
        self.world.machine(id).set_clock(&format!("{offset:+}"));
        self.world.sees_clock(id, |offset_us| offset_us.abs() > JUMPED_US).await;
        self.work.answers(some(10..100)).await;
        self.world.machine(id).set_clock_right();
        self.world.sees_clock(id, |offset_us| offset_us.abs() < JUMPED_US).await;
    }

    async fn membership(&mut self) {
        let id = self.world.join().await;
        self.world.becomes_voter(id).await;
        self.replaces(id).await;
    }

    /// A node that votes now takes the place of another, which leaves for ever.
    async fn replaces(&mut self, new: u64) {
        let goes = loop {
            let id = if rand::random_bool(0.4) { self.world.leader().await } else { self.any() };
            if id != new && !self.world.rates.contains_key(&id) {
                break id;
            }
        };
        self.work.go_to(self.world.doors());
        self.work.answers(some(1..60)).await;
        // What it has is judged too, in the end.
        self.world.ready(goes).await;
        self.world.caught_up(goes).await;
        let (leaves, root) = self.world.checkpoint(goes).await;
        self.work.leaves(leaves, root);
        self.world.remove(goes).await;
        // It is asked for a while yet, and has nothing to say.
        self.work.answers(some(1..30)).await;
        let gone = self.world.machine(goes).http();
        let mut stay = self.world.doors();
        stay.retain(|door| *door != gone);
        self.work.go_to(stay);
        self.world.take_away(goes);
    }

    async fn rolling(&mut self) {
        for id in self.world.ids() {
            let machine = self.world.machine_mut(id);
            machine.signal(Signal::TERM);
            let status = machine.gone();
            assert!(status.success(), "violation: node {id}: {status}: {}", machine.last_words());
            self.work.answers(some(1..60)).await;
            self.world.start(id);
            self.world.ready(id).await;
            self.world.caught_up(id).await;
        }
    }

    /// A node that may leave, and does not lead.
    async fn leaver(&self) -> u64 {
        self.world.all_ready(&self.world.ids()).await;
        loop {
            let id = self.world.follower().await;
            if !self.world.rates.contains_key(&id) {
                return id;
            }
        }
    }

    async fn bit_flipped(&mut self) {
        let id = self.leaver().await;
        self.world.machine_mut(id).kill();
        self.world.machine(id).flip_a_bit();
        self.world.start(id);
        eventually("it ends, or is ready", || async {
            let ends = !self.world.machine(id).is_there();
            (ends || self.world.is_ready(id).await).then_some(())
        })
        .await;
        let machine = self.world.machine_mut(id);
        if let Some(status) = machine.has_ended() {
            let words = machine.last_words();
            let says = status.code().is_some_and(|code| code != 0);
            assert!(says, "violation: node {id} of a wrong bit: {status}: {words}");
            self.tally.damage_found += 1;
        }
        self.is_replaced(id).await;
    }

    async fn wiped(&mut self) {
        let id = self.leaver().await;
        self.world.machine_mut(id).kill();
        self.world.machine(id).wipe();
        self.world.start(id);
        let machine = self.world.machine_mut(id);
        let status = machine.gone();
        let words = machine.last_words();
        assert!(!status.success() && words.contains("under a new id"), "violation: {words}");
        self.is_replaced(id).await;
    }

    /// A node of no use leaves for ever, and another one comes.
    async fn is_replaced(&mut self, id: u64) {
        self.work.answers(some(10..60)).await;
        self.world.remove(id).await;
        self.world.take_away(id);
        let new = self.world.join().await;
        self.world.becomes_voter(new).await;
        self.work.go_to(self.world.doors());
    }

    /// A new node ends in the middle of its first install, and comes in all the same.
    async fn install(&mut self, phase: &Phase) {
        self.world.all_ready(&self.world.ids()).await;
        let id = self.world.prepare_join().await;
        self.world.start(id);
        let machine = self.world.machine(id);
        let when = if rand::random_bool(0.5) { When::Before } else { When::After };
        let skip = rand::random_range(phase.skips.0..=phase.skips.1);
        let point = Point::new(phase.operation, phase.path).when(when).skip(skip);
        machine.disk.kill_at(machine.process_id(), point);
        let what = format!("the install of node {id} gets to be {}", phase.name);
        until(&what, || machine.disk.point_hit().then_some(()));
        if rand::random_bool(0.5) {
            self.cut_disk(id);
        }
        self.world.machine_mut(id).killed();
        self.work.answers(some(1..60)).await;
        self.world.start(id);
        self.world.becomes_voter(id).await;
        self.replaces(id).await;
    }
}
