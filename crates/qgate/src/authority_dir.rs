//! A certificate authority in a directory, `ca.pem` and `ca.key`, and what it issues to nodes.
//!
//! Invariant: keys are readable for their owner only; an authority that is there is never replaced.

use std::io;
use std::path::{Path, PathBuf};

use tls::NodeName;
use tls::authority::Authority;

use crate::config::PeerTls;
use crate::failure::Failure;
use crate::files::{self, Readable};

/// Bytes of one of its files.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// An authority and where it lies.
pub(crate) struct AuthorityDir {
    directory: PathBuf,
    authority: Authority,
}

impl AuthorityDir {
    /// Finds the authority of a directory, or makes one there with this name.
    ///
    /// # Errors
    /// Files that cannot be read or written, or make no sense; a certificate without its key, or a
    /// key without its certificate.
    pub(crate) fn open(directory: &Path, common_name: &str) -> Result<Self, Failure> {
        files::make_private_dir(directory).map_err(|error| broken(&error))?;
        let (certificate, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        let authority = match (read(&certificate)?, read(&key)?) {
            (Some(certificate), Some(key)) => {
                Authority::load(&certificate, &key).map_err(|error| cannot(&error))?
            }
            (None, None) => {
                let authority = Authority::make(common_name).map_err(|error| cannot(&error))?;
                // The certificate last: where it is, its key is.
                write(&key, &authority.key_pem(), Readable::Owner)?;
                write(&certificate, authority.certificate_pem(), Readable::All)?;
                authority
            }
            (Some(_), None) => return Err(half(&certificate, &key)),
            (None, Some(_)) => return Err(half(&key, &certificate)),
        };
        Ok(Self { directory: directory.to_path_buf(), authority })
    }

    /// Issues a certificate with a new key as `<name>.pem` and `<name>.key` into a directory, over
    /// earlier ones.
    ///
    /// # Errors
    /// A validity that the authority refuses, and whatever the file system says.
    pub(crate) fn issue(
        &self,
        node: &NodeName,
        days: u32,
        home: &Path,
        name: &str,
    ) -> Result<PeerTls, Failure> {
        let issued = self.authority.issue(node, &[], days).map_err(|error| cannot(&error))?;
        let [certificate, key] = ["pem", "key"].map(|kind| home.join(format!("{name}.{kind}")));
        write(&certificate, &issued.certificate_pem, Readable::All)?;
        write(&key, &issued.key_pem, Readable::Owner)?;
        Ok(PeerTls { ca: self.directory.join("ca.pem"), certificate, key })
    }
}

/// Reads a small file, if it is there.
///
/// # Errors
/// Whatever else the file system says.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Failure> {
    match files::read(path, FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(broken(&error)),
    }
}

/// Replaces a small file.
///
/// # Errors
/// Whatever the file system says.
pub(crate) fn write(path: &Path, text: &str, readable: Readable) -> Result<(), Failure> {
    files::replace(path, text.as_bytes(), readable).map_err(|error| broken(&error))
}

fn half(there: &Path, missing: &Path) -> Failure {
    let what = format!("{} is there, and {} is not", there.display(), missing.display());
    Failure::refused(what).next("put it back, or name a directory without either")
}

fn cannot(error: &tls::authority::AuthorityError) -> Failure {
    Failure::refused(error.to_string())
}

fn broken(error: &io::Error) -> Failure {
    Failure::refused(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_authority_stays_and_half_of_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("ca");
        let node = NodeName::new(&"0".repeat(32), 4).unwrap();
        let first = AuthorityDir::open(&home, "test").unwrap();
        let issued = first.issue(&node, 30, dir.path(), "node").unwrap();
        let identity = tls::Identity::load(tls::Files {
            ca: issued.ca.clone(),
            certificate: issued.certificate,
            key: issued.key.clone(),
        });
        assert_eq!(*identity.unwrap().name(), node);
        for key in [&issued.key, &home.join("ca.key")] {
            assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let before = fs::read(&issued.ca).unwrap();
        AuthorityDir::open(&home, "test").unwrap();
        assert_eq!(fs::read(&issued.ca).unwrap(), before);
        for name in ["ca.pem", "ca.key"] {
            let (path, kept) = (home.join(name), dir.path().join(name));
            fs::rename(&path, &kept).unwrap();
            let refused = AuthorityDir::open(&home, "test").err().unwrap().to_string();
            assert!(refused.contains(&format!("{name} is not")), "{refused}");
            assert!(!path.exists());
            fs::rename(kept, path).unwrap();
        }
    }
}
