//! What `qgate dev` keeps in its directory: keys, the policies last applied, and `dev.json`.
//!
//! Promise: each file is replaced in one step; a reader of `dev.json` sees a cluster that answers.
//! Invariant: files that hold keys are readable for their owner only.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use types::Digest;
use types::limits::DRAIN_MS_MAX;

use crate::config::{Cluster, Config, Http, Join, Listen, Log, Node, Peer, PeerTls, Registration};
use crate::dev_ports::Ports;
use crate::failure::Failure;
use crate::files::{self, Readable};
use crate::outward::{Outbound, Secret};

/// Bytes of a state file.
const STATE_BYTES_MAX: usize = 1024 * 1024;
/// One node of `dev.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevNode {
    pub(crate) id: u64,
    pub(crate) pid: u32,
    pub(crate) http: String,
    pub(crate) grpc: String,
    pub(crate) peer: String,
    pub(crate) metrics: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) config: PathBuf,
}

impl DevNode {
    /// Its process is still there, and still this node: the system gives numbers out again.
    fn still_runs(&self) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let config = self.config.as_os_str().as_encoded_bytes();
        line.split(|byte| *byte == 0).any(|word| word == config)
    }
}

/// The development keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevKeys {
    pub(crate) admin_key: String,
    /// Of three people.
    pub(crate) reviewer_keys: [String; 3],
    pub(crate) agent_key: String,
    pub(crate) auditor_key: String,
}

/// `dev.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevFile {
    pub(crate) nodes: Vec<DevNode>,
    #[serde(flatten)]
    pub(crate) keys: DevKeys,
}

/// The policies that `dev` applied last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    directory: PathBuf,
    digest: String,
}

/// The directory of one development cluster.
#[derive(Debug)]
pub(crate) struct DevDir {
    path: PathBuf,
    /// Held as long as `dev` runs.
    _lock: File,
}

impl DevDir {
    /// Makes the directory if needed and takes it for this process.
    ///
    /// # Errors
    /// If another `qgate dev` has it.
    pub(crate) fn take(path: &Path) -> Result<Self, Failure> {
        let path = std::path::absolute(path).map_err(|error| broken(&error))?;
        files::make_private_dir(&path).map_err(|error| broken(&error))?;
        let lock = File::create(path.join("dev.lock")).map_err(|error| broken(&error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let what = format!("another `qgate dev` runs on {}", path.display());
                Err(Failure::refused(what).next("stop it, or name another directory with --data"))
            }
            Err(TryLockError::Error(error)) => Err(broken(&error)),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the files of a node lie.
    pub(crate) fn node_dir(&self, id: u64) -> PathBuf {
        self.path.join(format!("node-{id}"))
    }

    /// The path of `dev.json`.
    pub(crate) fn dev_file(&self) -> PathBuf {
        self.path.join("dev.json")
    }

    fn keys_file(&self) -> PathBuf {
        self.path.join("keys.json")
    }

    fn applied_file(&self) -> PathBuf {
        self.path.join("applied-policies.json")
    }

    /// The keys of an earlier start.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn keys(&self) -> Result<Option<DevKeys>, Failure> {
        read_json(&self.keys_file())
    }

    /// Keeps the keys for the next start.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn keep_keys(&self, keys: &DevKeys) -> Result<(), Failure> {
        write_json(&self.keys_file(), keys, Readable::Owner)
    }

    /// These policies are not the ones applied last.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn must_apply(&self, directory: &Path, digest: &Digest) -> Result<bool, Failure> {
        let last: Option<Applied> = read_json(&self.applied_file())?;
        Ok(last != Some(Applied::new(directory, digest)))
    }

    /// Remembers the policies that were applied.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn keep_applied(&self, directory: &Path, digest: &Digest) -> Result<(), Failure> {
        write_json(&self.applied_file(), &Applied::new(directory, digest), Readable::All)
    }

    /// Puts `dev.json` in place.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn publish(&self, file: &DevFile) -> Result<(), Failure> {
        write_json(&self.dev_file(), file, Readable::Owner)
    }

    /// Says who has the ports, where that is a node which an earlier `qgate dev` left running.
    pub(crate) fn blamed(&self, failure: Failure) -> Failure {
        // Without a readable file there is nobody to name.
        let file: Option<DevFile> = read_json(&self.dev_file()).ok().flatten();
        let mut nodes = file.map(|file| file.nodes).unwrap_or_default().into_iter();
        match nodes.find(DevNode::still_runs) {
            Some(node) => {
                let what =
                    format!("{}: node {} of an earlier `qgate dev` has it", failure.what, node.id);
                Failure::refused(what).next(format!("stop it first: kill {}", node.pid))
            }
            None => failure,
        }
    }

    /// Takes `dev.json` away: nothing answers any more.
    pub(crate) fn withdraw(&self) -> Result<(), Failure> {
        match fs::remove_file(self.dev_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(broken(&error)),
            _ => Ok(()),
        }
    }
}

