//! What the nodes of a development cluster have in common: its id, its authority, its data key.
//!
//! Invariant: keys are readable for their owner only; the same directory keeps the same cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gate::join_token;
use gate::seal::DataKey;
use tls::NodeName;
use types::LogTime;

use crate::authority_dir::{AuthorityDir, read, write};
use crate::config::{Join, PeerTls};
use crate::data_key;
use crate::failure::Failure;
use crate::files::Readable;

/// How long a node's certificate counts. Each start issues new ones.
const CERTIFICATE_DAYS: u32 = 30;
/// How long a token counts: a start takes less.
const TOKEN_MS: u64 = 60 * 60 * 1_000;

/// A development cluster.
pub(crate) struct DevCluster {
    directory: PathBuf,
    id: String,
    authority: AuthorityDir,
    key: DataKey,
}

impl DevCluster {
    /// Finds it in a directory, or makes it there.
    ///
    /// # Errors
    /// Files that cannot be read or written, or make no sense.
    pub(crate) fn open(directory: &Path) -> Result<Self, Failure> {
        let has_data = directory.join("node-1").join("data").is_dir();
        let key = data_key::load(&directory.join("data.key"), !has_data)?;
        let directory = directory.join("ca");
        let authority = AuthorityDir::open(&directory, "Quorum Gate development")?;
        let file = directory.join("cluster-id");
        let id = match read(&file)? {
            Some(id) => id.trim().to_owned(),
            None => {
                let id = types::hex(&gate::ids::random::<16>());
                write(&file, &format!("{id}\n"), Readable::All)?;
                id
            }
        };
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
        let name = NodeName::new(&self.id, node);
        let name = name.map_err(|error| Failure::refused(error.to_string()))?;
        self.authority.issue(&name, CERTIFICATE_DAYS, home, "node")
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
