//! Which name leads to which file, as it is seen and as it would be after a power cut.
//!
//! Invariant: `durable` is a beginning of what was done to the names of the whole disk, each step
//! done or not done.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};

/// The number of a file or a directory; never used again.
pub(crate) type Number = u64;

/// A directory and a name in it.
pub(crate) type Place = (Number, OsString);

/// Places lead somewhere else or nowhere, all of them at once.
pub(crate) type Step = Vec<(Place, Option<Number>)>;

type Tree = BTreeMap<Number, BTreeMap<OsString, Number>>;

#[derive(Debug, Default)]
pub(crate) struct Names {
    seen: Tree,
    durable: Tree,
    pending: Vec<Step>,
    /// To how many durable places, and places of pending steps, each number belongs.
    held: HashMap<Number, usize>,
}

impl Names {
    pub(crate) fn get(&self, directory: Number, name: &OsStr) -> Option<Number> {
        self.seen.get(&directory)?.get(name).copied()
    }

    /// What a directory has, in order.
    pub(crate) fn list(&self, directory: Number) -> impl Iterator<Item = (&OsString, Number)> {
        let names = self.seen.get(&directory).into_iter().flatten();
        names.map(|(name, number)| (name, *number))
    }

    /// Every place with what it leads to.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Place, Number)> {
        self.seen.iter().flat_map(|(directory, names)| {
            names.iter().map(|(name, number)| ((*directory, name.clone()), *number))
        })
    }

    pub(crate) fn take(&mut self, step: Step) {
        for (place, now) in &step {
            _ = set(&mut self.seen, place, *now);
            self.hold(*now);
        }
        self.pending.push(step);
    }

    /// Makes all of them durable. Says which numbers a place led to that does no more.
    pub(crate) fn sync(&mut self) -> Vec<Number> {
        let mut left = Vec::new();
        for (place, now) in std::mem::take(&mut self.pending).into_iter().flatten() {
            let before = set(&mut self.durable, &place, now);
            self.let_go(before);
            // A pending place of it has become a durable one; it may have stopped being seen.
            left.extend(before.into_iter().chain(now));
        }
        left
    }

    /// What is not durable is lost but for a beginning. Says how many steps.
    pub(crate) fn cut(&mut self, kept: &mut dyn FnMut(usize) -> usize) -> usize {
        let count = self.pending.len();
        let stay = if count == 0 { 0 } else { kept(count).min(count) };
        for (place, now) in self.pending.drain(..).take(stay).flatten() {
            _ = set(&mut self.durable, &place, now);
        }
        self.seen = self.durable.clone();
        self.held.clear();
        let durable: Vec<Number> =
            self.durable.values().flat_map(BTreeMap::values).copied().collect();
        durable.into_iter().for_each(|number| self.hold(Some(number)));
        count - stay
    }

    /// Whether a cut may bring a name of it back.
    pub(crate) fn is_held(&self, number: Number) -> bool {
        self.held.contains_key(&number)
    }

    /// A directory is gone for ever.
    pub(crate) fn forget(&mut self, directory: Number) {
        self.seen.remove(&directory);
        self.durable.remove(&directory);
    }

    fn hold(&mut self, number: Option<Number>) {
        if let Some(number) = number {
            *self.held.entry(number).or_default() += 1;
        }
    }

    fn let_go(&mut self, number: Option<Number>) {
        let Some(number) = number else { return };
        let Some(count) = self.held.get_mut(&number) else { return };
        *count -= 1;
        if *count == 0 {
            self.held.remove(&number);
        }
    }
}

/// Says where the place led before.
fn set(tree: &mut Tree, (directory, name): &Place, now: Option<Number>) -> Option<Number> {
    let names = tree.entry(*directory).or_default();
    match now {
        Some(number) => names.insert(name.clone(), number),
        None => names.remove(name),
    }
}
