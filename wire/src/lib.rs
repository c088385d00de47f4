//! Messages between callsign processes as data, and their encoding.
//!
//! A connection begins with a [`preface`], then both sides send [frames](Frame): a little-endian
//! 32-bit length and a MessagePack map with named fields. `docs/wire.md` tells the whole
//! protocol. Nothing here reads or writes a socket; the bytes of a stranger are checked before
//! anything is allocated for them, and no byte of theirs panics.
//!
//! - [`Frame`] is what goes over a connection; [`FrameReader`] finds frames in bytes.
//! - [`Record`] is what a registrar keeps of an instance.
//! - [`Owner`] is whose a record is, and [`Quota`] is what an owner may use only so much of.
//! - [`registrar`] has the calls that a registrar answers.
//! - [`RemoteError`] is an error that crosses a connection.
//!
//! | module | its one idea |
//! |---|---|
//! | [`preface`] | the first bytes of a connection |
//! | `frame`, `reader` | what goes over a connection; finding it in bytes as they arrive |
//! | `body` | the bodies of frames, and what may be wrong with bytes |
//! | `error` | errors that cross a connection |
//! | `record`, `owner` | what a registrar keeps of an instance; whose it is |
//! | `quota` | how much of a registrar one owner may use |
//! | `readable`, `encoded` | what a later version may have written; messages of records that are encoded |
//! | `whoami` | how a registrar sees whoever asks |
//! | [`registrar`], [`callbacks`] | the calls that each of them answers |
//! | `proof` | how an actor proves who it is |
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
mod encoded;
mod error;
mod frame;
mod owner;
pub mod preface;
mod proof;
mod quota;
mod readable;
mod reader;
mod record;
pub mod registrar;
mod whoami;

pub use body::{DEPTH_MAX, WireError, decode_body, encode_body};
pub use encoded::{encode_add, encode_answer, encode_located, encode_page, encode_update};
pub use error::{
    BACKTRACE_BYTES_MAX, CAUSES_MAX, ErrorDetails, ErrorKind, ErrorPayload, MESSAGE_BYTES_MAX,
    PAYLOAD_BYTES_MAX, RemoteError,
};
pub use frame::{CallId, FRAME_BYTES_MAX, Frame, Hello, encode_item_head, encode_return};
pub use owner::Owner;
pub use proof::{Challenge, InstanceSecret, Proof, ProofKey, ProofSecret, Wanted};
pub use quota::{OwnerUse, Quota, QuotaExceeded, Use};
pub use reader::FrameReader;
pub use record::{
    Epoch, Lifetime, METADATA_BYTES_MAX, Record, RemovalReason, Revision, State, Suspicion,
};
pub use whoami::{NameRight, Whoami};
