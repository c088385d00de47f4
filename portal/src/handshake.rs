//! The handshake: each side sends a preface and a hello.
//!
//! The side that dialed speaks first, so that a listener can recognise callsign's protocol before
//! it sends anything.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use transport::Stream;
use wire::{
    Frame, FrameReader, Hello, WireError, encode_hello,
    preface::{self, PREFACE_BYTES, PrefaceError},
};

use crate::{Driver, HandshakeError, Options, Portal, Service, shared::Shared};

/// A conversation that has begun: its handle, and its driver.
#[derive(Debug)]
pub struct Connected<IO, S> {
    /// The handle of the conversation.
    pub portal: Portal,
    /// The driver of the connection.
    pub driver: Driver<IO, S>,
}

/// A connection after both hellos, and before anything else.
///
/// Most continue with [`converse`](Self::converse). If the application has its own protocol, the
/// bytes are the application's from here on.
///
/// ```
/// # use callsign_portal as callsign;
/// # use transport::Stream;
/// use callsign::Established;
///
/// fn who(caller: &Established<Stream>) -> &str {
///     &caller.peer.agent
/// }
/// ```
#[derive(Debug)]
pub struct Established<IO> {
    /// The connection.
    pub io: IO,
    /// The peer's hello.
    pub peer: Hello,
    /// The bytes that the peer has sent behind its hello.
    pub leftover: BytesMut,
    side: Side,
}

/// The side of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Dialed,
    Accepted,
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
    io: IO,
    options: Options,
    service: S,
) -> Result<Connected<IO, S>, HandshakeError> {
    Ok(handshake(io, &options).await?.converse(&options, service))
}

/// Begins a conversation on an accepted connection.
///
/// # Errors
///
/// [`HandshakeError`]. A peer of another version of the protocol gets this side's version first.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub async fn accept<IO: AsyncRead + AsyncWrite + Unpin, S: Service>(
    io: IO,
    options: Options,
    service: S,
) -> Result<Connected<IO, S>, HandshakeError> {
    let established = within(options.handshake_timeout, async {
        let heard = hear(io).await?;
        heard.answer(preface_and_hello(&options.hello)).await
    });
    Ok(established.await?.converse(&options, service))
}

/// Does the handshake on a connection that this side dialed.
///
/// # Errors
///
/// [`HandshakeError`].
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub async fn handshake<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    options: &Options,
) -> Result<Established<IO>, HandshakeError> {
    greet(io, preface_and_hello(&options.hello), options.handshake_timeout).await
}

/// Does the handshake as [`handshake`] does, with a hello that is written already.
pub(crate) fn greet<IO: AsyncRead + AsyncWrite + Unpin>(
    mut io: IO,
    said: BytesMut,
    limit: Duration,
) -> impl Future<Output = Result<Established<IO>, HandshakeError>> {
    within(limit, async move {
        let mut reader = FrameReader::default();
        let written = io.write_all(&said).await;
        // A peer that refuses may close before it has read; its last bytes come first.
        let peer = match (read_hello(&mut io, &mut reader).await, written) {
            (Err(HandshakeError::Closed), Err(error)) => return Err(error.into()),
            (read, _) => read?,
        };
        Ok(Established { io, peer, leftover: reader.into_bytes(), side: Side::Dialed })
    })
}

/// Reads the dialer's hello. A peer of another version gets this side's version.
pub(crate) async fn hear<IO: AsyncRead + AsyncWrite + Unpin>(
    mut io: IO,
) -> Result<Heard<IO>, HandshakeError> {
    let mut reader = FrameReader::default();
    match read_hello(&mut io, &mut reader).await {
        Ok(peer) => Ok(Heard { io, peer, leftover: reader.into_bytes() }),
        Err(error) => {
            if matches!(error, HandshakeError::Preface(PrefaceError::OtherVersion { .. })) {
                io.write_all(&preface::preface()).await?;
            }
            Err(error)
        }
    }
}

/// A connection whose dialer has sent its hello, and waits for an answer.
pub(crate) struct Heard<IO> {
    pub(crate) io: IO,
    pub(crate) peer: Hello,
    leftover: BytesMut,
}

impl<IO: AsyncWrite + Unpin> Heard<IO> {
    /// Answers with a hello that is written already.
    pub(crate) async fn answer(
        mut self,
        said: BytesMut,
    ) -> Result<Established<IO>, HandshakeError> {
        self.io.write_all(&said).await?;
        let Self { io, peer, leftover } = self;
        Ok(Established { io, peer, leftover, side: Side::Accepted })
    }
}

