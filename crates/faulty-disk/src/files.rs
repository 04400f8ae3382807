//! Files and directories of a disk. Knows nothing of how they are asked for.
//!
//! Invariant: a file is kept as long as a name leads to it, somebody has it open, or a power cut
//! may bring a name of it back.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use crate::content::Content;
pub(crate) use crate::names::Number;
use crate::names::{Names, Place, Step};

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
    /// Bytes that are not there any more, or not as they were.
    pub bytes: usize,
    /// Changes of names.
    pub names: usize,
}

/// What a file or a directory is, beside its content and its names.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) is_directory: bool,
    pub(crate) mode: u16,
    pub(crate) owner: (u32, u32),
    pub(crate) modified: SystemTime,
}

#[derive(Debug)]
struct Node {
    described: Described,
    /// Empty for a directory.
    content: Content,
    places: BTreeSet<Place>,
    /// Where it was named last: what an open file without a name goes by.
    last: Place,
    opened: u32,
}

impl Node {
    fn new(described: Described, last: Place) -> Self {
        let (content, places) = (Content::default(), BTreeSet::new());
        Self { described, content, places, last, opened: 0 }
    }

    fn is_seen(&self) -> bool {
        self.opened > 0 || !self.places.is_empty()
    }
}

#[derive(Debug)]
pub(crate) struct Files {
    nodes: HashMap<Number, Node>,
    names: Names,
    next: Number,
}

impl Files {
    pub(crate) fn new() -> Self {
        let modified = SystemTime::now();
        let described = Described { is_directory: true, mode: 0o755, owner: (0, 0), modified };
        let root = Node::new(described, (ROOT, OsString::new()));
        Self { nodes: HashMap::from([(ROOT, root)]), names: Names::default(), next: ROOT + 1 }
    }

    fn node(&self, number: Number) -> Result<&Node, Trouble> {
        self.nodes.get(&number).ok_or(Trouble::NotThere)
    }

    fn node_mut(&mut self, number: Number) -> Result<&mut Node, Trouble> {
        self.nodes.get_mut(&number).ok_or(Trouble::NotThere)
    }

    pub(crate) fn described(&self, number: Number) -> Result<&Described, Trouble> {
        Ok(&self.node(number)?.described)
    }

    pub(crate) fn describe(&mut self, number: Number) -> Result<&mut Described, Trouble> {
        Ok(&mut self.node_mut(number)?.described)
    }

    /// Bytes in a file.
    pub(crate) fn length(&self, number: Number) -> Result<u64, Trouble> {
        Ok(self.node(number)?.content.seen().len() as u64)
    }

    /// How many names it has. A directory is its own name too.
    pub(crate) fn names(&self, number: Number) -> Result<u32, Trouble> {
        let node = self.node(number)?;
        let own = usize::from(node.described.is_directory) + usize::from(number == ROOT);
        Ok(u32::try_from(node.places.len() + own).unwrap_or(u32::MAX))
    }

    /// Bytes in use: those of files that only a power cut would bring back are free.
    pub(crate) fn used(&self) -> u64 {
        let seen = self.nodes.values().filter(|node| node.is_seen());
        seen.map(|node| node.content.seen().len() as u64).sum()
    }

    /// Every path of it from the mount on; of a file without a name the last one that it had.
    pub(crate) fn paths(&self, number: Number) -> Vec<String> {
        let Ok(node) = self.node(number) else { return Vec::new() };
        if number == ROOT {
            return vec![String::new()];
        }
        let last = node.places.is_empty().then_some(&node.last);
        let places = node.places.iter().chain(last);
        places.map(|(directory, name)| self.path_of(*directory, name)).collect()
    }

    /// The path of a name that may not be there yet.
    pub(crate) fn path_of(&self, directory: Number, name: &OsStr) -> String {
        let mut parts = vec![name.to_string_lossy()];
        let mut at = directory;
        while at != ROOT
            && let Ok(node) = self.node(at)
        {
            // A directory has one name at most.
            let (above, name) = node.places.first().unwrap_or(&node.last);
            parts.push(name.to_string_lossy());
            at = *above;
        }
        parts.reverse();
        parts.join("/")
    }

