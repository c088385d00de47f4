//! A long frame as it arrives, in a buffer of its own.
//!
//! The buffer in which short frames arrive would have to grow for it, and what has arrived would be
//! copied at the end of each turn. Instead it is read to where it stays: whoever takes its body takes
//! the buffer. Long frames come in a row, as the items of a stream do, so one is expected to be
//! followed by another of its length.

use bytes::{BufMut, Bytes, buf::Limit};
use wire::{FrameReader, LONG_BYTES_MAX, LONG_BYTES_MIN, LongBuffer};

/// The frame that is arriving in a buffer of its own, if one is.
#[derive(Debug, Default)]
pub(crate) struct LongFrame {
    buffer: LongBuffer,
    /// Its length with the header; 0 if there is none.
    wanted: usize,
    /// The length of the frame before, if that was a long one.
    expected: usize,
}

impl LongFrame {
    /// Returns the room for the next bytes, if they belong to a long frame that is not complete. It may
    /// take the beginning of one from `reader`, which refuses those that are too long.
    pub(crate) fn room(&mut self, reader: &mut FrameReader) -> Option<Limit<&mut Vec<u8>>> {
        if self.wanted == 0 {
            if reader.peek_frame().is_err() {
                return None;
            }
            let arrived = reader.peek();
            self.wanted = match arrived.first_chunk::<4>() {
                Some(header) => whole(*header).filter(|it| *it > arrived.len())?,
                None if arrived.is_empty() && self.expected > 0 => self.expected,
                None => return None,
            };
            self.buffer = LongBuffer::with_room(self.wanted);
            let beginning = reader.take(arrived.len());
            self.buffer.extend_from_slice(&beginning.expect("it was seen just now"));
        }
        let missing = self.wanted - self.buffer.len();
        (missing > 0).then(|| (&mut *self.buffer).limit(missing))
    }

    /// Moves what was read to `reader` if it is something else than was expected.
    pub(crate) fn sort(&mut self, reader: &mut FrameReader) {
        let is_other = match self.buffer.first_chunk::<4>() {
            Some(header) => whole(*header) != Some(self.wanted),
            // Such a read is rare, and the reader waits for the rest.
            None => !self.buffer.is_empty(),
        };
        if is_other {
            reader.extend_from_slice(&self.buffer);
            *self = Self::default();
        }
    }

    /// Takes the frame, without its length, if all of it has arrived.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        if self.wanted == 0 || self.buffer.len() < self.wanted {
            return None;
        }
        let frame = Bytes::from(std::mem::take(&mut self.buffer));
        self.expected = std::mem::take(&mut self.wanted);
        Some(frame.slice(4..))
    }

    /// Returns a buffer in which nothing has arrived.
    pub(crate) fn settle(&mut self) {
        if self.buffer.is_empty() {
            (self.buffer, self.wanted) = (LongBuffer::default(), 0);
        }
    }

    /// Expects no long frame next: a short one came.
    pub(crate) fn expect_none(&mut self) {
        self.expected = 0;
    }

    /// Returns the number of bytes that have arrived.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the bytes of memory that it takes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }
}

/// Returns the whole length of a frame, by its header, if it gets a buffer of its own: then the memory
/// ahead of what has arrived is bounded as it is for others.
fn whole(header: [u8; 4]) -> Option<usize> {
    let length = 4 + u32::from_le_bytes(header) as usize;
    (LONG_BYTES_MIN..=LONG_BYTES_MAX).contains(&length).then_some(length)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use wire::Frame;

    use super::*;

    #[test]
    fn long_and_short_frames_arrive_in_order_however_they_are_cut() {
        let short = [7, 0, 30];
        let mixed = [70_000, 70_000, 20_000, 7, 70_000, 70_001, 300_000, 0, 20_000, 20_000, 20_000];
        for lengths in [&short[..], &mixed] {
            for cut in [1, 3, 5, 997, 16_384, 65_536, 70_035, 1_000_000] {
                check(lengths, cut);
            }
        }
    }

    /// Sends items of such lengths, of which at most `cut` bytes arrive at a time.
    fn check(lengths: &[usize], cut: usize) {
        let mut bytes = BytesMut::new();
        for (at, length) in lengths.iter().enumerate() {
            let body = vec![at as u8; *length];
            Frame::Item { id: at as u64, body: &body }.encode(&mut bytes).unwrap();
        }
        let (mut reader, mut long) = (FrameReader::default(), LongFrame::default());
        let mut found = Vec::new();
        let mut note = |frame: &[u8]| match Frame::decode(frame).unwrap() {
            Frame::Item { id, body } => {
                assert!(body.iter().all(|it| u64::from(*it) == id));
                found.push(body.len());
            }
            other => panic!("{other:?}"),
        };
        for mut rest in bytes.chunks(cut) {
            while !rest.is_empty() {
                if let Some(mut room) = long.room(&mut reader) {
                    let fits = room.remaining_mut().min(rest.len());
                    room.put_slice(&rest[..fits]);
                    rest = &rest[fits..];
                    long.sort(&mut reader);
                } else {
                    reader.extend_from_slice(rest);
                    rest = &[];
                }
                while let Some(frame) = long.take().or_else(|| reader.next().unwrap()) {
                    if frame.len() < LONG_BYTES_MIN {
                        long.expect_none();
                    }
                    note(&frame);
                }
                long.settle();
                assert!(long.held_bytes() <= LONG_BYTES_MAX);
            }
        }
        assert_eq!(found, lengths, "{cut}");
        assert_eq!(long.len() + reader.peek().len(), 0);
    }
}
