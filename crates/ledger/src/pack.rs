//! Large commands travel and are stored compressed: in queues, between nodes, in the log.
//!
//! Packed once, by the node that took the request, and never again: a form is chosen by nobody
//! else, so that all nodes have the same bytes. `1 ‖ length (4 bytes, big-endian) ‖ LZ4 block`; a
//! command that is not packed begins as a CBOR array does, which is never 1.
//! Invariant: what the length says is checked before memory is taken for it, and nothing that does
//! not unpack to exactly so many bytes is taken.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use alloc::{format, vec};

use lz4_flex::block;
use types::codec::encode;
use types::limits::{COMMAND_BYTES_MAX, PACK_BYTES_MIN};

use crate::command::Envelope;
use crate::read::Fault;

/// Begins a packed command.
const PACKED: u8 = 1;
/// The first byte and the length.
const HEAD_BYTES: usize = 1 + 4;
/// A command is packed if that saves one part in so many.
const SAVED_PARTS: usize = 8;
/// One byte of a block stands for so many at most.
const BLOCK_RATIO_MAX: usize = 255;

/// Encodes a command for the log, packed if that is worth it.
#[must_use]
pub fn encode_command(envelope: &Envelope) -> Vec<u8> {
    pack(encode(envelope))
}

/// Bytes of a command when it is unpacked, as it says itself.
#[must_use]
pub fn unpacked_bytes(command: &[u8]) -> usize {
    match command {
        [PACKED, a, b, c, d, ..] => {
            let said = u32::from_be_bytes([*a, *b, *c, *d]);
            usize::try_from(said).unwrap_or(usize::MAX)
        }
        _ => command.len(),
    }
}

/// Packs what is large, if that saves enough.
fn pack(raw: Vec<u8>) -> Vec<u8> {
    let is_large = (PACK_BYTES_MIN..=COMMAND_BYTES_MAX).contains(&raw.len());
    let Ok(said) = u32::try_from(raw.len()) else { return raw };
    if !is_large {
        return raw;
    }
    let mut packed = vec![0; HEAD_BYTES + block::get_maximum_output_size(raw.len())];
    let (head, rest) = packed.split_at_mut(HEAD_BYTES);
    head[0] = PACKED;
    head[1..].copy_from_slice(&said.to_be_bytes());
    match block::compress_into(&raw, rest) {
        Ok(bytes) if HEAD_BYTES + bytes <= raw.len() - raw.len() / SAVED_PARTS => {
            packed.truncate(HEAD_BYTES + bytes);
            // It waits in queues, whose bytes are counted.
            packed.shrink_to_fit();
            packed
        }
        _ => raw,
    }
}

