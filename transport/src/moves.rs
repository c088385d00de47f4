//! Sockets of this process that were bound again, because their files had vanished.
//!
//! Publishers of a socket's stamp learn here that another socket has taken its place:
//!
//! ```text
//!   listener ── binds again ──▶ the moves of this process ── wakes ──▶ its publishers
//!                                      ◀── takes the new stamps ──────────────┘
//! ```

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use endpoints::{Endpoint, SocketId, Stamped, UnixAddress, UnixPath};
use tokio::sync::watch;

/// Notifies when sockets of this process have been bound again. [`follow_moves`] then updates the
/// published endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Moves(watch::Receiver<()>);

/// Returns a receiver of all moves from now on.
pub(crate) fn moves() -> Moves {
    Moves(CHANGED.subscribe())
}

impl Moves {
    /// Waits for the next move.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a move is either reported or still to be reported.
    pub(crate) async fn changed(&mut self) {
        self.0.changed().await.expect("what tells of moves is never dropped");
    }
}

/// Renews the stamps of endpoints whose sockets this process has bound again since, and tells
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

/// Returns the present socket of a path, if this process has bound it again since.
pub fn current_socket(path: &UnixPath, socket: SocketId) -> SocketId {
    let moved = lock();
    moved.get(path).filter(|it| it.former.contains(&socket)).map_or(socket, |it| it.now)
}

/// Records that the socket at a path is another one.
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

/// The former sockets of a path to remember: every publisher has followed one long before the path
/// was bound so often again.
const FORMER_MAX: usize = 8;
