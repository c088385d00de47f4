//! Backtraces: captured immediately, and resolved if there is time.
//!
//! Capturing the calls that led to an error takes microseconds. Resolving their names takes a
//! process a fifth of a second the first time, in a debug build, and seconds on a machine where
//! many do so together. An error must not wait for that: the names are resolved when somebody
//! prints them, or, for an error that leaves its actor, beside the runtime's workers and within a
//! time limit.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::{self, Write as _},
    fs::{File, TryLockError},
    future::Future,
    ptr,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, oneshot},
    time::sleep,
};
use wire::BACKTRACE_BYTES_MAX;

/// A backtrace: the calls that led to an error, the innermost first.
///
/// There is one if `RUST_BACKTRACE=1` asks for it, unless `RUST_LIB_BACKTRACE=0` overrides that.
/// Printed, it takes at most [`wire::BACKTRACE_BYTES_MAX`] bytes.
///
/// The error of another actor never waits long for it. It is left out if that actor was to end, or
/// if the process was busy with another one, and says so if resolving took too long. In the process
/// of the error, the first print waits for the names.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{CalleeBacktrace, CalleeError};
///
/// fn calls(error: &CalleeError) -> Option<String> {
///     error.backtrace.as_ref().map(CalleeBacktrace::to_string)
/// }
/// ```
#[derive(Clone)]
pub struct CalleeBacktrace(Arc<Source>);

enum Source {
    Noted(Backtrace),
    Text(String),
}

impl CalleeBacktrace {
    /// Captures the calls that led here, if that is requested, and if it does not have to wait:
    /// while names are being resolved, the standard library captures nothing.
    pub(crate) fn capture() -> Option<Self> {
        if NAMING.available_permits() == 0 {
            return None;
        }
        Self::noted(Backtrace::capture())
    }

    /// Wraps a captured backtrace, if there is one.
    pub(crate) fn noted(backtrace: Backtrace) -> Option<Self> {
        let is_captured = backtrace.status() == BacktraceStatus::Captured;
        is_captured.then(|| Self(Arc::new(Source::Noted(backtrace))))
    }

    pub(crate) fn from_text(text: String) -> Self {
        Self(Arc::new(Source::Text(text)))
    }

    /// Returns its text, unless that is yet to be resolved.
    pub(crate) fn text(&self) -> Option<&str> {
        match &*self.0 {
            Source::Text(text) => Some(text),
            Source::Noted(_) => None,
        }
    }

    /// Resolves its text, for an error that is about to leave its actor. The text is left out when
    /// `leave` is ready before, and after the longest time that an error may wait.
    pub(crate) async fn told(self, leave: impl Future<Output = ()>) -> Option<Self> {
        self.told_by(text, leave, NAMING_WAIT).await
    }

    async fn told_by(
        self,
        name: impl FnOnce(&Backtrace) -> String + Send + 'static,
        leave: impl Future<Output = ()>,
        limit: Duration,
    ) -> Option<Self> {
        if self.text().is_some() {
            return Some(self);
        }
        let naming = async {
            let alone = NAMING.acquire().await.expect("it is never closed");
            let (waits, is_over) = oneshot::channel::<()>();
            let work = move || {
                let _alone = alone;
                let Source::Noted(backtrace) = &*self.0 else { return None };
                let _turn = turn(limit / 2, || waits.is_closed());
                // Its error may have left without it.
                (!waits.is_closed()).then(|| name(backtrace))
            };
            let named = transport::beside("backtrace", work).await;
            drop(is_over);
            named.ok().flatten()
        };
        tokio::select! {
            biased;
            () = leave => None,
            text = naming => text.map(Self::from_text),
            () = sleep(limit) => {
                Some(Self::from_text(format!("its calls have no names yet after {limit:?}")))
            }
        }
    }
}

impl fmt::Display for CalleeBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Source::Noted(backtrace) => f.write_str(&text(backtrace)),
            Source::Text(text) => f.write_str(text),
        }
    }
}

/// Shows whether the names are resolved, but not the text: errors are printed with `{:?}` by the
/// dozen.
impl fmt::Debug for CalleeBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => write!(f, "CalleeBacktrace({} bytes)", text.len()),
            None => f.write_str("CalleeBacktrace(noted)"),
        }
    }
}

