//! The table of places within this process: `/memory/7`.

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::mpsc;

use crate::{error::DialError, stream::Stream};

/// A place at which this process listens. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct MemoryListener {
    number: u64,
    queue: tokio::sync::Mutex<mpsc::Receiver<Stream>>,
}

impl MemoryListener {
    /// Takes the place of that number, or any free one for 0. Returns `None` if it is in use.
    pub(crate) fn bind(number: u64) -> Option<Self> {
        let mut places = lock();
        let number = match number {
            0 => places.free_number(),
            number => number,
        };
        if places.taken.contains_key(&number) {
            return None;
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        places.taken.insert(number, sender);
        Some(Self { number, queue: receiver.into() })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        let next = self.queue.lock().await.recv().await;
        // The table keeps a sender for as long as this listener lives.
        next.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        lock().taken.remove(&self.number);
    }
}

/// Connects to a place; waits while its queue is full.
pub(crate) async fn connect(number: u64) -> Result<Stream, DialError> {
    let queue = lock().taken.get(&number).cloned().ok_or(DialError::Refused)?;
    let (ours, theirs) = Stream::pair();
    queue.send(theirs).await.map_err(|_| DialError::Refused)?;
    Ok(ours)
}

struct Places {
    taken: BTreeMap<u64, mpsc::Sender<Stream>>,
    next_free: u64,
}

impl Places {
    fn free_number(&mut self) -> u64 {
        loop {
            let number = self.next_free;
            self.next_free += 1;
            if !self.taken.contains_key(&number) {
                return number;
            }
        }
    }
}

fn lock() -> MutexGuard<'static, Places> {
    PLACES.lock().expect("nobody panics while holding the table of places")
}

static PLACES: Mutex<Places> = Mutex::new(Places { taken: BTreeMap::new(), next_free: FIRST_FREE });

/// The first number assigned for `/memory/0`. Those below are left to people, who write
/// small ones.
const FIRST_FREE: u64 = 1_000_000;

/// The backlog of one place. Both ends run in one process, so a longer queue would only hide a
/// listener that does not accept.
const BACKLOG: usize = 128;
