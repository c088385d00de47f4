//! Frames: the units of a connection.

use bytes::{BufMut, BytesMut};
use endpoints::{InstanceId, Stamped};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Proof, RemoteError, Wanted, WireError, body::short_str, decode_body, optional::or_default,
    readable, registrar::QUERY,
};

/// The longest frame: room for a large answer, and little enough that a peer cannot exhaust a
/// node with one.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The number of a call. The side that dialed takes even ones, the side that accepted odd ones, so
/// that both can call.
///
/// ```
/// # mod callsign { pub use callsign_wire as registrar; }
/// use callsign::registrar::CallId;
///
/// /// Tells whether the side that dialed makes it.
/// fn is_of_dialer(call: CallId) -> bool {
///     call % 2 == 0
/// }
/// # assert!(is_of_dialer(0));
/// ```
pub type CallId = u64;

/// A unit of a connection. Bodies are separate MessagePack documents, carried as bytes, so that a
/// frame can be forwarded without reading its contents.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frame<'a> {
    /// Introduces the sender. The first frame of each side, and only the first.
    Hello(Box<Hello>),
    /// Asks the other side to do something.
    Call {
        /// A number of the caller's own, not in use.
        id: CallId,
        /// The method.
        method: &'a str,
        /// The arguments, encoded.
        #[serde(borrow, with = "serde_bytes")]
        body: &'a [u8],
        /// The caller's deadline for its end, in milliseconds from its arrival.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within_ms: Option<u64>,
    },
    /// Reports that a streaming call has begun.
    Started {
        /// The call.
        id: CallId,
        /// Its first value.
        #[serde(borrow, with = "serde_bytes")]
        body: &'a [u8],
    },
    /// A value of a call's items, from either side.
    Item {
        /// The call.
        id: CallId,
        /// The value.
        #[serde(borrow, with = "serde_bytes")]
        body: &'a [u8],
    },
    /// Allows the other side to send more items.
    Credit {
        /// The call.
        id: CallId,
        /// The number of further items.
        items: u32,
    },
    /// Reports that the sender sends no more items in a call, which continues.
    End {
        /// The call.
        id: CallId,
    },
    /// Ends a call with its result.
    Return {
        /// The call.
        id: CallId,
        /// The result.
        #[serde(borrow, with = "serde_bytes")]
        body: &'a [u8],
    },
    /// Ends a call with an error.
    Error {
        /// The call.
        id: CallId,
        /// The error.
        error: RemoteError,
    },
    /// Asks the other side to end a call.
    Cancel {
        /// The call.
        id: CallId,
    },
    /// Asks for a sign of life.
    Ping {
        /// The number to return.
        nonce: u64,
    },
    /// Answers a ping.
    Pong {
        /// The number of the ping.
        nonce: u64,
    },
    /// Reports that the sender will close the connection, and why.
    Goodbye {
        /// For people.
        reason: &'a str,
        /// Whether the sender only waited too long, and will return: its registrations are not
        /// gone.
        #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
        returns: bool,
        /// The error, for programs, if there is more to it than the reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Box<RemoteError>>,
    },
}

/// The first frame of each side.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::Hello;
///
/// let hello = Hello { agent: "market/1.0".to_owned(), ..Hello::default() };
/// assert!(hello.registrar.is_none(), "it is no registrar");
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Hello {
    /// The software and its version, for people.
    #[serde(default, deserialize_with = "or_default")]
    pub agent: String,
    /// Set by a registrar: which one it is. A registrar that starts again is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registrar: Option<Uuid>,
    /// Set by a registrar that has begun a short while ago: for how long, in milliseconds, those
    /// may still come back that one before it knew. Until then, that something is not there is no
    /// knowledge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settling_ms: Option<u64>,
    /// Set by a registrar of a cluster: where the others are that know what it knows. A client that
    /// loses it may go there.
    #[serde(
        default,
        deserialize_with = "readable::stamped_or_none",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cluster: Vec<Stamped>,
    /// Set by a registrar of a cluster: a number that all of its nodes have in common, so that a client
    /// keeps one session to all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_number: Option<u64>,
    /// The actor that speaks, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// The instance that the dialer means, if it means an actor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Wanted>,
    /// The response to the challenge in the other side's [`wanted`](Self::wanted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

impl Frame<'_> {
    /// Appends the frame, length first.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] when the frame is longer than [`FRAME_BYTES_MAX`]; nothing is
    /// appended then.
    pub fn encode(&self, bytes: &mut BytesMut) -> Result<(), WireError> {
        encode_framed(bytes, |bytes| match self {
            Self::Call { id, method, body, within_ms } => {
                put_call(bytes, *id, method, body, *within_ms);
            }
            other => put(bytes, other),
        })
    }
}

