//! Another program at the very endpoint with which an actor is registered.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
};

use endpoints::{Endpoint, Host, UnixAddress};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::roles::{SECRET, say};

/// An impostor's input at one endpoint.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Heard {
    pub(crate) connections: usize,
    /// Whether any of it was meant for the actor.
    pub(crate) secret: bool,
}

/// An impostor's input, at each endpoint that it could bind.
pub(crate) type Ears = BTreeMap<String, Heard>;

/// Binds the endpoints that can be bound, reports them, echoes to all callers, and at the end of
/// standard input reports its input.
pub(crate) fn pose(endpoints: &[String]) {
    let mut listeners = Vec::new();
    for endpoint in endpoints {
        // An endpoint that cannot be bound is the actor's own here, or another's address.
        if let Ok(listener) = Ear::bind(endpoint) {
            listeners.push((endpoint.clone(), listener));
        }
    }
    let mut heard: Ears =
        listeners.iter().map(|(endpoint, _)| (endpoint.clone(), Heard::default())).collect();
    say(&heard);

    let stdin = std::io::stdin();
    let mut conversations: Vec<(&String, Box<dyn Conversation>, Vec<u8>)> = Vec::new();
    let mut is_told_to_end = false;
    loop {
        let mut polled: Vec<_> = listeners.iter().map(|(_, it)| it.as_fd()).collect();
        polled.extend(conversations.iter().map(|(_, it, _)| it.as_fd()));
        polled.push(stdin.as_fd());
        // Connections from before the end are read to their end: everything is already there.
        let ready = ready(&polled, is_told_to_end);
        let (of_listeners, rest) = ready.split_at(listeners.len());
        let (of_conversations, of_stdin) = rest.split_at(conversations.len());
        if is_told_to_end && !of_listeners.iter().chain(of_conversations).any(|it| *it) {
            break;
        }
        is_told_to_end |= of_stdin[0];

        for at in (0..of_conversations.len()).rev().filter(|at| of_conversations[*at]) {
            let (endpoint, stream, bytes) = &mut conversations[at];
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap_or(0);
            bytes.extend_from_slice(&buffer[..count]);
            let has_secret = bytes.windows(SECRET.len()).any(|it| it == SECRET.as_bytes());
            heard.get_mut(*endpoint).unwrap().secret |= has_secret;
            if count == 0 || stream.write_all(&buffer[..count]).is_err() {
                drop(conversations.swap_remove(at));
            }
        }
        for ((endpoint, listener), _) in listeners.iter().zip(of_listeners).filter(|it| *it.1) {
            heard.get_mut(endpoint).unwrap().connections += 1;
            conversations.push((endpoint, listener.accept().unwrap(), Vec::new()));
        }
    }
    say(&heard);
}

/// Waits until something can be read, or only looks, and returns where.
fn ready(polled: &[BorrowedFd<'_>], only_look: bool) -> Vec<bool> {
    let mut polled: Vec<_> =
        polled.iter().map(|it| PollFd::from_borrowed_fd(*it, PollFlags::IN)).collect();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, only_look.then_some(&at_once)).unwrap();
    polled.iter().map(|it| !it.revents().is_empty()).collect()
}

enum Ear {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Ear {
    fn bind(endpoint: &str) -> io::Result<Self> {
        match endpoint.parse().unwrap() {
            Endpoint::Unix(UnixAddress::Path(path)) => {
                UnixListener::bind(path.as_path()).map(Self::Unix)
            }
            Endpoint::Unix(UnixAddress::Abstract(name)) => {
                let address = SocketAddr::from_abstract_name(name.as_bytes())?;
                UnixListener::bind_addr(&address).map(Self::Unix)
            }
            Endpoint::Tcp(tcp) => {
                let host = match &tcp.host {
                    Host::Ip6Zone { zone, ip } => format!("{ip}%{zone}"),
                    host => host.ip().expect("an actor publishes addresses").to_string(),
                };
                TcpListener::bind((host, tcp.port)).map(Self::Tcp)
            }
            other => panic!("nobody listens at {other} here"),
        }
    }

    fn accept(&self) -> io::Result<Box<dyn Conversation>> {
        Ok(match self {
            Self::Unix(it) => Box::new(it.accept()?.0),
            Self::Tcp(it) => Box::new(it.accept()?.0),
        })
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(it) => it.as_fd(),
            Self::Tcp(it) => it.as_fd(),
        }
    }
}

trait Conversation: Read + Write + AsFd {}
impl Conversation for UnixStream {}
impl Conversation for TcpStream {}
