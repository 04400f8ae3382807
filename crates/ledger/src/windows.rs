//! Dedup windows: how long they stay open follows the phase of the intent that opened them.
//!
//! A window ends `window_ms` after the latest of acceptance, release by approval and last claim,
//! and never while the first intent is held, claimed or in doubt. It is released at once when the
//! first intent is blocked, rejected or failed without effect; by expiry or cancellation only if
//! the intent never was allowed, since an agent that was told "approved" may have acted.

use bugs::Bug;
use types::{IntentId, LogTime, Phase};

use crate::rows::{Head, WindowRow};

/// What a change of phase does to the windows of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// They stay open until the phase changes again.
    Pinned,
    /// They stay open until the phase changes again; the span then runs from now.
    Claimed,
    /// The span runs anew from now.
    Restarted,
    /// The span runs from when it last began.
    Resumed,
    /// They are gone.
    Released,
}

/// What entering `phase` does to the windows of an intent.
pub(crate) fn change(head: &Head, phase: Phase) -> Change {
    match phase {
        Phase::Held | Phase::InDoubt => Change::Pinned,
        Phase::Claimed => Change::Claimed,
        // A connector will still run it.
        Phase::Allowed if head.runs_by.is_some() => Change::Claimed,
        Phase::Allowed => Change::Restarted,
        Phase::Succeeded if Bug::WindowReleasedEarly.is_planted() => Change::Released,
        Phase::Succeeded | Phase::Delivered | Phase::Superseded => Change::Resumed,
        Phase::Blocked | Phase::Rejected => Change::Released,
        Phase::Expired | Phase::Cancelled if head.was_allowed => Change::Resumed,
        Phase::Expired | Phase::Cancelled => Change::Released,
        Phase::Failed if head.effect == Some(types::Effect::None) => Change::Released,
        Phase::Failed => Change::Resumed,
    }
}

/// The row after the change; `None` if the window is released.
pub(crate) fn changed(row: &WindowRow, change: Change, now: LogTime) -> Option<WindowRow> {
    let since = match change {
        Change::Restarted | Change::Claimed => now,
        Change::Pinned | Change::Resumed => row.since,
        Change::Released => return None,
    };
    let pinned = matches!(change, Change::Pinned | Change::Claimed);
    let ends_at = (!pinned).then(|| since.plus_ms(row.window_ms));
    Some(WindowRow { since, ends_at, ..row.clone() })
}

/// The row of an intent that holds its window again after it was over and swept; `None` where the
/// change opens nothing.
pub(crate) fn reopened(
    first: IntentId,
    window_ms: u64,
    change: Change,
    now: LogTime,
) -> Option<WindowRow> {
    let over = WindowRow { first, window_ms, since: now, ends_at: None };
    match change {
        Change::Pinned | Change::Claimed | Change::Restarted => changed(&over, change, now),
        Change::Resumed | Change::Released => None,
    }
}

/// Whether a window refuses repeats now.
pub(crate) fn is_open(row: &WindowRow, now: LogTime) -> bool {
    row.ends_at.is_none_or(|ends_at| now < ends_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_follows_its_intent() {
        let row = WindowRow {
            first: IntentId(1),
            window_ms: 300,
            since: LogTime(1_000),
            ends_at: Some(LogTime(1_300)),
        };
        let now = LogTime(1_200);
        let ends = |change| changed(&row, change, now).map(|row| row.ends_at);
        assert_eq!(ends(Change::Pinned), Some(None));
        assert_eq!(ends(Change::Restarted), Some(Some(LogTime(1_500))));
        assert_eq!(ends(Change::Claimed), Some(None));
        let claimed = changed(&row, Change::Claimed, now).unwrap();
        let resumed = changed(&claimed, Change::Resumed, LogTime(1_250)).unwrap();
        assert_eq!(resumed.ends_at, Some(LogTime(1_500)), "from the claim on");
        assert_eq!(ends(Change::Resumed), Some(Some(LogTime(1_300))));
        assert_eq!(ends(Change::Released), None);
    }

    #[test]
    fn a_window_is_over_at_its_end_and_not_before() {
        let open = |ends_at, now| {
            let row = WindowRow { first: IntentId(1), window_ms: 1, since: LogTime(0), ends_at };
            is_open(&row, LogTime(now))
        };
        assert!(open(None, u64::MAX));
        assert!(open(Some(LogTime(10)), 9));
        assert!(!open(Some(LogTime(10)), 10));
    }
}
