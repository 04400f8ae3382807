//! Tells systemd, where that started this process, how far it is.
//!
//! Promise: without a service manager nothing happens, and a word that does not arrive changes
//! nothing but what the manager knows.

use sd_notify::NotifyState;

/// The door is open: requests are taken, though perhaps answered with 503 until a leader is known.
pub(crate) fn serving() {
    tell(NotifyState::Ready);
}

/// It was told to stop, and begins to.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told how far this process is");
    }
}
