//! The standard output and error of a child: always read, line by line.

use std::{
    collections::VecDeque,
    fmt, io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{io::AsyncReadExt, net::unix::pipe, sync::watch, task::JoinSet};

/// The destination of a child's lines.
#[derive(Clone, Default)]
pub enum Output {
    /// The log: target `callsign::stdio`, with the fields `actor` and `stream`; standard output at
    /// level `info`, and standard error at `warn`.
    #[default]
    Log,
    /// To a function. It is called by the task that reads and holds up the child if it takes long.
    To(Arc<dyn Fn(Line<'_>) + Send + Sync>),
}

/// A line that a child wrote.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The stream.
    pub stream: StdStream,
    /// The line, without its end. Invalid UTF-8 is replaced, and a line of more than
    /// [`LINE_BYTES_MAX`] comes in pieces.
    pub text: &'a str,
}

/// One of a child's two output streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StdStream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// The most bytes that are kept for the end of a line. Log lines are shorter.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// The most bytes of a child's standard error to keep, as the reason why it died: some hundred
/// lines, or a long backtrace.
pub const TAIL_BYTES_MAX: usize = 64 * 1024;

/// The wait for a child's output after its end. Its own output is in the pipe by then, and only a
/// process that it left behind can hold the pipe open.
const DRAIN_AFTER_END: Duration = Duration::from_millis(500);

/// The tasks that read a child's output, and the part they keep.
#[derive(Debug)]
pub(super) struct Drains {
    tail: Arc<Mutex<VecDeque<u8>>>,
    reading: watch::Receiver<()>,
    /// Dropping it stops the tasks.
    _tasks: JoinSet<()>,
}

impl Drains {
    /// Starts to read. Must be called within a runtime.
    pub(super) fn start(
        label: &str,
        output: &Output,
        pipes: [(StdStream, OwnedFd); 2],
    ) -> io::Result<Self> {
        let tail = Arc::<Mutex<VecDeque<u8>>>::default();
        let (open, reading) = watch::channel(());
        let mut tasks = JoinSet::new();
        for (stream, pipe) in pipes {
            let drain = Drain {
                pipe: pipe::Receiver::from_owned_fd(pipe)?,
                tail: (stream == StdStream::Error).then(|| Arc::clone(&tail)),
                lines: Lines { label: label.to_owned(), stream, output: output.clone() },
                _open: open.clone(),
            };
            tasks.spawn(drain.run());
        }
        Ok(Self { tail, reading, _tasks: tasks })
    }

    /// Waits until both streams have ended, or for a bounded time. Must be called once the process
    /// has ended.
    pub(super) async fn finish(&self) {
        let mut reading = self.reading.clone();
        // Nothing is ever sent: the channel ends with the last task.
        drop(tokio::time::timeout(DRAIN_AFTER_END, reading.changed()).await);
    }

    /// Returns the end of standard error.
    pub(super) fn tail(&self) -> String {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(tail.make_contiguous()).into_owned()
    }
}

struct Drain {
    pipe: pipe::Receiver,
    tail: Option<Arc<Mutex<VecDeque<u8>>>>,
    lines: Lines,
    _open: watch::Sender<()>,
}

impl Drain {
    async fn run(mut self) {
        let mut buffer = Vec::with_capacity(2 * LINE_BYTES_MAX);
        loop {
            let kept = buffer.len();
            // An error is an end as well: nothing more can be read.
            let read = self.pipe.read_buf(&mut buffer).await.unwrap_or_default();
            if let Some(tail) = &self.tail {
                keep(&mut tail.lock().unwrap_or_else(PoisonError::into_inner), &buffer[kept..]);
            }
            if read == 0 {
                break;
            }
            let used = self.lines.tell_whole(&buffer);
            buffer.drain(..used);
        }
        if !buffer.is_empty() {
            self.lines.tell(&buffer);
        }
    }
}

/// Adds to the tail, and drops the oldest part.
fn keep(tail: &mut VecDeque<u8>, bytes: &[u8]) {
    tail.extend(bytes);
    let over = tail.len().saturating_sub(TAIL_BYTES_MAX);
    tail.drain(..over);
}

/// The reader of one stream.
struct Lines {
    label: String,
    stream: StdStream,
    output: Output,
}

impl Lines {
    /// Reports the lines that are whole or too long, and returns their total length.
    fn tell_whole(&self, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let line = &rest[..rest.len().min(LINE_BYTES_MAX + 1)];
            if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                self.tell(&line[..end]);
                used += end + 1;
            } else if line.len() > LINE_BYTES_MAX {
                self.tell(&line[..LINE_BYTES_MAX]);
                used += LINE_BYTES_MAX;
            } else {
                return used;
            }
        }
    }

    fn tell(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\r');
        let (actor, stream) = (&self.label, self.stream);
        match &self.output {
            Output::To(sink) => sink(Line { stream, text }),
            Output::Log if stream == StdStream::Error => {
                tracing::warn!(target: "callsign::stdio", %actor, %stream, "{text}");
            }
            Output::Log => tracing::info!(target: "callsign::stdio", %actor, %stream, "{text}"),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Log => "Log",
            Self::To(_) => "To(..)",
        })
    }
}

impl fmt::Display for StdStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Output => "stdout",
            Self::Error => "stderr",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_when_it_is_whole_or_too_long() {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let sink = {
            let told = Arc::clone(&told);
            Output::To(Arc::new(move |line| told.lock().unwrap().push(line.text.to_owned())))
        };
        let lines = Lines { label: "feed".to_owned(), stream: StdStream::Output, output: sink };
        let check = |bytes: &[u8], expected: &[&str], used: usize| {
            assert_eq!(lines.tell_whole(bytes), used);
            assert_eq!(*told.lock().unwrap(), expected);
            told.lock().unwrap().clear();
        };

        check(b"", &[], 0);
        check(b"no end", &[], 0);
        check(b"one\ntwo\r\n\nrest", &["one", "two", ""], 10);
        check(b"\xff\n", &["\u{fffd}"], 2);
        let long = "x".repeat(LINE_BYTES_MAX);
        check(format!("{long}yz").as_bytes(), &[&long], LINE_BYTES_MAX);
        check(format!("{long}yz\n").as_bytes(), &[&long, "yz"], LINE_BYTES_MAX + 3);
    }

    #[test]
    fn the_tail_is_the_end() {
        let mut tail = VecDeque::new();
        keep(&mut tail, &[b'a'; TAIL_BYTES_MAX]);
        keep(&mut tail, b"bc");
        assert_eq!(tail.len(), TAIL_BYTES_MAX);
        assert_eq!(tail.make_contiguous()[TAIL_BYTES_MAX - 3..], *b"abc");
    }
}
