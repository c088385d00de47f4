//! Valid addresses that were hardly meant.

use std::ops::Range;

use crate::{Endpoint, Host, Quoted, parse, plain::is_typographic_quote};

/// A part of an endpoint's text whose meaning differs from what its author is likely to
/// have meant.
///
/// ```
/// use endpoints::{Endpoint, Slip};
///
/// let text = "/unix/$XDG_RUNTIME_DIR/feed.sock";
/// let slip = Slip::find(text, &text.parse::<Endpoint>()?).unwrap();
/// assert_eq!(&text[slip.span], "$XDG_RUNTIME_DIR");
/// # Ok::<(), endpoints::ParseEndpointError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Slip {
    /// Its place in the text.
    pub span: Range<usize>,
    /// Its actual meaning, in a line.
    pub message: String,
    /// A correction.
    pub help: String,
}

impl Slip {
    /// Looks for a slip in the text that `endpoint` was read from.
    pub fn find(text: &str, endpoint: &Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::Unix(_) => swallowed_protocol(text, endpoint)
                .or_else(|| unexpanded(text))
                .or_else(|| foreign_end(text))
                .or_else(|| backslash(text)),
            Endpoint::Tcp(tcp) => match &tcp.host {
                Host::Ip6Zone { zone, ip } if !ip.is_unicast_link_local() => {
                    let start = text.find(&**zone)?;
                    let message =
                        format!("`{zone}` has no effect: {ip} is not a link-local address");
                    let help = "leave out the zone".to_owned();
                    Some(Self { span: start..start + zone.len(), message, help })
                }
                _ => None,
            },
            Endpoint::Memory(_) => None,
        }
    }
}

/// Finds a protocol in a greedy path, which swallows everything after `/unix/`.
fn swallowed_protocol(text: &str, endpoint: &Endpoint) -> Option<Slip> {
    let path = text.strip_prefix(UNIX)?;
    // An escaped slash or an abstract name has been written on purpose.
    if path.starts_with('@') || path.to_ascii_lowercase().contains("%2f") {
        return None;
    }
    let (first, _) = path.split_once('/')?;
    let mut at = UNIX.len() + first.len() + 1;
    for part in text[at..].split('/') {
        if SWALLOWED.contains(&part) {
            let encoded = endpoint.to_encoded();
            return Some(Slip {
                span: at..at + part.len(),
                message: format!("`{part}` is taken for a part of the path"),
                help: format!("if it is one, write `{encoded}`; a Unix socket has no `/{part}`"),
            });
        }
        at += part.len() + 1;
    }
    None
}

fn unexpanded(text: &str) -> Option<Slip> {
    let span = placeholder(text)?;
    let written = Quoted(&text[span.clone()]).to_string();
    Some(Slip {
        span,
        message: format!("{written} is taken literally; nothing is substituted"),
        help: "write out the path that is meant".to_owned(),
    })
}

/// Finds the end of a piece of a program or of a list, which is not part of a path.
fn foreign_end(text: &str) -> Option<Slip> {
    let is_end = |it: char| matches!(it, ',' | ';' | '"' | '\'' | '>') || is_typographic_quote(it);
    let start = text.trim_end_matches(is_end).len();
    (start < text.len() && start > UNIX.len()).then(|| Slip {
        span: start..text.len(),
        message: format!("{} is taken for a part of the path", Quoted(&text[start..])),
        help: format!("leave it out: {}", Quoted(&text[..start])),
    })
}

fn backslash(text: &str) -> Option<Slip> {
    let start = text.find('\\')?;
    Some(Slip {
        span: start..start + 1,
        message: "`\\` is taken for a part of a name, as usual on Linux".to_owned(),
        help: "parts of a path are separated by `/`".to_owned(),
    })
}

/// Finds text that a shell, a template or a service manager would replace, and callsign does not.
pub(crate) fn placeholder(text: &str) -> Option<Range<usize>> {
    home(text).or_else(|| variable(text)).or_else(|| template(text)).or_else(|| specifier(text))
}

/// Finds a `~` or `~user` that begins a path.
fn home(text: &str) -> Option<Range<usize>> {
    let path = text.trim_start_matches('/');
    let scheme = path.get(..4).filter(|it| it.eq_ignore_ascii_case("unix"));
    let path = path[scheme.map_or(0, str::len)..].trim_start_matches([':', '/']);
    let start = text.len() - path.len();
    let end = path.find('/').unwrap_or(path.len());
    path.starts_with('~').then_some(start..start + end)
}

/// Finds the first `${NAME}`, `$NAME` or `$(command)`. Within a name, `$` and small letters are no
/// variable.
fn variable(text: &str) -> Option<Range<usize>> {
    text.match_indices('$').find_map(|(start, _)| {
        let rest = &text[start + 1..];
        if let Some(command) = rest.strip_prefix('(') {
            return command.find(')').map(|end| start..start + 3 + end);
        }
        let (braces, rest) = match rest.strip_prefix('{') {
            Some(inside) => (2, inside.split_once('}')?.0),
            None => (0, rest),
        };
        let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        let name = &rest[..end.unwrap_or(rest.len())];
        let first = name.chars().next().filter(|it| !it.is_ascii_digit())?;
        let begins_part = start == 0 || text[..start].ends_with(['/', ':', '@', '=']);
        let is_variable = match braces {
            0 => !first.is_ascii_lowercase() || begins_part,
            // Also with a default: `${PORT:-80}`.
            _ => name.len() == rest.len() || rest[name.len()..].starts_with([':', '-']),
        };
        let length = if braces == 0 { name.len() } else { rest.len() };
        is_variable.then(|| start..start + 1 + braces + length)
    })
}

