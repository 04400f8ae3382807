//! Tasks that run intents: whose place one holds is known also of a task that panics.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use types::IntentId;

use crate::attempt::After;

/// What became of the task of an intent.
pub(crate) type Ended = (IntentId, Result<After, JoinError>);

/// The tasks on their way.
#[derive(Default)]
pub(crate) struct Tasks {
    set: JoinSet<After>,
    intents: HashMap<Id, IntentId>,
}

impl Tasks {
    pub(crate) fn spawn(
        &mut self,
        intent: IntentId,
        run: impl Future<Output = After> + Send + 'static,
    ) {
        let id = self.set.spawn(run).id();
        self.intents.insert(id, intent);
    }

    /// The next one that ends; `None` while there is none on its way.
    pub(crate) async fn next(&mut self) -> Option<Ended> {
        let ended = self.set.join_next_with_id().await?;
        self.of(ended)
    }

    /// One that has ended already.
    pub(crate) fn try_next(&mut self) -> Option<Ended> {
        let ended = self.set.try_join_next_with_id()?;
        self.of(ended)
    }

    /// What ends within this time; all of it if that is enough.
    pub(crate) async fn ended_within(&mut self, within: Duration) -> Vec<Ended> {
        let (mut ended, ends) = (Vec::new(), Instant::now() + within);
        while let Ok(Some(one)) = timeout_at(ends, self.next()).await {
            ended.push(one);
        }
        ended
    }

    /// How many are on their way.
    pub(crate) fn len(&self) -> usize {
        self.set.len()
    }

    /// None is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Ends what is still on its way.
    pub(crate) async fn shutdown(&mut self) {
        self.set.shutdown().await;
    }

    fn of(&mut self, ended: Result<(Id, After), JoinError>) -> Option<Ended> {
        let (id, after) = match ended {
            Ok((id, after)) => (id, Ok(after)),
            Err(error) => (error.id(), Err(error)),
        };
        Some((self.intents.remove(&id)?, after))
    }
}

#[cfg(test)]
mod tests {
    use types::limits::{CONNECTOR_TIMEOUT_MS_MAX, EXECUTOR_DRAIN_MS_DEFAULT};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_call_ends_before_a_stop_does_and_no_call_holds_it_up_for_ever() {
        let mut tasks = Tasks::default();
        for (intent, call_ms) in (1..).zip([1, 60_000, CONNECTOR_TIMEOUT_MS_MAX.into()]) {
            tasks.spawn(IntentId(intent), async move {
                tokio::time::sleep(Duration::from_millis(call_ms)).await;
                After::Done
            });
        }
        let within = Duration::from_millis(EXECUTOR_DRAIN_MS_DEFAULT);
        assert_eq!(tasks.ended_within(within).await.len(), 3);
        assert!(tasks.is_empty());
        tasks.spawn(IntentId(9), std::future::pending());
        let an_hour = Duration::from_secs(3_600);
        let ended = tokio::time::timeout(an_hour, tasks.ended_within(within)).await.unwrap();
        assert!(ended.is_empty() && tasks.len() == 1);
    }

    #[tokio::test]
    async fn a_task_that_panics_gives_its_place_back() {
        let mut tasks = Tasks::default();
        tasks.spawn(IntentId(1), async { panic!("a bug in a connector") });
        let (intent, after) = tasks.next().await.unwrap();
        assert_eq!((intent, after.is_err()), (IntentId(1), true));
        tasks.spawn(IntentId(2), async { After::Done });
        let (intent, after) = tasks.next().await.unwrap();
        assert_eq!((intent, after.unwrap()), (IntentId(2), After::Done));
        assert!(tasks.next().await.is_none() && tasks.try_next().is_none());
        assert!(tasks.intents.is_empty());
    }
}
