//! The memory that all accounts hold together, and when some of it is worth giving back to the system.

use std::mem;

/// The memory that all accounts hold together. It has no clock.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: usize,
    /// The most since memory was released.
    peak: usize,
    /// The most since a part of it was released, while a crowd leaves.
    high: usize,
    /// When that was.
    released_ms: Option<u64>,
    /// The number of bytes at the last question whether it has shrunk.
    seen: usize,
}

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.peak = self.peak.max(self.bytes);
        self.high = self.high.max(self.bytes);
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Records that memory is freed that was given back earlier.
    pub(super) fn note_freed(&mut self, bytes: usize) {
        self.high += bytes;
    }

    /// Tells whether it is so much less than it was, and stays so, that all of that is to be released.
    pub(super) fn take_has_shrunk(&mut self) -> bool {
        let freed = self.peak - self.bytes;
        let seen = mem::replace(&mut self.seen, self.bytes);
        let is_over = seen.saturating_sub(self.bytes) < FREED_MEANWHILE_MAX;
        let has_shrunk = is_over && freed >= FREED_MIN && freed >= self.bytes;
        if has_shrunk {
            self.peak = self.bytes;
        }
        has_shrunk
    }

    /// Tells whether so much was freed that some is to be released before more is freed.
    pub(super) fn take_has_freed_much(&mut self, now_ms: u64) -> bool {
        self.take_has_freed(FREED_MAX, now_ms)
    }

    /// Tells the same where it may soon be taken again.
    pub(super) fn take_has_freed_much_for_now(&mut self, now_ms: u64) -> bool {
        let passed_ms = self.released_ms.map(|it| now_ms.saturating_sub(it));
        let is_soon = passed_ms.is_some_and(|it| it < RELEASE_INTERVAL_MS);
        self.take_has_freed(if is_soon { FREED_SOON_MAX } else { FREED_MAX }, now_ms)
    }

    fn take_has_freed(&mut self, freed_max: usize, now_ms: u64) -> bool {
        let has_freed = self.high - self.bytes >= freed_max;
        if has_freed {
            (self.high, self.released_ms) = (self.bytes, Some(now_ms));
        }
        has_freed
    }
}

/// The freed memory at which it is returned to the system once a crowd has left: a millisecond's
/// work.
const FREED_MIN: usize = 4 * 1024 * 1024;

/// The freed memory at which it is returned to the system meanwhile: no more than that is returned at
/// once, and so nobody waits for long. The allocator is locked for that time, so that another thread
/// could not do it either.
const FREED_MAX: usize = 8 * 1024 * 1024;

/// The same where some was returned within this time, which is five hundred times as long as that took:
/// whoever comes and goes all the time takes the same memory again.
const FREED_SOON_MAX: usize = 4 * FREED_MAX;
const RELEASE_INTERVAL_MS: u64 = 500;

/// The memory freed between two questions at which more is expected to follow.
const FREED_MEANWHILE_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn who_comes_and_goes_lets_memory_be_released_once_in_a_while() {
        let mut held = Held::default();
        let mut released = 0;
        for now_ms in 0..5000 {
            held.add(12 * MIB);
            held.give_back(12 * MIB);
            released += usize::from(held.take_has_freed_much_for_now(now_ms));
        }
        assert_eq!(released, 10);
        // What is not taken again is released, before it is too much.
        held.add(100 * MIB);
        released = 0;
        for _ in 0..100 {
            held.give_back(MIB);
            released += usize::from(held.take_has_freed_much_for_now(5000));
        }
        assert_eq!(released, 1 + (100 - 8) / 32);
        assert!(held.take_has_freed_much(5001));
    }
}
