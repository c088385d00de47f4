//! What runs a connection.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_util::io::poll_read_buf;
use wire::{Frame, FrameReader, WireError};

use crate::{
    Call, Closed, OnSilence, Replies, Service,
    heartbeat::{Pulse, Silence},
    shared::{Event, Shared},
};

/// What runs a connection: a future that ends when the connection does, and says why. Its owner
/// polls it, in a task of the owner's own; dropping it closes the connection.
#[must_use = "a connection does nothing unless its driver is polled"]
#[derive(Debug)]
pub struct Driver<IO, S> {
    pub(crate) io: IO,
    pub(crate) service: S,
    pub(crate) reader: FrameReader,
    pub(crate) replies: Replies,
    /// What is being written; filled again when all of it is.
    pub(crate) writing: BytesMut,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pulse: Option<Pulse>,
    pub(crate) on_silence: OnSilence,
    pub(crate) is_closing: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin, S: Service + Unpin> Future for Driver<IO, S> {
    type Output = Closed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        let driver = self.get_mut();
        let closed = match driver.run(cx) {
            Ok(Running) => return Poll::Pending,
            Err(closed) => closed,
        };
        driver.shared.end(closed.clone());
        Poll::Ready(closed)
    }
}

/// The connection goes on, and the task is woken when there is more to do.
struct Running;

impl<IO: AsyncRead + AsyncWrite + Unpin, S: Service + Unpin> Driver<IO, S> {
    /// Does all that can be done now; fails when the connection is over.
    fn run(&mut self, cx: &mut Context<'_>) -> Result<Running, Closed> {
        // What was left behind by the handshake, or by the last time the replies were full.
        let mut has_more = self.dispatch()?;
        let mut is_stirred = true;
        loop {
            // A peer that asks and does not read is not listened to until it does.
            if !has_more && !self.replies.is_full() && self.poll_read(cx)?.is_ready() {
                has_more = self.dispatch()?;
                is_stirred = true;
            }
            if !is_stirred {
                return Ok(Running);
            }
            self.service.pump(cx, &mut self.replies);
            self.poll_pulse(cx)?;
            let is_written = self.poll_write(cx)?.is_ready();
            if is_written && self.is_closing {
                return Err(Closed::Here);
            }
            is_stirred = is_written && has_more;
            if is_stirred {
                has_more = self.dispatch()?;
            } else if has_more {
                return Ok(Running);
            }
        }
    }

    /// Asks a silent peer for a sign of life, and gives up one that gives none, or tells of it.
    fn poll_pulse(&mut self, cx: &mut Context<'_>) -> Result<(), Closed> {
        match self.pulse.as_mut().map(|it| it.poll(cx)) {
            Some(Poll::Ready(Silence::TooLong(silence))) => match self.on_silence {
                OnSilence::GiveUp => Err(Closed::Silent(silence)),
                OnSilence::Tell => {
                    self.service.fell_silent(silence);
                    Ok(())
                }
            },
            Some(Poll::Ready(Silence::Ping)) => {
                push(&mut self.replies, &Frame::Ping { nonce: 0 });
                // The timer runs again, and is to be polled once more to wake this task.
                self.poll_pulse(cx)
            }
            Some(Poll::Pending) | None => Ok(()),
        }
    }

    /// Writes what there is. What handles queue later wakes the task again.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Closed> {
        loop {
            // The handles' queue is asked last, or a word of theirs could be missed.
            let is_last = self.writing.is_empty();
            if is_last {
                mem::swap(&mut self.writing, &mut self.replies.bytes);
                if let Some(reason) = self.shared.take_outbox(cx, &mut self.writing) {
                    self.is_closing = true;
                    let goodbye = Frame::Goodbye { reason: &reason };
                    goodbye.encode(&mut self.writing).expect("a reason is short");
                }
            }
            while !self.writing.is_empty() {
                match Pin::new(&mut self.io).poll_write(cx, &self.writing) {
                    Poll::Ready(Ok(0)) => return Err(Closed::ByPeer),
                    Poll::Ready(Ok(written)) => self.writing.advance(written),
                    Poll::Ready(Err(error)) => return Err(self.last_words(cx, error.into())),
                    Poll::Pending => return Ok(Poll::Pending),
                }
            }
            if is_last {
                return match Pin::new(&mut self.io).poll_flush(cx) {
                    Poll::Ready(flushed) => flushed.map(Poll::Ready).map_err(Closed::from),
                    Poll::Pending => Ok(Poll::Pending),
                };
            }
        }
    }

    /// Returns why writing failed: the goodbye that the peer left behind, if it did.
    fn last_words(&mut self, cx: &mut Context<'_>, broken: Closed) -> Closed {
        match self.poll_read(cx).and_then(|_| self.dispatch()) {
            Err(Closed::Goodbye(reason)) => Closed::Goodbye(reason),
            _ => broken,
        }
    }

    /// Reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Closed> {
        match poll_read_buf(Pin::new(&mut self.io), cx, self.reader.buffer()) {
            Poll::Ready(Ok(0)) => return Err(Closed::ByPeer),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Err(error.into()),
            Poll::Pending => return Ok(Poll::Pending),
        }
        if let Some(pulse) = &mut self.pulse
            && pulse.hear(Instant::now())
        {
            self.service.heard_again();
        }
        Ok(Poll::Ready(()))
    }

    /// Handles the frames that have arrived, until there are enough replies to be written first.
    /// Tells whether there may be more.
    fn dispatch(&mut self) -> Result<bool, Closed> {
        let Self { reader, replies, service, shared, .. } = self;
        while !replies.is_full() {
            let Some(bytes) = reader.peek_frame().map_err(Closed::Protocol)? else {
                return Ok(false);
            };
            match Frame::decode(bytes).map_err(Closed::Protocol)? {
                Frame::Call { id, method, body } => {
                    service.call(Call { id, method, body }, replies);
                }
                Frame::Credit { id, items } => service.credit(id, items, replies),
                Frame::Cancel { id } => service.cancel(id, replies),
                Frame::Return { id, body } => shared.finish(id, Ok(Bytes::copy_from_slice(body))),
                Frame::Error { id, error } => shared.finish(id, Err(error)),
                Frame::Started { id, body } => {
                    shared.deliver(id, Event::Started(Bytes::copy_from_slice(body)))?;
                }
                Frame::Item { id, body } => {
                    shared.deliver(id, Event::Item(Bytes::copy_from_slice(body)))?;
                }
                Frame::Ping { nonce } => push(replies, &Frame::Pong { nonce }),
                Frame::Pong { .. } => {}
                Frame::Goodbye { reason } => return Err(Closed::Goodbye(reason.to_owned())),
                Frame::Hello(_) => {
                    let why = "a second hello".to_owned();
                    return Err(Closed::Protocol(WireError::Malformed(why)));
                }
            }
            let length = bytes.len();
            reader.skip_frame(length);
        }
        Ok(true)
    }
}

fn push(replies: &mut Replies, frame: &Frame<'_>) {
    frame.encode(&mut replies.bytes).expect("the frame is short");
}

impl<IO, S> Drop for Driver<IO, S> {
    fn drop(&mut self) {
        self.shared.end(Closed::Here);
    }
}
