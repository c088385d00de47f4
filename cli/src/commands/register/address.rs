//! The address of a wrapped program, so that nobody has to write it twice: in its environment, and
//! in the placeholders of its arguments.

use std::{
    ffi::{OsStr, OsString},
    fmt, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path, slice,
};

use anyhow::anyhow;
use config::REGISTRARS_VARIABLE;
use endpoints::{Endpoint, Host, Name, TcpAddress, UnixAddress, names_like};
use transport::BindError;

use crate::{
    context::{CONFIG_VARIABLE, Context},
    failure::Failure,
    hints::unbound,
};

/// A placeholder for a part of an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Placeholder {
    Endpoint,
    Host,
    Path,
    Port,
}

impl Placeholder {
    const ALL: [Self; 4] = [Self::Endpoint, Self::Host, Self::Path, Self::Port];

    fn text(self) -> &'static str {
        match self {
            Self::Endpoint => "{endpoint}",
            Self::Host => "{host}",
            Self::Path => "{path}",
            Self::Port => "{port}",
        }
    }

    /// Returns its value for one endpoint.
    fn of(self, endpoint: &Endpoint) -> Option<String> {
        match (self, endpoint) {
            (Self::Endpoint, endpoint) => Some(endpoint.to_string()),
            (Self::Host, Endpoint::Tcp(tcp)) => Some(host(&tcp.host)),
            (Self::Port, Endpoint::Tcp(tcp)) => Some(tcp.port.to_string()),
            (Self::Path, Endpoint::Unix(UnixAddress::Path(path))) => Some(path.as_str().to_owned()),
            _ => None,
        }
    }

    /// Returns its value, if there is exactly one.
    fn value(self, name: &Name, said: &[Endpoint]) -> Result<String, Failure> {
        let mut values: Vec<String> = Vec::new();
        for value in said.iter().filter_map(|it| self.of(it)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        match &values[..] {
            [value] => Ok(value.clone()),
            [] => {
                let what = if self == Self::Path { "socket path" } else { "TCP endpoint" };
                let error = anyhow!("`{self}` is in the arguments, and `{name}` has no {what}");
                let has = format!("these have a value: {}", with_values(said));
                let text = format!("give it one; or for the text itself write `{{{self}}}`");
                Err(Failure::usage(error).hint(has).hint(text))
            }
            _ => {
                let many = values.join("` or `");
                let error = anyhow!("`{self}` in the arguments is ambiguous: `{many}`");
                Err(Failure::usage(error)
                    .hint(format!("write the one that is meant instead of `{self}`")))
            }
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Returns the variables that tell a program its name and where to listen: its first endpoint, and
/// as `HOST` and `PORT` the first TCP endpoint. Global flags are passed on as their variables.
pub(super) fn variables(
    name: &Name,
    said: &[Endpoint],
    context: &Context,
) -> Result<Vec<(OsString, OsString)>, Failure> {
    let mut variables = vec![("CALLSIGN_NAME", name.to_string())];
    variables.extend(said.first().map(|it| ("CALLSIGN_ENDPOINT", it.to_string())));
    let tcp = said.iter().find(|it| matches!(it, Endpoint::Tcp(_)));
    for (variable, placeholder) in [("HOST", Placeholder::Host), ("PORT", Placeholder::Port)] {
        variables.extend(tcp.and_then(|it| placeholder.of(it)).map(|it| (variable, it)));
    }
    if !context.global.registrar.is_empty() {
        let registrars: Vec<_> = context.registrars()?.iter().map(Endpoint::to_string).collect();
        variables.push((REGISTRARS_VARIABLE, registrars.join(" ")));
    }
    let mut variables: Vec<(OsString, OsString)> =
        variables.into_iter().map(|(variable, value)| (variable.into(), value.into())).collect();
    if let Some(file) = &context.global.config {
        let file = path::absolute(file).map_err(Failure::system)?;
        variables.push((CONFIG_VARIABLE.into(), file.into()));
    }
    Ok(variables)
}

/// Replaces the placeholders in a program's arguments by its address.
///
/// They are replaced within an argument too, but not in `${port}`, which is a shell's. Double
/// braces stand for the text itself: of two or more pairs, one is removed. A closing brace without
/// an opening one directly before it belongs to something else, as in `{"port":{port}}`. An IPv6
/// host gets brackets where a port or a URL needs them.
pub(super) fn fill(
    words: &[OsString],
    name: &Name,
    said: &[Endpoint],
) -> Result<Vec<OsString>, Failure> {
    let Some((program, arguments)) = words.split_first() else { return Ok(Vec::new()) };
    let mut filled = vec![program.clone()];
    for argument in arguments {
        filled.push(fill_one(argument, |it| it.value(name, said))?);
    }
    Ok(filled)
}

fn fill_one(
    argument: &OsStr,
    value: impl Fn(Placeholder) -> Result<String, Failure>,
) -> Result<OsString, Failure> {
    let argument = argument.as_bytes();
    let (mut filled, mut at) = (Vec::new(), 0);
    while let Some(byte) = argument.get(at) {
        match find(argument, at) {
            Some((placeholder, 1)) => {
                let value = value(placeholder)?;
                let after = at + placeholder.text().len();
                let is_bare = placeholder == Placeholder::Host && value.contains(':');
                if is_bare && takes_brackets(&argument[..at], &argument[after..]) {
                    filled.extend(format!("[{value}]").bytes());
                } else {
                    filled.extend(value.bytes());
                }
                at = after;
            }
            Some((placeholder, braces)) => {
                let length = placeholder.text().len() + 2 * (braces - 1);
                filled.extend_from_slice(&argument[at + 1..at + length - 1]);
                at += length;
            }
            None => {
                filled.push(*byte);
                at += 1;
            }
        }
    }
    Ok(OsString::from_vec(filled))
}

/// Returns the placeholder whose outermost brace is there, and the number of its pairs of braces.
fn find(argument: &[u8], at: usize) -> Option<(Placeholder, usize)> {
    if at > 0 && matches!(argument[at - 1], b'{' | b'$') {
        return None;
    }
    let braces = argument[at..].iter().take_while(|it| **it == b'{').count();
    let inner = &argument[at + braces.checked_sub(1)?..];
    Placeholder::ALL.into_iter().find_map(|placeholder| {
        let after = inner.strip_prefix(placeholder.text().as_bytes())?;
        let closing = after.iter().take_while(|it| **it == b'}').count();
        (braces == 1 || closing + 1 >= braces).then_some((placeholder, braces))
    })
}

/// Tells whether an IPv6 host needs brackets there: before a port, and in a URL.
fn takes_brackets(before: &[u8], after: &[u8]) -> bool {
    !before.ends_with(b"[") && (after.starts_with(b":") || before.ends_with(b"://"))
}

/// Returns the texts in a program's arguments that look like misspelt placeholders, each with the
/// placeholder that was probably meant. They are left alone.
pub(super) fn misspelt(words: &[OsString]) -> Vec<(String, String)> {
    let arguments = words.iter().skip(1).filter_map(|it| it.to_str());
    let mut found: Vec<(String, String)> = Vec::new();
    for (argument, at) in
        arguments.flat_map(|it| it.match_indices('{').map(move |(at, _)| (it, at)))
    {
        let inside = &argument[at + 1..];
        let Some((written, after)) = inside.split_once('}') else { continue };
        let is_others = argument[..at].ends_with(['{', '$']) || after.starts_with('}');
        let bare = written.trim();
        let is_name = !bare.is_empty() && bare.bytes().all(|it| it.is_ascii_alphabetic());
        if is_others || !is_name {
            continue;
        }
        let known = Placeholder::ALL.map(|it| it.text().trim_matches(['{', '}']));
        let small = bare.to_ascii_lowercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == small).map(|(_, meant)| *meant);
        let meant = match (known.iter().find(|it| **it == small), alias) {
            (Some(same), _) if *same != written => same,
            (None, Some(alias)) => alias,
            (None, None) => match names_like(&small, known)[..] {
                [meant] => meant,
                _ => continue,
            },
            _ => continue,
        };
        let pair = (format!("{{{written}}}"), format!("{{{meant}}}"));
        if !found.contains(&pair) {
            found.push(pair);
        }
    }
    found
}

/// Tells whether a placeholder has a value for one of the endpoints.
pub(super) fn has_value(placeholder: &str, said: &[Endpoint]) -> bool {
    let meant = Placeholder::ALL.into_iter().find(|it| it.text() == placeholder);
    meant.is_some_and(|it| said.iter().any(|at| it.of(at).is_some()))
}

/// Lists the placeholders that have a value for one of the endpoints.
pub(super) fn with_values(said: &[Endpoint]) -> String {
    let known = Placeholder::ALL.into_iter().filter(|it| has_value(it.text(), said));
    known.map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
}

/// What people call the parts of an address.
const ALIASES: &[(&str, &str)] = &[
    ("addr", "host"),
    ("address", "endpoint"),
    ("hostname", "host"),
    ("ip", "host"),
    ("multiaddr", "endpoint"),
    ("sock", "path"),
    ("socket", "path"),
    ("unix", "path"),
];

/// Draws one port for all endpoints that name none, and tells whether there were any.
pub(super) fn draw_port(said: &mut [Endpoint]) -> Result<bool, Failure> {
    let hosts: Vec<TcpAddress> = said.iter().filter_map(without_port).cloned().collect();
    if hosts.is_empty() {
        return Ok(false);
    }
    let drawn = transport::draw_port(&hosts).map_err(|error| undrawn(&hosts, error))?;
    for endpoint in said {
        if let Endpoint::Tcp(tcp) = endpoint
            && tcp.port == 0
        {
            tcp.port = drawn;
        }
    }
    Ok(true)
}

fn undrawn(hosts: &[TcpAddress], error: io::Error) -> Failure {
    if error.kind() != io::ErrorKind::AddrNotAvailable {
        return Failure::system(error).context("no port can be drawn for the program");
    }
    let is_elsewhere = |it: &&TcpAddress| {
        let drawn = transport::draw_port(slice::from_ref(*it));
        drawn.is_err_and(|it| it.kind() == io::ErrorKind::AddrNotAvailable)
    };
    let (what, error) = ("no port can be drawn for the program", BindError::NotOurAddress);
    let Some(faulty) = hosts.iter().find(is_elsewhere).cloned().map(Endpoint::Tcp) else {
        return Failure::system(io::Error::other(error)).context(what);
    };
    let hints = unbound(&faulty, &[], &error);
    let error = Failure::system(io::Error::other(error));
    let failure = error.context(format!("{what}, at `{faulty}`"));
    hints.into_iter().fold(failure, Failure::hint)
}

fn without_port(endpoint: &Endpoint) -> Option<&TcpAddress> {
    match endpoint {
        Endpoint::Tcp(tcp) if tcp.port == 0 => Some(tcp),
        _ => None,
    }
}

/// Writes a host as programs read it, without the brackets of a URL.
fn host(host: &Host) -> String {
    match host {
        Host::Ip4(ip) => ip.to_string(),
        Host::Ip6(ip) => ip.to_string(),
        Host::Ip6Zone { zone, ip } => format!("{ip}%{zone}"),
        Host::Dns(name, _) => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_placeholders_are_replaced() {
        let said = ["/unix/run/web.sock", "/ip6/::1/tcp/8000"].map(|it| it.parse().unwrap());
        let name = Name::new("web").unwrap();
        let check = |argument: &str, expected: Result<&str, &str>| {
            let words = ["{port}".into(), argument.into()];
            let filled = fill(&words, &name, &said).map_err(|it| it.error.to_string());
            let expected = expected.map(|it| vec!["{port}".into(), it.into()]);
            assert_eq!(filled, expected.map_err(str::to_owned), "{argument}");
        };
        check("{port}", Ok("8000"));
        check("[{host}]:{port}", Ok("[::1]:8000"));
        check("{host}{port}{path}", Ok("::18000/run/web.sock"));
        check("--bind=unix:{path}", Ok("--bind=unix:/run/web.sock"));
        check("é{port}é", Ok("é8000é"));
        check("{{port}}", Ok("{port}"));
        check("{{{port}}}", Ok("{{port}}"));
        check("{{port}}{port}", Ok("{port}8000"));
        check("http://{host}:{{port}}/", Ok("http://[::1]:{port}/"));
        check("http://{host}:{port}/", Ok("http://[::1]:8000/"));
        check("http://{host}/", Ok("http://[::1]/"));
        check("{host}:{port}", Ok("[::1]:8000"));
        check("--bind={host}:80", Ok("--bind=[::1]:80"));
        check("--host={host},--port={port}", Ok("--host=::1,--port=8000"));
        // Within braces of another kind, as in JSON.
        check(r#"{"port":{port}}"#, Ok(r#"{"port":8000}"#));
        check(r#"{"a":{"p":{port}},"h":"{host}"}"#, Ok(r#"{"a":{"p":8000},"h":"::1"}"#));
        check(r#"{"a":{{port}}}"#, Ok(r#"{"a":{port}}"#));
        check("{port}}", Ok("8000}"));
        // Also for parts that this program lacks, or has several of.
        check("{{endpoint}}", Ok("{endpoint}"));
        for other in [
            "",
            "{",
            "}",
            "{}",
            "{port",
            "port}",
            "{ port }",
            "{PORT}",
            "{ports}",
            "$port",
            "${port}",
            "{{port}",
            "{{ports}}",
            "{{print}}",
            "{{.Port}}",
            "{{ port }}",
            "${{port}}",
            "${port}${path}",
            "{\"port\": 1}",
            "{print $1}",
            "{port:8000}",
        ] {
            check(other, Ok(other));
        }
        check(
            "x{endpoint}",
            Err("`{endpoint}` in the arguments is ambiguous: `/unix/run/web.sock` or \
                 `/ip6/::1/tcp/8000`"),
        );
    }

    #[test]
    fn what_looks_like_a_misspelt_placeholder_is_told() {
        let check = |argument: &str, expected: &[(&str, &str)]| {
            let found = misspelt(&["{prot}".into(), argument.into()]);
            let found: Vec<_> = found.iter().map(|(it, meant)| (&**it, &**meant)).collect();
            assert_eq!(found, expected, "{argument}");
        };
        check("{prot}", &[("{prot}", "{port}")]);
        check("--bind={hots}:{prot}", &[("{hots}", "{host}"), ("{prot}", "{port}")]);
        check("{PORT}", &[("{PORT}", "{port}")]);
        check("{ path }", &[("{ path }", "{path}")]);
        check("{endpont}", &[("{endpont}", "{endpoint}")]);
        check("{socket}{socket}", &[("{socket}", "{path}")]);
        check("tcp://{address}", &[("{address}", "{endpoint}")]);
        for other in [
            "{port}",
            "{{port}}",
            "{{prot}}",
            "${prot}",
            "{}",
            "{user}",
            "{print $1}",
            "{\"prot\": 1}",
            "{prot",
            "{0}",
            "{name}",
        ] {
            check(other, &[]);
        }
    }

    #[test]
    fn a_placeholder_stands_for_one_thing() {
        let name = Name::new("web").unwrap();
        let check = |said: &[&str], argument: &str, expected: Result<&str, &str>| {
            let said: Vec<Endpoint> = said.iter().map(|it| it.parse().unwrap()).collect();
            let filled = fill(&["web".into(), argument.into()], &name, &said);
            let filled = filled.map(|it| it[1].clone()).map_err(|it| it.error.to_string());
            assert_eq!(filled, expected.map(OsString::from).map_err(str::to_owned));
        };
        let both = ["/ip4/127.0.0.1/tcp/8000", "/ip6/::1/tcp/8000"];
        check(&both, "{port}", Ok("8000"));
        let ambiguous = "`{host}` in the arguments is ambiguous: `127.0.0.1` or `::1`";
        check(&both, "{host}", Err(ambiguous));
        let nothing = "`{path}` is in the arguments, and `web` has no socket path";
        check(&both, "{path}", Err(nothing));
        check(&["/unix/@web"], "{path}", Err(nothing));
        check(&["/unix/@web"], "{endpoint}", Ok("/unix/@web"));
        let nothing = "`{port}` is in the arguments, and `web` has no TCP endpoint";
        check(&["/unix/@web"], "{port}", Err(nothing));
        check(&["/dns/market.example/tcp/80/tls"], "{host}:{port}", Ok("market.example:80"));
        check(&["/ip4/127.0.0.1/tcp/80"], "http://{host}:{port}", Ok("http://127.0.0.1:80"));
        let zone = ["/ip6zone/eth0/ip6/fe80::1/tcp/80"];
        check(&zone, "{host}", Ok("fe80::1%eth0"));
        check(&zone, "{host}:{port}", Ok("[fe80::1%eth0]:80"));
    }
}
