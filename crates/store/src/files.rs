//! Files and directories that must survive a power cut: written, synced, renamed, synced.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use crate::error::StoreError;

/// Creates a directory and its parents, and makes the name itself durable.
pub(crate) fn create_dir(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(|error| StoreError::file("create", path, error))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
        _ => Ok(()),
    }
}

/// Syncs a file or a directory.
pub(crate) fn sync(path: &Path) -> Result<(), StoreError> {
    let file = File::open(path).map_err(|error| StoreError::file("open", path, error))?;
    file.sync_all().map_err(|error| StoreError::file("sync", path, error))
}

/// Puts bytes under a name: after a crash there is the old content or the new one.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    let mut file = File::create(&new).map_err(|error| StoreError::file("create", &new, error))?;
    file.write_all(bytes).map_err(|error| StoreError::file("write", &new, error))?;
    file.sync_all().map_err(|error| StoreError::file("sync", &new, error))?;
    rename(&new, path)
}

/// Renames inside one directory and syncs that directory.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|error| StoreError::file("rename", from, error))?;
    match to.parent() {
        Some(parent) => sync(parent),
        None => Ok(()),
    }
}

/// The content of a file, `None` if there is none.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::file("read", path, error)),
    }
}

/// Deletes a file or a whole directory; nothing there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::file("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Names in a directory, sorted.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, StoreError> {
    let listing = fs::read_dir(path).map_err(|error| StoreError::file("list", path, error))?;
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|error| StoreError::file("list", path, error))?;
        match entry.file_name().into_string() {
            Ok(name) => names.push(name),
            Err(name) => {
                return Err(StoreError::damaged(format!(
                    "{} holds the file name {name:?}",
                    path.display()
                )));
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}
