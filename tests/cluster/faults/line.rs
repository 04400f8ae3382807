//! The line that a run leaves in the record of the campaign, however it ends.
//!
//! Invariant: a run that did not come to its end, for whatever reason, counts as a violation.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

use crate::support::shown;
use crate::tally::Tally;

/// What the record is to say; it is written when this goes.
pub(crate) struct Line {
    nodes: u64,
    began: Instant,
    pub(crate) tally: Tally,
    has_passed: bool,
}

impl Line {
    pub(crate) fn begin(nodes: u64) -> Self {
        Self { nodes, began: Instant::now(), tally: Tally::default(), has_passed: false }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Everything was as promised.
    pub(crate) fn passed(mut self) {
        self.has_passed = true;
    }

    /// Adds itself to a record, whose columns must be the same.
    fn add_to(&self, path: &Path) -> io::Result<()> {
        let (names, counts): (Vec<String>, Vec<String>) =
            self.tally.columns().into_iter().map(|(name, count)| (name, count.to_string())).unzip();
        let head = format!("date\tnodes\tseconds\tviolations\t{}", names.join("\t"));
        let text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
        let mut record = OpenOptions::new().append(true).create(true).open(path)?;
        match text.lines().next() {
            None => writeln!(record, "{head}")?,
            Some(first) if first == head => {}
            Some(_) => return Err(io::Error::other("its columns are others; begin a new one")),
        }
        let (date, seconds) = (jiff::Timestamp::now(), self.began.elapsed().as_secs());
        let (date, nodes) = (date.strftime("%Y-%m-%d"), self.nodes);
        let violations = u8::from(!self.has_passed);
        writeln!(record, "{date}\t{nodes}\t{seconds}\t{violations}\t{}", counts.join("\t"))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(path) = env::var_os("QGATE_FAULTS_RECORD") else { return };
        if let Err(error) = self.add_to(Path::new(&path)) {
            shown(&format!("no line in {}: {error}", path.display()));
        }
    }
}
