//! What nodes say to each other: messages and services, generated from `proto/gate/v1`.
//!
//! Invariant: nothing here knows what the bytes inside mean; who sends and receives them does.
#![forbid(unsafe_code)]

/// Node to node: `proto/gate/v1/peer.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::needless_pass_by_value,
    reason = "generated"
)]
pub mod peer {
    tonic::include_proto!("gate.v1");
}
