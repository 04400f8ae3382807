//! A bit of a node's files that is another one when it starts again.
//!
//! Such a node cannot go on once it sees that, and nobody mends it: two are left. So in one run of
//! some it befalls one node, and no clock is wrong in those.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::cluster::Cluster;

/// In one of so many runs.
const ONE_IN: u64 = 5;

/// Whether a seed has it.
pub(crate) fn befalls(seed: u64) -> bool {
    seed.is_multiple_of(ONE_IN)
}

/// When it is to happen, if it is to.
pub(crate) fn when(cluster: &Cluster, plan: &mut StdRng, lasts: Duration) -> Option<Duration> {
    cluster.is_to_be_damaged.then(|| lasts.mul_f64(plan.random_range(0.2..0.9)))
}

/// Turns a bit of one of the files below a directory; says which.
pub(crate) fn flip_bit(dir: &Path, plan: &mut StdRng) -> io::Result<String> {
    let mut files = Vec::new();
    below(dir, &mut files)?;
    // As the directory lists them is by chance.
    files.sort();
    let path = &files[plan.random_range(0..files.len())];
    let mut bytes = fs::read(path)?;
    let at = plan.random_range(0..bytes.len());
    bytes[at] ^= 1 << plan.random_range(0..8_u32);
    fs::write(path, bytes)?;
    Ok(format!("byte {at} of {}", path.display()))
}

/// What the log wrote after its last mark is, with a wrong bit in it, an end that was torn: no disk
/// can tell the two apart, and such a node is behind and does not know it.
fn is_of_log(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "raft")
        && path.extension().is_some_and(|end| end == "wal")
}

/// All files that have something in them, but for the writes of the log.
fn below(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            below(&entry.path(), files)?;
        } else if entry.metadata()?.len() > 0 && !is_of_log(&entry.path()) {
            files.push(entry.path());
        }
    }
    Ok(())
}
