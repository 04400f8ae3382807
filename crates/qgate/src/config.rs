//! The configuration of one node: `qgate serve --config FILE`.
//!
//! Unknown keys are errors with their line. Everything that a release to come will listen on has
//! its place already, so that the shape of the file stays.
//! Invariant: a configuration that was read is safe to serve: no plain text beyond this machine
//! unless it says so, no open registration beyond this machine at all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use types::ids::NODE_ID_MAX;
use types::limits::{
    EXECUTOR_DRAIN_MS_DEFAULT, EXECUTOR_DRAIN_MS_MAX, SNAPSHOT_ENTRIES_MAX, SNAPSHOT_ENTRIES_MIN,
};

use crate::disk_limits;
use crate::files;
use crate::outward::{Outbound, Secret};

/// Bytes of a configuration file.
const CONFIG_BYTES_MAX: usize = 64 * 1024;

/// What is logged unless the file says otherwise. Raft tells of every message at `info`.
const FILTER: &str = "info,openraft=warn";

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) node: Node,
    /// Everything durable lies below it. Relative to the configuration file.
    pub(crate) data_dir: PathBuf,
    pub(crate) http: Http,
    /// For the other nodes of the cluster.
    pub(crate) peer: Option<Peer>,
    pub(crate) grpc: Option<Listen>,
    pub(crate) metrics: Option<Http>,
    #[serde(default)]
    pub(crate) cluster: Cluster,
    #[serde(default)]
    pub(crate) registration: Registration,
    #[serde(default)]
    pub(crate) log: Log,
    /// The key that seals tokens in the ledger; the same on every node of a cluster. Relative to
    /// the configuration file, made on the first start.
    #[serde(default = "data_key_file")]
    pub(crate) data_key_file: PathBuf,
    /// Where calls and notifications may go.
    #[serde(default)]
    pub(crate) outbound: Outbound,
    /// What destinations and channels refer to as `${secret:NAME}`.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// How long calls on their way may go on when the node is told to stop, in seconds.
    #[serde(default = "executor_drain_seconds")]
    pub(crate) executor_drain_seconds: u64,
    /// Bytes of the data directory's file system below which nothing new is taken; left out: a
    /// share of the file system.
    pub(crate) disk_reserve_bytes: Option<u64>,
    /// Bytes that the data directory may take before nothing new is taken; left out: all.
    pub(crate) disk_quota_bytes: Option<u64>,
    /// Bytes of the file system below which the node stops; left out: a part of the reserve.
    pub(crate) disk_stop_bytes: Option<u64>,
    /// Bytes of the file that gives room back when it is deleted; left out: a share.
    pub(crate) disk_ballast_bytes: Option<u64>,
    /// Where the file lies: other files that it names are relative to that.
    #[serde(skip)]
    pub(crate) base: PathBuf,
    /// Where the first admin key is written, besides stdout; `admin.key` below the data directory
    /// without it. Relative to the configuration file.
    pub(crate) admin_key_file: Option<PathBuf>,
}

/// Beside the configuration: a copy of the data alone does not open what is sealed in it.
pub(crate) fn data_key_file() -> PathBuf {
    PathBuf::from("data.key")
}

fn executor_drain_seconds() -> u64 {
    EXECUTOR_DRAIN_MS_DEFAULT / 1_000
}

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    /// From 1, never reused.
    pub(crate) id: u64,
    /// Where it runs, for people and for `cluster status`.
    #[serde(default)]
    pub(crate) region: String,
    /// Of the voters that are up to date the one with the highest leads.
    #[serde(default)]
    pub(crate) priority: u32,
}

/// A door that speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: SocketAddr,
    /// Where others reach it, as host:port, if that is not `listen`.
    #[serde(default)]
    pub(crate) advertise: Option<String>,
    /// Serve plain text to other machines too; something in front does TLS.
    #[serde(default)]
    pub(crate) plaintext: bool,
}

