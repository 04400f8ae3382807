//! The tree against published vectors, against the RFC's own recursion, and against forgers.
#![cfg(test)]

mod edge;
mod forgery;
mod properties;
mod reference;
mod vectors;
