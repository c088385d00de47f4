//! Panics: their message, and the place and the backtrace that the payload lacks.

use std::{
    any::Any,
    backtrace::Backtrace,
    cell::{Cell, RefCell},
    fmt,
    io::Write as _,
    panic::{self, PanicHookInfo},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde::{Deserialize, Serialize};

use super::backtrace::CalleeBacktrace;

/// A panic.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::Panic;
///
/// fn said(panic: &Panic) -> String {
///     let place = panic.place.as_deref().unwrap_or("somewhere");
///     format!("{place}: {}", panic.message)
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Panic {
    /// The message.
    pub message: String,
    /// Its place, as `file:line:column`, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The calls that led there, if `RUST_BACKTRACE=1` asks for that. Within another error it is
    /// left out; [`NurseryError::backtraces`](crate::NurseryError::backtraces) has those of its
    /// leaves.
    #[serde(skip)]
    pub backtrace: Option<CalleeBacktrace>,
}

impl Panic {
    /// Reads a caught panic of this thread.
    pub(crate) fn from_payload(payload: &(dyn Any + Send)) -> Self {
        let message = match payload.downcast_ref::<&str>() {
            Some(text) => (*text).to_owned(),
            None => match payload.downcast_ref::<String>() {
                Some(text) => text.clone(),
                None => "it gave no message".to_owned(),
            },
        };
        let (place, backtrace) = last().unzip();
        Self { message, place, backtrace: backtrace.flatten() }
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.place {
            Some(place) => write!(f, " at {place}"),
            None => Ok(()),
        }
    }
}

thread_local! {
    static LAST: RefCell<Option<(String, Option<CalleeBacktrace>)>> = const { RefCell::new(None) };

    /// Whether the code that catches a panic here reports it.
    static IS_TOLD: Cell<bool> = const { Cell::new(false) };
}

/// Records panics from now on, before any other hook.
pub(crate) fn take_note() {
    let earlier = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = CalleeBacktrace::noted(Backtrace::capture());
        // It fails while the thread ends, and then nobody will ask.
        let _unset = LAST.try_with(|last| *last.borrow_mut() = Some((place, backtrace)));
        if IS_CHILD.load(Ordering::Relaxed) && IS_TOLD.try_with(Cell::get).unwrap_or(false) {
            write(info);
        } else {
            earlier(info);
        }
    }));
}

/// Marks this process as one actor's only. A panic of its functions is printed without its
/// backtrace from now on: that goes to the parent, and printing it would take the time in which the
/// process must report its end.
pub(crate) fn be_a_child() {
    IS_CHILD.store(true, Ordering::Relaxed);
}

/// Runs code whose panic is caught and reported.
pub(crate) fn telling<R>(run: impl FnOnce() -> R) -> R {
    struct Before(bool);

    impl Drop for Before {
        fn drop(&mut self) {
            IS_TOLD.set(self.0);
        }
    }

    let _before = Before(IS_TOLD.replace(true));
    run()
}

/// Returns the place of this thread's last panic, and its backtrace if one was requested.
pub(crate) fn last() -> Option<(String, Option<CalleeBacktrace>)> {
    LAST.with(RefCell::take)
}

/// Writes the standard library's message without a backtrace.
fn write(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    // There is nobody else to tell.
    let _unread = writeln!(std::io::stderr(), "\nthread '{name}' {info}");
}

static IS_CHILD: AtomicBool = AtomicBool::new(false);