impl PartialEq for CalleeBacktrace {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(&*self.0, &*other.0) || self.to_string() == other.to_string()
    }
}

impl Eq for CalleeBacktrace {}

/// Waits until no other process of this program resolves names, until `patience` ends or it
/// `is_over`. Returns the lock that is held meanwhile.
///
/// Processes that fail together would slow each other down, and all errors would arrive late; this
/// way the first arrives promptly, and its reader needs no more of the others.
fn turn(patience: Duration, is_over: impl Fn() -> bool) -> Option<File> {
    let program = File::open("/proc/self/exe").ok()?;
    for _ in 0..patience.as_millis() / TURN_EVERY.as_millis() {
        match program.try_lock() {
            Ok(()) => return Some(program),
            Err(TryLockError::WouldBlock) if !is_over() => thread::sleep(TURN_EVERY),
            Err(_) => return None,
        }
    }
    None
}

/// Resolves the names of calls. The part beyond the longest backtrace is left out.
fn text(backtrace: &Backtrace) -> String {
    let mut bounded = Bounded(String::new());
    // It fails once it is full.
    let _full = write!(bounded, "{backtrace}");
    bounded.0
}

/// Collects pieces of text as long as there is room for them.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > BACKTRACE_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Held while resolving names: one at a time in a process.
static NAMING: Semaphore = Semaphore::const_new(1);

/// The interval at which a process checks whether it is its turn: some percent of a turn.
const TURN_EVERY: Duration = Duration::from_millis(10);

/// The time for which an error waits for the names of its backtrace: five times what a process
/// needs on an idle machine, and little of the time that the parent has for its end.
const NAMING_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::mpsc};

    use super::*;

    fn noted() -> CalleeBacktrace {
        CalleeBacktrace::noted(Backtrace::force_capture()).unwrap()
    }

    #[tokio::test]
    async fn names_that_are_slow_to_be_found_hold_up_no_error() {
        let short = Duration::from_millis(20);
        // The second waits for its turn after the first, which finds nothing while this waits.
        let (release, is_released) = mpsc::channel::<()>();
        let slow = move |_: &Backtrace| {
            let _released = is_released.recv();
            "too late".to_owned()
        };
        let told = noted().told_by(slow, pending(), short).await.unwrap();
        assert_eq!(told.text(), Some("its calls have no names yet after 20ms"));
        assert!(CalleeBacktrace::capture().is_none(), "it would have to wait");
        let told = noted().told_by(text, pending(), short).await.unwrap();
        assert_eq!(told.text(), Some("its calls have no names yet after 20ms"));
        drop(release);

        let told = noted().told_by(text, pending(), Duration::from_secs(100)).await.unwrap();
        assert!(told.text().unwrap().contains("names_that_are_slow"), "{told}");
    }

    #[tokio::test]
    async fn a_forced_end_does_not_wait_for_backtrace_names() {
        let (_release, is_released) = mpsc::channel::<()>();
        let slow = move |_: &Backtrace| {
            let _released = is_released.recv();
            String::new()
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(noted().told_by(slow, async {}, hour).await, None);
        // A backtrace that came as text is not delayed.
        let text = CalleeBacktrace::from_text("0: feed::quote".to_owned());
        let told = text.clone().told_by(|_| unreachable!("it is known"), async {}, hour).await;
        assert_eq!(told, Some(text));
    }

    #[test]
    fn a_backtrace_has_a_bound() {
        fn deep(depth: usize) -> Backtrace {
            if depth == 0 {
                return Backtrace::force_capture();
            }
            // The statement after the call keeps the compiler from making a loop of it.
            std::hint::black_box(deep(depth - 1))
        }
        let printed = CalleeBacktrace::noted(deep(2000)).unwrap().to_string();
        assert!(printed.contains("deep"), "{printed}");
        let bounds = BACKTRACE_BYTES_MAX - 1024..=BACKTRACE_BYTES_MAX;
        assert!(bounds.contains(&printed.len()), "{}", printed.len());
    }
}
