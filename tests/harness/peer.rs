//! A peer of a registrar that speaks the raw protocol, byte by byte where needed.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    time::Duration,
};

use bytes::BytesMut;
use endpoints::{Endpoint, Stamped, UnixAddress};
use uuid::Uuid;
use wire::{
    CallId, Frame, FrameReader, Hello, RemoteError, State, encode_body,
    preface::{PREFACE_BYTES, preface},
    registrar::{QUERY, Query, REGISTER, Register, STATUS},
};

use super::LIMIT;

/// An end of a connection to a registrar.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: Socket,
    reader: FrameReader,
    has_preface: bool,
    next_id: CallId,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// The result of a call.
pub(crate) type Answer = Result<Vec<u8>, RemoteError>;

impl Peer {
    /// Connects, and sends nothing yet.
    #[track_caller]
    pub(crate) fn dial(endpoint: &str) -> Self {
        let stream = match Self::try_dial(endpoint) {
            Ok(stream) => stream,
            Err(error) => panic!("{endpoint} cannot be dialed: {error}"),
        };
        let peer = Self { stream, reader: FrameReader::default(), has_preface: false, next_id: 0 };
        peer.set_limit(LIMIT);
        peer
    }

    fn try_dial(endpoint: &str) -> io::Result<Socket> {
        match endpoint.parse().unwrap() {
            Endpoint::Unix(UnixAddress::Path(path)) => {
                UnixStream::connect(path.as_str()).map(Socket::Unix)
            }
            Endpoint::Unix(UnixAddress::Abstract(name)) => {
                let address = SocketAddr::from_abstract_name(name.as_bytes())?;
                UnixStream::connect_addr(&address).map(Socket::Unix)
            }
            _ => TcpStream::connect(tcp_address(endpoint)).map(Socket::Tcp),
        }
    }

    /// Connects, and completes the handshake.
    #[track_caller]
    pub(crate) fn greet(endpoint: &str) -> Self {
        let mut peer = Self::dial(endpoint);
        peer.send_bytes(&preface());
        peer.send(&Frame::Hello(Box::default()));
        peer.hello();
        peer
    }

    /// Waits for the other side's hello.
    #[track_caller]
    pub(crate) fn hello(&mut self) -> Hello {
        let bytes = self.frame().expect("a hello comes first");
        match Frame::decode(&bytes).unwrap() {
            Frame::Hello(hello) => *hello,
            other => panic!("the first frame is no hello but {other:?}"),
        }
    }

    /// Sets how long a read or a write may take.
    pub(crate) fn set_limit(&self, limit: Duration) {
        let limit = Some(limit);
        match &self.stream {
            Socket::Unix(it) => it.set_read_timeout(limit).and(it.set_write_timeout(limit)),
            Socket::Tcp(it) => it.set_read_timeout(limit).and(it.set_write_timeout(limit)),
        }
        .unwrap();
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send_bytes(bytes).unwrap();
    }

    /// Sends bytes as they are, to a peer that may refuse them.
    pub(crate) fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a frame.
    #[track_caller]
    pub(crate) fn send(&mut self, frame: &Frame<'_>) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes).unwrap();
        self.send_bytes(&bytes);
    }

    /// Sends any bytes as a frame.
    #[track_caller]
    pub(crate) fn send_as_frame(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap();
        self.send_bytes(&[&length.to_le_bytes(), bytes].concat());
    }

    /// Shuts down the sending direction.
    pub(crate) fn close_writing(&self) {
        match &self.stream {
            Socket::Unix(it) => it.shutdown(Shutdown::Write),
            Socket::Tcp(it) => it.shutdown(Shutdown::Write),
        }
        .unwrap();
    }