/// The door for other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    pub(crate) listen: SocketAddr,
    /// Where others reach it, as host:port, if that is not `listen`.
    #[serde(default)]
    pub(crate) advertise: Option<String>,
    /// Who this node is and whom it believes. Without it nodes speak plain text, on loopback only.
    pub(crate) tls: Option<PeerTls>,
}

/// PEM files, relative to the configuration file; read again while the node runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerTls {
    /// The authorities of the cluster.
    pub(crate) ca: PathBuf,
    /// This node's certificate, with what leads to an authority.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    pub(crate) listen: SocketAddr,
}

/// The cluster that this node is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cluster {
    pub(crate) profile: Profile,
    /// Make a cluster of this one node if the data directory has none.
    pub(crate) initialise: bool,
    /// With `initialise`: nodes that are asked first, by id, with their addresses for peers. No
    /// cluster is made if one of them answers.
    pub(crate) ask_first: BTreeMap<u64, String>,
    /// Come into a cluster that is there, if the data directory has none.
    pub(crate) join: Option<Join>,
    /// What snapshots on their way to other nodes take of the network.
    pub(crate) snapshot_bytes_per_second: Option<u64>,
    /// Entries from snapshot to snapshot.
    pub(crate) snapshot_entries: Option<u64>,
    /// Entries that stay in the log behind a snapshot.
    pub(crate) log_kept_entries: Option<u64>,
}

/// How a node comes into a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Join {
    /// Nodes that may be asked: their ids and addresses for peers.
    pub(crate) ask: BTreeMap<u64, String>,
    /// The token that `qgate cluster token` made. Relative to the configuration file.
    pub(crate) token_file: PathBuf,
}

/// How far apart the nodes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    /// One site.
    #[default]
    Lan,
    /// Regions of one continent.
    Regional,
    /// Continents.
    Global,
}

impl Profile {
    fn word(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Regional => "regional",
            Self::Global => "global",
        }
    }
}

/// Who may register principals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Registration {
    /// Anybody on this machine, for role agent.
    pub(crate) open: bool,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    /// Such as `info,openraft=warn` or `info,replica=debug`.
    pub(crate) filter: String,
}

/// One line per event in either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: FILTER.to_owned() }
    }
}

