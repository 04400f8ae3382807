//! Files and names, as they are seen and as they would be after a power cut.
//!
//! Invariant: what is durable is a beginning of what was done, and every sync moves it to the end.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

/// The number of a file or a directory; never used again.
pub(crate) type Number = u64;

/// The directory that is mounted.
pub(crate) const ROOT: Number = 1;

/// Why something cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    NotThere,
    Exists,
    NotEmpty,
    IsDirectory,
    NotDirectory,
    Unknown,
    NoRoom,
    /// The disk failed.
    Failed,
}

/// What a power cut took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Files that lost something.
    pub files: usize,
    /// Bytes that were written.
    pub bytes: usize,
    /// Changes of names.
    pub names: usize,
}

/// A change of a file that may not be durable yet.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => to.resize(*length, 0),
        }
    }
}

#[derive(Debug, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// What `seen` has and `durable` has not, but for what a sync failed at.
    pending: Vec<Change>,
}

impl Content {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }
}

/// What a file or a directory is, beside its content.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) is_directory: bool,
    pub(crate) mode: u16,
    pub(crate) owner: (u32, u32),
    pub(crate) modified: SystemTime,
    pub(crate) names: u32,
}

#[derive(Debug)]
struct Node {
    described: Described,
    /// Empty for a directory.
    content: Content,
    /// Where it was named last.
    place: (Number, OsString),
    opened: u32,
}

/// Names become or stop being those of a file, all in one step.
type Step = Vec<(Number, OsString, Option<Number>)>;

type Names = BTreeMap<Number, BTreeMap<OsString, Number>>;

#[derive(Debug)]
pub(crate) struct Files {
    nodes: HashMap<Number, Node>,
    seen: Names,
    durable: Names,
    pending: Vec<Step>,
    next: Number,
}

fn apply(step: &Step, names: &mut Names) {
    for (directory, name, now) in step {
        let names = names.entry(*directory).or_default();
        match now {
            Some(number) => _ = names.insert(name.clone(), *number),
            None => _ = names.remove(name),
        }
    }
}

impl Files {
    pub(crate) fn new() -> Self {
        let described = Described {
            is_directory: true,
            mode: 0o755,
            owner: (0, 0),
            modified: SystemTime::now(),
            names: 2,
        };
        let place = (ROOT, OsString::new());
        let root = Node { described, content: Content::default(), place, opened: 0 };
        Self {
            nodes: HashMap::from([(ROOT, root)]),
            seen: Names::new(),
            durable: Names::new(),
            pending: Vec::new(),
            next: ROOT + 1,
        }
    }

    fn node(&self, number: Number) -> Result<&Node, Trouble> {
        self.nodes.get(&number).ok_or(Trouble::NotThere)
    }

    fn node_mut(&mut self, number: Number) -> Result<&mut Node, Trouble> {
        self.nodes.get_mut(&number).ok_or(Trouble::NotThere)
    }

    pub(crate) fn described(&self, number: Number) -> Result<(&Described, u64), Trouble> {
        let node = self.node(number)?;
        Ok((&node.described, node.content.seen.len() as u64))
    }

    pub(crate) fn describe(&mut self, number: Number) -> Result<&mut Described, Trouble> {
        Ok(&mut self.node_mut(number)?.described)
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.nodes.values().map(|node| node.content.seen.len() as u64).sum()
    }

    /// Where something was named last, from the mount on.
    pub(crate) fn path(&self, number: Number) -> String {
        let (mut parts, mut at) = (Vec::new(), number);
        while at != ROOT
            && let Some(node) = self.nodes.get(&at)
        {
            parts.push(node.place.1.to_string_lossy().into_owned());
            at = node.place.0;
        }
        parts.reverse();
        parts.join("/")
    }

    /// The path of a name that may not be there yet.
    pub(crate) fn path_of(&self, directory: Number, name: &OsStr) -> String {
        let (path, name) = (self.path(directory), name.to_string_lossy());
        if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") }
    }

    pub(crate) fn look_up(&self, directory: Number, name: &OsStr) -> Result<Number, Trouble> {
        if !self.node(directory)?.described.is_directory {
            return Err(Trouble::NotDirectory);
        }
        let names = self.seen.get(&directory);
        names.and_then(|names| names.get(name)).copied().ok_or(Trouble::NotThere)
    }

    /// What a directory has, in order.
    pub(crate) fn list(&self, directory: Number) -> Vec<(Number, OsString)> {
        let names = self.seen.get(&directory).into_iter().flatten();
        names.map(|(name, number)| (*number, name.clone())).collect()
    }

    pub(crate) fn is_directory(&self, number: Number) -> bool {
        self.node(number).is_ok_and(|node| node.described.is_directory)
    }

