//! Finding frames in bytes as they arrive.

use std::iter;

use bytes::{Buf, Bytes, BytesMut};

use crate::{FRAME_BYTES_MAX, WireError};

/// Finds frames in bytes as they arrive. Memory grows with the bytes that have arrived, and by at
/// most 256 KiB ahead of them, whatever a length announces.
#[derive(Debug)]
pub struct FrameReader {
    bytes: BytesMut,
    /// Whether the buffer is lent, and returned once it is empty.
    is_lent: bool,
    frame_bytes_max: usize,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), is_lent: false, frame_bytes_max: FRAME_BYTES_MAX }
    }
}

impl From<BytesMut> for FrameReader {
    /// Continues with bytes that have arrived.
    fn from(bytes: BytesMut) -> Self {
        Self { bytes, ..Self::default() }
    }
}

impl FrameReader {
    /// Returns the buffer to read into, with room for one short frame, or for the rest of a longer one:
    /// for a peer of which no more than a frame is expected.
    pub fn buffer_for_one(&mut self) -> &mut BytesMut {
        self.bytes.reserve(self.missing().max(SHORT_FRAME_BYTES));
        &mut self.bytes
    }

    /// Returns the buffer to read into, with room for more.
    pub fn buffer(&mut self) -> &mut BytesMut {
        // A buffer that a large frame has enlarged is freed once it is empty.
        let kept = BUFFER_BYTES_KEPT.min(self.frame_bytes_max / 4).max(READ_BYTES);
        if self.bytes.is_empty() && self.bytes.capacity() > kept && !self.is_lent {
            self.bytes = BytesMut::new();
        }
        self.bytes.reserve(self.missing().clamp(READ_BYTES, LONG_READ_BYTES));
        &mut self.bytes
    }

    /// Returns the missing length of the arriving frame, by its announced length.
    fn missing(&self) -> usize {
        let header = self.bytes.first_chunk::<4>();
        let length = header.map_or(0, |it| u32::from_le_bytes(*it) as usize);
        (4 + length.min(self.frame_bytes_max)).saturating_sub(self.bytes.len())
    }

    /// Continues with a lent buffer, if it has none of its own.
    pub fn borrow(&mut self, lend: impl FnOnce() -> BytesMut) {
        if self.bytes.is_empty() && !self.is_lent {
            self.bytes = lend();
            self.is_lent = true;
        }
    }

    /// Returns the lent buffer. The arrived part of a frame moves to a buffer of exactly its size.
    pub fn give_back(&mut self) -> Option<BytesMut> {
        if !std::mem::take(&mut self.is_lent) {
            if self.bytes.is_empty() {
                self.bytes = BytesMut::new();
            }
            return None;
        }
        let own = BytesMut::from(&self.bytes[..]);
        Some(std::mem::replace(&mut self.bytes, own))
    }

    /// Returns how many bytes of memory are its own.
    pub fn held_bytes(&self) -> usize {
        if self.is_lent || self.bytes.is_empty() { 0 } else { self.bytes.capacity() }
    }

    /// Sets the longest frame that is let in, if that is shorter than [`FRAME_BYTES_MAX`].
    pub fn set_frame_bytes_max(&mut self, bytes: usize) {
        self.frame_bytes_max = bytes.min(FRAME_BYTES_MAX);
    }

    /// Appends bytes that have arrived.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the bytes that have arrived and were not taken, for another reader.
    pub fn into_bytes(self) -> BytesMut {
        self.bytes
    }

    /// Takes `length` bytes before the frames, if they have all arrived.
    pub fn take(&mut self, length: usize) -> Option<Bytes> {
        (self.bytes.len() >= length).then(|| self.bytes.split_to(length).freeze())
    }

    /// Returns the bytes that have arrived and were not taken.
    pub fn peek(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the next whole frame, without its length; `None` until all of it has arrived.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] as soon as the length of such a frame has arrived.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not fail and go on")]
    pub fn next(&mut self) -> Result<Option<Bytes>, WireError> {
        let Some(length) = self.peek_frame()?.map(<[u8]>::len) else { return Ok(None) };
        self.bytes.advance(4);
        Ok(self.take(length))
    }

