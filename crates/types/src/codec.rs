//! The durable encoding: CBOR (RFC 8949) arrays with numbered fields, shortest integers, definite
//! lengths. The same value has exactly one form, so digests over it are stable.

use alloc::vec::Vec;
use core::fmt;

use minicbor::{Decode, Encode};

/// Stored bytes do not decode: damage, or a format this build does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError {
    /// What was being read.
    pub what: &'static str,
    /// Byte offset of the failure, where known.
    pub at: Option<usize>,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "stored {} does not decode at byte {at}", self.what),
            None => write!(f, "stored {} does not decode", self.what),
        }
    }
}

impl core::error::Error for CodecError {}

/// Encodes a value. Infallible: a vector takes every byte.
#[must_use]
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    match minicbor::encode(value, &mut bytes) {
        Ok(()) => bytes,
        Err(_) => unreachable!("a vector takes every byte"),
    }
}

/// Decodes a value and refuses trailing bytes. `what` names it in the error.
///
/// # Errors
/// [`CodecError`] if the bytes are not exactly one value of this type.
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8], what: &'static str) -> Result<T, CodecError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|error| CodecError { what, at: error.position() })?;
    if decoder.position() == bytes.len() {
        Ok(value)
    } else {
        Err(CodecError { what, at: Some(decoder.position()) })
    }
}
