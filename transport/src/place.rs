//! A listener that maintains its socket path.
//!
//! The file may vanish at any moment: it is removed, its folder is removed, renamed or replaced,
//! something is mounted over it. Then nobody can connect, and nothing reports that. So while the
//! listener waits for connections, it checks from time to time where the path leads:
//!
//! ```text
//! what is at the path? ─┬─ this socket ─────────────────────────────── all is well
//!                       ├─ nothing, or a dead socket, for a while ── lock, bind ─┬─ bound again
//!                       │                                              no folder ─┴─ later
//!                       └─ somebody listens there ──────────────────── it is given up
//!                                              gone for a while ── lock, bind ── bound again
//! ```
//! A path that another has taken is left alone for as long as the other listens there, and for some
//! seconds more: the newcomer was put there on purpose, and may be about to return.
//!
//! Where the path cannot be looked at, because a folder of it is closed to this user, nothing is
//! known and nothing is done; but it is said, and so is its end.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use endpoints::{Endpoint, SocketId, Stamp, UnixAddress, UnixPath, Unreachable};
use thiserror::Error;
use tokio::{
    net::{UnixListener, UnixStream},
    time::{Instant, sleep_until},
};

use crate::{
    access::Access,
    claim::Claim,
    error::BindError,
    here,
    here::socket_stamp,
    holders::Holder,
    listening::{Listening, Silence, listening},
    moves,
    watch::Watch,
};

/// A listener at a socket path.
#[derive(Debug)]
pub(crate) struct Place {
    path: UnixPath,
    access: Mutex<Option<Access>>,
    /// `None` while another has the path.
    seat: Mutex<Option<Arc<Seat>>>,
    /// The socket before another had the path, if this process made it.
    former: Mutex<Option<SocketId>>,
    /// The time of the next look.
    look_at: Mutex<Instant>,
    /// Reports changes in between, if it is armed.
    watch: Watch,
    /// Held while the path is looked at.
    upkeep: tokio::sync::Mutex<Upkeep>,
}

/// A listening socket.
#[derive(Debug)]
struct Seat {
    // The fields are dropped in this order: first it stops listening, then the file is removed.
    listener: UnixListener,
    /// `None` if another process made the file, and will remove it.
    claim: Option<Claim>,
    stamp: Stamp,
}

#[derive(Debug, Default)]
struct Upkeep {
    is_watched: bool,
    /// The finding at the path instead, nothing or another socket, and its time.
    strange: Option<(Option<SocketId>, Instant)>,
    /// Whether it has been reported that the path cannot be bound.
    is_told: bool,
    /// Whether it has been reported that the path cannot be looked at.
    is_hidden: bool,
    /// Since when nobody listens at the path that another has taken.
    left_at: Option<Instant>,
}

impl Upkeep {
    /// Forgets what was strange.
    fn calm(&mut self) {
        let Self { is_watched, is_hidden, .. } = *self;
        *self = Self { is_watched, is_hidden, ..Self::default() };
    }
}

/// Another socket listens at the path of a listener.
#[derive(Debug, Error)]
#[error("another socket has taken its path{}", .holder.as_ref().map(|it| format!(": {it}")).unwrap_or_default())]
struct Displaced {
    holder: Option<Holder>,
}

impl Place {
    pub(crate) fn new(
        path: &UnixPath,
        access: Option<Access>,
        (claim, listener): (Claim, UnixListener),
    ) -> Self {
        Self::of(path, access, Seat::new(claim, listener))
    }

    /// Wraps a listener whose file another process made.
    pub(crate) fn adopt(path: &UnixPath, listener: UnixListener, stamp: Stamp) -> Self {
        Self::of(path, None, Seat { listener, claim: None, stamp })
    }

    fn of(path: &UnixPath, access: Option<Access>, seat: Seat) -> Self {
        Self {
            path: path.clone(),
            access: Mutex::new(access),
            seat: Mutex::new(Some(Arc::new(seat))),
            former: Mutex::new(None),
            look_at: Mutex::new(Instant::now() + LOOK_EVERY),
            watch: Watch::default(),
            upkeep: tokio::sync::Mutex::default(),
        }
    }

    /// Watches for changes from now on.
    pub(crate) fn watch(&mut self) -> io::Result<()> {
        self.watch.arm(&self.path)?;
        self.upkeep.get_mut().is_watched = true;
        *lock(&self.look_at) = Instant::now();
        Ok(())
    }

