//! Output lines on a separate thread: nobody waits for their reader.
//!
//! ```text
//!   log ─────┐                                 thread
//!   notes ───┼─▶ queue, bounded ─▶ write(2), which may take for ever
//!   panics ──┘   (beyond it: counted, and told later)
//! ```
//!
//! Why not the non-blocking writer of `tracing-appender`? It counts the lines it loses, but never
//! reports that in place; it loses a line that the system refuses (`EAGAIN`, a full disk) without
//! counting; and its wait at the end is fixed.

use std::{
    collections::VecDeque,
    io, mem,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// A descriptor with a writing thread. Clones write to the same one.
#[derive(Clone)]
pub(crate) struct Outlet(Arc<Shared>);

/// The destination of an outlet.
#[derive(Debug)]
pub(crate) enum Target {
    Stdout,
    Stderr,
    #[cfg(test)]
    File(std::fs::File),
}

/// Describes a number of lost lines; `None` if that is not reported there.
pub(crate) type Gap = fn(u64) -> Option<String>;

struct Shared {
    target: Target,
    gap: Gap,
    queue: Mutex<Queue>,
    /// Notified when there is something to write.
    filled: Condvar,
    /// Notified when something has been written, or given up.
    moved: Condvar,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// It was full, and accepts nothing before half of it is gone: a gap is reported once, not a
    /// hundred times.
    is_full: bool,
    has_thread: bool,
    /// Writes what fits while no thread can be started.
    pen: Pen,
    /// Entries wait until somebody else is done with the terminal.
    is_held: bool,
    /// Whether the thread has an entry in hand.
    is_writing: bool,
    /// The number of finished entries.
    moved: u64,
    /// The number of entries when waiting was given up.
    given_up_at: Option<u64>,
}

enum Entry {
    Line(Vec<u8>),
    /// The number of lines left out here.
    Gap(u64),
}

impl Outlet {
    pub(crate) fn new(target: Target, gap: Gap) -> Self {
        let queue = Mutex::default();
        Self(Arc::new(Shared { target, gap, queue, filled: Condvar::new(), moved: Condvar::new() }))
    }

    /// Accepts a text that ends in a newline. It never waits: lines without room are left out.
    pub(crate) fn put(&self, line: impl Into<Vec<u8>>) {
        let line = line.into();
        let mut queue = self.0.queue();
        queue.push(line);
        if !queue.has_thread {
            let shared = self.0.clone();
            let started = thread::Builder::new().name("outlet".to_owned()).spawn(move || {
                shared.run();
            });
            queue.has_thread = started.is_ok();
            if !queue.has_thread {
                self.0.write_what_fits(&mut queue);
            }
        }
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Keeps what comes, until it is [let go](Self::let_go).
    pub(crate) fn hold(&self) {
        self.0.queue().is_held = true;
    }

    /// Writes what was kept, and what comes from now on.
    pub(crate) fn let_go(&self) {
        let mut queue = self.0.queue();
        queue.is_held = false;
        if !queue.has_thread {
            self.0.write_what_fits(&mut queue);
        }
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Waits until all is written, for as long as some of it still goes out; tells whether it is. A
    /// reader that takes nothing is waited for once.
    pub(crate) fn flush(&self) -> bool {
        let mut queue = self.0.queue();
        if queue.is_held {
            return false;
        }
        if !queue.has_thread {
            let entries = mem::take(&mut queue.entries);
            let mut pen = mem::take(&mut queue.pen);
            drop(queue);
            return entries.into_iter().all(|it| pen.write(&self.0, it, Some(STALLED)));
        }
        let deadline = now() + FLUSH_MAX;
        while !queue.entries.is_empty() || queue.is_writing {
            let before = queue.moved;
            if queue.given_up_at == Some(before) {
                return false;
            }
            let waited = self.0.moved.wait_timeout_while(queue, STALLED, |it| it.moved == before);
            let (guard, waited) = waited.expect(UNPOISONED);
            queue = guard;
            // On a busy machine the thread may be slow, rather than the reader.
            let is_stalled = || !self.0.target.with(|fd| is_writable(fd));
            if now() > deadline || (waited.timed_out() && is_stalled()) {
                queue.given_up_at = Some(queue.moved);
                return false;
            }
        }
        true
    }
}

impl Queue {
    fn push(&mut self, line: Vec<u8>) {
        let is_half_empty =
            self.bytes <= QUEUE_BYTES_MAX / 2 && self.entries.len() <= QUEUE_LINES_MAX / 2;
        self.is_full &= !is_half_empty;
        let has_room = self.entries.len() < QUEUE_LINES_MAX
            && self.bytes.saturating_add(line.len()) <= QUEUE_BYTES_MAX;
        if !self.is_full && has_room {
            self.bytes += line.len();
            self.entries.push_back(Entry::Line(line));
            return;
        }
        self.is_full = true;
        match self.entries.back_mut() {
            Some(Entry::Gap(count)) => *count += 1,
            _ => self.entries.push_back(Entry::Gap(1)),
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front();
        if let Some(Entry::Line(line)) = &entry {
            self.bytes -= line.len();
        }
        entry
    }
}

impl Shared {
    /// Writes entries without a thread, for as long as there is room: this process may have no more
    /// threads. The rest waits for the next line, or for the end.
    fn write_what_fits(&self, queue: &mut Queue) {
        while !queue.is_held
            && self.target.with(|fd| is_writable(fd))
            && let Some(entry) = queue.pop()
        {
            queue.pen.write(self, entry, Some(Duration::ZERO));
        }
    }

    /// Writes entries for as long as the process lives.
    fn run(&self) {
        let mut pen = mem::take(&mut self.queue().pen);
        loop {
            let entry = self.next(pen.lost > 0);
            let is_retry = entry.is_none();
            pen.write(self, entry.unwrap_or(Entry::Gap(0)), None);
            let mut queue = self.queue();
            queue.is_writing = false;
            queue.moved += u64::from(!is_retry);
            drop(queue);
            self.moved.notify_all();
        }
    }

    /// Waits for the next entry; if lines were lost, only for a while.
    fn next(&self, has_lost: bool) -> Option<Entry> {
        let mut queue = self.queue();
        while queue.entries.is_empty() || queue.is_held {
            if !has_lost || queue.is_held {
                queue = self.filled.wait(queue).expect(UNPOISONED);
                continue;
            }
            let (guard, waited) = self.filled.wait_timeout(queue, RETRY_PAUSE).expect(UNPOISONED);
            queue = guard;
            if waited.timed_out() {
                return None;
            }
        }
        let entry = queue.pop();
        queue.is_writing = true;
        entry
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect(UNPOISONED)
    }
}

/// The state of the writing thread.
#[derive(Default)]
struct Pen {
    /// The lines lost since the last one written.
    lost: u64,
    /// The last line broke off in the middle.
    is_within_a_line: bool,
}

impl Pen {
    /// Writes an entry, after a note about earlier losses; tells whether it is written.
    fn write(&mut self, shared: &Shared, entry: Entry, limit: Option<Duration>) -> bool {
        let line = match entry {
            Entry::Line(line) => Some(line),
            Entry::Gap(count) => {
                self.lost += count;
                None
            }
        };
        let gap = if self.lost > 0 { (shared.gap)(self.lost) } else { None };
        if let Some(gap) = gap
            && self.write_line(shared, gap.as_bytes(), limit).is_err()
        {
            self.lost += u64::from(line.is_some());
            return false;
        }
        self.lost = 0;
        let written = line.is_none_or(|it| self.write_line(shared, &it, limit).is_ok());
        self.lost += u64::from(!written);
        written
    }

    fn write_line(
        &mut self,
        shared: &Shared,
        line: &[u8],
        limit: Option<Duration>,
    ) -> Result<(), Errno> {
        shared.target.with(|fd| {
            if self.is_within_a_line {
                write_all(fd, b"\n", limit).map_err(|(_, error)| error)?;
                self.is_within_a_line = false;
            }
            write_all(fd, line, limit).map_err(|(count, error)| {
                self.is_within_a_line = count > 0;
                error
            })
        })
    }
}

impl Target {
    fn with<T>(&self, write: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        match self {
            Self::Stdout => write(io::stdout().as_fd()),
            Self::Stderr => write(io::stderr().as_fd()),
            #[cfg(test)]
            Self::File(file) => write(file.as_fd()),
        }
    }
}

/// Tells whether a few bytes can be written without waiting.
pub(crate) fn is_writable(fd: impl AsFd) -> bool {
    may_write(fd.as_fd(), Some(Duration::ZERO))
}

/// Writes all; with a limit, waits for room no longer than that. Fails with how much was written.
fn write_all(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    limit: Option<Duration>,
) -> Result<(), (usize, Errno)> {
    let mut written = 0;
    while written < bytes.len() {
        if limit.is_some() && !may_write(fd, limit) {
            return Err((written, Errno::AGAIN));
        }
        // A pipe that has some room may not have enough.
        let piece = limit.map_or(usize::MAX, |_| PIPE_BUF);
        let end = bytes.len().min(written.saturating_add(piece));
        match rustix::io::write(fd, &bytes[written..end]) {
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            // Another process has made the descriptor non-blocking for all that share it.
            Err(Errno::AGAIN) => {
                may_write(fd, limit);
                thread::sleep(AGAIN_PAUSE);
            }
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// Waits until there is room, for ever if there is no limit.
fn may_write(fd: BorrowedFd<'_>, limit: Option<Duration>) -> bool {
    let limit = limit.map(|it| Timespec {
        tv_sec: it.as_secs().cast_signed(),
        tv_nsec: it.subsec_nanos().into(),
    });
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    matches!(poll(&mut polled, limit.as_ref()), Ok(1..))
}

const UNPOISONED: &str = "nothing panics while it holds the lock";

/// The backlog of a reader that is busy for a moment: seconds of a busy node at `-vv`.
const QUEUE_LINES_MAX: usize = 8192;
const QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// The interval between attempts to write again. Each costs a system call.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What a pipe takes at once that has any room.
const PIPE_BUF: usize = 4096;

/// The pause for a descriptor that claims to have room, and accepts nothing.
const AGAIN_PAUSE: Duration = Duration::from_millis(5);

/// The time without any progress after which nobody waits any more.
const STALLED: Duration = Duration::from_millis(500);

/// The wait for a slow reader at the end.
const FLUSH_MAX: Duration = Duration::from_secs(5);

#[expect(clippy::disallowed_methods, reason = "a wait that others make longer has to end")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, pipe},
        os::fd::{AsRawFd, OwnedFd},
    };

    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    use super::*;

    fn outlet(target: File) -> Outlet {
        Outlet::new(Target::File(target), |count| Some(format!("{count} lost\n")))
    }

    /// Waits until the thread has nothing left to write.
    fn idle(outlet: &Outlet) {
        let queue = outlet.0.queue();
        let is_busy = |it: &mut Queue| !it.entries.is_empty() || it.is_writing;
        drop(outlet.0.moved.wait_while(queue, is_busy).unwrap());
    }

    #[test]
    fn a_reader_that_comes_late_is_told_of_the_gap_in_its_place() {
        let (mut reader, writer) = pipe().unwrap();
        let outlet = outlet(OwnedFd::from(writer).into());
        let count = QUEUE_LINES_MAX * 3;
        let line = |at: usize| format!("{at:080}\n");
        for at in 0..count {
            outlet.put(line(at));
        }
        assert!(!outlet.flush(), "nobody reads");

        let mut read = Vec::new();
        let mut next = || {
            let mut byte = [0];
            read.clear();
            while byte != *b"\n" {
                reader.read_exact(&mut byte).unwrap();
                read.push(byte[0]);
            }
            String::from_utf8(read.clone()).unwrap()
        };
        let mut at = 0;
        let gap = loop {
            let text = next();
            if text != line(at) {
                break text;
            }
            at += 1;
        };
        assert_eq!(gap, format!("{} lost\n", count - at));
        idle(&outlet);
        outlet.put("and on\n");
        assert_eq!(next(), "and on\n");
    }

    #[test]
    fn what_is_held_is_written_later() {
        let (mut reader, writer) = pipe().unwrap();
        let outlet = outlet(OwnedFd::from(writer).into());
        outlet.hold();
        outlet.put("one\n");
        assert!(!outlet.flush());
        assert_eq!(outlet.0.queue().entries.len(), 1);
        outlet.let_go();
        assert!(outlet.flush());
        let mut read = [0; 4];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"one\n");
    }

    #[test]
    fn what_fits_is_written_at_once_where_no_thread_can_be_started() {
        let (mut reader, writer) = pipe().unwrap();
        let outlet = outlet(OwnedFd::from(writer).into());
        let put = |line: String| {
            let mut queue = outlet.0.queue();
            queue.push(line.into());
            outlet.0.write_what_fits(&mut queue);
            queue.entries.len()
        };
        assert_eq!(put("one\n".to_owned()), 0);
        let mut read = [0; 4];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"one\n");
        // Nobody reads: it waits in the queue, and not for the reader.
        let line = "x".repeat(3 * PIPE_BUF) + "\n";
        let mut count = 0;
        while put(line.clone()) == 0 {
            count += 1;
        }
        assert!(count > 0);
        drop(reader);
        assert!(!outlet.flush());
    }

    #[test]
    fn a_thread_that_is_slow_to_run_is_waited_for() {
        let (mut reader, writer) = pipe().unwrap();
        let outlet = outlet(OwnedFd::from(writer).into());
        outlet.0.queue().has_thread = true;
        outlet.put("one\n");
        let shared = outlet.0.clone();
        thread::spawn(move || {
            thread::sleep(STALLED + STALLED / 2);
            shared.run();
        });
        assert!(outlet.flush());
        let mut read = [0; 4];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"one\n");
    }

    #[test]
    fn refused_output_is_counted() {
        // Every write fails, each in a different way.
        for path in ["/dev/full", "/dev/null"] {
            let file = match path {
                "/dev/full" => File::options().write(true).open(path).unwrap(),
                _ => File::open(path).unwrap(),
            };
            let outlet = outlet(file);
            outlet.put("one\n");
            outlet.put("two\n");
            idle(&outlet);
            assert!(outlet.flush(), "it waits for nobody: {path}");
        }
    }

    #[test]
    fn a_full_disk_that_has_room_again_is_told_what_was_lost() {
        let (reader, writer) = pipe().unwrap();
        let writer = File::from(OwnedFd::from(writer));
        // The reader has gone, and returns, as is possible with a named pipe.
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let outlet = outlet(writer.try_clone().unwrap());
        drop(reader);
        outlet.put("one\n");
        outlet.put("two\n");
        idle(&outlet);
        let mut reader = File::options().read(true).open(path).unwrap();
        outlet.put("three\n");
        let mut read = [0; 13];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"2 lost\nthree\n");
    }

    #[test]
    fn a_pipe_that_others_made_non_blocking_loses_nothing() {
        let (mut reader, writer) = pipe().unwrap();
        fcntl_setfl(&writer, fcntl_getfl(&writer).unwrap() | OFlags::NONBLOCK).unwrap();
        let outlet = outlet(OwnedFd::from(writer).into());
        let lines: String = (0..2000).map(|at| format!("{at:0100}\n")).collect();
        for line in lines.lines() {
            outlet.put(format!("{line}\n"));
        }
        let mut read = vec![0; lines.len()];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), lines);
        assert!(outlet.flush());
    }
}
