//! Files that keys and state lie in: written whole or not at all, and for their owner only where
//! they hold keys.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readable {
    /// Its owner only.
    Owner,
    /// Whoever the umask lets.
    All,
}

/// Replaces a file as one step: readers see the old content or the new one, also after a crash.
///
/// # Errors
/// Whatever the file system says, with the path.
pub(crate) fn replace(path: &Path, bytes: &[u8], readable: Readable) -> io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = Path::new(&next);
    let write = || {
        // A left-over of a crash may have been readable for all: never write into it.
        if let Err(error) = fs::remove_file(next)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mode = if readable == Readable::Owner { 0o600 } else { 0o644 };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(next, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|error| named(path, &error))
}

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// A larger file, and whatever the file system says, with the path.
pub(crate) fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let bytes = read_start(path, bytes_max.saturating_add(1))?;
    if bytes.len() > bytes_max {
        let text = format!("{}: larger than {bytes_max} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Reads at most the first `bytes_max` bytes of a file.
///
/// # Errors
/// Whatever the file system says, with the path.
pub(crate) fn read_start(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| named(path, &error))?;
    Ok(bytes)
}

/// Makes a directory, and those above it, for their owner only.
///
/// # Errors
/// Whatever the file system says, with the path.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_file_is_for_its_owner_even_over_a_left_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        fs::write(dir.path().join("keys.json.next"), "left over").unwrap();
        for content in ["one", "two"] {
            replace(&path, content.as_bytes(), Readable::Owner).unwrap();
            assert_eq!(read(&path, 3).unwrap(), content.as_bytes());
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        fs::write(&path, "12345").unwrap();
        assert!(read(&path, 4).unwrap_err().to_string().ends_with("big: larger than 4 bytes"));
        let missing = read(&dir.path().join("none"), 4).unwrap_err().to_string();
        assert!(missing.contains("none: "), "{missing}");
    }
}
