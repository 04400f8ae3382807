//! Requests with entries on their way to a follower, and since when the oldest waits.
//!
//! Pure. Invariant: only an answer that covers the oldest request gives the next one its time, so
//! a follower that answers and acknowledges nothing is noticed as one that is silent.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Requests that are not acknowledged, oldest first.
#[derive(Debug)]
pub(crate) struct Outstanding {
    within: Duration,
    /// The last entry that each request ends at, and when it was sent.
    sent: VecDeque<(Option<u64>, Instant)>,
    /// When the oldest one became that.
    oldest_since: Instant,
}

impl Outstanding {
    /// None yet. Each may take so long from when all before it are acknowledged.
    pub(crate) fn new(within: Duration, now: Instant) -> Self {
        Self { within, sent: VecDeque::new(), oldest_since: now }
    }

    /// A request was sent that ends at this entry.
    pub(crate) fn sent(&mut self, last: Option<u64>, now: Instant) {
        self.sent.push_back((last, now));
    }

    /// The follower has everything up to this entry.
    pub(crate) fn acknowledged(&mut self, upto: Option<u64>, now: Instant) {
        while self.sent.front().is_some_and(|(last, _)| *last <= upto) {
            self.sent.pop_front();
            self.oldest_since = now;
        }
    }

    /// When the oldest one must be acknowledged; `None` if all are.
    pub(crate) fn due(&self) -> Option<Instant> {
        let (_, sent) = self.sent.front()?;
        Some((*sent).max(self.oldest_since) + self.within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    #[test]
    fn the_oldest_request_has_its_time_and_no_other_answer_gives_it_more() {
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let mut waiting = Outstanding::new(WITHIN, began);
        assert_eq!(waiting.due(), None, "nothing is waited for");
        // A request after a long rest has its whole time.
        waiting.sent(Some(5), at(9));
        assert_eq!(waiting.due(), Some(at(19)));
        waiting.sent(Some(7), at(10));
        waiting.sent(Some(7), at(11));
        waiting.acknowledged(None, at(12));
        waiting.acknowledged(Some(4), at(13));
        assert_eq!(waiting.due(), Some(at(19)), "the oldest is not among them");
        waiting.acknowledged(Some(5), at(18));
        assert_eq!(waiting.due(), Some(at(28)), "the next waited for the first");
        waiting.acknowledged(Some(9), at(20));
        assert_eq!(waiting.due(), None);
        waiting.sent(None, at(30));
        assert_eq!(waiting.due(), Some(at(40)));
        waiting.acknowledged(None, at(31));
        assert_eq!(waiting.due(), None, "an empty log was confirmed");
    }
}
