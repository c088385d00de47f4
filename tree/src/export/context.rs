//! The two sides of a dialogue: a started value, then items both ways.
//!
//! ```text
//!   callee: Context, then Stream            the carrier of bytes, or the caller here
//!        started ─────────── oneshot ──────────▶ FarEnds::started
//!        send    ─────────── bounded ──────────▶ FarEnds::stream.items
//!        recv    ◀────────── bounded ─────────── FarEnds::stream.replies
//! ```

use std::marker::PhantomData;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Wire, body};

/// The most items in transit in one direction of a dialogue, between the reader of the connection
/// and the function. It keeps both busy; items that wait for credit are beyond it.
pub const ITEMS_AHEAD: usize = 16;

/// The first argument of an exported function of the kind dialogue: it begins with
/// [`started`](Self::started), receives items of type `In` and sends those of type `Out`.
///
/// ```standalone_crate
/// # extern crate callsign_tree as callsign;
/// use callsign::{Context, Ended};
///
/// /// Counts down, for as long as somebody listens.
/// #[callsign::export]
/// async fn countdown(context: &mut Context<(), (), u32>, from: u32) -> Result<(), Ended> {
///     let stream = context.started(()).await?;
///     for number in (0..from).rev() {
///         stream.send(number).await?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Context<Started, In, Out> {
    ends: Option<Ends>,
    cancelled: CancellationToken,
    types: PhantomData<fn(Started, Out) -> In>,
}

impl<Started: Wire, In: Wire, Out: Wire> Context<Started, In, Out> {
    pub(super) fn new(ends: Ends) -> Self {
        let cancelled = ends.cancelled.clone();
        Self { ends: Some(ends), cancelled, types: PhantomData }
    }

    /// Begins the dialogue: wakes the caller with a value, and opens the stream.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// use callsign::{Context, Ended};
    ///
    /// /// Says how many follow, and then sends them.
    /// #[callsign::export]
    /// async fn count(context: &mut Context<u32, (), u32>, to: u32) -> Result<(), Ended> {
    ///     let stream = context.started(to).await?;
    ///     for number in 1..=to {
    ///         stream.send(number).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {
    /// #     let _ = count;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Ended`], when the caller is gone, or when it has begun before.
    #[expect(clippy::unused_async, reason = "a carrier may have to wait for the wire")]
    pub async fn started(&mut self, value: Started) -> Result<Stream<In, Out>, Ended> {
        if self.cancelled.is_cancelled() {
            return Err(Ended::Cancelled);
        }
        let value = body::encode(&value).map_err(Ended::Unsendable)?;
        let Ends { started, stream, .. } = self.ends.take().ok_or(Ended::StartedTwice)?;
        started.send(value).map_err(|_| Ended::ByPeer)?;
        Ok(Stream::new(stream, self.cancelled.clone()))
    }

    /// Waits until the caller wants no more, or is gone.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// use callsign::{Context, Ended};
    ///
    /// /// Holds a place for as long as somebody wants it.
    /// #[callsign::export]
    /// async fn hold(context: &mut Context<(), (), ()>) -> Result<(), Ended> {
    ///     let _stream = context.started(()).await?;
    ///     context.cancelled().await;
    ///     Ok(())
    /// }
    /// # fn main() {
    /// #     let _ = hold;
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }
}

/// One side of a dialogue that has begun. Dropping it ends this side's items; those in transit
/// still arrive.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Ended, export::Stream};
///
/// /// Adds up what comes until the other side sends no more.
/// async fn sum(mut stream: Stream<u32, ()>) -> Result<u32, Ended> {
///     let mut sum = 0;
///     while let Some(number) = stream.recv().await? {
///         sum += number;
///     }
///     Ok(sum)
/// }
/// ```
#[derive(Debug)]
pub struct Stream<In, Out> {
    raw: RawStream,
    cancelled: CancellationToken,
    types: PhantomData<fn(Out) -> In>,
}

