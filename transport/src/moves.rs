//! Sockets of this process that were bound again, because their files had vanished.
//!
//! Who has published the stamp of a socket learns here that another has come in its place:
//!
//! ```text
//!   listener ── binds again ──▶ the moves of this process ── wakes ──▶ whoever published it
//!                                      ◀── takes the new stamps ──────────────┘
//! ```

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use endpoints::{Endpoint, SocketId, Stamped, UnixAddress, UnixPath};
use tokio::sync::watch;

/// Tells when sockets of this process have been bound again. What is published of them is then to
/// be brought up to date by [`follow_moves`].
#[derive(Clone, Debug)]
pub(crate) struct Moves(watch::Receiver<()>);

/// Returns what tells of each move from now on.
pub(crate) fn moves() -> Moves {
    Moves(CHANGED.subscribe())
}

impl Moves {
    /// Waits for the next move.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a move is either told of or still to be told of.
    pub(crate) async fn changed(&mut self) {
        self.0.changed().await.expect("what tells of moves is never dropped");
    }
}

/// Stamps those of the endpoints anew whose sockets this process has bound again since, and tells
/// whether there are any.
pub(crate) fn follow_moves(endpoints: &mut [Stamped]) -> bool {
    let moved = lock();
    let mut has_moved = false;
    for stamped in endpoints.iter_mut().filter(|_| !moved.is_empty()) {
        let Endpoint::Unix(UnixAddress::Path(path)) = &stamped.endpoint else { continue };
        let (Some(moved), Some(socket)) = (moved.get(path), stamped.stamp.socket) else { continue };
        if moved.former.contains(&socket) {
            stamped.stamp.socket = Some(moved.now);
            has_moved = true;
        }
    }
    has_moved
}

/// Returns the socket that is at a path by now, if this process has bound it again since.
pub fn current_socket(path: &UnixPath, socket: SocketId) -> SocketId {
    let moved = lock();
    moved.get(path).filter(|it| it.former.contains(&socket)).map_or(socket, |it| it.now)
}

/// Takes note that the socket at a path is another one.
pub(crate) fn note(path: &UnixPath, from: SocketId, to: SocketId) {
    {
        let mut all = lock();
        let moved =
            all.entry(path.clone()).or_insert_with(|| Moved { former: Vec::new(), now: to });
        if moved.former.len() == FORMER_MAX {
            moved.former.remove(0);
        }
        moved.former.push(from);
        moved.now = to;
    }
    CHANGED.send_replace(());
}

/// Forgets the moves of a listener that ends: `socket` was its last.
pub(crate) fn forget(path: &UnixPath, socket: SocketId) {
    let mut all = lock();
    if all.get(path).is_some_and(|it| it.now == socket) {
        all.remove(path);
    }
}

#[derive(Debug)]
struct Moved {
    former: Vec<SocketId>,
    now: SocketId,
}

fn lock() -> MutexGuard<'static, BTreeMap<UnixPath, Moved>> {
    MOVED.lock().unwrap_or_else(PoisonError::into_inner)
}

static MOVED: Mutex<BTreeMap<UnixPath, Moved>> = Mutex::new(BTreeMap::new());
static CHANGED: LazyLock<watch::Sender<()>> = LazyLock::new(|| watch::Sender::new(()));

/// How many former sockets of a path are remembered: whoever published one has followed it long
/// before it was bound so often again.
const FORMER_MAX: usize = 8;