impl Config {
    /// Reads a file and makes its paths absolute.
    ///
    /// # Errors
    /// One line: file, line and column where there is one, and what is wrong.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let bytes = files::read(path, CONFIG_BYTES_MAX).map_err(|error| error.to_string())?;
        let text =
            String::from_utf8(bytes).map_err(|_| format!("{}: not UTF-8 text", path.display()))?;
        let mut config = Self::parse(&text).map_err(|what| format!("{}:{what}", path.display()))?;
        let absolute =
            std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let base = absolute.parent().unwrap_or(Path::new("/"));
        config.data_dir = base.join(&config.data_dir);
        config.data_key_file = base.join(&config.data_key_file);
        config.admin_key_file = config.admin_key_file.map(|file| base.join(file));
        if let Some(join) = &mut config.cluster.join {
            join.token_file = base.join(&join.token_file);
        }
        if let Some(tls) = config.peer.as_mut().and_then(|peer| peer.tls.as_mut()) {
            for file in [&mut tls.ca, &mut tls.certificate, &mut tls.key] {
                *file = base.join(&file);
            }
        }
        config.base = base.to_path_buf();
        Ok(config)
    }

    /// The file that [`Config::load`] reads as this.
    pub(crate) fn to_yaml(&self) -> String {
        // JSON's quotes and escapes are those of YAML, and paths may hold any character.
        let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
        let mut text = format!(
            "node: {{id: {}, region: {}, priority: {}}}\ndata_dir: {}\n",
            self.node.id,
            quoted(Path::new(&self.node.region)),
            self.node.priority,
            quoted(&self.data_dir),
        );
        for (name, door) in [("http", Some(&self.http)), ("metrics", self.metrics.as_ref())] {
            let Some(Http { listen, advertise, plaintext }) = door else { continue };
            text.push_str(&format!("{name}: {{listen: \"{listen}\", plaintext: {plaintext}"));
            if let Some(advertise) = advertise {
                text.push_str(&format!(", advertise: {}", quoted(Path::new(advertise))));
            }
            text.push_str("}\n");
        }
        if let Some(Listen { listen }) = &self.grpc {
            text.push_str(&format!("grpc: {{listen: \"{listen}\"}}\n"));
        }
        if let Some(Peer { listen, advertise, tls }) = &self.peer {
            text.push_str(&format!("peer:\n  listen: \"{listen}\"\n"));
            if let Some(advertise) = advertise {
                text.push_str(&format!("  advertise: {}\n", quoted(Path::new(advertise))));
            }
            if let Some(PeerTls { ca, certificate, key }) = tls {
                let [ca, certificate, key] = [ca, certificate, key].map(|file| quoted(file));
                let files = format!("ca: {ca}, certificate: {certificate}, key: {key}");
                text.push_str(&format!("  tls: {{{files}}}\n"));
            }
        }
        let Cluster { profile, initialise, ask_first, join, .. } = &self.cluster;
        let profile = profile.word();
        let nodes = |nodes: &BTreeMap<u64, String>| {
            let nodes = nodes.iter().map(|(id, peer)| format!("{id}: {}", quoted(Path::new(peer))));
            nodes.collect::<Vec<_>>().join(", ")
        };
        text.push_str(&format!("cluster:\n  profile: {profile}\n  initialise: {initialise}\n"));
        if !ask_first.is_empty() {
            text.push_str(&format!("  ask_first: {{{}}}\n", nodes(ask_first)));
        }
        if let Some(Join { ask, token_file }) = join {
            let (ask, token) = (nodes(ask), quoted(token_file));
            text.push_str(&format!("  join: {{ask: {{{ask}}}, token_file: {token}}}\n"));
        }
        for (name, number) in [
            ("snapshot_bytes_per_second", self.cluster.snapshot_bytes_per_second),
            ("snapshot_entries", self.cluster.snapshot_entries),
            ("log_kept_entries", self.cluster.log_kept_entries),
        ] {
            if let Some(number) = number {
                text.push_str(&format!("  {name}: {number}\n"));
            }
        }
        text.push_str(&format!("registration: {{open: {}}}\n", self.registration.open));
        let format = match self.log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        let filter = quoted(Path::new(&self.log.filter));
        text.push_str(&format!("log: {{format: {format}, filter: {filter}}}\n"));
        // JSON is YAML.
        text.push_str(&format!("outbound: {}\n", self.outbound.to_yaml()));
        if !self.secrets.is_empty() {
            text.push_str("secrets:\n");
        }
        for (name, secret) in &self.secrets {
            text.push_str(&format!("  {}: {}\n", quoted(Path::new(name)), secret.to_yaml()));
        }
        text.push_str(&format!("executor_drain_seconds: {}\n", self.executor_drain_seconds));
        text.push_str(&disk_limits::to_yaml(self));
        text.push_str(&format!("data_key_file: {}\n", quoted(&self.data_key_file)));
        if let Some(file) = &self.admin_key_file {
            text.push_str(&format!("admin_key_file: {}\n", quoted(file)));
        }
        text
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = serde_yaml::from_str(text).map_err(|error| placed(&error))?;
        config.check().map_err(|what| format!(" {what}"))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let id = self.node.id;
        if id == 0 || id > NODE_ID_MAX {
            return Err(format!("node.id is {id}; node ids are 1 to {NODE_ID_MAX}"));
        }
        let listen = self.http.listen;
        for (name, door) in [("http", Some(&self.http)), ("metrics", self.metrics.as_ref())] {
            if let Some(Http { listen, plaintext: false, .. }) = door
                && !listen.ip().is_loopback()
            {
                return Err(format!(
                    "{name}.listen is {listen}, which other machines reach, and {name} serves \
                     plain text; listen on 127.0.0.1, or say `plaintext: true` if TLS ends in \
                     front of it"
                ));
            }
        }
        if self.registration.open && !listen.ip().is_loopback() {
            return Err(format!(
                "registration.open is for loopback only, and http.listen is {listen}; \
                 leave it out and register with an admin key"
            ));
        }
        if let Some(Peer { listen, tls: None, .. }) = &self.peer
            && !listen.ip().is_loopback()
        {
            return Err(format!(
                "peer.listen is {listen}, which other machines reach, and has no `tls`; name ca, \
                 certificate and key, or listen on 127.0.0.1"
            ));
        }
        if let Some(Peer { listen, advertise: None, .. }) = &self.peer
            && listen.ip().is_unspecified()
        {
            return Err(format!(
                "peer.listen is {listen}, where no other machine finds this node; add \
                 `advertise: host:port`, as the others reach it"
            ));
        }
        if self.cluster.join.is_some() && self.cluster.initialise {
            return Err("cluster: a node makes a cluster or joins one; say `initialise` or \
                        `join`, not both"
                .to_owned());
        }
        if !self.cluster.ask_first.is_empty() && !self.cluster.initialise {
            return Err("cluster.ask_first is for a node that makes a cluster; say `initialise` \
                        too, or name the nodes in `join`"
                .to_owned());
        }
        if self.cluster.join.is_some() && self.peer.is_none() {
            return Err("cluster.join needs `peer: {listen: …}`, where the others reach it".into());
        }
        if !self.cluster.ask_first.is_empty() && self.peer.is_none() {
            return Err("cluster.ask_first needs `peer`, by which the others know it".into());
        }
        for (name, entries) in [
            ("snapshot_entries", self.cluster.snapshot_entries),
            ("log_kept_entries", self.cluster.log_kept_entries),
        ] {
            let bounds = SNAPSHOT_ENTRIES_MIN..=SNAPSHOT_ENTRIES_MAX;
            if let Some(found) = entries.filter(|entries| !bounds.contains(entries)) {
                return Err(format!(
                    "cluster.{name} is {found}; from {SNAPSHOT_ENTRIES_MIN} to \
                     {SNAPSHOT_ENTRIES_MAX}"
                ));
            }
        }
        let drain_max = EXECUTOR_DRAIN_MS_MAX / 1_000;
        if self.executor_drain_seconds > drain_max {
            let found = self.executor_drain_seconds;
            return Err(format!("executor_drain_seconds is {found}; at most {drain_max}"));
        }
        disk_limits::check(self)?;
        self.check_addresses()
    }

    fn check_addresses(&self) -> Result<(), String> {
        let of = |listen: &Option<Listen>| listen.as_ref().map(|listen| listen.listen);
        let metrics = self.metrics.as_ref().map(|door| door.listen);
        let peer = self.peer.as_ref().map(|peer| peer.listen);
        let others = [("peer", peer), ("grpc", of(&self.grpc)), ("metrics", metrics)];
        let mut taken = vec![("http", self.http.listen)];
        for (name, address) in others.into_iter().filter_map(|(name, at)| Some((name, at?))) {
            let same = taken.iter().find(|(_, other)| *other == address && address.port() != 0);
            if let Some((other, _)) = same {
                return Err(format!("{name}.listen and {other}.listen are both {address}"));
            }
            taken.push((name, address));
        }
        Ok(())
    }
}

/// `line:column: message` of a YAML error, on one line.
fn placed(error: &serde_yaml::Error) -> String {
    let error = error.without_snippet();
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let cut = first.rfind(" at line ").or_else(|| first.rfind(" (line ")).unwrap_or(first.len());
    let what = first[..cut].trim_end();
    match error.location() {
        Some(at) if at.line() > 0 => format!("{}:{}: {what}", at.line(), at.column()),
        _ => format!(" {what}"),
    }
}

#[cfg(test)]
mod tests;