/// A command as it was before it was packed.
pub(crate) fn unpack(command: &[u8]) -> Result<Cow<'_, [u8]>, Fault> {
    if command.first() != Some(&PACKED) {
        return Ok(Cow::Borrowed(command));
    }
    let damaged = |what: &str| Fault(format!("a packed command {what}"));
    let block = command.get(HEAD_BYTES..).ok_or_else(|| damaged("is cut short"))?;
    let said = unpacked_bytes(command);
    if !(PACK_BYTES_MIN..=COMMAND_BYTES_MAX).contains(&said) {
        return Err(damaged("has a length that none has"));
    }
    if said > block.len().saturating_mul(BLOCK_RATIO_MAX) {
        return Err(damaged("says that it is longer than it can be"));
    }
    let mut raw = vec![0; said];
    match block::decompress_into(block, &mut raw) {
        Ok(bytes) if bytes == said => Ok(Cow::Owned(raw)),
        Ok(_) => Err(damaged("is shorter than it says")),
        Err(_) => Err(damaged("does not unpack")),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// An array, as every command begins, of so many bytes that repeat after a while.
    fn command(bytes: usize, period: usize) -> Vec<u8> {
        let body = (1..bytes).map(|at| u8::try_from(at % period % 251).expect("a byte"));
        [0x85].into_iter().chain(body).collect()
    }

    fn comes_back(raw: &[u8]) -> bool {
        let packed = pack(raw.to_vec());
        let is_packed = packed.first() == Some(&PACKED);
        assert_eq!(unpacked_bytes(&packed), raw.len());
        assert!(!is_packed || packed.len() <= raw.len() - raw.len() / SAVED_PARTS);
        assert_eq!(unpack(&packed).expect("whole").as_ref(), raw);
        is_packed
    }

    #[test]
    #[rustfmt::skip]
    fn what_is_large_is_packed_where_that_saves_something() {
        let cases = [
            // bytes, period, is packed
            (1,                  9, false), (PACK_BYTES_MIN - 1, 9, false),
            (PACK_BYTES_MIN,     9, true),  (COMMAND_BYTES_MAX,  9, true),
            (COMMAND_BYTES_MAX + 1, 9, false),
        ];
        for (bytes, period, expected) in cases {
            assert_eq!(comes_back(&command(bytes, period)), expected, "{bytes}");
        }
        // Nothing repeats.
        let mut seed = 1_u64;
        let noise = (0..9_000).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040);
            seed.to_be_bytes()[0]
        });
        assert!(!comes_back(&[0x85].into_iter().chain(noise).collect::<Vec<u8>>()));
    }

    /// What is stored is a contract: every build unpacks it, whatever it would pack itself.
    #[test]
    fn golden() {
        let head = [PACKED, 0, 0, 0x10, 0];
        // Five bytes, then the same four again and again, then the last five.
        let first = [0x5f, 0x85, 1, 2, 3, 0];
        let repeated = [&[4, 0][..], &[0xff; 15], &[0xf2]].concat();
        let last = [0x50, 3, 0, 1, 2, 3];
        let packed = [&head[..], &first, &repeated, &last].concat();
        assert_eq!(unpack(&packed).expect("whole").as_ref(), command(PACK_BYTES_MIN, 4));
    }

    #[test]
    fn what_is_not_whole_is_an_error_and_takes_no_memory() {
        let packed = pack(command(50_000, 300));
        let said = |length: u32| [&[PACKED], &length.to_be_bytes()[..], &packed[5..]].concat();
        for length in [0, 1, 4_095, 49_999, 50_001, 60_000, u32::MAX] {
            assert!(unpack(&said(length)).is_err(), "{length}");
        }
        let most = u32::try_from(COMMAND_BYTES_MAX).expect("it fits");
        assert!(unpack(&said(most)).is_err(), "no block of this size holds so many");
        for length in 0..packed.len() {
            assert!(length == 0 || unpack(&packed[..length]).is_err(), "cut to {length}");
        }
    }

    proptest! {
        #[test]
        fn every_command_comes_back(
            words in vec(vec(any::<u8>(), 1..40), 1..40),
            picks in vec(any::<prop::sample::Index>(), 0..2_000),
        ) {
            let body = picks.iter().flat_map(|pick| pick.get(&words)).copied();
            comes_back(&[0x85].into_iter().chain(body).collect::<Vec<u8>>());
        }

        /// Damage is an error or another command, never a panic, and never more than was said.
        #[test]
        fn no_damage_panics(
            bytes in 4_096..40_000_usize,
            period in 1..3_000_usize,
            damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        ) {
            let mut packed = pack(command(bytes, period));
            for (place, byte) in damage {
                let place = place.index(packed.len());
                packed[place] = byte;
            }
            if let Ok(found) = unpack(&packed) {
                prop_assert_eq!(found.len(), unpacked_bytes(&packed));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300)) {
            _ = unpack(&[&[PACKED], bytes.as_slice()].concat());
            _ = unpack(&[&[PACKED, 0, 0, 0x20, 0], bytes.as_slice()].concat());
        }
    }
}
