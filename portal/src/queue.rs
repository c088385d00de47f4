//! Bytes on their way out.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use wire::{CallId, Frame, WireError, encode_item_head};

use crate::spare::{self, TO_WRITE};

/// Bytes on their way out, in order. Short ones are gathered into one buffer; a long body stays
/// where it is and is written from there.
#[derive(Debug, Default)]
pub(crate) struct ByteQueue {
    /// The bytes before `tail`.
    parts: VecDeque<Bytes>,
    parts_bytes: usize,
    tail: BytesMut,
    /// Whether the buffer of the tail is lent, and returned once it is empty.
    is_lent: bool,
    /// The capacity of the tail's buffer, if it has its own.
    own_bytes: usize,
}

impl ByteQueue {
    pub(crate) fn len(&self) -> usize {
        self.parts_bytes + self.tail.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the buffer for short data.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        if self.tail.is_empty() && !self.is_lent {
            self.tail = spare::take(&TO_WRITE);
            self.is_lent = true;
        }
        &mut self.tail
    }

    /// Returns the bytes of memory that it takes while it waits.
    pub(crate) fn held_bytes(&self) -> usize {
        let tail = if self.is_lent || self.tail.is_empty() {
            0
        } else {
            self.own_bytes.max(self.tail.capacity())
        };
        self.parts_bytes + tail
    }

    /// Returns the lent buffer. Contents that have to wait move to a buffer of exactly their size.
    pub(crate) fn settle(&mut self) {
        if mem::take(&mut self.is_lent) {
            let own = BytesMut::from(&self.tail[..]);
            self.own_bytes = own.capacity();
            spare::give(&TO_WRITE, mem::replace(&mut self.tail, own));
        } else if self.tail.is_empty() {
            self.tail = BytesMut::new();
            self.own_bytes = 0;
        }
    }

    pub(crate) fn push(&mut self, frame: &Frame<'_>) -> Result<(), WireError> {
        frame.encode(self.tail())
    }

    /// Appends an item. A long body is not copied.
    pub(crate) fn push_item(&mut self, id: CallId, body: &Bytes) -> Result<(), WireError> {
        encode_item_head(self.tail(), id, body.len())?;
        if body.len() < COPY_BYTES_MAX {
            self.tail.extend_from_slice(body);
        } else {
            self.cut();
            self.push_part(body.clone());
        }
        Ok(())
    }

    /// Moves all of `other` after the present contents.
    pub(crate) fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            self.settle();
            mem::swap(self, other);
        } else if other.parts.is_empty() {
            self.tail().extend_from_slice(&other.tail);
            other.tail.clear();
            other.settle();
        } else {
            self.cut();
            other.cut();
            other.parts_bytes = 0;
            for part in other.parts.drain(..) {
                self.push_part(part);
            }
            other.settle();
        }
    }

    /// Writes once, and removes the written bytes.
    pub(crate) fn poll_write(
        &mut self,
        io: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.parts.is_empty() {
            let written = ready!(io.poll_write(cx, &self.tail))?;
            self.tail.advance(written);
            return Poll::Ready(Ok(written));
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let tail = [&self.tail[..]];
        let parts = self.parts.iter().map(|it| &it[..]).chain(tail);
        let mut used = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            used += 1;
        }
        let written = ready!(io.poll_write_vectored(cx, &slices[..used]))?;
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.parts.front_mut() {
            let length = first.len().min(written);
            first.advance(length);
            self.parts_bytes -= length;
            written -= length;
            if !first.is_empty() {
                return;
            }
            self.parts.pop_front();
        }
        self.tail.advance(written);
    }

    /// Makes a part of the bytes gathered so far.
    fn cut(&mut self) {
        if !self.tail.is_empty() {
            let part = self.tail.split().freeze();
            self.push_part(part);
        }
    }

    fn push_part(&mut self, part: Bytes) {
        self.parts_bytes += part.len();
        self.parts.push_back(part);
    }
}

/// The longest body that is copied: beyond it, a system call's work for one more slice is less
/// than that of copying.
const COPY_BYTES_MAX: usize = 4 * 1024;

/// The parts of one write: with long parts, fewer reach the bound of the queue.
const SLICES: usize = 32;
