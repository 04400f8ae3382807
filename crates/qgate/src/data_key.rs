//! The data key of a node: made on its first start, asked for ever after.
//!
//! Invariant: data that may hold sealed tokens is never opened with a new key, and no cluster has
//! two.

use std::io;
use std::path::Path;

use gate::seal::DataKey;

use crate::failure::Failure;
use crate::files::{self, Readable};

/// Bytes of the file: 64 hex digits and room for line ends.
const FILE_BYTES_MAX: usize = 256;

/// Reads the key, or makes it where it may be made: for a new cluster.
///
/// # Errors
/// A file that is no key, and a missing one where none may be made.
pub(crate) fn load(path: &Path, may_make: bool) -> Result<DataKey, Failure> {
    match files::read(path, FILE_BYTES_MAX) {
        Ok(bytes) => DataKey::from_hex(&String::from_utf8_lossy(&bytes)).ok_or_else(|| {
            Failure::refused(format!("{}: no data key: not 64 hex digits", path.display()))
                .next("put the file of the first start back, or name it with data_key_file")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound && may_make => {
            let key = DataKey::draw();
            let text = format!("{}\n", key.to_hex());
            files::replace(path, text.as_bytes(), Readable::Owner)
                .map_err(|error| Failure::refused(format!("no data key can be made: {error}")))?;
            Ok(key)
        }
        Err(error) => Err(Failure::refused(format!("the data key cannot be read: {error}")).next(
            "put the file of the first start back, or copy it from another node of the cluster; \
             data_key_file names it",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_never_beside_data() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.key");
        let failure = load(&path, false).unwrap_err();
        assert!(failure.what.contains("cannot be read"), "{failure}");
        let made = load(&path, true).unwrap();
        for may_make in [false, true] {
            assert!(load(&path, may_make).unwrap() == made);
        }
        std::fs::write(&path, "short").unwrap();
        let failure = load(&path, true).unwrap_err();
        assert!(failure.what.contains("not 64 hex digits"), "{failure}");
    }
}
