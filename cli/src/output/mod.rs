//! How things are shown.

use std::os::fd::AsFd;

mod duration;
pub(crate) mod faults;
mod reader;
mod table;

pub(crate) use duration::{age, brief};
pub(crate) use reader::reader_gone;
pub(crate) use table::Table;

/// Returns how many columns a terminal has; nothing if it is none.
pub(crate) fn width(stream: &impl AsFd) -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// Breaks a text between words, so that no line has more characters than `width` if that can
/// be.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            wrapped += "\n";
            column = 0;
        } else if column > 0 {
            wrapped += " ";
            column += 1;
        }
        wrapped += word;
        column += length;
    }
    wrapped
}
