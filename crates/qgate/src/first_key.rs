//! The first admin's key: on the disk, for its owner alone, before the cluster hears of it.
//!
//! Promise: whenever the cluster has its first admin, the key lies in the file until somebody takes
//! it away; a start that was cut short is finished by the next one with the same key.

use std::io;
use std::path::{Path, PathBuf};

use gate::keys::{ApiKey, PREFIX};

use crate::config::Config;
use crate::files::{self, Readable};

/// Bytes of the file: one key and room for line ends.
const FILE_BYTES_MAX: usize = 256;
/// Characters of a key.
const KEY_CHARS: usize = PREFIX.len() + 48;

/// The file of the first admin's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FirstKeyFile(PathBuf);

impl FirstKeyFile {
    /// Where the configuration wants it, else below the data directory.
    pub(crate) fn of(config: &Config) -> Self {
        let usual = || config.data_dir.join("admin.key");
        Self(config.admin_key_file.clone().unwrap_or_else(usual))
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The key that lies there, if one does.
    ///
    /// # Errors
    /// Whatever the file system says, with the path.
    pub(crate) fn read(&self) -> io::Result<Option<ApiKey>> {
        let bytes = match files::read(&self.0, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        let is_key = text.len() == KEY_CHARS && text.starts_with(PREFIX);
        Ok(is_key.then(|| ApiKey::from(text)))
    }

    /// The key of an earlier start that did not come to its end, else a new one; either is synced
    /// to the disk when this returns. The earlier one may be in the log already.
    ///
    /// # Errors
    /// Whatever the file system says, with the path.
    pub(crate) fn read_or_make(&self) -> io::Result<ApiKey> {
        if let Some(key) = self.read()? {
            return Ok(key);
        }
        let key = ApiKey::draw();
        files::replace(&self.0, format!("{}\n", key.reveal()).as_bytes(), Readable::Owner)?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_start_that_was_cut_short_is_finished_with_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = FirstKeyFile(dir.path().join("admin.key"));
        assert_eq!(file.read().unwrap(), None);
        let made = file.read_or_make().unwrap();
        let mode = std::fs::metadata(file.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(file.read_or_make().unwrap(), made);
        assert_eq!(file.read().unwrap(), Some(made.clone()));
        std::fs::write(file.path(), "no key").unwrap();
        assert_ne!(file.read_or_make().unwrap(), made);
    }
}
