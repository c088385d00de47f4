//! The display of results.

use std::os::fd::AsFd;

use clap::builder::Styles;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

mod color;
pub(crate) mod diagnostics;
mod duration;
mod lines;
pub(crate) mod notices;
mod pager;
mod patient;
mod reader;
pub(crate) mod record;
mod table;

pub(crate) use color::colored;
pub(crate) use duration::{age, brief};
pub(crate) use lines::{fitted, fitted_lines, fitted_styled};
pub(crate) use pager::page;
pub(crate) use patient::write_patiently;
pub(crate) use reader::reader_gone;
pub(crate) use table::Table;

/// Returns the columns of a terminal; `None` if it is none.
pub(crate) fn width(stream: &impl AsFd) -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// Tells whether every line fits a width.
pub(crate) fn fits(text: &str, width: Option<u16>) -> bool {
    width.is_none_or(|width| text.lines().all(|it| it.width() <= usize::from(width)))
}

/// Shortens a text to so many columns. It loses its middle, because an endpoint is recognised by
/// its beginning and its end.
pub(crate) fn shortened(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let head_room = room.saturating_sub(1) / 3;
    let tail_room = room.saturating_sub(1) - head_room;
    let (mut head, mut tail) = (String::new(), Vec::new());
    let mut taken = 0;
    for character in text.chars() {
        taken += character.width().unwrap_or(0);
        if taken > head_room {
            break;
        }
        head.push(character);
    }
    taken = 0;
    for character in text.chars().rev() {
        taken += character.width().unwrap_or(0);
        if taken > tail_room {
            break;
        }
        tail.push(character);
    }
    head + "…" + &tail.into_iter().rev().collect::<String>()
}

/// The colours of help and of errors of the command line.
pub(crate) const STYLES: Styles = Styles::styled();
