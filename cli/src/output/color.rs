//! Whether a stream gets colours.

use std::env;

use anstream::{AutoStream, ColorChoice, stream::RawStream};

/// Returns a stream that drops colours unless they are asked for, or it is a terminal and no
/// variable of the environment speaks against them.
pub(crate) fn colored<S: RawStream>(stream: S, asked: ColorChoice) -> AutoStream<S> {
    // `0` means that nothing is forced; `anstream` takes any value for a force.
    let is_unforced = env::var_os("CLICOLOR_FORCE").is_some_and(|it| it == "0");
    let choice = match asked {
        ColorChoice::Auto if is_unforced => of_terminal(stream.is_terminal()),
        asked => asked,
    };
    AutoStream::new(stream, choice)
}

/// Decides as <https://no-color.org> and <https://bixense.com/clicolors> have it, without a force.
fn of_terminal(is_terminal: bool) -> ColorChoice {
    let is_refused = env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    let wanted = env::var_os("CLICOLOR").map(|it| it != "0");
    let shows_colors = env::var_os("TERM").is_some_and(|it| it != "dumb");
    let is_colored = is_terminal
        && !is_refused
        && wanted != Some(false)
        && (shows_colors || wanted == Some(true));
    if is_colored { ColorChoice::Always } else { ColorChoice::Never }
}