    /// Returns the next whole frame, without its length, and leaves it where it is.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn peek_frame(&self) -> Result<Option<&[u8]>, WireError> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*header) as usize;
        if length > self.frame_bytes_max {
            let most = self.frame_bytes_max as u64;
            return Err(WireError::TooLong { bytes: length as u64, most });
        }
        Ok(rest.get(..length))
    }

    /// Returns the whole frames that have arrived, without their lengths, and leaves them where they
    /// are. It ends at a frame that is too long.
    pub fn peek_frames(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        iter::from_fn(move || {
            let (header, after) = rest.split_first_chunk::<4>()?;
            let length = u32::from_le_bytes(*header) as usize;
            let (frame, after) = after.split_at_checked(length)?;
            rest = after;
            (length <= self.frame_bytes_max).then_some(frame)
        })
    }

    /// Leaves out the frame that [`peek_frame`](Self::peek_frame) returned.
    pub fn skip_frame(&mut self, length: usize) {
        self.bytes.advance(4 + length);
    }
}

/// The room for a read: a few hundred small frames, so that one read brings many.
const READ_BYTES: usize = 16 * 1024;

/// The room for one frame: a hello has a few hundred bytes.
const SHORT_FRAME_BYTES: usize = 512;

/// The most room for a read while a long frame arrives: the capacity of a socket. It is not touched
/// before it is filled.
const LONG_READ_BYTES: usize = 16 * READ_BYTES;

/// The largest buffer kept while it is empty, and at most a quarter of a frame if only short ones
/// are accepted.
const BUFFER_BYTES_KEPT: usize = 4 * READ_BYTES;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Frame;

    #[test]
    fn a_length_over_the_cap_is_refused_before_the_frame_arrives() {
        let mut reader = FrameReader::default();
        reader.extend_from_slice(&u32::MAX.to_le_bytes());
        let (bytes, most) = (u64::from(u32::MAX), FRAME_BYTES_MAX as u64);
        assert_eq!(reader.next(), Err(WireError::TooLong { bytes, most }));

        let mut reader = FrameReader::default();
        reader.set_frame_bytes_max(1000);
        reader.extend_from_slice(&1001_u32.to_le_bytes());
        assert_eq!(reader.next(), Err(WireError::TooLong { bytes: 1001, most: 1000 }));
    }

    #[test]
    fn room_is_made_for_no_more_than_a_frame_may_have() {
        let mut reader = FrameReader::default();
        reader.set_frame_bytes_max(1000);
        reader.extend_from_slice(&1_000_000_u32.to_le_bytes());
        assert!(reader.buffer().capacity() < 4 * READ_BYTES);
    }

    proptest! {
        #[test]
        fn frames_are_found_however_they_are_cut(
            nonces in proptest::collection::vec(any::<u64>(), 0..20),
            cut in 1_usize..40,
        ) {
            let mut bytes = BytesMut::new();
            for nonce in &nonces {
                Frame::Ping { nonce: *nonce }.encode(&mut bytes).unwrap();
            }
            let (mut reader, mut found) = (FrameReader::default(), Vec::new());
            for part in bytes.chunks(cut) {
                reader.extend_from_slice(part);
                let ahead: Vec<_> = reader.peek_frames().map(<[u8]>::to_vec).collect();
                let mut whole = FrameReader::from(BytesMut::from(reader.peek()));
                let taken = iter::from_fn(|| whole.next().unwrap()).map(|it| it.to_vec());
                prop_assert_eq!(ahead, taken.collect::<Vec<_>>());
                while let Some(frame) = reader.next().unwrap() {
                    match Frame::decode(&frame).unwrap() {
                        Frame::Ping { nonce } => found.push(nonce),
                        other => panic!("{other:?}"),
                    }
                }
            }
            prop_assert_eq!(found, nonces);
            prop_assert!(reader.peek().is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Frame::decode(&bytes));
            let mut reader = FrameReader::default();
            reader.extend_from_slice(&bytes);
            while let Ok(Some(frame)) = reader.next() {
                drop(Frame::decode(&frame));
            }
        }
    }
}
