//! Bugs that a simulated node can be told to have, to see that the simulation sees them.
//!
//! Promise: outside of the simulator no node has one, and asking costs nothing.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A node answers fresh reads from its own state, without asking the leader.
    ReadsOwnState,
    /// A leader answers fresh reads without asking whether it still leads.
    ReadsWithoutRound,
    /// A follower asks a leader that refuses it again and again without a rest.
    NoRest,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ReadsOwnState, Self::ReadsWithoutRound, Self::NoRest];

    /// As it is named on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadsOwnState => "reads-own-state",
            Self::ReadsWithoutRound => "reads-without-round",
            Self::NoRest => "no-rest",
        }
    }

    /// Nodes have it from now on.
    #[cfg(feature = "simulated")]
    pub fn plant(self) {
        planted::PLANTED.store(1 << self as u32, std::sync::atomic::Ordering::Relaxed);
    }

    /// This node has it.
    #[cfg(feature = "simulated")]
    #[must_use]
    pub fn is_planted(self) -> bool {
        let planted = planted::PLANTED.load(std::sync::atomic::Ordering::Relaxed);
        planted & (1 << self as u32) != 0
    }

    /// No node of this build has it.
    #[cfg(not(feature = "simulated"))]
    #[inline]
    #[must_use]
    pub const fn is_planted(self) -> bool {
        false
    }
}

#[cfg(feature = "simulated")]
mod planted {
    use std::sync::atomic::AtomicU32;

    pub(super) static PLANTED: AtomicU32 = AtomicU32::new(0);
}
