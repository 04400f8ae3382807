//! The newest entries in memory: apply and near followers read back what was just appended.
//!
//! Invariant: the entries are consecutive and equal to what the database holds.

use std::collections::VecDeque;

use bytes::Bytes;

/// Framed entries with consecutive indexes, up to a number of bytes.
pub(crate) struct Tail {
    entries: VecDeque<Bytes>,
    first: u64,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), first: 0, bytes: 0, bytes_max }
    }

    /// Adds the next entry; the oldest give way.
    pub(crate) fn push(&mut self, index: u64, value: Bytes) {
        if self.first + self.entries.len() as u64 != index {
            self.clear();
            self.first = index;
        }
        self.bytes += value.len();
        self.entries.push_back(value);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.len();
            self.first += 1;
        }
    }

    /// The framed entry, if it is still here.
    pub(crate) fn get(&self, index: u64) -> Option<&Bytes> {
        let at = index.checked_sub(self.first)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Forgets the entries after an index.
    pub(crate) fn truncate_after(&mut self, index: Option<u64>) {
        let keep = index.map_or(0, |index| (index + 1).saturating_sub(self.first));
        while self.entries.len() as u64 > keep
            && let Some(newest) = self.entries.pop_back()
        {
            self.bytes -= newest.len();
        }
    }

    /// Forgets the entries up to an index.
    pub(crate) fn purge_through(&mut self, index: u64) {
        while self.first <= index
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.len();
            self.first += 1;
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(tail: &Tail) -> Vec<u64> {
        (0..20).filter(|index| tail.get(*index).is_some()).collect()
    }

    #[test]
    fn keeps_the_newest_in_order() {
        let mut tail = Tail::new(50);
        for index in 0..10 {
            tail.push(index, Bytes::from(vec![0; 10]));
        }
        assert_eq!(held(&tail), [5, 6, 7, 8, 9]);
        tail.truncate_after(Some(7));
        assert_eq!(held(&tail), [5, 6, 7]);
        tail.purge_through(5);
        assert_eq!(held(&tail), [6, 7]);
        tail.push(8, Bytes::from(vec![0; 60]));
        assert!(held(&tail).is_empty(), "larger than the cache");
        tail.push(9, Bytes::from(vec![0; 10]));
        assert_eq!(held(&tail), [9]);
        tail.push(15, Bytes::from(vec![0; 10]));
        assert_eq!(held(&tail), [15], "a gap starts anew");
        tail.truncate_after(None);
        assert!(held(&tail).is_empty());
    }
}
