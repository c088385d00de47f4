//! Buffers that the connections of a thread lend each other: nothing is kept for a connection that
//! has nothing on its way, and nobody asks the allocator for each message.

use std::{cell::RefCell, thread::LocalKey};

use bytes::BytesMut;

/// Buffers for the next connection that needs one.
#[derive(Debug)]
pub(crate) struct Spare {
    buffers: Vec<BytesMut>,
    kept_max: usize,
    bytes_max: usize,
}

thread_local! {
    /// For reading: one connection of a thread reads at a time. One read brings more than a turn,
    /// but little enough that the rest is soon copied.
    pub(crate) static TO_READ: RefCell<Spare> = const { RefCell::new(Spare::new(1, 64 * 1024)) };

    /// For writing: answers are gathered in one and written from another, and both are as large as
    /// the most that waits to be read, and one answer.
    pub(crate) static TO_WRITE: RefCell<Spare> = const { RefCell::new(Spare::new(2, 1024 * 1024)) };
}

/// Takes a buffer, with whatever room it has.
pub(crate) fn take(spare: &'static LocalKey<RefCell<Spare>>) -> BytesMut {
    spare.with_borrow_mut(|it| it.buffers.pop()).unwrap_or_default()
}

/// Gives back a buffer whose bytes are not wanted any more.
pub(crate) fn give(spare: &'static LocalKey<RefCell<Spare>>, buffer: BytesMut) {
    spare.with_borrow_mut(|it| it.keep(buffer));
}

impl Spare {
    const fn new(kept_max: usize, bytes_max: usize) -> Self {
        Self { buffers: Vec::new(), kept_max, bytes_max }
    }

    fn keep(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        // A buffer that is partly in use may have too little left.
        let is_usual = buffer.try_reclaim(BYTES_MIN) && !buffer.try_reclaim(self.bytes_max + 1);
        if is_usual && self.buffers.len() < self.kept_max {
            self.buffers.push(buffer);
        }
    }
}

/// Smaller buffers are as cheap to allocate.
const BYTES_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    #[test]
    fn returned_buffers_are_reused_unless_too_large() {
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        buffer.extend_from_slice(&[7; 10_000]);
        let place = buffer.as_ptr();
        buffer.advance(9_000);
        give(&TO_READ, buffer);
        let mut lent = take(&TO_READ);
        lent.reserve(16 * 1024);
        assert_eq!((lent.as_ptr(), lent.len()), (place, 0));
        give(&TO_READ, BytesMut::with_capacity(64 * 1024 + 1));
        give(&TO_READ, BytesMut::new());
        assert_eq!(take(&TO_READ).capacity(), 0);
    }
}
