//! What durability costs at least here: one appending write and one fdatasync, again and again.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use crate::numbers::Latencies;

/// Bytes of one write.
pub(crate) const WRITE_BYTES: usize = 4_096;

/// Appends and syncs this many times, alone; the file grows, as a log does.
pub(crate) fn append_and_sync(directory: &Path, samples: u32) -> Result<Latencies> {
    let path = directory.join("append");
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
    let block = [0x5a; WRITE_BYTES];
    let mut latencies = Latencies::default();
    for _ in 0..samples {
        let began = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        latencies.add(began.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(latencies)
}
