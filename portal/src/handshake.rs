//! How a conversation begins: each side sends a preface and says who it is.
//!
//! The side that dialed speaks first, so that a listener can tell callsign's protocol from others
//! before it says a word.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};
use wire::{
    CallId, Frame, FrameReader, Hello, WireError,
    preface::{self, PREFACE_BYTES, PrefaceError},
};

use crate::{
    Driver, HandshakeError, Heartbeat, Portal, Replies, Service, heartbeat::Pulse, shared::Shared,
};

/// How long a handshake may take, unless something else is asked for: ample for a round trip
/// around the world, and short enough that mute peers do not pile up.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How a conversation is held.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is said of this side.
    pub hello: Hello,
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
    /// How signs of life are asked for; `None` where the kernel tells of a death.
    pub heartbeat: Option<Heartbeat>,
}

impl Default for Options {
    fn default() -> Self {
        Self { hello: Hello::default(), handshake_timeout: HANDSHAKE_TIMEOUT, heartbeat: None }
    }
}

/// A conversation that has begun: its handle, and what runs it.
#[derive(Debug)]
pub struct Connected<IO, S> {
    /// What uses the conversation.
    pub portal: Portal,
    /// What runs it.
    pub driver: Driver<IO, S>,
}

/// Begins a conversation on a connection that this side dialed.
///
/// # Errors
///
/// [`HandshakeError`].
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub async fn connect<IO: AsyncRead + AsyncWrite + Unpin, S: Service>(
    mut io: IO,
    options: Options,
    service: S,
) -> Result<Connected<IO, S>, HandshakeError> {
    within(options.handshake_timeout, async {
        let mut reader = FrameReader::default();
        let written = io.write_all(&greeting(&options.hello)).await;
        // A peer that refuses may close before it has read; what it said comes first.
        let hello = match (read_hello(&mut io, &mut reader).await, written) {
            (Err(HandshakeError::Closed), Err(error)) => return Err(error.into()),
            (read, _) => read?,
        };
        Ok(begin(io, reader, hello, 0, &options, service))
    })
    .await
}

/// Begins a conversation on a connection that this side accepted.
///
/// # Errors
///
/// [`HandshakeError`]. A peer of another version of the protocol is told this side's version
/// first.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub async fn accept<IO: AsyncRead + AsyncWrite + Unpin, S: Service>(
    mut io: IO,
    options: Options,
    service: S,
) -> Result<Connected<IO, S>, HandshakeError> {
    within(options.handshake_timeout, async {
        let mut reader = FrameReader::default();
        let hello = match read_hello(&mut io, &mut reader).await {
            Ok(hello) => hello,
            Err(error) => {
                if matches!(error, HandshakeError::Preface(PrefaceError::OtherVersion { .. })) {
                    io.write_all(&preface::preface()).await?;
                }
                return Err(error);
            }
        };
        io.write_all(&greeting(&options.hello)).await?;
        Ok(begin(io, reader, hello, 1, &options, service))
    })
    .await
}

fn begin<IO, S>(
    io: IO,
    mut reader: FrameReader,
    peer: Hello,
    first_id: CallId,
    options: &Options,
    service: S,
) -> Connected<IO, S> {
    reader.set_frame_bytes_max(wire::FRAME_BYTES_MAX);
    let shared = Arc::new(Shared::new(peer, first_id));
    let driver = Driver {
        io,
        service,
        reader,
        replies: Replies::default(),
        writing: BytesMut::new(),
        shared: shared.clone(),
        pulse: options.heartbeat.map(|heartbeat| Pulse::new(heartbeat, Instant::now())),
        is_closing: false,
    };
    Connected { portal: Portal::new(shared), driver }
}

fn greeting(hello: &Hello) -> BytesMut {
    let mut bytes = BytesMut::from(&preface::preface()[..]);
    Frame::Hello(Box::new(hello.clone())).encode(&mut bytes).expect("a hello is short");
    bytes
}

async fn read_hello(
    io: &mut (impl AsyncRead + Unpin),
    reader: &mut FrameReader,
) -> Result<Hello, HandshakeError> {
    reader.set_frame_bytes_max(HELLO_BYTES_MAX);
    let preface = loop {
        // Another protocol shows in its first bytes, however few they are.
        if !preface::may_begin(reader.peek()) {
            return Err(PrefaceError::OtherProtocol.into());
        }
        match reader.take(PREFACE_BYTES) {
            Some(preface) => break preface,
            None => read_more(io, reader).await?,
        }
    };
    preface::check(preface.first_chunk().expect("that many bytes were taken"))?;

    loop {
        let Some(frame) = reader.next()? else {
            read_more(io, reader).await?;
            continue;
        };
        return match Frame::decode(&frame)? {
            Frame::Hello(hello) => Ok(*hello),
            Frame::Goodbye { reason } => Err(HandshakeError::Refused(reason.to_owned())),
            _ => Err(WireError::Malformed("the first frame is no hello".to_owned()).into()),
        };
    }
}

async fn read_more(
    io: &mut (impl AsyncRead + Unpin),
    reader: &mut FrameReader,
) -> Result<(), HandshakeError> {
    match io.read_buf(reader.buffer()).await? {
        0 => Err(HandshakeError::Closed),
        _ => Ok(()),
    }
}

async fn within<T>(
    limit: Duration,
    handshake: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    match timeout(limit, handshake).await {
        Ok(Err(HandshakeError::Broken(error)))
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ) =>
        {
            Err(HandshakeError::Closed)
        }
        Ok(result) => result,
        Err(_) => Err(HandshakeError::TimedOut(limit)),
    }
}

/// The longest hello: a stranger's first frame gets no more room than it needs.
const HELLO_BYTES_MAX: usize = 4 * 1024;
