//! `qgate demo` as a person starts it.
#![cfg(test)]