    /// Waits for the next frame; `None` when the other side has closed.
    ///
    /// # Panics
    ///
    /// When nothing comes in time.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Option<Vec<u8>> {
        self.try_frame().unwrap_or_else(|error| panic!("no frame came: {error}"))
    }

    /// Waits for the next frame, which may not come.
    pub(crate) fn try_frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if !self.has_preface {
                self.has_preface = self.reader.take(PREFACE_BYTES).is_some();
            }
            if self.has_preface
                && let Some(frame) = self.reader.next().unwrap()
            {
                return Ok(Some(frame.to_vec()));
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => self.reader.extend_from_slice(&buffer[..count]),
                Err(error) if is_closed(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Says to a registrar what it does not understand, and waits until it is turned away.
    #[track_caller]
    pub(crate) fn babble(endpoint: &str) {
        let mut peer = Self::dial(endpoint);
        peer.send_bytes(b"neither of these is a preface");
        drop(peer.rest());
    }

    /// Waits until the other side has closed. Earlier frames are skipped.
    #[track_caller]
    pub(crate) fn closes(mut self) {
        while self.frame().is_some() {}
    }

    /// Returns all bytes until the connection ends, for whatever reason.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 1024]);
        while let Ok(count @ 1..) = self.stream.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
        }
        bytes
    }

    /// Sends a call, and returns its number.
    #[track_caller]
    pub(crate) fn begin(&mut self, method: &str, body: &[u8]) -> CallId {
        let id = self.next_id;
        self.next_id += 2;
        self.send(&Frame::Call { id, method, body, within_ms: None });
        id
    }

    /// Waits for the next answer to any call. Other frames are skipped.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> (CallId, Answer) {
        loop {
            let frame = self.frame().expect("the other side closed instead of an answer");
            match Frame::decode(&frame).unwrap() {
                Frame::Return { id, body } => return (id, Ok(body.to_vec())),
                Frame::Error { id, error } => return (id, Err(error)),
                Frame::Ping { nonce } => self.send(&Frame::Pong { nonce }),
                _ => {}
            }
        }
    }

    /// Calls, and waits for the answer. Answers to earlier calls are skipped.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, body: &[u8]) -> Answer {
        let own = self.begin(method, body);
        loop {
            let (id, answer) = self.answer();
            if id == own {
                return answer;
            }
        }
    }

    /// Calls a registrar that may have closed the connection: then `None`.
    pub(crate) fn try_call(&mut self, method: &str, body: &[u8]) -> Option<Answer> {
        let own = self.next_id;
        self.next_id += 2;
        let mut bytes = BytesMut::new();
        Frame::Call { id: own, method, body, within_ms: None }.encode(&mut bytes).unwrap();
        loop {
            self.try_send_bytes(&bytes).ok()?;
            bytes.clear();
            match Frame::decode(&self.frame()?).unwrap() {
                Frame::Return { id, body } if id == own => return Some(Ok(body.to_vec())),
                Frame::Error { id, error } if id == own => return Some(Err(error)),
                Frame::Ping { nonce } => Frame::Pong { nonce }.encode(&mut bytes).unwrap(),
                _ => {}
            }
        }
    }

    /// Waits until everything sent so far has been read.
    #[track_caller]
    pub(crate) fn sync(&mut self) {
        self.call(STATUS, &encode_body(&())).expect("a registrar says how it is");
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Socket::Unix(it) => it.as_fd(),
            Socket::Tcp(it) => it.as_fd(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(it) => it.read(bytes),
            Self::Tcp(it) => it.read(bytes),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(it) => it.write(bytes),
            Self::Tcp(it) => it.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the arguments of a query.
pub(crate) fn query(name: &str) -> (&'static str, Vec<u8>) {
    (QUERY, encode_body(&Query::of(name)))
}

/// Returns the registration of a ready instance with the lifetime of its session.
pub(crate) fn registration(name: &str, endpoints: Vec<Stamped>) -> Register {
    Register { endpoints, ..Register::new(name.parse().unwrap(), Uuid::new_v4()) }
}

/// Returns the arguments of a registration.
pub(crate) fn register(registration: &Register) -> (&'static str, Vec<u8>) {
    (REGISTER, encode_body(registration))
}

/// Returns an endpoint with this process's stamp.
pub(crate) fn stamped(endpoint: &str) -> Stamped {
    let endpoint: Endpoint = endpoint.parse().unwrap();
    let stamp = transport::stamp(&endpoint);
    Stamped { endpoint, stamp }
}

/// Returns the address of `/ip4/…/tcp/…` or `/ip6/…/tcp/…`.
pub(crate) fn tcp_address(endpoint: &str) -> (std::net::IpAddr, u16) {
    let parts: Vec<_> = endpoint.split('/').collect();
    (parts[2].parse().unwrap(), parts[4].parse().unwrap())
}

/// Tells whether an error means that the other side has closed.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
