//! The service of a connection: it answers the calls of the peer.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use wire::{
    CallId, ErrorKind, Frame, RemoteError, WireError, encode_body, encode_item_head, encode_return,
};

use crate::queue::ByteQueue;

/// The methods that the other side may call. The driver hands over each call as it arrives and
/// continues immediately: a service never waits. A service keeps an answer that takes longer, and
/// writes it when the driver [pumps](Self::pump) it.
pub trait Service {
    /// Takes a call. Every call must be answered exactly once, now or later, unless it is
    /// [cancelled](Self::cancel).
    fn call(&mut self, call: Call<'_>, replies: &mut Replies);

    /// Looks at the calls that come next, if several have arrived together: a service with much in
    /// memory can fetch what they need at once, instead of waiting for each. It takes as many of them
    /// as it looks at. They are called afterwards, in the same order, unless they are refused.
    fn look_ahead<'a>(&mut self, calls: impl Iterator<Item = Call<'a>>) {
        drop(calls);
    }

    /// Records further credit from the caller.
    fn credit(&mut self, id: CallId, items: u32, replies: &mut Replies) {
        _ = (id, items, replies);
    }

    /// Takes an item from the caller.
    ///
    /// # Errors
    ///
    /// [`WireError`] when no credit was given for it; that ends the connection.
    fn item(&mut self, id: CallId, body: Bytes) -> Result<(), WireError> {
        drop(body);
        Err(WireError::Malformed(format!("call {id} takes no items")))
    }

    /// Records that the caller sends no more items.
    ///
    /// # Errors
    ///
    /// [`WireError`] if it has said so before; that ends the connection.
    fn end(&mut self, id: CallId) -> Result<(), WireError> {
        _ = id;
        Ok(())
    }

    /// Ends a call that is not answered yet; one that is unknown was answered already.
    fn cancel(&mut self, id: CallId, replies: &mut Replies) {
        _ = (id, replies);
    }

    /// Records that the peer has given no sign of life for so long. It is said only where the
    /// connection outlives that: see [`OnSilence::Tell`](crate::OnSilence::Tell).
    fn fell_silent(&mut self, silence: Duration) {
        _ = silence;
    }

    /// Tells whether a silence of the peer would mean anything: otherwise it is not pinged, if the
    /// connection outlives silence. It is asked once a turn.
    fn minds_silence(&self) -> bool {
        true
    }

    /// Records that a peer that had fallen silent is heard again.
    fn heard_again(&mut self) {}

    /// Tells whether the peer is to give a sign of life now, however lately it was heard: what it
    /// has sent before may have waited to be read. It is asked after each
    /// [pump](Self::pump), and only on connections with a [heartbeat](crate::Options::heartbeat).
    fn asks_for_sign(&mut self) -> bool {
        false
    }

    /// Records that the peer has given the sign of life that was [asked
    /// for](Self::asks_for_sign) last.
    fn gave_sign(&mut self) {}

    /// Writes answers that have become ready, and keeps the waker for later ones.
    fn pump(&mut self, cx: &mut Context<'_>, replies: &mut Replies) {
        _ = (cx, replies);
    }

    /// Tells whether answers are about to be ready that should go with the same write.
    fn is_about_to_answer(&self) -> bool {
        false
    }

    /// Records the bytes in the connection's buffers after a turn, if their number has changed
    /// since the turn before: of a frame that has arrived in part, and of answers that the peer has
    /// yet to read.
    ///
    /// # Errors
    ///
    /// The reason why that is too much; the connection ends, and the peer gets the reason if it
    /// still receives.
    fn holds(&mut self, bytes: usize) -> Result<(), String> {
        _ = bytes;
        Ok(())
    }

    /// Tells whether to read on. A service that takes calls while the replies are full has to
    /// hold them, in bounds, so that the answers of the other side can be read meanwhile.
    fn takes_more(&self, replies: &Replies) -> bool {
        !replies.is_full()
    }

    /// Ends open calls when the connection is over. The driver ends when this is ready.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        _ = cx;
        Poll::Ready(())
    }
}

/// Lets nothing be called.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoService;

impl Service for NoService {
    fn call(&mut self, call: Call<'_>, replies: &mut Replies) {
        replies.fail(call.id, call.unknown());
    }
}

/// A call from the other side.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The number to answer with.
    pub id: CallId,
    /// The method.
    pub method: &'a str,
    /// The arguments, encoded.
    pub body: &'a [u8],
    /// The caller's time limit.
    pub within: Option<Duration>,
}