    fn take(&mut self, step: Step) {
        for (directory, name, now) in &step {
            let before = self.look_up(*directory, name).ok();
            for (number, is_more) in [(before, false), (*now, true)] {
                let node = number.and_then(|number| self.nodes.get_mut(&number));
                let Some(node) = node else { continue };
                let names = &mut node.described.names;
                *names = if is_more { *names + 1 } else { names.saturating_sub(1) };
                if is_more {
                    node.place = (*directory, name.clone());
                }
            }
            if let Ok(node) = self.node_mut(*directory) {
                node.described.modified = SystemTime::now();
            }
        }
        apply(&step, &mut self.seen);
        self.pending.push(step);
    }

    /// Makes a file or a directory.
    pub(crate) fn create(
        &mut self,
        directory: Number,
        name: &OsStr,
        is_directory: bool,
        mode: u16,
        owner: (u32, u32),
    ) -> Result<Number, Trouble> {
        match self.look_up(directory, name) {
            Ok(_) => return Err(Trouble::Exists),
            Err(Trouble::NotThere) => {}
            Err(other) => return Err(other),
        }
        let number = self.next;
        self.next += 1;
        // A directory is its own name too.
        let names = u32::from(is_directory);
        let modified = SystemTime::now();
        let described = Described { is_directory, mode, owner, modified, names };
        let place = (directory, name.to_owned());
        let node = Node { described, content: Content::default(), place, opened: 0 };
        self.nodes.insert(number, node);
        self.take(vec![(directory, name.to_owned(), Some(number))]);
        Ok(number)
    }

    pub(crate) fn link(
        &mut self,
        number: Number,
        directory: Number,
        name: &OsStr,
    ) -> Result<(), Trouble> {
        if self.is_directory(number) {
            return Err(Trouble::IsDirectory);
        }
        if self.look_up(directory, name).is_ok() {
            return Err(Trouble::Exists);
        }
        self.take(vec![(directory, name.to_owned(), Some(number))]);
        Ok(())
    }

    pub(crate) fn remove(
        &mut self,
        directory: Number,
        name: &OsStr,
        is_directory: bool,
    ) -> Result<(), Trouble> {
        let number = self.look_up(directory, name)?;
        match (self.is_directory(number), is_directory) {
            (true, false) => return Err(Trouble::IsDirectory),
            (false, true) => return Err(Trouble::NotDirectory),
            _ => {}
        }
        self.must_be_empty(number)?;
        self.take(vec![(directory, name.to_owned(), None)]);
        self.forget_unused();
        Ok(())
    }

    fn must_be_empty(&self, number: Number) -> Result<(), Trouble> {
        let is_empty = self.seen.get(&number).is_none_or(BTreeMap::is_empty);
        if is_empty { Ok(()) } else { Err(Trouble::NotEmpty) }
    }

    pub(crate) fn rename(
        &mut self,
        from: (Number, &OsStr),
        to: (Number, &OsStr),
        replaces: bool,
    ) -> Result<(), Trouble> {
        let number = self.look_up(from.0, from.1)?;
        match self.look_up(to.0, to.1) {
            Ok(_) if !replaces => return Err(Trouble::Exists),
            Ok(other) if other == number => return Ok(()),
            Ok(other) => self.must_be_empty(other)?,
            Err(Trouble::NotThere) => {}
            Err(trouble) => return Err(trouble),
        }
        self.take(vec![(from.0, from.1.to_owned(), None), (to.0, to.1.to_owned(), Some(number))]);
        self.forget_unused();
        Ok(())
    }

    pub(crate) fn open(&mut self, number: Number) -> Result<(), Trouble> {
        self.node_mut(number)?.opened += 1;
        Ok(())
    }

    pub(crate) fn close(&mut self, number: Number) {
        if let Ok(node) = self.node_mut(number) {
            node.opened = node.opened.saturating_sub(1);
        }
        self.forget_unused();
    }

    pub(crate) fn read(&self, number: Number, offset: u64, size: u32) -> Result<&[u8], Trouble> {
        let seen = &self.node(number)?.content.seen;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(seen.len());
        let to = from.saturating_add(size as usize).min(seen.len());
        Ok(&seen[from..to])
    }

    /// How much longer a file gets by a write.
    pub(crate) fn grows(&self, number: Number, offset: u64, bytes: usize) -> Result<u64, Trouble> {
        let length = self.node(number)?.content.seen.len() as u64;
        Ok(offset.saturating_add(bytes as u64).saturating_sub(length))
    }

