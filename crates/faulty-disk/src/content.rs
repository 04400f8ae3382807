//! What one file has, as it is seen and as it would be after a power cut.
//!
//! Invariant: `durable` is a beginning of what was done to the file, without what a sync failed at.

/// A change of a file that may not be durable yet.
#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => put(to, *offset, bytes),
            Self::Length(length) => to.resize(*length, 0),
        }
    }
}

/// Puts bytes at an offset; what lies between the end and them is zero.
fn put(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}

#[derive(Debug, Default)]
pub(crate) struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// What `seen` has and `durable` has not, but for what a sync failed at.
    pending: Vec<Change>,
}

impl Content {
    pub(crate) fn seen(&self) -> &[u8] {
        &self.seen
    }

    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.change(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(crate) fn set_length(&mut self, length: usize) {
        self.change(Change::Length(length));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    pub(crate) fn sync(&mut self) {
        let Self { durable, pending, .. } = self;
        pending.drain(..).for_each(|change| change.apply(durable));
    }

    /// What the sync was for is seen, and counts as written though it is not.
    pub(crate) fn sync_failed(&mut self) {
        self.pending.clear();
    }

    /// Loses what is not durable but for a beginning, and says how many bytes are not as they were.
    pub(crate) fn cut(&mut self, kept: &mut dyn FnMut(usize) -> usize) -> usize {
        let Self { seen, durable, pending } = self;
        if !pending.is_empty() {
            let stay = kept(pending.len()).min(pending.len());
            pending[..stay].iter().for_each(|change| change.apply(durable));
            if let Some(Change::Write { offset, bytes }) = pending.get(stay) {
                let stay = kept(bytes.len()).min(bytes.len());
                if stay > 0 {
                    put(durable, *offset, &bytes[..stay]);
                }
            }
            pending.clear();
        }
        let most = seen.len().max(durable.len());
        let same = seen.iter().zip(durable.iter()).filter(|(one, other)| one == other).count();
        seen.clone_from(durable);
        most - same
    }

    /// Flips one bit wherever the byte is; `false` if there is none.
    pub(crate) fn flip(&mut self, bit: u64) -> bool {
        let Ok(at) = usize::try_from(bit / 8) else { return false };
        let Self { seen, durable, pending } = self;
        let is_there = at < seen.len();
        // Pending bytes are those of the same place: a sync must not heal it.
        let pending = pending.iter_mut().filter_map(|change| match change {
            Change::Write { offset, bytes } => bytes.get_mut(at.checked_sub(*offset)?),
            Change::Length(_) => None,
        });
        let known = [seen.get_mut(at), durable.get_mut(at)].into_iter().flatten();
        known.chain(pending).filter(|_| is_there).for_each(|byte| *byte ^= 1 << (bit % 8));
        is_there
    }
}
