//! How things are shown.

use std::os::fd::AsFd;

mod duration;
pub(crate) mod faults;
mod table;

pub(crate) use duration::{age, brief};
pub(crate) use table::Table;

/// Returns how many columns a terminal has; nothing if it is none.
pub(crate) fn width(stream: &impl AsFd) -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}
