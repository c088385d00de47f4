//! What runs a connection.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_util::io::poll_read_buf;
use wire::{Frame, FrameReader, WireError};

use crate::{
    Call, Closed, Replies, Service,
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
    pub(crate) is_closing: bool,
}

impl<IO, S> Driver<IO, S> {
    /// Returns the service.
    pub fn service(&self) -> &S {
        &self.service
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, S: Service + Unpin> Future for Driver<IO, S> {
    type Output = Closed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        let driver = self.get_mut();
        let closed = ready!(driver.poll_run(cx));
        driver.shared.end(closed.clone());
        Poll::Ready(closed)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, S: Service + Unpin> Driver<IO, S> {
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        loop {
            let has_more = match self.dispatch() {
                Ok(has_more) => has_more,
                Err(closed) => return Poll::Ready(closed),
            };
            self.service.pump(cx, &mut self.replies);
            if let Some(pulse) = &mut self.pulse {
                match pulse.poll(cx) {
                    Poll::Ready(Silence::Ping) => self.push(&Frame::Ping { nonce: 0 }),
                    Poll::Ready(Silence::TooLong(silence)) => {
                        return Poll::Ready(Closed::Silent(silence));
                    }
                    Poll::Pending => {}
                }
            }
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) if self.is_closing => return Poll::Ready(Closed::Here),
                Poll::Ready(Ok(())) if has_more => continue,
                Poll::Ready(Err(closed)) => return Poll::Ready(closed),
                // A peer that asks and does not read is not listened to until it does.
                Poll::Pending if has_more || self.replies.is_full() => return Poll::Pending,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            if let Err(closed) = ready!(self.poll_read(cx)) {
                return Poll::Ready(closed);
            }
        }
    }

    /// Writes until there is nothing left to write.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        loop {
            if self.writing.is_empty() {
                mem::swap(&mut self.writing, &mut self.replies.bytes);
                if let Some(reason) = self.shared.take_outbox(cx, &mut self.writing) {
                    self.is_closing = true;
                    let goodbye = Frame::Goodbye { reason: &reason };
                    goodbye.encode(&mut self.writing).expect("a reason is short");
                }
            }
            if self.writing.is_empty() {
                return Pin::new(&mut self.io).poll_flush(cx).map_err(Closed::from);
            }
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.writing)) {
                Ok(0) => return Poll::Ready(Err(Closed::ByPeer)),
                Ok(written) => self.writing.advance(written),
                Err(error) => return Poll::Ready(Err(self.last_words(cx, error.into()))),
            }
        }
    }

    /// Returns why writing failed: the goodbye that the peer left behind, if it did.
    fn last_words(&mut self, cx: &mut Context<'_>, broken: Closed) -> Closed {
        match self.poll_read(cx).map(|read| read.and_then(|()| self.dispatch())) {
            Poll::Ready(Err(Closed::Goodbye(reason))) => Closed::Goodbye(reason),
            _ => broken,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        match ready!(poll_read_buf(Pin::new(&mut self.io), cx, self.reader.buffer())) {
            Ok(0) => return Poll::Ready(Err(Closed::ByPeer)),
            Ok(_) => {}
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        if let Some(pulse) = &mut self.pulse {
            pulse.hear(Instant::now());
        }
        Poll::Ready(Ok(()))
    }

    /// Handles the frames that have arrived, until there are enough replies to be written first.
    /// Tells whether there may be more.
    fn dispatch(&mut self) -> Result<bool, Closed> {
        while !self.replies.is_full() {
            let Some(bytes) = self.reader.next().map_err(Closed::Protocol)? else {
                return Ok(false);
            };
            match Frame::decode(&bytes).map_err(Closed::Protocol)? {
                Frame::Call { id, method, body } => {
                    self.service.call(Call { id, method, body }, &mut self.replies);
                }
                Frame::Credit { id, items } => self.service.credit(id, items, &mut self.replies),
                Frame::Cancel { id } => self.service.cancel(id, &mut self.replies),
                Frame::Return { id, body } => self.shared.finish(id, Ok(bytes.slice_ref(body))),
                Frame::Error { id, error } => self.shared.finish(id, Err(error)),
                Frame::Started { id, body } => {
                    self.shared.deliver(id, Event::Started(bytes.slice_ref(body)))?;
                }
                Frame::Item { id, body } => {
                    self.shared.deliver(id, Event::Item(bytes.slice_ref(body)))?;
                }
                Frame::Ping { nonce } => self.push(&Frame::Pong { nonce }),
                Frame::Pong { .. } => {}
                Frame::Goodbye { reason } => return Err(Closed::Goodbye(reason.to_owned())),
                Frame::Hello(_) => {
                    let why = "a second hello".to_owned();
                    return Err(Closed::Protocol(WireError::Malformed(why)));
                }
            }
        }
        Ok(true)
    }

    fn push(&mut self, frame: &Frame<'_>) {
        frame.encode(&mut self.replies.bytes).expect("the frame is short");
    }
}

impl<IO, S> Drop for Driver<IO, S> {
    fn drop(&mut self) {
        self.shared.end(Closed::Here);
    }
}