impl Established<Stream> {
    /// Returns the stream, for an application with its own protocol.
    ///
    /// ```
    /// # use callsign_portal as callsign;
    /// # use transport::Stream;
    /// use callsign::Established;
    /// use tokio::io::AsyncReadExt;
    ///
    /// /// Reads what a caller says, in a protocol of its own.
    /// async fn hear(caller: Established<Stream>) -> std::io::Result<String> {
    ///     let mut said = String::new();
    ///     caller.into_stream().read_to_string(&mut said).await?;
    ///     Ok(said)
    /// }
    /// ```
    pub fn into_stream(self) -> Stream {
        let Self { io: mut stream, leftover, .. } = self;
        if !leftover.is_empty() {
            stream.unread(leftover);
        }
        stream
    }
}

impl<IO> Established<IO> {
    /// Wraps a connection that this side dialed, whose handshake with `peer` is complete.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_portal::*, wire::*}; }
    /// # use transport::Stream;
    /// use callsign::Established;
    ///
    /// /// Takes over a connection that another part of the program has dialed.
    /// fn take_up(stream: Stream, peer: callsign::Hello) -> Established<Stream> {
    ///     Established::dialed(stream, peer)
    /// }
    /// ```
    pub fn dialed(io: IO, peer: Hello) -> Self {
        Self { io, peer, leftover: BytesMut::new(), side: Side::Dialed }
    }

    /// Wraps a connection that this side accepted, and whose dialer it knows already.
    ///
    /// ```
    /// # mod callsign { pub use {callsign_portal::*, transport::*, wire::*}; }
    /// use callsign::Established;
    /// use callsign::Stream;
    ///
    /// // Within a process no peer needs to identify itself.
    /// let (_near, far) = Stream::pair();
    /// let caller = Established::accepted(far, callsign::Hello::default());
    /// assert!(caller.leftover.is_empty());
    /// ```
    pub fn accepted(io: IO, peer: Hello) -> Self {
        Self { io, peer, leftover: BytesMut::new(), side: Side::Accepted }
    }

    /// Begins a conversation.
    ///
    /// ```
    /// # use callsign_portal as callsign;
    /// # use transport::Stream;
    /// use callsign::{Closed, Established, NoService, Options};
    ///
    /// /// Answers nothing to a caller, until it has enough.
    /// async fn stay_silent(caller: Established<Stream>) -> Closed {
    ///     let connected = caller.converse(&Options::default(), NoService);
    ///     connected.driver.await
    /// }
    /// ```
    pub fn converse<S>(self, options: &Options, service: S) -> Connected<IO, S> {
        let Self { io, peer, leftover, side } = self;
        let first_id = match side {
            Side::Dialed => 0,
            Side::Accepted => 1,
        };
        let shared = Arc::new(Shared::new(peer, first_id));
        let mut reader = FrameReader::from(leftover);
        reader.set_frame_bytes_max(options.frame_bytes_max);
        let driver = Driver::new(io, reader, service, shared.clone(), options);
        Connected { portal: Portal::new(shared), driver }
    }
}

pub(crate) fn preface_and_hello(hello: &Hello) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(HELLO_BYTES_USUAL);
    bytes.extend_from_slice(&preface::preface());
    encode_hello(&mut bytes, hello).expect("a hello is short");
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
            return Err(preface::other(reader.peek()).into());
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
            Frame::Goodbye { error: Some(error), .. } => Err(HandshakeError::Denied(error)),
            Frame::Goodbye { reason, .. } => Err(HandshakeError::Refused(reason.to_owned())),
            _ => Err(WireError::Malformed("the first frame is no hello".to_owned()).into()),
        };
    }
}

async fn read_more(
    io: &mut (impl AsyncRead + Unpin),
    reader: &mut FrameReader,
) -> Result<(), HandshakeError> {
    match io.read_buf(reader.buffer_for_one()).await? {
        0 => Err(HandshakeError::Closed),
        _ => Ok(()),
    }
}

/// Bounds a handshake. It is boxed: it is long, and is moved several times with the futures around it.
pub(crate) fn within<T>(
    limit: Duration,
    handshake: impl Future<Output = Result<T, HandshakeError>>,
) -> impl Future<Output = Result<T, HandshakeError>> {
    let handshake = Box::pin(handshake);
    async move {
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
}

/// The longest hello: an unknown peer's first frame gets no more room than it needs.
const HELLO_BYTES_MAX: usize = 4 * 1024;

/// The room for a preface and a hello that names an instance and a challenge.
const HELLO_BYTES_USUAL: usize = 256;
