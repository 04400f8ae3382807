//! Tasks that run intents: whose place one holds is known also of a task that panics.

use std::collections::HashMap;

use tokio::task::{Id, JoinError, JoinSet};
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
    use super::*;

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
