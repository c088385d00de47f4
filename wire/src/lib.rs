//! Messages between callsign processes as data, and their encoding.
//!
//! A connection begins with a [`preface`], then both sides send [frames](Frame): a little-endian
//! 32-bit length and a MessagePack map with named fields. `docs/wire.md` describes the whole
//! protocol. This crate reads and writes no sockets; it checks untrusted bytes before it allocates
//! memory for them, and never panics on them.
//!
//! - [`Frame`] is the unit of a connection; [`FrameReader`] finds frames in bytes.
//! - [`Record`] is a registrar's description of an instance.
//! - [`Owner`] is the owner of a record, and [`Quota`] a limited resource of a registrar.
//! - [`registrar`] has the calls that a registrar answers.
//! - [`RemoteError`] is an error that crosses a connection.
//!
//! | module | its one idea |
//! |---|---|
//! | [`preface`] | the first bytes of a connection |
//! | `frame`, `reader` | the units of a connection; finding them in bytes as they arrive |
//! | `body` | the bodies of frames, and the faults of bytes |
//! | `long` | buffers for long messages |
//! | `error` | errors that cross a connection |
//! | `record`, `owner` | a registrar's description of an instance; its owner |
//! | `quota` | the limits of an owner's use of a registrar |
//! | `readable`, `optional` | tolerance for later versions, and for nil |
//! | `canonical` | the quick way to read what is written in the usual way |
//! | `folded`, `encoded` | records in little memory; messages of them |
//! | `whoami` | a registrar's view of a caller |
//! | [`registrar`], [`callbacks`] | the calls that a registrar answers, and those that it makes |
//! | [`supervised`] | the metadata of actors in trees |
//! | `proof` | proof of identity |
//!
//! ```
//! use bytes::BytesMut;
//! use callsign_wire::{Frame, FrameReader};
//!
//! let mut bytes = BytesMut::new();
//! Frame::Ping { nonce: 7 }.encode(&mut bytes)?;
//!
//! let mut reader = FrameReader::default();
//! reader.extend_from_slice(&bytes);
//! let frame = reader.next()?.expect("a whole frame was written");
//! assert_eq!(Frame::decode(&frame)?, Frame::Ping { nonce: 7 });
//! # Ok::<(), callsign_wire::WireError>(())
//! ```

#![forbid(unsafe_code)]

mod body;
pub mod callbacks;
mod canonical;
mod encoded;
mod error;
mod folded;
mod frame;
mod long;
mod optional;
mod owner;
pub mod preface;
mod proof;
mod quota;
mod readable;
mod reader;
mod record;
pub mod registrar;
pub mod supervised;
mod whoami;

pub use body::{DEPTH_MAX, WireError, decode_body, encode_body};
pub use encoded::{
    OwedTo, encode_add, encode_answer, encode_changed, encode_located, encode_only, encode_page,
    encode_registered, encode_remove, encode_update,
};
pub use error::{
    BACKTRACE_BYTES_MAX, CAUSES_MAX, ErrorDetails, ErrorKind, ErrorPayload, MESSAGE_BYTES_MAX,
    PAYLOAD_BYTES_MAX, RemoteError,
};
pub use folded::{FoldedRecord, Folding};
pub use frame::{
    CallId, FRAME_BYTES_MAX, Frame, Hello, decode_plain_call, encode_hello, encode_item_head,
    encode_return,
};
pub use long::{LONG_BYTES_MAX, LONG_BYTES_MIN, LongBuffer};
pub use owner::Owner;
pub use proof::{
    Challenge, ChannelBinding, InstanceSecret, Owed, Proof, ProofKey, ProofSecret, Wanted,
};
pub use quota::{OwnerUse, Quota, QuotaExceeded, Use};
pub use reader::FrameReader;
pub use record::{
    Epoch, Lifetime, METADATA_BYTES_MAX, Record, RemovalReason, Revision, State, Suspicion,
};
pub use whoami::{NameRight, Whoami};