/// Appends a [`Frame::Hello`], which would own the hello.
///
/// ```
/// # use callsign_wire as wire;
/// use wire::{Frame, Hello, encode_hello};
///
/// let hello = Hello { agent: "pricer/1.0".to_owned(), ..Hello::default() };
/// let (mut bytes, mut same) = (bytes::BytesMut::new(), bytes::BytesMut::new());
/// encode_hello(&mut bytes, &hello)?;
/// Frame::Hello(Box::new(hello)).encode(&mut same)?;
/// assert_eq!(bytes, same);
/// # Ok::<(), wire::WireError>(())
/// ```
///
/// # Errors
///
/// [`WireError::TooLong`], as [`Frame::encode`]; nothing is appended then.
pub fn encode_hello(bytes: &mut BytesMut, hello: &Hello) -> Result<(), WireError> {
    encode_framed(bytes, |bytes| {
        bytes.put_slice(b"\x81\xa5hello");
        put(bytes, hello);
    })
}

fn encode_framed(bytes: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) -> Result<(), WireError> {
    let start = bytes.len();
    bytes.put_u32_le(0);
    write(bytes);
    let length = bytes.len() - start - 4;
    if length > FRAME_BYTES_MAX {
        bytes.truncate(start);
        return Err(WireError::TooLong { bytes: length as u64, most: FRAME_BYTES_MAX as u64 });
    }
    bytes[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(())
}

fn put(bytes: &mut BytesMut, document: &impl Serialize) {
    rmp_serde::encode::write_named(&mut bytes.writer(), document)
        .expect("a frame has nothing that MessagePack cannot hold");
}

/// Appends a call as the general writer would: most frames that a program writes first are calls.
fn put_call(bytes: &mut BytesMut, id: CallId, method: &str, body: &[u8], within_ms: Option<u64>) {
    bytes.reserve(CALL_HEAD_BYTES_MAX + method.len() + body.len());
    bytes.put_slice(b"\x81\xa4call");
    bytes.put_u8(if within_ms.is_some() { 0x84 } else { 0x83 });
    bytes.put_slice(b"\xa2id");
    put_uint(bytes, id);
    bytes.put_slice(b"\xa6method");
    match method.len() as u64 {
        length @ 0..=0x1f => bytes.put_u8(0xa0 | length as u8),
        length => put_length(bytes, length, [0xd9, 0xda, 0xdb]),
    }
    bytes.put_slice(method.as_bytes());
    bytes.put_slice(b"\xa4body");
    put_length(bytes, body.len() as u64, [0xc4, 0xc5, 0xc6]);
    bytes.put_slice(body);
    if let Some(within_ms) = within_ms {
        bytes.put_slice(b"\xa9within_ms");
        put_uint(bytes, within_ms);
    }
}

/// The most bytes of a call but for its method and body.
const CALL_HEAD_BYTES_MAX: usize = 64;

fn put_uint(bytes: &mut BytesMut, number: u64) {
    match number {
        0..=0x7f => bytes.put_u8(number as u8),
        0x80..=0xffff_ffff => put_length(bytes, number, [0xcc, 0xcd, 0xce]),
        _ => {
            bytes.put_u8(0xcf);
            bytes.put_u64(number);
        }
    }
}

/// Writes a number of 32 bits in the fewest bytes, behind the marker of their count. The longest body
/// is shorter than that.
fn put_length(bytes: &mut BytesMut, length: u64, [one, two, four]: [u8; 3]) {
    match length {
        0..=0xff => bytes.put_slice(&[one, length as u8]),
        0x100..=0xffff => {
            bytes.put_u8(two);
            bytes.put_u16(length as u16);
        }
        _ => {
            bytes.put_u8(four);
            bytes.put_u32(length as u32);
        }
    }
}

/// Appends a [`Frame::Return`] whose body `write` appends in place, so that encoded data is copied
/// only once.
///
/// # Errors
///
/// [`WireError::TooLong`], as [`Frame::encode`]; nothing is appended then.
pub fn encode_return(
    bytes: &mut BytesMut,
    id: CallId,
    write: impl FnOnce(&mut BytesMut),
) -> Result<(), WireError> {
    // Both lengths, the frame's and the body's, are filled in when they are known.
    let mut head = *b"____\x81\xa6return\x82\xa2id\xcf________\xa4body\xc6____";
    head[17..25].copy_from_slice(&id.to_be_bytes());
    let start = bytes.len();
    bytes.put_slice(&head);
    let body = bytes.len();
    write(bytes);
    let length = (bytes.len() - start - 4) as u64;
    if length > FRAME_BYTES_MAX as u64 {
        bytes.truncate(start);
        return Err(WireError::TooLong { bytes: length, most: FRAME_BYTES_MAX as u64 });
    }
    let body_length = (bytes.len() - body) as u32;
    bytes[body - 4..body].copy_from_slice(&body_length.to_be_bytes());
    bytes[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(())
}

/// Appends a [`Frame::Item`] but for its body, which is to follow, so that a long one need not be
/// copied.
///
/// # Errors
///
/// [`WireError::TooLong`], as [`Frame::encode`]; nothing is appended then.
pub fn encode_item_head(
    bytes: &mut BytesMut,
    id: CallId,
    body_bytes: usize,
) -> Result<(), WireError> {
    let mut head = *b"____\x81\xa4item\x82\xa2id\xcf________\xa4body\xc6____";
    let length = head.len() - 4 + body_bytes;
    if length > FRAME_BYTES_MAX {
        return Err(WireError::TooLong { bytes: length as u64, most: FRAME_BYTES_MAX as u64 });
    }
    head[..4].copy_from_slice(&(length as u32).to_le_bytes());
    head[15..23].copy_from_slice(&id.to_be_bytes());
    head[29..].copy_from_slice(&(body_bytes as u32).to_be_bytes());
    bytes.put_slice(&head);
    Ok(())
}

impl<'a> Frame<'a> {
    /// Reads a frame, without its length.
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`] when the bytes are no frame that this version knows.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        if let Some((id, method, body)) = decode_plain_call(bytes) {
            return Ok(Self::Call { id, method, body, within_ms: None });
        }
        match canonical_value(bytes) {
            Some(frame) => Ok(frame),
            None => decode_body(bytes),
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Reads a call that is written exactly as [`Frame::encode`] writes it, as nearly all frames are
/// that a registrar reads, and nothing else: its number, its method and its body. It takes a tenth of
/// the time of reading any map, fields in any order.
///
/// ```
/// # use callsign_wire as wire;
/// use wire::{Frame, decode_plain_call};
///
/// let mut bytes = bytes::BytesMut::new();
/// Frame::Call { id: 4, method: "double", body: b"\x07", within_ms: None }.encode(&mut bytes)?;
/// assert!(matches!(decode_plain_call(&bytes[4..]), Some((4, "double", b"\x07"))));
/// assert!(decode_plain_call(b"anything else").is_none());
/// # Ok::<(), wire::WireError>(())
/// ```
pub fn decode_plain_call(bytes: &[u8]) -> Option<(CallId, &str, &[u8])> {
    let (id, rest) = uint(bytes.strip_prefix(b"\x81\xa4call\x83\xa2id")?)?;
    let rest = rest.strip_prefix(b"\xa6method")?;
    let (method, rest) = match rest.split_first_chunk() {
        // Nearly all calls are look-ups. To compare a text takes less than to see that it is one.
        Some((b"\xafregistrar.query", rest)) => (QUERY, rest),
        _ => short_str(rest)?,
    };
    Some((id, method, last_body(rest)?))
}

/// Reads the field `body`, if it is the last one and as long as it says.
fn last_body(bytes: &[u8]) -> Option<&[u8]> {
    let (marker, rest) = bytes.strip_prefix(b"\xa4body")?.split_first()?;
    let width = match marker {
        0xc4..=0xc6 => 1 << (marker - 0xc4),
        _ => return None,
    };
    let (length, body) = rest.split_at_checked(width)?;
    let length = length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
    (body.len() as u64 == length).then_some(body)
}

/// Reads a result or an item that is written exactly as [`Frame::encode`] and its like write it, as
/// [`decode_plain_call`] does.
fn canonical_value(bytes: &[u8]) -> Option<Frame<'_>> {
    let (is_item, rest) = match bytes.strip_prefix(b"\x81\xa6return\x82\xa2id") {
        Some(rest) => (false, rest),
        None => (true, bytes.strip_prefix(b"\x81\xa4item\x82\xa2id")?),
    };
    let (id, rest) = uint(rest)?;
    let body = last_body(rest)?;
    Some(if is_item { Frame::Item { id, body } } else { Frame::Return { id, body } })
}

/// Takes an unsigned number from the beginning of `bytes`.
fn uint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (marker, rest) = bytes.split_first()?;
    let width = match marker {
        0..=0x7f => return Some((u64::from(*marker), rest)),
        0xcc..=0xcf => 1 << (marker - 0xcc),
        _ => return None,
    };
    let (number, rest) = rest.split_at_checked(width)?;
    Some((number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{DEPTH_MAX, encode_body};

    #[test]
    fn a_return_written_in_place_reads_as_any_other() {
        for id in [0, 200, u64::MAX] {
            let mut bytes = BytesMut::new();
            encode_return(&mut bytes, id, |bytes| bytes.put_slice(b"body")).unwrap();
            assert_eq!(bytes[..4], (bytes.len() as u32 - 4).to_le_bytes());
            assert_eq!(Frame::decode(&bytes[4..]), Ok(Frame::Return { id, body: b"body" }));
        }
    }

    proptest! {
        #[test]
        fn calls_are_written_as_by_the_general_writer(
            id in prop_oneof![0..300_u64, 65_000..66_000_u64, any::<u32>().prop_map(u64::from), any::<u64>()],
            method in prop_oneof![".{0,40}", Just("m".repeat(300)), Just("m".repeat(70_000))],
            body in prop_oneof![0..300_usize, Just(70_000)].prop_map(|it| vec![7; it]),
            within_ms in any::<Option<u64>>(),
        ) {
            let call = Frame::Call { id, method: &method, body: &body, within_ms };
            let mut bytes = BytesMut::new();
            call.encode(&mut bytes).unwrap();
            let mut general = Vec::new();
            rmp_serde::encode::write_named(&mut general, &call).unwrap();
            prop_assert_eq!(&bytes[4..], &general[..]);
        }
    }

    #[test]
    fn an_item_whose_body_follows_reads_as_any_other() {
        for id in [0, 200, u64::MAX] {
            let mut bytes = BytesMut::new();
            encode_item_head(&mut bytes, id, 4).unwrap();
            bytes.put_slice(b"body");
            assert_eq!(bytes[..4], (bytes.len() as u32 - 4).to_le_bytes());
            assert_eq!(Frame::decode(&bytes[4..]), Ok(Frame::Item { id, body: b"body" }));
        }
    }

    proptest! {
        #[test]
        fn calls_read_the_same_either_way(
            id in prop_oneof![0..300_u64, any::<u64>()],
            method in prop_oneof![".{0,40}", Just(QUERY.to_owned())],
            body in prop_oneof![0..300_usize, Just(70_000)].prop_map(|it| vec![7; it]),
            spoilt in any::<(bool, u8, u8)>(),
        ) {
            let mut bytes = BytesMut::new();
            let call = Frame::Call { id, method: &method, body: &body, within_ms: None };
            call.encode(&mut bytes).unwrap();
            let mut bytes = bytes.split_off(4);
            prop_assert!(decode_plain_call(&bytes).is_some());
            prop_assert_eq!(Frame::decode(&bytes), Ok(call));

            if let (true, at, byte) = spoilt {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            if let Some((id, method, body)) = decode_plain_call(&bytes) {
                let call = Frame::Call { id, method, body, within_ms: None };
                prop_assert_eq!(decode_body::<Frame>(&bytes), Ok(call));
            }
        }
    }

    proptest! {
        #[test]
        fn results_and_items_read_the_same_either_way(
            id in prop_oneof![0..300_u64, any::<u64>()],
            body in prop_oneof![0..300_usize, Just(70_000)].prop_map(|it| vec![7; it]),
            spoilt in any::<(bool, u8, u8)>(),
        ) {
            for frame in [Frame::Item { id, body: &body }, Frame::Return { id, body: &body }] {
                let mut bytes = BytesMut::new();
                frame.encode(&mut bytes).unwrap();
                let mut bytes = bytes.split_off(4);
                prop_assert_eq!(canonical_value(&bytes), Some(frame));

                if let (true, at, byte) = spoilt {
                    let at = usize::from(at) % bytes.len();
                    bytes[at] = byte;
                }
                if let Some(frame) = canonical_value(&bytes) {
                    prop_assert_eq!(decode_body::<Frame>(&bytes), Ok(frame));
                }
            }
        }
    }

    #[test]
    fn frames_that_are_too_long_are_not_sent() {
        let mut bytes = BytesMut::from(&b"before"[..]);
        let body = vec![0; FRAME_BYTES_MAX];
        assert!(Frame::Return { id: 1, body: &body }.encode(&mut bytes).is_err());
        let call = Frame::Call { id: 1, method: "double", body: &body, within_ms: None };
        assert!(call.encode(&mut bytes).is_err());
        assert!(encode_return(&mut bytes, 1, |bytes| bytes.put_slice(&body)).is_err());
        assert!(encode_item_head(&mut bytes, 1, FRAME_BYTES_MAX).is_err());
        assert_eq!(bytes, &b"before"[..]);
    }

    #[test]
    fn unknown_fields_are_ignored_and_missing_optional_ones_defaulted() {
        let newer = encode_body(&serde_map([("agent", "callsign/9"), ("mood", "good")]));
        let hello = decode_body::<Hello>(&newer).unwrap();
        assert_eq!(hello, Hello { agent: "callsign/9".to_owned(), ..Hello::default() });
    }

    fn serde_map<const N: usize>(
        pairs: [(&str, &str); N],
    ) -> std::collections::BTreeMap<String, String> {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn deep_nesting_is_malformed_and_does_not_overflow_the_stack() {
        let nested = |depth: usize| [&vec![0x91; depth][..], b"\xc0"].concat();
        let read = move || {
            let ok = decode_body::<serde::de::IgnoredAny>(&nested(DEPTH_MAX - 1)).is_ok();
            let err = [DEPTH_MAX + 1, 1000, 1_000_000]
                .map(|depth| decode_body::<serde::de::IgnoredAny>(&nested(depth)).is_err());
            (ok, err)
        };
        let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(read).unwrap();
        assert_eq!(thread.join().unwrap(), (true, [true; 3]));
    }
}