/// Finds `{port}`, `{{ name }}`, `<uid>` and `` `command` ``.
fn template(text: &str) -> Option<Range<usize>> {
    let pairs = [("{{", "}}"), ("{", "}"), ("<", ">"), ("`", "`")];
    pairs.into_iter().find_map(|(open, close)| {
        let start = text.find(open)?;
        let inside = &text[start + open.len()..];
        let inside = &inside[..inside.find(close)?];
        let is_name = inside.contains(|it: char| it.is_ascii_alphabetic())
            && !inside.contains(['/', ':'])
            && open.len() + inside.len() + close.len() < text.len();
        is_name.then(|| start..start + open.len() + inside.len() + close.len())
    })
}

/// Finds `%t` and its like of systemd, and `%NAME%` of Windows. Escapes have two digits.
fn specifier(text: &str) -> Option<Range<usize>> {
    text.match_indices('%').find_map(|(start, _)| {
        let rest = &text[start + 1..];
        let name = &rest[..rest
            .find(|it: char| !it.is_ascii_alphanumeric() && it != '_')
            .unwrap_or(rest.len())];
        let is_escape = name.len() >= 2 && name.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
        match name.len() {
            1 if "tThuUiInNpPHS".contains(name) => Some(start..start + 2),
            3.. if !is_escape && rest[name.len()..].starts_with('%') => {
                Some(start..start + name.len() + 2)
            }
            _ => None,
        }
    })
}

/// Tells whether a path begins with a drive or a server, as on Windows.
pub(crate) fn is_of_windows(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.starts_with(r"\\")
        || text.starts_with("//./")
        || matches!(bytes, [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic())
}

const UNIX: &str = parse::UNIX;

/// Protocols that people put after an address, and that are hardly the names of folders.
const SWALLOWED: &[&str] =
    &["ip4", "ip6", "ip6zone", "dns4", "dns6", "tcp", "tls", "udp", "quic", "quic-v1", "ws", "wss"];

#[cfg(test)]
mod tests {
    use super::*;

    fn slip(text: &str) -> Option<Slip> {
        Slip::find(text, &text.parse().unwrap())
    }

    #[test]
    fn slips_are_found_and_names_are_left_alone() {
        let check = |text: &str, expected: &str| {
            let slip = slip(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(&text[slip.span], expected, "{text}");
        };
        check("/unix/~/x.sock", "~");
        check("/unix/~me/x.sock", "~me");
        check("/unix/$HOME/x.sock", "$HOME");
        check("/unix/${HOME}/x.sock", "${HOME}");
        check("/unix/${HOME:-/root}/x.sock", "${HOME:-/root}");
        check("/unix/run/$(id -u)/x.sock", "$(id -u)");
        check("/unix/run/`id -u`/x.sock", "`id -u`");
        check("/unix/run/{{ name }}.sock", "{{ name }}");
        check("/unix/run/{name}.sock", "{name}");
        check("/unix/run/user/<uid>/x.sock", "<uid>");
        check("/unix/%t/x.sock", "%t");
        check("/unix/%TEMP%/x.sock", "%TEMP%");
        check("/unix/run/x.sock,", ",");
        check("/unix/run/x.sock\"", "\"");
        check("/unix/run/x.sock”", "”");
        check("/unix/run/x.sock’,", "’,");
        check(r"/unix/C:\run\x.sock", r"\");
        check("/unix/run/x.sock/tcp/80", "tcp");
        check("/unix/@$USER", "$USER");
        check("/ip6zone/eth0/ip6/2001:db8::1/tcp/80", "eth0");
        for good in [
            "/unix/run/x.sock",
            "/unix/run/a$b.sock",
            "/unix/run/a~/b",
            "/unix/run/~x",
            "/unix/run/x%20y.sock",
            "/unix/run/100%25/x",
            "/unix/run/{}/x",
            "/unix/run/a,b",
            "/unix/%2Frun%2Ftcp%2Fx",
            "/ip6zone/eth0/ip6/fe80::1/tcp/80",
            "/dns/a/tcp/80",
            "/memory/7",
        ] {
            assert_eq!(slip(good), None, "{good}");
        }
    }

    #[test]
    fn placeholders_of_every_kind_are_seen() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(placeholder(text).map(|it| &text[it]), expected, "{text}");
        };
        check("$HOST:80", Some("$HOST"));
        check("host:$PORT", Some("$PORT"));
        check("host:$port", Some("$port"));
        check("/ip4/127.0.0.1/tcp/${PORT}", Some("${PORT}"));
        check("/ip4/127.0.0.1/tcp/${PORT:-80}", Some("${PORT:-80}"));
        check("/ip4/127.0.0.1/tcp/{port}", Some("{port}"));
        check("/ip4/127.0.0.1/tcp/%PORT%", Some("%PORT%"));
        check("/ip4/<address>/tcp/80", Some("<address>"));
        check("unix://~/x.sock", Some("~"));
        check("/unix~/x.sock", Some("~"));
        check("%t/x.sock", Some("%t"));
        check("<http://host:80>", None);
        check("<host>", None);
        check("tcp://user:p$ss@host:80", None);
        check("/unix/%2Frun%2Fx", None);
    }
}