impl<In: Wire, Out: Wire> Stream<In, Out> {
    /// Gives a raw stream its types.
    pub fn new(raw: RawStream, cancelled: CancellationToken) -> Self {
        Self { raw, cancelled, types: PhantomData }
    }

    /// Waits for the next item; `None` when the other side sends no more.
    ///
    /// # Errors
    ///
    /// [`Ended::Cancelled`] and [`Ended::Unreadable`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no item is lost.
    pub async fn recv(&mut self) -> Result<Option<In>, Ended> {
        let item = tokio::select! {
            biased;
            () = self.cancelled.cancelled() => return Err(Ended::Cancelled),
            item = self.raw.items.recv() => item,
        };
        item.map(|item| body::decode(&item).map_err(Ended::Unreadable)).transpose()
    }

    /// Sends an item, and waits while the other side is behind.
    ///
    /// # Errors
    ///
    /// [`Ended::ByPeer`], [`Ended::Cancelled`] and [`Ended::Unsendable`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the item is not sent.
    pub async fn send(&self, item: Out) -> Result<(), Ended> {
        let item = body::encode(&item).map_err(Ended::Unsendable)?;
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => Err(Ended::Cancelled),
            sent = self.raw.replies.send(item) => sent.map_err(|_| Ended::ByPeer),
        }
    }
}

/// One side's ends of a stream, of encoded items.
#[derive(Debug)]
pub struct RawStream {
    /// The other side's items. It ends when that sends no more.
    pub items: mpsc::Receiver<Bytes>,
    /// The items to the other side. Dropping it ends them.
    pub replies: mpsc::Sender<Bytes>,
}

/// The callee's ends of a dialogue.
#[derive(Debug)]
pub struct Ends {
    /// The destination of the started value, encoded.
    pub started: oneshot::Sender<Bytes>,
    /// The items.
    pub stream: RawStream,
    /// Cancelled when the caller wants no more, or is gone. The dialogue's operations fail then.
    pub cancelled: CancellationToken,
}

/// The other ends: those of a caller in this process, or of who carries bytes to one.
///
/// A carrier that loses the caller cancels [`Ends::cancelled`] before it drops these, so that the
/// callee does not take it for the end of the items.
#[derive(Debug)]
pub struct FarEnds {
    /// The started value, encoded. It never comes when the function ends before.
    pub started: oneshot::Receiver<Bytes>,
    /// The items.
    pub stream: RawStream,
}

impl Ends {
    /// Makes both ends of a dialogue, with room for [`ITEMS_AHEAD`] items each way. The holder of
    /// `cancelled` can end it.
    pub fn pair(cancelled: CancellationToken) -> (Self, FarEnds) {
        let (started, far_started) = oneshot::channel();
        let (replies, far_items) = mpsc::channel(ITEMS_AHEAD);
        let (far_replies, items) = mpsc::channel(ITEMS_AHEAD);
        let near = Self { started, stream: RawStream { items, replies }, cancelled };
        let far = RawStream { items: far_items, replies: far_replies };
        (near, FarEnds { started: far_started, stream: far })
    }
}

/// Why a dialogue cannot go on. It can travel, so that an exported function may fail with it.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Ended, export::Stream};
///
/// /// Sends an item, unless nobody wants any more.
/// async fn offer(stream: &Stream<(), u32>, item: u32) -> Result<bool, Ended> {
///     match stream.send(item).await {
///         Err(Ended::ByPeer | Ended::Cancelled) => Ok(false),
///         sent => sent.map(|()| true),
///     }
/// }
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ended {
    /// The other side has left the dialogue.
    #[error("the other side has left the dialogue")]
    ByPeer,
    /// The caller cancelled the call, or its connection ended.
    #[error("the dialogue was cancelled")]
    Cancelled,
    /// The other side's item has an unexpected type.
    #[error("an item cannot be read: {0}")]
    Unreadable(String),
    /// A value cannot be written.
    #[error("a value cannot be written: {0}")]
    Unsendable(String),
    /// The dialogue was begun a second time.
    #[error("the dialogue has started already")]
    StartedTwice,
}
