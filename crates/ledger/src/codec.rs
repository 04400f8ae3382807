//! The form of a log entry's data: a batch of commands with the leader's stamp.
//!
//! `format byte ‖ CBOR [level, time, proposer, [command bytes …]]`. Commands stay the bytes that
//! the node which took the request encoded and, if they were large, packed. An unknown format,
//! level or command stops the node: skipping one would make replicas differ in silence.

use alloc::vec::Vec;

use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Decoder, Encode};
use types::codec::{decode, encode};
use types::{LogTime, NodeId};

use crate::command::Envelope;
use crate::pack::{unpack, unpacked_bytes};
use crate::read::Fault;

/// The newest feature level that this build knows.
pub const FEATURE_LEVEL: u32 = 1;

/// The level of a new cluster, whichever build makes it: a replay by a later build gives the same.
pub const FIRST_FEATURE_LEVEL: u32 = 1;

const FORMAT: u8 = 1;
/// The number of [`Command::Submit`](crate::Command).
const SUBMIT: u32 = 2;
/// Fields of an envelope before its command.
const BEFORE_COMMAND: usize = 4;

/// The leader's stamp on a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Feature level that the commands need, at most that of the cluster.
    pub level: u32,
    /// The leader's time.
    pub time: LogTime,
    /// The leader.
    pub proposer: NodeId,
}

#[derive(Encode, Decode)]
struct Wire<'b> {
    #[n(0)]
    level: u32,
    #[n(1)]
    time: LogTime,
    #[n(2)]
    proposer: NodeId,
    #[b(3)]
    commands: Vec<&'b ByteSlice>,
}

/// Encodes a batch of encoded commands.
#[must_use]
pub fn encode_batch<B: AsRef<[u8]>>(header: &BatchHeader, commands: &[B]) -> Vec<u8> {
    let wire = Wire {
        level: header.level,
        time: header.time,
        proposer: header.proposer,
        commands: commands.iter().map(|bytes| <&ByteSlice>::from(bytes.as_ref())).collect(),
    };
    let mut bytes = alloc::vec![FORMAT];
    bytes.extend_from_slice(&encode(&wire));
    bytes
}

/// What a batch says of the work that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchWork {
    /// Bytes of the commands when they are unpacked, as they say themselves; those that are stored
    /// if the batch does not decode.
    pub bytes: usize,
    /// It holds submits and nothing else, none of them packed: then its work is in proportion to
    /// its bytes. What ends or decides something may touch all that is due, or every window of an
    /// intent.
    pub is_only_submits: bool,
}

/// Looks at a batch without decoding its commands.
#[must_use]
pub fn batch_work(batch: &[u8]) -> BatchWork {
    let rest = batch.get(1..).unwrap_or_default();
    let Ok(Wire { commands, .. }) = decode(rest, "log entry") else {
        return BatchWork { bytes: batch.len(), is_only_submits: false };
    };
    let bytes = commands.iter().map(|command| unpacked_bytes(command));
    BatchWork {
        bytes: bytes.fold(0, usize::saturating_add),
        is_only_submits: commands.iter().all(|command| kind_of(command) == Some(SUBMIT)),
    }
}

/// The number of an envelope's command.
fn kind_of(envelope: &[u8]) -> Option<u32> {
    let mut decoder = Decoder::new(envelope);
    decoder.array().ok()?;
    for _ in 0..BEFORE_COMMAND {
        decoder.skip().ok()?;
    }
    decoder.array().ok()?;
    decoder.u32().ok()
}

/// Decodes a batch. Its level is compared with what this build can apply, not with the level in
/// force: whether a newer kind of command is let in is decided before it is proposed. What is
/// committed every node must apply alike, and a build that knows the level does; one that took the
/// level in force for a limit would stop the whole cluster for one proposer's mistake.
///
/// # Errors
/// [`Fault`] for an unknown format or command, a level newer than this build, or damage.
pub fn decode_batch(bytes: &[u8]) -> Result<(BatchHeader, Vec<Envelope>), Fault> {
    let (format, rest) =
        bytes.split_first().ok_or_else(|| Fault("a log entry without data".into()))?;
    if *format != FORMAT {
        return Err(Fault(alloc::format!("log entry format {format} is not known to this build")));
    }
    let wire: Wire<'_> = decode(rest, "log entry")?;
    if wire.level > FEATURE_LEVEL {
        return Err(Fault(alloc::format!(
            "a log entry needs feature level {}, this build knows {FEATURE_LEVEL}; run a newer one",
            wire.level
        )));
    }
    let commands = wire
        .commands
        .iter()
        .map(|bytes| Ok::<_, Fault>(decode(&unpack(bytes)?, "command")?))
        .collect::<Result<_, _>>()?;
    Ok((BatchHeader { level: wire.level, time: wire.time, proposer: wire.proposer }, commands))
}
