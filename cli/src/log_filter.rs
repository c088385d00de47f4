//! The filter of the log, as a user writes it: which parts of it can mean something.

use tracing_subscriber::filter::LevelFilter;

/// A filter that was asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct LogFilter {
    /// The directives that may select something, as they were written.
    pub(crate) known: String,
    /// Those that name neither a level nor anything that writes to the log.
    pub(crate) unknown: Vec<String>,
}

impl LogFilter {
    /// Sorts the directives of a filter. Whether each is well-formed is not its affair.
    pub(crate) fn read(text: &str) -> Self {
        let directives = directives(text).map(str::trim).filter(|it| !it.is_empty());
        let (known, unknown): (Vec<_>, Vec<_>) = directives.partition(|it| is_known(it));
        Self { known: known.join(","), unknown: unknown.into_iter().map(str::to_owned).collect() }
    }
}

/// Splits a filter at its commas, except within the brackets of a span.
fn directives(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |it| {
        match it {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        it == ',' && depth <= 0
    })
}

fn is_known(directive: &str) -> bool {
    let target = directive.split(['=', '[']).next().unwrap_or_default().trim();
    let is_level = target == directive && directive.parse::<LevelFilter>().is_ok();
    let part = target.split("::").next().unwrap_or_default();
    // A directive selects all targets that begin as it does.
    is_level || target.is_empty() || PARTS.iter().any(|it| it.starts_with(part))
}

/// What a filter says, for one who has written another.
pub(crate) const EXPECTED: &str = "expected is a level or a part of callsign with one, as `debug`, `callsign=info` or \
     `callsign_registrar=debug`";

/// The names under which callsign writes to its log: those of its crates.
const PARTS: [&str; 14] = [
    "callsign",
    "callsign_cluster",
    "callsign_connect",
    "callsign_discovery",
    "callsign_gateway",
    "callsign_portal",
    "callsign_process",
    "callsign_registrar",
    "callsign_tree",
    "callsign_wire",
    "config",
    "endpoints",
    "keys",
    "transport",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_warning_are_taken() {
        let examples: Vec<_> = EXPECTED.split('`').skip(1).step_by(2).collect();
        assert_eq!(examples.len(), 3);
        let read = LogFilter::read(&examples.join(","));
        assert_eq!(read.unknown, [""; 0]);
    }

    #[test]
    fn what_selects_nothing_is_told_from_what_may() {
        let check = |text: &str, known: &str, unknown: &[&str]| {
            let LogFilter { known: kept, unknown: left } = LogFilter::read(text);
            let left: Vec<_> = left.iter().map(String::as_str).collect();
            assert_eq!((&*kept, &left[..]), (known, unknown), "{text}");
        };
        for known in [
            "",
            "debug",
            "WARN",
            "off",
            "3",
            "callsign",
            "callsign::audit=info",
            "callsign_registrar::node=trace",
            "transport=debug",
            "off,callsign[actor{name=feed,uuid=7}]=debug",
            "[actor{name=feed}]=debug",
            // Whatever is wrong with that, another says.
            "callsign=loud",
        ] {
            check(known, known, &[]);
        }
        check("bogus", "", &["bogus"]);
        check("callsign-registrar=debug", "", &["callsign-registrar=debug"]);
        check("debg", "", &["debg"]);
        check("registrar=debug", "", &["registrar=debug"]);
        check("info, bogus ,tokio=trace", "info", &["bogus", "tokio=trace"]);
        check("verbose[actor]", "", &["verbose[actor]"]);
    }
}
