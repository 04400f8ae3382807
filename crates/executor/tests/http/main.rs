//! The HTTP connector against real sockets on loopback: what is sent, and what comes of it.
#![cfg(test)]

mod outcomes;
mod requests;
mod secrets;
mod support;
