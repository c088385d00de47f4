//! The bodies of frames, and what may be wrong with bytes.

use std::time::Duration;

use endpoints::Plain;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Encodes the body of a frame: a MessagePack document with named fields.
pub fn encode_body<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    value.serialize(&mut serializer).expect("a body is plain data, which MessagePack can hold");
    bytes
}

/// The most bytes of usual bodies: growing to that by doubling costs more than writing it.
const USUAL_BYTES: usize = 512;

/// Reads the body of a frame.
///
/// # Errors
///
/// [`WireError::Malformed`] if the bytes are not of that type, or are nested more than
/// [`DEPTH_MAX`] deep.
pub fn decode_body<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, WireError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(DEPTH_MAX);
    T::deserialize(&mut reader).map_err(|error| WireError::Malformed(plainly(&error)))
}

/// Writes an error that may quote the bytes, as a line that anybody may print.
fn plainly(error: &rmp_serde::decode::Error) -> String {
    let text: String = error.to_string().chars().take(QUOTED_MAX).collect();
    Plain(&text).to_string()
}

/// The most characters of an error that quotes what it cannot read.
const QUOTED_MAX: usize = 512;

/// The deepest nesting of values: more than anybody writes by hand, and a fraction of the room in a
/// thread's stack of 2 MiB.
pub const DEPTH_MAX: usize = 128;

/// Bytes that are not what the protocol says.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::WireError;
///
/// let error = WireError::Malformed("not a map".to_owned());
/// assert_eq!(error.to_string(), "malformed message: not a map");
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum WireError {
    /// A frame is longer than any may be.
    #[error("a frame of {bytes} bytes, where {most} are allowed")]
    TooLong {
        /// The length, as announced.
        bytes: u64,
        /// The levels still allowed.
        most: u64,
    },
    /// A frame has begun to arrive, and has not arrived completely in time.
    #[error("a frame that was incomplete {limit:?} after its first byte")]
    Unfinished {
        /// The most bytes.
        limit: Duration,
    },
    /// The bytes cannot be read.
    #[error("malformed message: {0}")]
    Malformed(String),
}

/// Splits a string of at most 255 bytes from the beginning of `bytes`.
pub(crate) fn short_str(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = match bytes.split_first()? {
        (marker @ 0xa0..=0xbf, rest) => (marker & 0x1f, rest),
        (0xd9, rest) => rest.split_first().map(|(length, rest)| (*length, rest))?,
        _ => return None,
    };
    let (text, rest) = rest.split_at_checked(usize::from(length))?;
    Some((str::from_utf8(text).ok()?, rest))
}
