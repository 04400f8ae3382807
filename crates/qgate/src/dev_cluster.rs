//! What the nodes of a development cluster have in common: its id, its authority, its data key.
//!
//! Invariant: keys are readable for their owner only; the same directory keeps the same cluster.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use gate::join_token;
use gate::seal::DataKey;
use tls::NodeName;
use tls::authority::Authority;
use types::LogTime;

use crate::config::{Join, PeerTls};
use crate::data_key;
use crate::failure::Failure;
use crate::files::{self, Readable};

/// Bytes of one of its files.
const FILE_BYTES_MAX: usize = 64 * 1024;
/// How long a node's certificate counts. Each start issues new ones.
const CERTIFICATE_DAYS: u32 = 30;
/// How long a token counts: a start takes less.
const TOKEN_MS: u64 = 60 * 60 * 1_000;

/// A development cluster.
pub(crate) struct DevCluster {
    directory: PathBuf,
    id: String,
    authority: Authority,
    key: DataKey,
}

impl DevCluster {
    /// Finds it in a directory, or makes it there.
    ///
    /// # Errors
    /// Files that cannot be read or written, or make no sense.
    pub(crate) fn open(directory: &Path) -> Result<Self, Failure> {
        let has_data = directory.join("node-1").join("data").is_dir();
        let key = data_key::load(&directory.join("data.key"), has_data)?;
        let directory = directory.join("ca");
        files::make_private_dir(&directory).map_err(|error| broken(&error))?;
        let (certificate, secret) = (directory.join("ca.pem"), directory.join("ca.key"));
        let authority = match (read(&certificate)?, read(&secret)?) {
            (Some(certificate), Some(secret)) => Authority::load(&certificate, &secret),
            _ => Authority::make("Quorum Gate development"),
        };
        let authority = authority.map_err(|error| Failure::refused(error.to_string()))?;
        write(&certificate, authority.certificate_pem(), Readable::All)?;
        write(&secret, &authority.key_pem(), Readable::Owner)?;
        let file = directory.join("cluster-id");
        let id = match read(&file)? {
            Some(id) => id.trim().to_owned(),
            None => gate::ids::random::<16>().iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        write(&file, &format!("{id}\n"), Readable::All)?;
        Ok(Self { directory, id, authority, key })
    }

    /// The data key that all nodes share.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.directory.with_file_name("data.key")
    }

    /// Issues a node's certificate into its directory.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn certify(&self, node: u64, home: &Path) -> Result<PeerTls, Failure> {
        let issued = NodeName::new(&self.id, node)
            .map_err(|error| Failure::refused(error.to_string()))
            .and_then(|name| {
                let issued = self.authority.issue(&name, &[], CERTIFICATE_DAYS);
                issued.map_err(|error| Failure::refused(error.to_string()))
            })?;
        let (certificate, key) = (home.join("node.pem"), home.join("node.key"));
        write(&certificate, &issued.certificate_pem, Readable::All)?;
        write(&key, &issued.key_pem, Readable::Owner)?;
        Ok(PeerTls { ca: self.directory.join("ca.pem"), certificate, key })
    }

    /// What lets a node join through others.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn invite(&self, home: &Path, ask: BTreeMap<u64, String>) -> Result<Join, Failure> {
        let now = jiff::Timestamp::now().as_millisecond();
        let until = u64::try_from(now).unwrap_or_default().saturating_add(TOKEN_MS);
        let token = join_token::sign(&self.key, &self.id, LogTime(until));
        let token_file = home.join("join.token");
        write(&token_file, &format!("{token}\n"), Readable::Owner)?;
        Ok(Join { ask, token_file })
    }
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match files::read(path, FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(broken(&error)),
    }
}

fn write(path: &Path, text: &str, readable: Readable) -> Result<(), Failure> {
    files::replace(path, text.as_bytes(), readable).map_err(|error| broken(&error))
}

fn broken(error: &io::Error) -> Failure {
    Failure::refused(error.to_string())
}
