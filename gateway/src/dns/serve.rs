//! The sockets: datagrams and connections, each a bounded piece of work.

use std::{
    collections::HashMap,
    io, mem,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use registrar::{caller, registry::Account};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::{JoinSet, yield_now},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};
use transport::Stream;

use super::{
    kept::Kept,
    packet::{Transport, answer},
    zone::Zone,
};

/// Binds the two sockets of an address; port 0 becomes one free port for both.
pub(super) async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let listener = TcpListener::bind(address).await?;
        match UdpSocket::bind(listener.local_addr()?).await {
            Ok(socket) => return Ok((socket, listener)),
            // The port that was free for the one was not for the other.
            Err(error) if address.port() == 0 && tries < PORTS_TRIED_MAX => {
                debug!(%error, "another port is tried");
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Binds those sockets of an address that are missing.
pub(super) async fn bind_missing(
    address: SocketAddr,
    socket: Option<UdpSocket>,
    listener: Option<TcpListener>,
) -> io::Result<(UdpSocket, TcpListener)> {
    match (socket, listener) {
        (None, None) => bind(address).await,
        (Some(socket), Some(listener)) => Ok((socket, listener)),
        (Some(socket), None) => Ok((socket, TcpListener::bind(address).await?)),
        (None, Some(listener)) => Ok((UdpSocket::bind(address).await?, listener)),
    }
}

/// Answers datagrams. An answer that the socket does not take at once is lost, as datagrams are.
pub(super) async fn serve_datagrams(socket: UdpSocket, zone: Arc<Zone>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let (turn, mut kept) = (Turn::default(), Kept::new());
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let question = &buffer[..length];
                let say = || {
                    if let Some(answer) = kept.get(&zone, question, from.ip(), Instant::now()) {
                        return socket.try_send_to(answer, from).map(drop);
                    }
                    let answer = answer(&zone, question, from.ip(), Transport::Udp);
                    let Some(answer) = answer else { return Ok(()) };
                    kept.keep(&answer);
                    socket.try_send_to(&answer, from).map(drop)
                };
                if let Err(error) = turn.take(say).await {
                    debug!(%from, %error, "an answer is lost");
                }
            }
            Err(error) => {
                warn!(%error, "a question is lost");
                sleep(AFTER_ERROR).await;
            }
        }
    }
}

/// Accepts connections, and answers one question at a time at each. Whoever has many gets no more.
pub(super) async fn serve_connections(listener: TcpListener, zone: Arc<Zone>, places: Arc<Places>) {
    let turn = Arc::new(Turn::default());
    let mut connections = JoinSet::new();
    let mut is_failing = false;
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    is_failing = false;
                    // One that has gone already needs no answer.
                    let Some((stream, account)) = with_account(stream) else { continue };
                    let Some(place) = places.take(account) else {
                        debug!(%from, %account, "turned away: too many connections");
                        continue;
                    };
                    let (zone, turn) = (zone.clone(), turn.clone());
                    connections.spawn(async move {
                        if let Err(error) = converse(stream, from, &zone, &turn).await {
                            debug!(%from, %error, "a connection ends");
                        }
                        drop(place);
                    });
                }
                // Mostly no descriptors are left: the connection waits.
                Err(error) => {
                    if !mem::replace(&mut is_failing, true) {
                        warn!(%error, "cannot take a connection; trying again");
                    }
                    sleep(AFTER_ERROR).await;
                }
            }
        }
    }
}

/// Returns on whose account a connection is: the kernel knows the users of this host.
fn with_account(stream: TcpStream) -> Option<(Stream, Account)> {
    let stream = Stream::try_from(stream).ok()?;
    let account = caller(&stream)?.owner.account();
    Some((stream, account))
}

/// Reads questions and writes answers until the peer has no more, or is too slow.
async fn converse(
    mut stream: Stream,
    from: SocketAddr,
    zone: &Zone,
    turn: &Turn,
) -> io::Result<()> {
    loop {
        let question = async {
            let length = stream.read_u16().await?;
            let mut question = vec![0; length.into()];
            stream.read_exact(&mut question).await?;
            Ok::<_, io::Error>(question)
        };
        let question = match timeout(PATIENCE, question).await? {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            question => question?,
        };
        let answer = turn.take(|| answer(zone, &question, from.ip(), Transport::Tcp)).await;
        let Some(answer) = answer else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        timeout(PATIENCE, stream.write_all(&framed)).await??;
    }
}

/// Answers one question at a time, and leaves the processor to the rest of the node in between: for
/// as long as a long one took.
#[derive(Debug, Default)]
struct Turn(tokio::sync::Mutex<Duration>);

impl Turn {
    async fn take<T>(&self, answer: impl FnOnce() -> T) -> T {
        let mut taken = self.0.lock().await;
        // The time on the wall costs next to nothing to read, and is mostly that of the processor.
        let began = Instant::now();
        let answered = answer();
        let ran = began.elapsed();
        *taken += ran;
        if ran >= TURN_MAX {
            sleep(ran).await;
            *taken = Duration::ZERO;
        } else if *taken >= TURN_MAX {
            yield_now().await;
            *taken = Duration::ZERO;
        }
        answered
    }
}

/// The connections on each account.
#[derive(Debug)]
pub(super) struct Places {
    taken: Mutex<HashMap<Account, usize>>,
    /// The most in total; one account has a quarter of them.
    most: usize,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
struct Place(Arc<Places>, Account);

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { taken: Mutex::default(), most }
    }

    fn take(self: &Arc<Self>, from: Account) -> Option<Place> {
        let mut taken = self.taken.lock().expect("nothing panics while it holds the lock");
        if taken.values().sum::<usize>() >= self.most {
            return None;
        }
        let own = taken.entry(from).or_default();
        if *own >= self.most.div_ceil(4) {
            return None;
        }
        *own += 1;
        drop(taken);
        Some(Place(self.clone(), from))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.0.taken.lock().expect("nothing panics while it holds the lock");
        if let Some(own) = taken.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.1);
            }
        }
    }
}

/// The most ports that are tried for port 0.
const PORTS_TRIED_MAX: usize = 16;

/// The longest question that is read whole: a longer one is none.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// The processor time of answers after which others get their turn.
const TURN_MAX: Duration = Duration::from_millis(1);

/// The most connections in total, unless fewer are wanted. A resolver keeps a few.
pub const CONNECTIONS_MAX: usize = 256;

/// The time limit for a question to arrive and for an answer to leave (RFC 7766, section 6.2.3).
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause after an error of a socket, so that a lasting one takes no processor.
const AFTER_ERROR: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_account_takes_all_places() {
        let places = Arc::new(Places::new(100));
        let from = Account::User;
        let mut held: Vec<_> = (0..25).map(|_| places.take(from(1))).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(places.take(from(1)).is_none(), "it has its share");
        for last in 2.. {
            let Some(place) = places.take(from(last)) else { break };
            held.push(Some(place));
            held.extend((1..25).map(|_| places.take(from(last))));
        }
        assert_eq!(held.iter().flatten().count(), 100);
        held.clear();
        assert!(places.taken.lock().unwrap().is_empty(), "nothing is left of them");
    }
}
