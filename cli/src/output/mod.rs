//! How things are shown.

mod duration;
mod table;

pub(crate) use duration::{age, brief};
pub(crate) use table::Table;

/// Returns how many columns standard output has, if it is a terminal.
pub(crate) fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}