    /// Returns the stamp of the socket; `None` once another has the path.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.seat().map(|it| it.stamp)
    }

    /// Changes the access, now and for later binds. A file that another process made stays as it
    /// is.
    pub(crate) fn set_access(&self, access: Access) -> Result<(), BindError> {
        let mut now = lock(&self.access);
        if let Some(seat) = self.seat()
            && seat.claim.is_some()
            && let Some(socket) = seat.stamp.socket
        {
            access.change(*now, &self.path, socket)?;
        }
        *now = Some(access);
        Ok(())
    }

    /// Waits for the next connection, and keeps the path meanwhile.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let Some(seat) = self.seat() else {
                self.take_back().await;
                continue;
            };
            let look_at = *lock(&self.look_at);
            tokio::select! {
                // Connections that came by the file before it vanished are accepted first.
                biased;
                accepted = seat.listener.accept() => return accepted.map(|(stream, _)| stream),
                () = sleep_until(look_at) => {}
                () = self.watch.stirred() => {}
            }
            self.keep(&seat).await?;
        }
    }

    /// Checks where the path leads, and binds it again if it leads nowhere.
    async fn keep(&self, seat: &Arc<Seat>) -> io::Result<()> {
        let mut upkeep = self.upkeep.lock().await;
        if !self.seat().is_some_and(|it| Arc::ptr_eq(&it, seat)) {
            return Ok(());
        }
        let looked = here::look(&self.path);
        self.tell_whether_hidden(&looked, &mut upkeep);
        let found = match looked {
            Ok(socket) => Some(socket),
            Err(Unreachable::Missing | Unreachable::NotASocket) => None,
            // As far as is known, all is well.
            Err(_) => seat.stamp.socket,
        };
        let now = Instant::now();
        let next = if found == seat.stamp.socket {
            if upkeep.is_told {
                tracing::warn!(path = self.path.as_str(), "the socket file is there again");
            }
            upkeep.calm();
            LOOK_EVERY
        } else {
            let since = match upkeep.strange {
                Some((before, since)) if before == found => since,
                _ => now,
            };
            upkeep.strange = Some((found, since));
            match (since + PATIENCE).checked_duration_since(now) {
                Some(rest) if !rest.is_zero() => rest,
                _ => self.bind_again(seat, found.is_some(), &mut upkeep).await?,
            }
        };
        // In another folder something may have happened before it was watched.
        let is_new = upkeep.is_watched && self.watch.arm(&self.path).unwrap_or(false);
        *lock(&self.look_at) = Instant::now() + if is_new { Duration::ZERO } else { next };
        Ok(())
    }

    /// Reports once that the path cannot be looked at, and once that it can be again.
    fn tell_whether_hidden(&self, looked: &Result<SocketId, Unreachable>, upkeep: &mut Upkeep) {
        let path = self.path.as_str();
        let why = match looked {
            Ok(_) | Err(Unreachable::Missing | Unreachable::NotASocket) => None,
            Err(why) => Some(why),
        };
        match (why, upkeep.is_hidden) {
            (Some(Unreachable::NoPermission), false) => {
                let closed = closed_folder(&self.path);
                let folder = closed.as_deref().unwrap_or_else(|| self.path.parts().0);
                tracing::warn!(
                    path,
                    folder = %folder.display(),
                    "a folder of its path is closed to this user, so it cannot see whether the \
                     socket file is there, nor make it again: give this user access (`chmod u+x`, \
                     or `chown`)"
                );
            }
            (Some(error), false) => {
                tracing::warn!(
                    path,
                    %error,
                    "it cannot see whether the socket file is there, nor make it again"
                );
            }
            (None, true) => tracing::warn!(path, "the path can be looked at again"),
            (Some(_), true) | (None, false) => {}
        }
        upkeep.is_hidden = why.is_some();
    }

    /// Binds the path again, and returns the time of the next look. `is_taken` tells that another's
    /// socket is there, though it may be dead.
    async fn bind_again(
        &self,
        seat: &Seat,
        is_taken: bool,
        upkeep: &mut Upkeep,
    ) -> io::Result<Duration> {
        let path = self.path.as_str();
        let access = *lock(&self.access);
        let bound = match &seat.claim {
            Some(claim) => claim.bind_again(&self.path, access).await,
            None if is_taken => Err(Claim::holder(&self.path).await),
            None => Err(BindError::NotOurs),
        };
        match bound {
            Ok((claim, listener)) => {
                let bound = Seat::new(claim, listener);
                let (from, to) = (seat.stamp.socket, bound.stamp.socket);
                *lock(&self.seat) = Some(Arc::new(bound));
                // It may have changed meanwhile.
                let now = *lock(&self.access);
                if let Some(now) = now.filter(|it| Some(*it) != access)
                    && let Err(error) = self.set_access(now)
                {
                    tracing::warn!(
                        path,
                        error = with_cause(&error),
                        "it is bound as it was before"
                    );
                }
                if let (Some(from), Some(to)) = (from, to) {
                    moves::note(&self.path, from, to);
                }
                tracing::warn!(path, "the socket file had vanished; it is bound again");
                upkeep.calm();
                Ok(LOOK_EVERY)
            }
            Err(BindError::InUse { holder }) if is_taken => {
                *lock(&self.seat) = None;
                *lock(&self.former) = seat.stamp.socket.filter(|_| seat.claim.is_some());
                *lock(&self.look_at) = Instant::now() + LOOK_EVERY;
                Err(io::Error::new(io::ErrorKind::AddrInUse, Displaced { holder }))
            }
            // Another process holds the lock, and is about to bind the path, or to release it.
            Err(BindError::InUse { .. } | BindError::Hidden { .. }) => Ok(PATIENCE),
            Err(error) => {
                if !upkeep.is_told {
                    let error = with_cause(&error);
                    tracing::warn!(path, error, "the socket file has vanished: nobody can connect");
                    upkeep.is_told = true;
                }
                Ok(LOOK_EVERY)
            }
        }
    }

    /// Looks at the path that another has taken, and binds it again once that one is gone for good.
    async fn take_back(&self) {
        let Some(former) = *lock(&self.former) else { return std::future::pending().await };
        let look_at = *lock(&self.look_at);
        sleep_until(look_at).await;
        let mut upkeep = self.upkeep.lock().await;
        if self.seat().is_some() {
            return;
        }
        let endpoint = Endpoint::Unix(UnixAddress::Path(self.path.clone()));
        let is_left = matches!(
            listening(&endpoint),
            Listening::Nobody(Silence::Missing | Silence::NotListening)
        );
        let now = Instant::now();
        let left_at = *upkeep.left_at.get_or_insert(now);
        if !is_left {
            upkeep.left_at = None;
        } else if now.saturating_duration_since(left_at) >= RETURN_AFTER {
            let access = *lock(&self.access);
            match Claim::bind(&self.path, access).await {
                Ok((claim, listener)) => self.take_seat(Seat::new(claim, listener), former),
                // Somebody else is faster, or another user's dead socket is in the way.
                Err(error) => tracing::debug!(
                    path = self.path.as_str(),
                    error = with_cause(&error),
                    "the path cannot be taken back"
                ),
            }
            upkeep.calm();
        }
        *lock(&self.look_at) = Instant::now() + LOOK_EVERY;
    }

    fn take_seat(&self, seat: Seat, former: SocketId) {
        let socket = seat.stamp.socket;
        *lock(&self.former) = None;
        *lock(&self.seat) = Some(Arc::new(seat));
        if let Some(socket) = socket {
            moves::note(&self.path, former, socket);
        }
        let path = self.path.as_str();
        tracing::warn!(path, "whoever had taken the path is gone; it is bound again");
    }

    /// Stops listening, and tells whether the file could be removed.
    pub(crate) fn close(self) -> io::Result<()> {
        let seat = lock(&self.seat).take().and_then(Arc::into_inner);
        let Some(Seat { listener, claim: Some(mut claim), .. }) = seat else { return Ok(()) };
        drop(listener);
        if let Some(socket) = claim.socket() {
            moves::forget(&self.path, socket);
        }
        claim.release()
    }

    fn seat(&self) -> Option<Arc<Seat>> {
        lock(&self.seat).clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let former = *lock(&self.former);
        if let Some(socket) = self.stamp().and_then(|it| it.socket).or(former) {
            moves::forget(&self.path, socket);
        }
    }
}

