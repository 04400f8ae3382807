//! What works off the queue: a thread, or in a simulation a task of the node's runtime, which ends
//! with it as a thread ends with its process.

use std::sync::Arc;

use crate::engine::DB;
use crate::error::StoreError;

use super::queue::Queue;

#[cfg(not(feature = "simulated"))]
pub(super) struct Worker(std::thread::JoinHandle<()>);

#[cfg(not(feature = "simulated"))]
impl Worker {
    pub(super) fn start(db: &Arc<DB>, queue: &Arc<Queue>) -> Result<Self, StoreError> {
        let dir = db.path().to_owned();
        let (db, queue) = (db.clone(), queue.clone());
        std::thread::Builder::new()
            .name("log-sync".to_owned())
            .spawn(move || queue.run(&db))
            .map(Self)
            .map_err(|error| StoreError::file("start the log thread for", &dir, error))
    }

    /// Waits until it has worked off what waits in a queue that is closed.
    pub(super) fn end(self) {
        // A panic of the thread has already failed every operation that waited.
        _ = self.0.join();
    }
}

#[cfg(feature = "simulated")]
pub(super) struct Worker(tokio::task::JoinHandle<()>);

#[cfg(feature = "simulated")]
impl Worker {
    pub(super) fn start(db: &Arc<DB>, queue: &Arc<Queue>) -> Result<Self, StoreError> {
        let (db, queue) = (db.clone(), queue.clone());
        Ok(Self(tokio::spawn(async move { queue.run_simulated(&db).await })))
    }

    pub(super) fn end(self) {
        self.0.abort();
    }
}
