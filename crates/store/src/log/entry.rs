//! One log entry on the disk: `format (1) ‖ payload ‖ CRC32C (4)`.
//!
//! Promise: bytes that do not carry the right checksum are never served.
//! Invariant: the checksum covers the index too, so an entry cannot stand in another's place.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::error::{StoreError, checksum_failed};

/// The format of an entry that this build writes.
const FORMAT: u8 = 1;
/// Bytes around the payload.
pub(crate) const FRAME_BYTES: usize = 1 + 4;

/// Frames a payload for its place in the log.
pub(crate) fn encode(index: u64, payload: &[u8]) -> Bytes {
    let mut value = BytesMut::with_capacity(payload.len() + FRAME_BYTES);
    value.put_u8(FORMAT);
    value.put_slice(payload);
    let checksum = checksum(index, &value);
    value.put_u32(checksum);
    value.freeze()
}

/// The payload of a stored value, without a copy.
///
/// # Errors
/// [`StoreError::Damaged`] if the format is unknown or the checksum differs.
pub(crate) fn decode(index: u64, value: &Bytes) -> Result<Bytes, StoreError> {
    let damaged = |what: &str| StoreError::damaged(format!("log entry {index}: {what}"));
    let body_bytes =
        value.len().checked_sub(4).filter(|length| *length >= 1).ok_or_else(|| damaged("short"))?;
    let (body, stored) = value.split_at(body_bytes);
    let stored = <[u8; 4]>::try_from(stored).map_err(|_| damaged("short"))?;
    if checksum(index, body) != u32::from_be_bytes(stored) {
        checksum_failed();
        return Err(damaged("its checksum differs"));
    }
    if body.first() != Some(&FORMAT) {
        return Err(damaged("unknown format; a newer version wrote it"));
    }
    Ok(value.slice(1..body_bytes))
}

fn checksum(index: u64, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&index.to_be_bytes()), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_only_whole_and_only_in_its_place() {
        for payload in [&b""[..], b"x", &[7; 5000]] {
            let value = encode(9, payload);
            assert_eq!(decode(9, &value).expect("whole"), payload);
            assert!(decode(8, &value).is_err(), "another place");
            for at in (0..value.len()).step_by(97).chain([value.len() - 1]) {
                let mut bad = value.to_vec();
                bad[at] ^= 1;
                assert!(decode(9, &bad.into()).is_err(), "flipped byte {at}");
            }
            for length in 0..value.len().min(8) {
                assert!(decode(9, &value.slice(..length)).is_err(), "cut to {length}");
            }
        }
    }

    /// The stored form is a contract: an older build must find the same bytes.
    #[test]
    fn golden() {
        let hex = types::hex(&encode(5, b"gate"));
        assert_eq!(hex, "01676174659a88be16");
    }
}