impl Applied {
    fn new(directory: &Path, digest: &Digest) -> Self {
        let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_path_buf());
        Self { directory, digest: digest.to_string() }
    }
}

/// How the nodes of a development cluster are set.
#[derive(Debug, Clone, Default)]
pub(crate) struct DevSet {
    pub(crate) open_registration: bool,
    pub(crate) secrets: BTreeMap<String, Secret>,
}

/// What a node has of its cluster.
pub(crate) struct Common {
    pub(crate) tls: PeerTls,
    pub(crate) join: Option<Join>,
    pub(crate) data_key_file: PathBuf,
}

impl Ports {
    /// The configuration of a node on these ports, which makes the cluster unless it joins it.
    pub(crate) fn config(self, id: u64, data_dir: PathBuf, set: &DevSet, common: Common) -> Config {
        let Common { tls, join, data_key_file } = common;
        let http =
            |offset| Http { listen: self.address(offset), advertise: None, plaintext: false };
        let initialise = join.is_none();
        Config {
            node: Node { id, region: String::new(), priority: 0 },
            data_dir,
            http: http(0),
            grpc: Some(Listen { listen: self.address(1) }),
            peer: Some(Peer { listen: self.address(2), advertise: None, tls: Some(tls) }),
            metrics: Some(http(3)),
            cluster: Cluster { initialise, join, ..Cluster::default() },
            registration: Registration { open: set.open_registration },
            log: Log::default(),
            data_key_file,
            // A local gate speaks to targets on the same machine.
            outbound: Outbound::of_loopback(),
            secrets: set.secrets.clone(),
            // Ctrl-C should not wait for a target that holds a call.
            executor_drain_seconds: DRAIN_MS_MAX / 1_000,
            disk_reserve_bytes: None,
            disk_quota_bytes: None,
            disk_stop_bytes: None,
            disk_ballast_bytes: Some(0),
            base: PathBuf::new(),
            admin_key_file: initialise.then(|| PathBuf::from("admin.key")),
        }
    }

    /// The node as `dev.json` shows it.
    pub(crate) fn node(self, id: u64, pid: u32, data_dir: PathBuf, config: PathBuf) -> DevNode {
        let url = |offset| format!("http://{}", self.address(offset));
        DevNode {
            id,
            pid,
            http: url(0),
            grpc: url(1),
            peer: url(2),
            metrics: url(3),
            data_dir,
            config,
        }
    }
}

/// Writes a node's configuration.
///
/// # Errors
/// Whatever the file system says.
pub(crate) fn write_config(path: &Path, config: &Config) -> Result<(), Failure> {
    let text = format!("# Written by `qgate dev` at each start.\n{}", config.to_yaml());
    files::replace(path, text.as_bytes(), Readable::All).map_err(|error| broken(&error))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let bytes = match files::read(path, STATE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(broken(&error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Failure::refused(format!("{}: {error}", path.display()))
            .next("start with an empty directory: name another one with --data")
    })
}

fn write_json(path: &Path, value: &impl Serialize, readable: Readable) -> Result<(), Failure> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Failure::refused(format!("{}: {error}", path.display())))?;
    bytes.push(b'\n');
    files::replace(path, &bytes, readable).map_err(|error| broken(&error))
}

