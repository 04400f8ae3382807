//! What the numbers were measured on, and the kernel's counters around a phase.
//!
//! Everything is read from /proc. A counter that cannot be read is absent, never zero.
#![allow(dead_code, reason = "each bench uses its part of it")]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Cores, kernel, file system.
#[derive(Debug)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    memory_mib: u64,
    mount: Mount,
}

/// The file system that holds a path.
#[derive(Debug)]
struct Mount {
    kind: String,
    options: String,
    source: String,
    /// `major:minor`.
    device: String,
}

impl Machine {
    /// The machine, and the file system of this directory.
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory_kib = after(&memory, "MemTotal").and_then(|text| {
            text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok())
        });
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: after(&cpus, "model name").unwrap_or("processor unknown").to_owned(),
            kernel: read_word("/proc/sys/kernel/osrelease"),
            memory_mib: memory_kib.unwrap_or_default() / 1024,
            mount: Mount::of(directory)?,
        })
    }

    /// What the disk below the data has done since it was there, for whoever asked.
    pub(crate) fn disk(&self) -> Option<Disk> {
        let (major, minor) = self.mount.device.split_once(':')?;
        let table = fs::read_to_string("/proc/diskstats").ok()?;
        let row = table.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.first() == Some(&major) && fields.get(1) == Some(&minor)).then_some(fields)
        })?;
        // Two numbers and a name, then fields 7 and 16 of Documentation/admin-guide/iostats.rst.
        let sectors: u64 = row.get(9)?.parse().ok()?;
        Some(Disk { written_bytes: sectors * 512, flushes: row.get(18)?.parse().ok()? })
    }
}

/// Counters of a disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disk {
    pub(crate) written_bytes: u64,
    pub(crate) flushes: u64,
}

impl Disk {
    /// What was done between an earlier reading and this one.
    pub(crate) fn since(self, earlier: Option<Self>) -> Option<Self> {
        let earlier = earlier?;
        Some(Self {
            written_bytes: self.written_bytes.checked_sub(earlier.written_bytes)?,
            flushes: self.flushes.checked_sub(earlier.flushes)?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, kernel, memory_mib, mount } = self;
        let Mount { kind, options, source, .. } = mount;
        write!(f, "{cores} cores ({processor}), {memory_mib} MiB, Linux {kernel}, ")?;
        write!(f, "{kind} on {source} ({options})")?;
        match kind.as_str() {
            "tmpfs" | "ramfs" => write!(f, "; THIS IS NO DISK: a sync costs nothing here"),
            _ => Ok(()),
        }
    }
}

impl Mount {
    fn of(directory: &Path) -> Result<Self> {
        let path = fs::canonicalize(directory)?;
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        let holding = table.lines().filter_map(|line| {
            // See proc_pid_mountinfo(5): the part behind ` - ` has its own columns.
            let (left, right) = line.split_once(" - ")?;
            let left: Vec<&str> = left.split(' ').collect();
            let right: Vec<&str> = right.split(' ').collect();
            let point = Path::new(left.get(4)?);
            let mount = Self {
                kind: (*right.first()?).to_owned(),
                options: (*right.get(2)?).to_owned(),
                source: (*right.get(1)?).to_owned(),
                device: (*left.get(2)?).to_owned(),
            };
            path.starts_with(point).then(|| (point.components().count(), mount))
        });
        // The deepest, and of equal ones the last: it hides the others.
        holding.max_by_key(|(depth, _)| *depth).map(|(_, mount)| mount).context("no mount holds it")
    }
}

/// A process and all below it.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(process) = found.get(next).copied() {
        next += 1;
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        let children = children.unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    found
}

/// Processor time spent so far, in clock ticks; Linux shows 100 of them a second.
#[derive(Debug, Default)]
pub(crate) struct Ticks {
    /// By all of the machine.
    all: u64,
    /// By single processes.
    processes: BTreeMap<u32, u64>,
}

impl Ticks {
    /// Reads the clocks of the machine and of these processes, as far as they are there.
    pub(crate) fn read(processes: &[u32]) -> Self {
        let table = fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = table.lines().next().unwrap_or_default();
        let fields = first.split_whitespace().skip(1).take(8);
        // User, nice, system, then idle and waiting, which are no work, then interrupts, stolen.
        let busy = fields.enumerate().filter(|(position, _)| !matches!(position, 3 | 4));
        let all = busy.filter_map(|(_, field)| field.parse::<u64>().ok()).sum();
        let known = processes.iter().filter_map(|process| Some((*process, ticks_of(*process)?)));
        Self { all, processes: known.collect() }
    }

    /// Ticks of the processes that were there all the time since, and of everything else.
    pub(crate) fn since(&self, earlier: &Self) -> (u64, u64) {
        let spent = self.processes.iter().filter_map(|(process, ticks)| {
            Some(ticks.saturating_sub(*earlier.processes.get(process)?))
        });
        let theirs: u64 = spent.sum();
        (theirs, self.all.saturating_sub(earlier.all).saturating_sub(theirs))
    }
}

fn ticks_of(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything; behind it field 3 begins.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// The value behind `name` and a colon, of the first line that begins so.
fn after<'t>(table: &'t str, name: &str) -> Option<&'t str> {
    table.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

fn read_word(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}
