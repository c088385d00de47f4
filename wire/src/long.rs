//! Buffers for long messages, which are used again.
//!
//! The allocator gives the memory of a long buffer back to the system when it is freed, and clears
//! new pages for the next one: for items of 64 KiB that takes as long as copying them three times.

use std::{
    mem,
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// A buffer for a long message. Once it is dropped, the next message gets it; so do the [`Bytes`]
/// that it became.
///
/// ```
/// # use callsign_wire as callsign;
/// use bytes::Bytes;
/// use callsign::LongBuffer;
///
/// let mut buffer = LongBuffer::with_room(64 * 1024);
/// buffer.extend_from_slice(b"an item");
/// assert_eq!(Bytes::from(buffer), &b"an item"[..]);
/// ```
#[derive(Debug, Default)]
pub struct LongBuffer(Vec<u8>);

impl LongBuffer {
    /// Returns an empty buffer with room for at least as many bytes.
    pub fn with_room(bytes: usize) -> Self {
        let fits = |it: &Vec<u8>| (bytes..=bytes.saturating_mul(2)).contains(&it.capacity());
        let mut kept = kept();
        let found = kept.iter().rposition(fits).map(|at| kept.swap_remove(at));
        drop(kept);
        Self(found.unwrap_or_else(|| Vec::with_capacity(bytes)))
    }
}

impl Deref for LongBuffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for LongBuffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl AsRef<[u8]> for LongBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<LongBuffer> for Bytes {
    fn from(buffer: LongBuffer) -> Self {
        Self::from_owner(buffer)
    }
}

impl Drop for LongBuffer {
    fn drop(&mut self) {
        let mut buffer = mem::take(&mut self.0);
        if !(LONG_BYTES_MIN..=LONG_BYTES_MAX).contains(&buffer.capacity()) {
            return;
        }
        buffer.clear();
        let mut kept = kept();
        if kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
    }
}

fn kept() -> MutexGuard<'static, Vec<Vec<u8>>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The buffers that wait for a message.
static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// The most of them. A stream's items in transit use as many; of 64 KiB, they are a megabyte, and four
/// of the longest.
const KEPT_MAX: usize = 16;

/// The shortest message that is worth a buffer of its own.
pub const LONG_BYTES_MIN: usize = 16 * 1024;

/// The longest buffer that is kept. It is what a connection may have ahead of arriving bytes too.
pub const LONG_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_unless_it_is_much_too_long() {
        // No other test has buffers of this size.
        let length = 200_003;
        let place = LongBuffer::with_room(length).as_ptr();
        let short = LongBuffer::with_room(length / 10);
        assert_ne!(short.as_ptr(), place);
        let again = Bytes::from(LongBuffer::with_room(length));
        drop(again);
        let again = LongBuffer::with_room(length);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn no_more_are_kept_than_a_stream_uses() {
        let many: Vec<_> = (0..3 * KEPT_MAX).map(|_| LongBuffer::with_room(20_000)).collect();
        drop(many);
        assert!(kept().len() <= KEPT_MAX);
        drop(LongBuffer::with_room(LONG_BYTES_MAX + 1));
        assert!(kept().iter().all(|it| it.capacity() <= LONG_BYTES_MAX));
    }
}
