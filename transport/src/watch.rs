//! Hears of changes at a socket path as they happen (inotify).

use std::{
    ffi::OsString,
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use endpoints::UnixPath;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::io::unix::AsyncFd;

use crate::linux;

/// Reports changes at a socket path: in its folder, or in the nearest existing one above. Changes
/// further up are not reported.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Option<Arc<Watched>>>);

#[derive(Debug)]
struct Watched {
    inotify: AsyncFd<OwnedFd>,
    /// The folder, by device and inode.
    folder: (u64, u64),
    /// The name in it that leads to the socket.
    name: OsString,
}

impl Watch {
    /// Watches the folder to which the path leads now. Tells whether that is another one than
    /// before, so that something may have happened unseen.
    pub(crate) fn arm(&self, path: &UnixPath) -> io::Result<bool> {
        let mut name = path.as_path();
        let (folder, status) = loop {
            let folder = name.parent().unwrap_or(Path::new("/"));
            match rustix::fs::stat(folder) {
                Ok(status) => break (folder, status),
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR)
                    if folder != Path::new("/") =>
                {
                    name = folder;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let name = name.file_name().unwrap_or_default();
        let identity = (status.st_dev, status.st_ino);
        let mut watched = self.lock();
        if watched.as_ref().is_some_and(|it| it.folder == identity && it.name == name) {
            return Ok(false);
        }
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, folder, flags)?;
        let inotify = linux::await_readable(inotify)?;
        *watched = Some(Arc::new(Watched { inotify, folder: identity, name: name.to_owned() }));
        Ok(true)
    }

    /// Waits for an event at the path; for ever, if nothing is watched.
    pub(crate) async fn stirred(&self) {
        let watched = self.lock().clone();
        match watched {
            Some(watched) if watched.stirred().await.is_ok() => {}
            _ => std::future::pending().await,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Watched>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    async fn stirred(&self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            if self.read()? {
                return Ok(());
            }
            ready.clear_ready();
        }
    }

    /// Reads the events, and tells whether any of them may concern the path.
    fn read(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(self.inotify.get_ref(), &mut buffer);
        let mut concerns = false;
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(concerns),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            // An event without a name happened to the folder itself, or is unknown: the queue was
            // full.
            let own = event.file_name().is_none_or(|it| it.to_bytes() == self.name.as_bytes());
            concerns |= own || event.events().contains(ReadFlags::QUEUE_OVERFLOW);
        }
    }
}
