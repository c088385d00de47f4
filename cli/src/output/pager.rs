//! The pager for output longer than the screen, as in git.

use std::{
    ffi::OsString,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    process::{Command, Stdio},
};

use rustix::termios::tcgetwinsize;

use crate::context::Environment;

/// Shows text in the user's pager, if it is longer than the terminal. Tells whether it was shown. The
/// text is drawn in pieces that end with a line, and may be drawn several times.
///
/// Without a terminal at standard output, no pager is started, nor if the user wants none: an empty
/// variable, or `cat`.
pub(crate) fn page<I: Iterator<Item = String>>(
    draw: impl Fn() -> I,
    environment: &Environment,
) -> io::Result<bool> {
    let Ok(size) = tcgetwinsize(io::stdout()) else { return Ok(false) };
    let columns = usize::from(size.ws_col.max(1));
    let height = |line: &str| line.chars().count().max(1).div_ceil(columns);
    let mut room = usize::from(size.ws_row);
    let fills = |piece: String| {
        room = room.saturating_sub(piece.lines().map(height).sum());
        room == 0
    };
    let Some(pager) = pager(environment) else { return Ok(false) };
    if !draw().any(fills) {
        return Ok(false);
    }
    let mut command = Command::new("sh");
    command.arg("-c").arg(&pager).stdin(Stdio::piped());
    for (variable, value) in [("LESS", "FRX"), ("LV", "-c")] {
        if environment.raw(variable).is_none() {
            command.env(variable, value);
        }
    }
    let Ok(mut child) = command.spawn() else { return Ok(false) };
    let mut input = child.stdin.take().expect("it was given a pipe");
    // A user who leaves before the end has seen enough.
    let _unread = draw().try_for_each(|it| input.write_all(it.as_bytes()));
    drop(input);
    Ok(!child.wait()?.code().is_some_and(|it| NOT_RUN.contains(&it)))
}

/// Returns the pager that the user wants.
fn pager(environment: &Environment) -> Option<OsString> {
    let wanted = ["CALLSIGN_PAGER", "PAGER"].into_iter().find_map(|it| environment.raw(it));
    // A terminal that cannot be moved about, as that of an editor's shell, has no pages.
    let is_dumb = environment.raw("TERM").is_none_or(|it| it == "dumb");
    let usual = if is_dumb { "" } else { "less" };
    let pager = wanted.unwrap_or(usual.as_ref());
    let is_blank = pager.as_bytes().trim_ascii().is_empty();
    (!is_blank && pager != "cat").then(|| pager.to_owned())
}

/// The exit codes of a shell that cannot run the pager: it may not, or there is none.
const NOT_RUN: [i32; 2] = [126, 127];