    pub(crate) fn write(
        &mut self,
        number: Number,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Trouble> {
        let offset = usize::try_from(offset).map_err(|_| Trouble::NoRoom)?;
        let node = self.node_mut(number)?;
        node.content.change(Change::Write { offset, bytes: bytes.to_vec() });
        node.described.modified = SystemTime::now();
        Ok(())
    }

    pub(crate) fn set_length(&mut self, number: Number, length: u64) -> Result<(), Trouble> {
        let length = usize::try_from(length).map_err(|_| Trouble::NoRoom)?;
        let node = self.node_mut(number)?;
        if node.described.is_directory {
            return Err(Trouble::IsDirectory);
        }
        if node.content.seen.len() != length {
            node.content.change(Change::Length(length));
        }
        node.described.modified = SystemTime::now();
        Ok(())
    }

    /// Makes what was done to a file durable.
    pub(crate) fn sync(&mut self, number: Number) -> Result<(), Trouble> {
        let Content { durable, pending, .. } = &mut self.node_mut(number)?.content;
        pending.drain(..).for_each(|change| change.apply(durable));
        Ok(())
    }

    /// A sync failed: what it was for is seen, and counts as written though it is not.
    pub(crate) fn sync_failed(&mut self, number: Number) {
        if let Ok(node) = self.node_mut(number) {
            node.content.pending.clear();
        }
    }

    /// Makes all names durable.
    pub(crate) fn sync_names(&mut self) {
        for step in self.pending.drain(..) {
            apply(&step, &mut self.durable);
        }
        self.forget_unused();
    }

    /// The power goes: what is seen from now on is what was durable, and what `kept` says.
    pub(crate) fn cut(&mut self, kept: &mut dyn FnMut(usize) -> usize) -> Lost {
        let mut lost = Lost::default();
        let stay = kept(self.pending.len()).min(self.pending.len());
        lost.names = self.pending.len() - stay;
        self.pending.drain(..).take(stay).for_each(|step| apply(&step, &mut self.durable));
        self.seen = self.durable.clone();
        // One order for all runs: what survives is drawn file by file.
        let mut numbers: Vec<Number> = self.nodes.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let Ok(node) = self.node_mut(number) else { continue };
            node.opened = 0;
            node.described.names = if node.described.is_directory { 1 } else { 0 };
            let bytes = node.content.lose(kept);
            lost.bytes += bytes;
            lost.files += usize::from(bytes > 0);
        }
        let named: Vec<(Number, OsString, Number)> = self
            .seen
            .iter()
            .flat_map(|(directory, names)| {
                names.iter().map(|(name, number)| (*directory, name.clone(), *number))
            })
            .collect();
        for (directory, name, number) in named {
            if let Ok(node) = self.node_mut(number) {
                node.described.names += 1;
                node.place = (directory, name);
            }
        }
        self.forget_unused();
        lost
    }

    /// Gives up files that have no name, durable or not, and that nobody has open.
    fn forget_unused(&mut self) {
        let unseen = |node: &Node| {
            let names = node.described.names;
            node.opened == 0 && names == u32::from(node.described.is_directory)
        };
        let mut unused: Vec<Number> = self
            .nodes
            .iter()
            .filter(|(number, node)| **number != ROOT && unseen(node))
            .map(|(number, _)| *number)
            .collect();
        if unused.is_empty() {
            return;
        }
        let durable = |number: &Number| {
            let mut names = self.durable.values().flat_map(BTreeMap::values);
            let mut steps = self.pending.iter().flatten();
            names.any(|named| named == number) || steps.any(|(_, _, now)| *now == Some(*number))
        };
        unused.retain(|number| !durable(number));
        for number in unused {
            self.nodes.remove(&number);
            self.seen.remove(&number);
            self.durable.remove(&number);
        }
    }
}

impl Content {
    /// Loses what is not durable but for a beginning; says how many bytes.
    fn lose(&mut self, kept: &mut dyn FnMut(usize) -> usize) -> usize {
        let Self { seen, durable, pending } = self;
        if !pending.is_empty() {
            let stay = kept(pending.len()).min(pending.len());
            pending[..stay].iter().for_each(|change| change.apply(durable));
            if let Some(Change::Write { offset, bytes }) = pending.get(stay) {
                let stay = kept(bytes.len()).min(bytes.len());
                if stay > 0 {
                    let bytes = bytes[..stay].to_vec();
                    Change::Write { offset: *offset, bytes }.apply(durable);
                }
            }
            pending.clear();
        }
        let written = seen.len().max(durable.len());
        let same = seen.iter().zip(durable.iter()).filter(|(one, other)| one == other).count();
        seen.clone_from(durable);
        written - same
    }
}

#[cfg(test)]
mod tests;
