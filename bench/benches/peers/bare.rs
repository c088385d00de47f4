//! A server that does nothing but receive and send: a loop over epoll that answers every frame at once
//! with a frame as long as a registrar's answer.

use std::{
    collections::HashMap,
    io::{Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::peer::VALUE_BYTES;

/// The first argument of a process that serves; its socket follows.
pub(crate) const SERVE: &str = "serve-bare";

/// Serves until the process is killed.
pub(crate) fn serve(socket: &Path) -> ! {
    let listener = UnixListener::bind(socket).unwrap();
    let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let add = |source: &dyn AsFd, key: i32| {
        epoll::add(&epoll, source.as_fd(), EventData::new_u64(key as u64), EventFlags::IN).unwrap();
    };
    add(&listener, listener.as_raw_fd());
    let mut connections = HashMap::new();
    let mut events = Vec::with_capacity(256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None).unwrap();
        for event in &events {
            let key = event.data.u64() as i32;
            if key == listener.as_raw_fd() {
                let (stream, _) = listener.accept().unwrap();
                add(&stream, stream.as_raw_fd());
                connections.insert(stream.as_raw_fd(), Connection { stream, left: 0 });
            } else if !connections.get_mut(&key).unwrap().answer(&mut buffer) {
                connections.remove(&key);
            }
        }
    }
}

struct Connection {
    stream: UnixStream,
    /// How much of the frame that has begun is yet to come.
    left: usize,
}

impl Connection {
    /// Answers the frames that have come, and tells whether more may come.
    fn answer(&mut self, buffer: &mut [u8]) -> bool {
        let read = self.stream.read(buffer).unwrap_or(0);
        let (mut at, mut frames) = (0, 0);
        while at < read {
            if self.left == 0 {
                // Requests are written whole, and a buffer holds many times what is under way.
                let head = buffer[at..read].first_chunk().unwrap();
                (self.left, frames) = (4 + u32::from_le_bytes(*head) as usize, frames + 1);
            }
            let step = self.left.min(read - at);
            (self.left, at) = (self.left - step, at + step);
        }
        let frame = [&(VALUE_BYTES as u32).to_le_bytes()[..], &[0; VALUE_BYTES]].concat();
        read > 0 && self.stream.write_all(&frame.repeat(frames)).is_ok()
    }
}