    /// What a path from the mount on leads to.
    pub(crate) fn find(&self, path: &str) -> Result<Number, Trouble> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        parts.try_fold(ROOT, |at, part| self.look_up(at, OsStr::new(part)))
    }

    pub(crate) fn look_up(&self, directory: Number, name: &OsStr) -> Result<Number, Trouble> {
        if !self.node(directory)?.described.is_directory {
            return Err(Trouble::NotDirectory);
        }
        self.names.get(directory, name).ok_or(Trouble::NotThere)
    }

    /// What a directory has, in order.
    pub(crate) fn list(&self, directory: Number) -> impl Iterator<Item = (&OsString, Number)> {
        self.names.list(directory)
    }

    pub(crate) fn is_directory(&self, number: Number) -> bool {
        self.node(number).is_ok_and(|node| node.described.is_directory)
    }

    fn take(&mut self, step: Step) {
        let mut left = Vec::new();
        for (place, now) in &step {
            if let Some(before) = self.names.get(place.0, &place.1)
                && let Ok(node) = self.node_mut(before)
            {
                node.places.remove(place);
                left.push(before);
            }
            if let Some(node) = now.and_then(|now| self.nodes.get_mut(&now)) {
                node.places.insert(place.clone());
                node.last = place.clone();
            }
            if let Ok(directory) = self.node_mut(place.0) {
                directory.described.modified = SystemTime::now();
            }
        }
        self.names.take(step);
        left.into_iter().for_each(|number| self.forget_if_unused(number));
    }

    fn must_be_free(&self, directory: Number, name: &OsStr) -> Result<(), Trouble> {
        match self.look_up(directory, name) {
            Ok(_) => Err(Trouble::Exists),
            Err(Trouble::NotThere) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Makes a file or a directory.
    pub(crate) fn create(
        &mut self,
        directory: Number,
        name: &OsStr,
        described: Described,
    ) -> Result<Number, Trouble> {
        self.must_be_free(directory, name)?;
        let (number, place) = (self.next, (directory, name.to_owned()));
        self.next += 1;
        self.nodes.insert(number, Node::new(described, place.clone()));
        self.take(vec![(place, Some(number))]);
        Ok(number)
    }

    pub(crate) fn link(
        &mut self,
        number: Number,
        directory: Number,
        name: &OsStr,
    ) -> Result<(), Trouble> {
        if self.node(number)?.described.is_directory {
            return Err(Trouble::IsDirectory);
        }
        self.must_be_free(directory, name)?;
        self.take(vec![((directory, name.to_owned()), Some(number))]);
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
            _ => self.must_be_empty(number)?,
        }
        self.take(vec![((directory, name.to_owned()), None)]);
        Ok(())
    }

    fn must_be_empty(&self, number: Number) -> Result<(), Trouble> {
        let is_empty = self.names.list(number).next().is_none();
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
        let (from, to) = ((from.0, from.1.to_owned()), (to.0, to.1.to_owned()));
        // The new name first: at no moment is the file without any.
        self.take(vec![(to, Some(number)), (from, None)]);
        Ok(())
    }

    pub(crate) fn open(&mut self, number: Number) -> Result<(), Trouble> {
        self.node_mut(number)?.opened += 1;
        Ok(())
    }

    pub(crate) fn close(&mut self, number: Number) {
        if let Ok(node) = self.node_mut(number) {
            node.opened = node.opened.saturating_sub(1);
            self.forget_if_unused(number);
        }
    }

    pub(crate) fn read(&self, number: Number, offset: u64, size: u32) -> Result<&[u8], Trouble> {
        let seen = self.node(number)?.content.seen();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(seen.len());
        let to = from.saturating_add(size as usize).min(seen.len());
        Ok(&seen[from..to])
    }

    fn content(&mut self, number: Number) -> Result<&mut Content, Trouble> {
        let node = self.node_mut(number)?;
        if node.described.is_directory { Err(Trouble::IsDirectory) } else { Ok(&mut node.content) }
    }

    pub(crate) fn write(
        &mut self,
        number: Number,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Trouble> {
        let offset = usize::try_from(offset).map_err(|_| Trouble::NoRoom)?;
        self.content(number)?.write(offset, bytes);
        self.describe(number)?.modified = SystemTime::now();
        Ok(())
    }

    pub(crate) fn set_length(&mut self, number: Number, length: u64) -> Result<(), Trouble> {
        let length = usize::try_from(length).map_err(|_| Trouble::NoRoom)?;
        self.content(number)?.set_length(length);
        self.describe(number)?.modified = SystemTime::now();
        Ok(())
    }

    /// Flips a bit of a file, counted from its beginning; `false` if the file is too short.
    pub(crate) fn flip(&mut self, number: Number, bit: u64) -> Result<bool, Trouble> {
        Ok(self.content(number)?.flip(bit))
    }

    /// Makes what was done to a file durable.
    pub(crate) fn sync(&mut self, number: Number) -> Result<(), Trouble> {
        self.content(number)?.sync();
        Ok(())
    }

    /// A sync failed: what it was for will never be durable.
    pub(crate) fn sync_failed(&mut self, number: Number) {
        if let Ok(content) = self.content(number) {
            content.sync_failed();
        }
    }

    /// Makes all names durable.
    pub(crate) fn sync_names(&mut self) {
        let left = self.names.sync();
        left.into_iter().for_each(|number| self.forget_if_unused(number));
    }

    /// The power goes: what is seen from now on is what was durable, and what `kept` says.
    pub(crate) fn cut(&mut self, kept: &mut dyn FnMut(usize) -> usize) -> Lost {
        let mut lost = Lost { names: self.names.cut(kept), ..Lost::default() };
        // In one order in all runs: what survives is asked for file by file.
        let mut numbers: Vec<Number> = self.nodes.keys().copied().collect();
        numbers.sort_unstable();
        for number in &numbers {
            let Ok(node) = self.node_mut(*number) else { continue };
            node.opened = 0;
            node.places.clear();
            let bytes = node.content.cut(kept);
            lost.bytes += bytes;
            lost.files += usize::from(bytes > 0);
        }
        for (place, number) in self.names.places() {
            if let Some(node) = self.nodes.get_mut(&number) {
                node.last = place.clone();
                node.places.insert(place);
            }
        }
        numbers.into_iter().for_each(|number| self.forget_if_unused(number));
        lost
    }

    fn forget_if_unused(&mut self, number: Number) {
        let is_seen = self.node(number).is_ok_and(Node::is_seen);
        if number != ROOT && !is_seen && !self.names.is_held(number) {
            self.nodes.remove(&number);
            self.names.forget(number);
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