impl<'a> Call<'a> {
    /// Reads the arguments.
    ///
    /// # Errors
    ///
    /// A [`RemoteError`] for the caller, when they are not what the method takes.
    pub fn args<T: Deserialize<'a>>(&self) -> Result<T, RemoteError> {
        wire::decode_body(self.body).map_err(|error| self.unreadable(&error))
    }

    /// Returns the answer to arguments that are not what the method takes.
    pub fn unreadable(&self, error: &WireError) -> RemoteError {
        let message = format!("the arguments of `{}` cannot be read: {error}", self.method);
        RemoteError::new(ErrorKind::Invalid, message)
    }

    /// Returns the answer to a method that does not exist.
    pub fn unknown(&self) -> RemoteError {
        let message = format!("nothing called {:?} can be called here", self.method);
        RemoteError::new(ErrorKind::NoSuchMethod, message)
    }
}

/// Answers on their way to the other side.
#[derive(Debug, Default)]
pub struct Replies {
    pub(crate) queue: ByteQueue,
    /// The number of queued pongs and refusals, which are queued however full it is.
    pub(crate) unbounded: usize,
    /// The bytes that are already being written.
    pub(crate) writing_bytes: usize,
    /// The steps of work in this turn.
    pub(crate) steps: usize,
}

impl Replies {
    /// Ends a call with its result.
    pub fn finish<T: Serialize + ?Sized>(&mut self, id: CallId, result: &T) {
        self.push(id, Frame::Return { id, body: &encode_body(result) });
    }

    /// Ends a call with a result that `write` appends, encoded already.
    pub fn finish_with(&mut self, id: CallId, write: impl FnOnce(&mut BytesMut)) {
        if let Err(error) = encode_return(self.queue.tail(), id, write) {
            self.fail(id, too_long(&error));
        }
    }

    /// Ends a call with an error.
    pub fn fail(&mut self, id: CallId, error: RemoteError) {
        self.push(id, Frame::Error { id, error });
    }

    /// Says that a streaming call has begun.
    pub fn started<T: Serialize + ?Sized>(&mut self, id: CallId, value: &T) {
        self.push(id, Frame::Started { id, body: &encode_body(value) });
    }

    /// Sends one value of a call's stream. The caller must have given credit for it.
    pub fn item<T: Serialize + ?Sized>(&mut self, id: CallId, value: &T) {
        self.item_encoded(id, &encode_body(value));
    }

    /// Sends one value of a call's stream, encoded already, as [`item`](Self::item).
    pub fn item_encoded(&mut self, id: CallId, body: &[u8]) {
        match encode_item_head(self.queue.tail(), id, body.len()) {
            Ok(()) => self.queue.tail().extend_from_slice(body),
            Err(error) => self.fail(id, too_long(&error)),
        }
    }

    /// Tells whether so much waits to be written that further answers should wait too.
    pub fn is_full(&self) -> bool {
        self.queue.len() + self.writing_bytes >= REPLY_BYTES_MAX
    }

    /// Records work besides reading a call and writing an answer, in steps of some 25 ns each. At a
    /// full [turn](TURN_STEPS), others run.
    pub fn spend(&mut self, steps: usize) {
        self.steps = self.steps.saturating_add(steps);
    }

    /// Tells whether this turn is over.
    pub fn is_spent(&self) -> bool {
        self.steps >= TURN_STEPS
    }

    /// Refuses a call, however full the queue is.
    pub(crate) fn refuse(&mut self, id: CallId, error: RemoteError) {
        self.unbounded += 1;
        self.fail(id, error);
    }

    fn push(&mut self, id: CallId, frame: Frame<'_>) {
        if let Err(error) = frame.encode(self.queue.tail()) {
            Frame::Error { id, error: too_long(&error) }
                .encode(self.queue.tail())
                .expect("the error is short");
        }
    }
}

/// The bytes that may wait to be written before calls wait in the kernel's buffers instead. A peer
/// that calls and does not read costs no more than this and one answer.
pub(crate) const REPLY_BYTES_MAX: usize = 256 * 1024;

/// The work of one connection before others run: a tenth of a millisecond, a hundred times the cost
/// of yielding.
pub const TURN_STEPS: usize = 4096;

fn too_long(error: &WireError) -> RemoteError {
    RemoteError::new(ErrorKind::LimitReached, format!("the answer is too long: {error}"))
}
