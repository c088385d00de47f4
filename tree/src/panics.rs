//! Where the last panic of a thread began, which the payload of a panic does not say.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    cell::RefCell,
    panic,
};

thread_local! {
    static LAST: RefCell<Option<(String, Option<String>)>> = const { RefCell::new(None) };
}

/// Takes note of panics from now on, before whatever else is done about them.
pub(crate) fn take_note() {
    let earlier = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = Backtrace::capture();
        let backtrace =
            (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        // It fails while the thread ends, and then nobody will ask.
        let _unset = LAST.try_with(|last| *last.borrow_mut() = Some((place, backtrace)));
        earlier(info);
    }));
}

/// Returns where the last panic of this thread began, and its backtrace if one was asked for.
pub(crate) fn last() -> Option<(String, Option<String>)> {
    LAST.with(RefCell::take)
}
