//! A connection: whole messages above, bytes below.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use registrar::{Exceeded, Holding};
use serde::Serialize;
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use transport::Stream;
use wire::{FrameReader, WireError};

use super::message::{Aid, BareMessage, Fields, Message, decode, encode};

/// A connection of tractor's protocol.
#[derive(Debug)]
pub(super) struct Channel {
    stream: Stream,
    reader: FrameReader,
    /// The account for buffered data, if any.
    holding: Option<Holding>,
}

impl Channel {
    /// Exchanges introductions with the other side.
    ///
    /// This side's goes first: a peer that cannot be understood gets it all the same.
    pub(super) async fn greet(
        stream: Stream,
        own: &Aid,
        limit: Duration,
    ) -> Result<(Self, Aid), ChannelError> {
        let mut channel = Self { stream, reader: FrameReader::default(), holding: None };
        channel.reader.set_frame_bytes_max(AID_BYTES_MAX);
        let greeting = async {
            channel.send(&BareMessage::Aid(own)).await?;
            let frame = channel.next().await?.ok_or(ChannelError::Closed)?;
            if Fields::read(&frame, &["msg_type"])?.get::<&str>("msg_type")? != "Aid" {
                return Err(ChannelError::NoAid);
            }
            Ok(decode(&frame)?)
        };
        let aid = timeout(limit, greeting).await.unwrap_or(Err(ChannelError::TimedOut))?;
        Ok((channel, aid))
    }

    /// Allows longer messages, now that the peer is known.
    pub(super) fn set_frame_bytes_max(&mut self, bytes: usize) {
        self.reader.set_frame_bytes_max(bytes);
    }

    /// Charges an account for the arrived part of an incomplete message.
    pub(super) fn set_holding(&mut self, holding: Holding) {
        self.holding = Some(holding);
    }

    /// Returns the connection itself.
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Waits for the next message; `None` is the end between two of them.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the arrived part of a message is kept.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ChannelError> {
        loop {
            if let Some(frame) = self.reader.next()? {
                return Ok(Some(frame));
            }
            // A buffer without contents is released.
            self.reader.give_back();
            if let Some(holding) = &mut self.holding {
                holding.set(self.reader.held_bytes())?;
            }
            if self.stream.read_buf(self.reader.buffer()).await? == 0 {
                return match self.reader.peek() {
                    [] => Ok(None),
                    _ => Err(ChannelError::Closed),
                };
            }
        }
    }

    /// Sends a message. A peer that reads nothing for a while is given up.
    pub(super) async fn send<P: Serialize>(
        &mut self,
        message: &Message<'_, P>,
    ) -> Result<(), ChannelError> {
        let mut bytes = BytesMut::new();
        encode(message, &mut bytes)?;
        self.send_encoded(&bytes).await
    }

    /// Sends a message that is encoded.
    pub(super) async fn send_encoded(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        match timeout(SEND_TIMEOUT, self.stream.write_all(bytes)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(ChannelError::TimedOut),
        }
    }

    /// Ends the connection in such a way that the last message arrives: if something unread were
    /// left, TCP would discard it.
    pub(super) async fn close(self) {
        let Self { mut stream, reader, holding } = self;
        // Nobody reads the rest of a message, so its beginning need not wait for it.
        drop((reader, holding));
        let closing = async {
            stream.shutdown().await?;
            let mut rest = (&mut stream).take(UNREAD_BYTES_MAX);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
        };
        // Whatever the result, the connection ends here.
        drop(timeout(CLOSE_TIMEOUT, closing).await);
    }
}

/// Why a connection is of no use any more.
#[derive(Debug, Error)]
pub(super) enum ChannelError {
    #[error("the connection closed in the middle of it")]
    Closed,
    #[error("no answer in time")]
    TimedOut,
    #[error("the first message does not say who is there")]
    NoAid,
    #[error("the message cannot be read")]
    Unreadable(#[from] rmp_serde::decode::Error),
    #[error("the message cannot be written")]
    Unwritable(#[from] rmp_serde::encode::Error),
    #[error(transparent)]
    TooLong(#[from] WireError),
    #[error("it is ended: {0}")]
    TooMuch(#[from] Exceeded),
    #[error("the connection broke")]
    Broken(#[from] io::Error),
}

/// The longest first message: a name and a number or two.
const AID_BYTES_MAX: usize = 4 * 1024;

/// The time for which a peer may read nothing while it is written to: long enough for a busy
/// program, and shorter than a node takes to drain.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);

/// The time for fetching the last messages.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// The unread data of a peer after which it is cut off.
const UNREAD_BYTES_MAX: u64 = 64 * 1024;