fn broken(error: &io::Error) -> Failure {
    Failure::refused(error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn keys() -> DevKeys {
        DevKeys {
            admin_key: "a".into(),
            reviewer_keys: ["r1", "r2", "r3"].map(String::from),
            agent_key: "g".into(),
            auditor_key: "u".into(),
        }
    }

    #[test]
    fn dev_json_has_the_documented_shape() {
        let dir = tempfile::tempdir().unwrap();
        let dev = DevDir::take(dir.path()).unwrap();
        let ports = Ports::of(4000, 0).unwrap();
        let node = ports.node(1, 77, "/d/node-1/data".into(), "/d/node-1/node.yaml".into());
        dev.publish(&DevFile { nodes: vec![node], keys: keys() }).unwrap();
        let text = fs::read_to_string(dir.path().join("dev.json")).unwrap();
        let expected = json!({
            "nodes": [{
                "id": 1,
                "pid": 77,
                "http": "http://127.0.0.1:4000",
                "grpc": "http://127.0.0.1:4001",
                "peer": "http://127.0.0.1:4002",
                "metrics": "http://127.0.0.1:4003",
                "data_dir": "/d/node-1/data",
                "config": "/d/node-1/node.yaml",
            }],
            "admin_key": "a",
            "reviewer_keys": ["r1", "r2", "r3"],
            "agent_key": "g",
            "auditor_key": "u",
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
        dev.withdraw().unwrap();
        dev.withdraw().unwrap();
        assert!(!dev.dev_file().exists());
    }

    #[test]
    fn keys_come_back_and_a_second_dev_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dev = DevDir::take(dir.path()).unwrap();
        assert_eq!(dev.keys().unwrap(), None);
        dev.keep_keys(&keys()).unwrap();
        assert_eq!(dev.keys().unwrap(), Some(keys()));
        let failure = DevDir::take(dir.path()).unwrap_err();
        assert!(failure.what.contains("another `qgate dev`"), "{failure}");
        drop(dev);
        assert!(DevDir::take(dir.path()).is_ok());
    }

    #[test]
    fn policies_are_applied_when_they_differ_from_the_last_ones() {
        let dir = tempfile::tempdir().unwrap();
        let dev = DevDir::take(dir.path()).unwrap();
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let (here, there) = (Path::new("/here"), Path::new("/there"));
        assert!(dev.must_apply(here, &one).unwrap());
        dev.keep_applied(here, &one).unwrap();
        let cases = [(here, &one, false), (here, &two, true), (there, &one, true)];
        for (directory, digest, expected) in cases {
            assert_eq!(dev.must_apply(directory, digest).unwrap(), expected, "{directory:?}");
        }
    }

    #[test]
    fn a_node_that_was_left_running_is_named_and_no_other_process_is() {
        let dir = tempfile::tempdir().unwrap();
        let dev = DevDir::take(dir.path()).unwrap();
        let failed = || Failure::refused("127.0.0.1:4000 cannot be listened on");
        assert_eq!(dev.blamed(failed()), failed());
        let ports = Ports::of(4000, 0).unwrap();
        // This test's own process, once under a word of its command line and once not.
        let own = std::env::args().next().unwrap();
        for (config, named) in [(own.as_str(), true), ("/elsewhere/node.yaml", false)] {
            let node = ports.node(1, std::process::id(), PathBuf::from("data"), config.into());
            dev.publish(&DevFile { nodes: vec![node], keys: keys() }).unwrap();
            let said = dev.blamed(failed()).next.unwrap_or_default();
            assert_eq!(said.contains(&format!("kill {}", std::process::id())), named, "{said}");
        }
    }

    #[test]
    fn the_configuration_that_dev_writes_is_one_that_serve_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.yaml");
        let ports = Ports::of(4000, 0).unwrap();
        let hosts = ["127.0.0.1".to_owned()];
        let secret = |text| Secret::parse(text, &hosts).unwrap();
        let secrets = [("a.b", "env:TOKEN"), ("c", "file:/run/\"token")];
        let secrets = secrets.map(|(name, text)| (name.to_owned(), secret(text))).into();
        let set = DevSet { open_registration: true, secrets };
        let file = |name: &str| dir.path().join(name);
        let tls = PeerTls { ca: file("ca"), certificate: file("c"), key: file("k\"") };
        let ask = [(1, "127.0.0.1:4002".to_owned()), (3, "h:1".to_owned())].into();
        let join = Some(Join { ask, token_file: file("token") });
        let common = Common { tls, join, data_key_file: file("data.key") };
        let config = ports.config(2, file("da \"ta"), &set, common);
        write_config(&path, &config).unwrap();
        let mut expected = config;
        expected.base = dir.path().to_owned();
        assert_eq!(Config::load(&path).unwrap(), expected);
    }
}
