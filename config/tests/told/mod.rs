//! Diagnostics as a line each.

use config::Diagnostics;

/// Returns the place, the message and the help of each.
pub(crate) fn told(Diagnostics(found): &Diagnostics) -> Vec<String> {
    let line = |it: &config::Diagnostic| {
        let (line, column) = it.place.line_column();
        let help = it.help.as_deref().unwrap_or_default();
        format!("{line}:{column} {} | {help}", it.message)
    };
    found.iter().map(line).collect()
}