impl Seat {
    fn new(claim: Claim, listener: UnixListener) -> Self {
        let stamp = Stamp { socket: claim.socket(), root: here::root(), ..socket_stamp(&listener) };
        Self { listener, claim: Some(claim), stamp }
    }
}

/// Returns the uppermost folder of a path that this user may not enter.
fn closed_folder(path: &UnixPath) -> Option<PathBuf> {
    let mut folders: Vec<_> = path.as_path().ancestors().collect();
    folders.reverse();
    let is_denied = |it: &Path| {
        fs::symlink_metadata(it).is_err_and(|it| it.kind() == io::ErrorKind::PermissionDenied)
    };
    folders.into_iter().find(|it| is_denied(it))?.parent().map(Path::to_owned)
}

fn with_cause(error: &BindError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The interval between looks at the path if nothing reports a change: that of heartbeats. A look
/// is one system call.
const LOOK_EVERY: Duration = Duration::from_millis(900);

/// The time for which the path must be empty, or have another's socket, before the listener acts. A
/// user who removes a folder removes its contents first, and would find a new socket in the way; a
/// program that has bound a socket may be about to listen, and does not count as dead.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long a path that another had taken is left alone once nobody listens there: most programs
/// restart faster.
const RETURN_AFTER: Duration = Duration::from_secs(3);
