//! Sockets and threads: those of the machine, or in a simulation what stands for them.
//!
//! Promise: without the feature `simulated` this is tokio under other names. Invariant: whatever of
//! a node opens a socket or hands work to another thread does it through here, or has no thread
//! where [`IS_SIMULATED`] (the one that syncs the log, and the one that applies large chunks), so
//! that a simulation decides when bytes arrive, and nothing runs beside it.
#![forbid(unsafe_code)]

/// Nothing here is the machine's: this build is a simulation.
pub const IS_SIMULATED: bool = cfg!(feature = "simulated");

/// Sockets.
pub mod net {
    #[cfg(not(feature = "simulated"))]
    pub use tokio::net::{TcpListener, TcpStream, lookup_host};
    #[cfg(feature = "simulated")]
    pub use turmoil::net::{TcpListener, TcpStream, lookup_host};
}

pub use blocking::blocking;

#[cfg(not(feature = "simulated"))]
mod blocking {
    use tokio::task::{JoinHandle, spawn_blocking};

    /// Runs work that takes its time, or waits for a disk, beside the threads that serve. It runs
    /// whether or not somebody waits for it.
    ///
    /// # Errors
    /// If the work panicked, or the runtime ends.
    pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        spawn_blocking(work)
    }
}

#[cfg(feature = "simulated")]
mod blocking {
    use tokio::task::JoinError;

    /// Runs the work at once: in a simulation nothing runs beside anything.
    ///
    /// # Errors
    /// None.
    pub fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, JoinError>> + Send {
        std::future::ready(Ok(work()))
    }
}
