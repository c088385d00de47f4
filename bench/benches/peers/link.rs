//! One connection of the generator: it sends what it is told, and counts the answers.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use bytes::{Buf, BytesMut};
use callsign_bench::server::ServerProcess;
use wire::{Frame, FrameReader, preface};

use crate::peer::Kind;

/// A connection. Its calls block.
pub(crate) struct Link {
    /// The socket.
    stream: File,
    counter: Counter,
    buffer: Box<[u8]>,
    /// Answers that came, and were not waited for yet.
    ahead: usize,
}

/// What tells where an answer ends.
enum Counter {
    Frames(FrameReader),
    Lines,
    /// The beginnings of HTTP answers, and how much of the next has come. What follows a beginning
    /// is read with the next ones.
    Heads(usize),
    /// Any bytes at all.
    Anything,
}

impl Link {
    pub(crate) fn open(kind: Kind, server: &ServerProcess) -> Self {
        let stream = match server.port {
            None => File::from(OwnedFd::from(UnixStream::connect(&server.socket).unwrap())),
            Some(port) => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                stream.set_nodelay(true).unwrap();
                File::from(OwnedFd::from(stream))
            }
        };
        let buffer = vec![0; 64 * 1024].into_boxed_slice();
        let counter = match kind {
            Kind::Callsign | Kind::Bare => Counter::Frames(FrameReader::default()),
            Kind::Redis | Kind::Memcached => Counter::Lines,
            Kind::Etcd => Counter::Heads(0),
            Kind::Epmd => Counter::Anything,
        };
        if kind != Kind::Callsign {
            return Self { stream, counter, buffer, ahead: 0 };
        }
        let mut link = Self { stream, counter, buffer, ahead: 0 };
        let mut greeting = BytesMut::from(&preface::preface()[..]);
        Frame::Hello(Box::default()).encode(&mut greeting).unwrap();
        link.send(&greeting);
        let mut theirs = [0; preface::PREFACE_BYTES];
        link.stream.read_exact(&mut theirs).unwrap();
        link.wait(1);
        link
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Waits for so many answers: frames, or lines.
    pub(crate) fn wait(&mut self, answers: usize) {
        while self.ahead < answers {
            let read = self.stream.read(&mut self.buffer).unwrap();
            assert_ne!(read, 0, "the server has closed the connection");
            self.ahead += self.counter.count(&self.buffer[..read]);
        }
        self.ahead -= answers;
    }

    pub(crate) fn ask(&mut self, bytes: &[u8], answers: usize) {
        self.send(bytes);
        self.wait(answers);
    }

    /// Reads what is there, and answers pings.
    pub(crate) fn answer_pings(&mut self) {
        let read = self.stream.read(&mut self.buffer).unwrap();
        let Counter::Frames(reader) = &mut self.counter else { return };
        reader.extend_from_slice(&self.buffer[..read]);
        let mut pongs = BytesMut::new();
        while let Some(frame) = reader.next().unwrap() {
            if let Frame::Ping { nonce } = Frame::decode(&frame).unwrap() {
                Frame::Pong { nonce }.encode(&mut pongs).unwrap();
            }
        }
        self.send(&pongs);
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Counter {
    fn count(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Frames(reader) => {
                reader.extend_from_slice(bytes);
                let mut count = 0;
                while let Some(length) = reader.peek_frame().unwrap().map(<[u8]>::len) {
                    reader.skip_frame(length);
                    count += 1;
                }
                count
            }
            Self::Lines => bytes.iter().filter(|it| **it == b'\n').count(),
            Self::Heads(come) => {
                let mut count = 0;
                for byte in bytes {
                    *come = match *come {
                        it if HEAD[it] == *byte => it + 1,
                        _ => usize::from(HEAD[0] == *byte),
                    };
                    if *come == HEAD.len() {
                        (*come, count) = (0, count + 1);
                    }
                }
                count
            }
            Self::Anything => 1,
        }
    }
}

/// How an HTTP answer begins that is what was asked for.
const HEAD: &[u8] = b"HTTP/1.1 200";

/// Splits encoded frames into requests of so many each.
pub(crate) fn frames(mut bytes: BytesMut, depth: usize) -> Vec<BytesMut> {
    let mut requests = Vec::new();
    while bytes.has_remaining() {
        let mut length = 0;
        for _ in 0..depth {
            let Some(head) = bytes[length..].first_chunk() else { break };
            length += 4 + u32::from_le_bytes(*head) as usize;
        }
        requests.push(bytes.split_to(length));
    }
    requests
}
