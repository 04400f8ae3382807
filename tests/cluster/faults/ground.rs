//! Where the nodes stand: each in a network of its own, all of them on one bridge.
//!
//! Everything lies in namespaces that end with the test's process: networks, mounts and processes.
//! Invariant: nothing of it reaches the machine's own network.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use crate::support::{Process, shown, until};

/// Says to the test's own program that it runs in the namespaces.
const INSIDE: &str = "QGATE_FAULTS_INSIDE";
/// Ends well where everything is there.
const NEEDS: &str = "iptables -w -L && ip link && setpriv --version && test -c /dev/fuse && \
                     test -e /usr/lib/*/faketime/libfaketimeMT.so.1";
const BRIDGE: &str = "gates";
/// Where the clients and the targets are.
pub(crate) const HUB: Ipv4Addr = Ipv4Addr::new(10, 90, 0, 1);

/// Whether this process has its namespaces. If not, the test of this name is run again in some of
/// its own, and must end well there.
pub(crate) fn entered(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        lay();
        return true;
    }
    let spaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let may = Command::new("unshare").args(spaces).args(["sh", "-c", NEEDS]).output();
    if !may.as_ref().is_ok_and(|output| output.status.success()) {
        assert!(env::var_os("QGATE_FAULTS").is_none(), "something is missing: {may:?}");
        shown(&format!("skipped: namespaces, FUSE, iptables or libfaketime are missing: {may:?}"));
        return false;
    }
    let mut inside = Command::new("setpriv");
    inside.args(["--pdeathsig", "KILL", "unshare"]).args(spaces);
    inside.arg(env::current_exe().expect("its own path"));
    inside.args(["--exact", test, "--include-ignored", "--nocapture"]).env(INSIDE, "yes");
    let status = inside.status().expect("it starts");
    assert!(status.success(), "inside: {status}");
    false
}

/// Runs a command that must end well.
fn must(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split(' ')).output().expect(program);
    assert!(output.status.success(), "{program} {words}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Lays the bridge.
fn lay() {
    must("ip", "link set lo up");
    must("ip", &format!("link add {BRIDGE} type bridge"));
    must("ip", &format!("addr add {HUB}/24 dev {BRIDGE}"));
    must("ip", &format!("link set {BRIDGE} up"));
}

/// One machine's network.
pub(crate) struct Host {
    pub(crate) address: Ipv4Addr,
    network: String,
    /// Keeps the network there while no node runs in it.
    _keeper: Process,
}

/// Which way messages between two hosts are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Both,
    /// What comes to the one that drops them.
    In,
    /// What leaves it.
    Out,
}

impl Host {
    pub(crate) fn new(number: u64) -> Self {
        let own = fs::read_link("/proc/self/ns/net").expect("a network");
        let keeper = Process::start(Command::new("unshare").args(["--net", "sleep", "infinity"]));
        let id = keeper.0.id();
        let network = format!("/proc/{id}/ns/net");
        until("the network is there", || {
            // It is a sleeper only once it has its own network.
            let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
            let there = fs::read_link(&network).ok()?;
            (name.trim() == "sleep" && there != own).then_some(())
        });
        let last = u8::try_from(number + 10).expect("few hosts");
        let address = Ipv4Addr::new(10, 90, 0, last);
        must("ip", &format!("link add node{number} type veth peer name eth0 netns {id}"));
        must("ip", &format!("link set node{number} master {BRIDGE} up"));
        let host = Self { address, network, _keeper: keeper };
        host.must("ip link set lo up");
        host.must(&format!("ip addr add {address}/24 dev eth0"));
        host.must("ip link set eth0 up");
        host
    }

    /// What runs the words that follow in this network.
    pub(crate) fn enter(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net={}", self.network), "--".to_owned()]
    }

    fn must(&self, words: &str) -> String {
        must("nsenter", &format!("--net={} -- {words}", self.network))
    }

    /// Loses messages from and to another host.
    pub(crate) fn lose(&self, other: &Self, lost: Lost) {
        let Self { address, .. } = other;
        if lost != Lost::Out {
            self.must(&format!("iptables -w -A INPUT -s {address} -j DROP"));
        }
        if lost != Lost::In {
            self.must(&format!("iptables -w -A OUTPUT -d {address} -j DROP"));
        }
    }

    /// How many messages were lost since.
    pub(crate) fn lost(&self) -> u64 {
        let lists =
            ["INPUT", "OUTPUT"].map(|chain| self.must(&format!("iptables -w -nvxL {chain}")));
        let rules = lists.iter().flat_map(|list| list.lines()).filter(|line| line.contains("DROP"));
        let count = |rule: &str| rule.split_whitespace().next()?.parse::<u64>().ok();
        rules.filter_map(count).sum()
    }

    /// Loses nothing any more.
    pub(crate) fn heal(&self) {
        self.must("iptables -w -F");
    }
}
