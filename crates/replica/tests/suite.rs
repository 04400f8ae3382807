//! Raft's own suite for storage, on real directories.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use replica::raft::TypeConfig;
use replica::{Ahead, Listeners, RaftLog, StateMachine};
use store::log::{LogOptions, LogStore};
use store::state::StateStore;
use tempfile::TempDir;

struct Directories;

impl StoreBuilder<TypeConfig, RaftLog, StateMachine, TempDir> for Directories {
    async fn build(&self) -> Result<(TempDir, RaftLog, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("dir");
        let log = LogStore::open(dir.path(), &LogOptions::default()).expect("log");
        let state = Arc::new(StateStore::open(dir.path()).expect("state"));
        let ahead = Ahead::default();
        let machine = StateMachine::open(state.clone(), ahead.clone(), Listeners::default());
        Ok((dir, RaftLog::new(Arc::new(log), state, ahead), machine.expect("machine")))
    }
}

#[tokio::test]
async fn storage_keeps_rafts_contract() {
    Suite::test_all(Directories).await.expect("the whole suite");
}
