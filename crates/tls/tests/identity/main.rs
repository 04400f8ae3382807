//! Identities on real sockets: who is let in, who is not, and what replacing files does.
//!
//! Invariant: every case makes its own authority, files and connections; nothing waits for time.
#![cfg(test)]

mod authority;
mod handshake;
mod place;
mod reload;
mod watch;
