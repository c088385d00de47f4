//! From TOML to [`Written`]: the right tables, keys and types, and where they stand.

mod cluster;
mod dns;
mod http;
mod quotas;
mod rules;
mod tls;

use std::{fmt::Display, ops::Range, str::FromStr, sync::Arc, time::Duration};

use endpoints::Quoted;
use humantime::format_duration;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use crate::{
    diagnostic::{Diagnostic, Place},
    keys::{
        DRAIN_TIMEOUT, HANDSHAKE_TIMEOUT, HEARTBEAT, HEARTBEAT_MISSES, Limits, REGISTRAR_KEYS,
        SESSIONS_MAX, SETTLE_TIME, SOCKET_GROUP, SOCKET_MODE, TABLES,
    },
    rewritten,
    source::Source,
    syntax::{Key, Value},
    text::{Number, Text},
    uses::Use,
    values, words,
    written::{Actor, Endpoints, Switch, Written, WrittenEndpoint, WrittenHost, WrittenRegistrar},
};

/// Accepts values of the right shape, and reports the others.
pub(crate) fn read(source: &Arc<Source>, root: &DeTable<'_>) -> (Written, Vec<Diagnostic>) {
    let mut shape = Shape { source, diagnostics: Vec::new() };
    let mut written = Written::default();
    for (key, value) in root {
        match key.get_ref().as_ref() {
            "host" => written.host = shape.host(value),
            "registrar" => written.registrar = shape.registrar(value),
            "network" => written.network = shape.actors("network", value),
            "declared" => written.declared = shape.actors("declared", value),
            "names" => written.names = shape.rules(value),
            "quotas" => written.quotas = shape.quotas(value),
            "dns" => written.dns = shape.dns(value),
            "tls" => written.tls = shape.tls(key, value),
            "http" => written.http = shape.http(value),
            "cluster" => written.cluster = shape.cluster(key, value),
            _ => shape.unknown_at_top(key, value),
        }
    }
    (written, shape.diagnostics)
}

struct Shape<'a> {
    source: &'a Arc<Source>,
    diagnostics: Vec<Diagnostic>,
}

impl Shape<'_> {
    fn registrar(&mut self, value: &Value<'_>) -> WrittenRegistrar {
        let mut registrar = WrittenRegistrar::default();
        for (key, value) in self.table("registrar", value) {
            match key.get_ref().as_ref() {
                "listen" => registrar.listen = self.endpoints(key, value, "registrar"),
                "insecure" => registrar.insecure = self.switch(key, value),
                SOCKET_MODE => registrar.socket_mode = self.word(SOCKET_MODE, "0660", value),
                SOCKET_GROUP => registrar.socket_group = self.word(SOCKET_GROUP, "callsign", value),
                "handshake_timeout" => {
                    registrar.handshake_timeout = self.duration(&HANDSHAKE_TIMEOUT, value)
                }
                "heartbeat" => registrar.heartbeat = self.duration(&HEARTBEAT, value),
                "heartbeat_misses" => {
                    registrar.heartbeat_misses = self.number(&HEARTBEAT_MISSES, value)
                }
                "sessions_max" => registrar.sessions_max = self.number(&SESSIONS_MAX, value),
                "settle_time" => registrar.settle_time = self.duration(&SETTLE_TIME, value),
                "drain_timeout" => registrar.drain_timeout = self.duration(&DRAIN_TIMEOUT, value),
                "tractor" => registrar.tractor = self.switch(key, value),
                "names" => registrar.names = self.word("names", "same-user", value),
                name => {
                    let message = format!("unknown key {} in `[registrar]`", Quoted(name));
                    let help = match suggestion(name, REGISTRAR_KEYS, REGISTRAR_ALIASES) {
                        Some(key) => format!("did you mean `{key}`?"),
                        None => format!("its keys are {}", list(REGISTRAR_KEYS)),
                    };
                    let place = self.key(key).place;
                    self.diagnostics.push(Diagnostic::error(message, place).help(help));
                }
            }
        }
        registrar
    }

    fn host(&mut self, value: &Value<'_>) -> WrittenHost {
        let mut host = WrittenHost::default();
        for (key, value) in self.table("host", value) {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("id", DeValue::String(text)) => host.id = Some(self.text(value, text)),
                ("id", other) => {
                    let message = format!("found {} where a string is expected", article(other));
                    let help = "the id is a word, such as id = \"rack7-node3\"".to_owned();
                    self.diagnostics
                        .push(Diagnostic::error(message, self.place(value.span())).help(help));
                }
                (name, _) => {
                    let message = format!("unknown key {} in `[host]`", Quoted(name));
                    let place = self.key(key).place;
                    let help = "its only key is `id`".to_owned();
                    self.diagnostics.push(Diagnostic::error(message, place).help(help));
                }
            }
        }
        host
    }

    /// Reads a list of words, or a single one.
    fn words(
        &mut self,
        key: &Key<'_>,
        value: &Value<'_>,
        example: &str,
        meant: fn(&DeValue<'_>) -> Option<String>,
    ) -> Option<Vec<Text>> {
        let items = match value.get_ref() {
            DeValue::String(text) => return Some(vec![self.text(value, text)]),
            DeValue::Array(items) => items,
            other => {
                let message = format!("found {} where a list is expected", article(other));
                let meant = meant(other).unwrap_or_else(|| format!("\"{example}\""));
                let help = format!("write {} = [{meant}]", key.get_ref());
                self.diagnostics
                    .push(Diagnostic::error(message, self.place(value.span())).help(help));
                return None;
            }
        };
        let mut words = Vec::with_capacity(items.len());
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => words.push(self.text(item, text)),
                other => {
                    let message = format!("found {} where a string is expected", article(other));
                    let help = match meant(other) {
                        Some(meant) => format!("write {meant}"),
                        None => format!("write it as in \"{example}\""),
                    };
                    self.diagnostics
                        .push(Diagnostic::error(message, self.place(item.span())).help(help));
                }
            }
        }
        Some(words)
    }

    fn actors(&mut self, table: &str, value: &Value<'_>) -> Vec<Actor> {
        let mut actors = Vec::new();
        for (key, value) in self.table(table, value) {
            let endpoints = self.endpoints(key, value, table).unwrap_or_default();
            actors.push(Actor { name: self.key(key), endpoints });
        }
        actors
    }

    /// Returns the keys and values of a table; none if it is something else.
    fn table<'v>(
        &mut self,
        name: &str,
        value: &'v Value<'_>,
    ) -> impl Iterator<Item = (&'v Key<'v>, &'v Value<'v>)> + use<'v> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let found = article(value.get_ref());
            let message = format!("found {found} where the table `[{name}]` is expected");
            let is_header = self.literal(value.span()).starts_with("[[");
            let help =
                is_header.then(|| format!("write the header in single brackets: `[{name}]`"));
            let diagnostic = Diagnostic::error(message, self.place(value.span())).help(help);
            self.diagnostics.push(diagnostic);
        }
        table.into_iter().flat_map(|it| it.iter())
    }

    /// Reads the endpoints after a key of `table`.
    fn endpoints(&mut self, key: &Key<'_>, value: &Value<'_>, table: &str) -> Option<Endpoints> {
        let place = Use::of_table(table);
        let list = match value.get_ref() {
            DeValue::String(text) => vec![WrittenEndpoint::Text(self.text(value, text))],
            DeValue::Array(items) => {
                match items.iter().map(Spanned::get_ref).collect::<Vec<_>>()[..] {
                    // A single pair, and not a list of two endpoints.
                    [first, second] if is_pair(first, second) || is_pair(second, first) => {
                        self.endpoint(value, place).into_iter().collect()
                    }
                    _ if are_hosts_and_ports(items) => {
                        self.scattered(value.span(), items, place);
                        return None;
                    }
                    _ => self.each(items, place),
                }
            }
            other => {
                let message = format!("found {} where endpoints are expected", article(other));
                let help = self.wanted_endpoints(key, value, table);
                self.diagnostics
                    .push(Diagnostic::error(message, self.place(value.span())).help(help));
                return None;
            }
        };
        // The faults of all of them have been reported.
        let is_left_empty =
            list.is_empty() && value.get_ref().as_array().is_some_and(|it| !it.is_empty());
        (!is_left_empty).then(|| Endpoints { list, place: Some(self.place(value.span())) })
    }

    /// Says what to write for something that is no endpoints.
    fn wanted_endpoints(&self, key: &Key<'_>, value: &Value<'_>, table: &str) -> String {
        let found = value.get_ref();
        let written = rewritten::endpoint(found, Use::of_table(table));
        let literal = self.literal(key.span());
        match (found, written) {
            // The table of a dotted key has the place of its key.
            (DeValue::Table(inner), _) if value.span() == key.span() => {
                let name = dotted(&self.key(key), inner);
                format!("quote a name that has a dot in it: \"{name}\"")
            }
            // The last word of a header is no key of the table that it opens.
            (DeValue::Table(_), written) if self.literal(value.span()).starts_with('[') => {
                match written {
                    Some(written) => format!("write in `[{table}]`: {literal} = {written}"),
                    None => format!(
                        "write in `[{table}]` where it listens, such as {literal} = {EXAMPLE}"
                    ),
                }
            }
            (_, Some(written)) => format!("write {literal} = {written}"),
            (_, None) => format!("write where it listens, such as {literal} = {EXAMPLE}"),
        }
    }

    /// Reads a list of endpoints, one by one. A bare port among hosts does not belong to this host.
    fn each(&mut self, items: &DeArray<'_>, place: Use) -> Vec<WrittenEndpoint> {
        let is_port = |it: &Spanned<DeValue<'_>>| it.get_ref().is_integer();
        let has_others = !items.iter().all(is_port);
        let mut list = Vec::with_capacity(items.len());
        for item in items.iter() {
            if has_others && is_port(item) {
                let message = "found a number where an endpoint is expected".to_owned();
                self.wrong_endpoint(message, item.span());
            } else {
                list.extend(self.endpoint(item, place));
            }
        }
        list
    }

    /// Reports a list in which hosts and ports alternate.
    fn scattered(&mut self, span: Range<usize>, items: &DeArray<'_>, place: Use) {
        let message = "hosts and ports are not in pairs";
        let flat = items.iter().flat_map(|it| match it.get_ref() {
            DeValue::Array(ports) if ports.iter().all(|it| it.get_ref().is_integer()) => {
                ports.iter().map(|it| it.get_ref().clone()).collect()
            }
            other => vec![other.clone()],
        });
        match rewritten::pairs(&flat.collect::<Vec<_>>(), place) {
            Some(written) => {
                let fault = Diagnostic::error(message, self.place(span));
                self.diagnostics.push(fault.help(format!("write {written}")));
            }
            None => self.wrong_endpoint(message.to_owned(), span),
        }
    }

    fn endpoint(&mut self, value: &Value<'_>, place: Use) -> Option<WrittenEndpoint> {
        let items = match value.get_ref() {
            DeValue::String(text) => return Some(WrittenEndpoint::Text(self.text(value, text))),
            DeValue::Array(items) => items,
            other => {
                let message = format!("found {} where an endpoint is expected", article(other));
                match rewritten::endpoint(other, place) {
                    Some(written) => {
                        let diagnostic = Diagnostic::error(message, self.place(value.span()));
                        self.diagnostics.push(diagnostic.help(format!("write {written}")));
                    }
                    None => self.wrong_endpoint(message, value.span()),
                }
                return None;
            }
        };
        let [first, second] = items.iter().collect::<Vec<_>>()[..] else {
            if are_hosts_and_ports(items) {
                self.scattered(value.span(), items, place);
                return None;
            }
            let found = format!("a list of {}", items.len());
            let message = format!("found {found} where a [host, port] pair is expected");
            self.wrong_endpoint(message, value.span());
            return None;
        };
        if is_pair(second.get_ref(), first.get_ref()) {
            let message = "the port comes before the host";
            match rewritten::turned(first.get_ref(), second.get_ref(), place) {
                Some(written) => {
                    let fault = Diagnostic::error(message, self.place(value.span()));
                    self.diagnostics.push(fault.help(format!("write {written}")));
                }
                None => self.wrong_endpoint(message.to_owned(), value.span()),
            }
            return None;
        }
        let DeValue::String(host) = first.get_ref() else {
            let message = format!("found {} where a host is expected", article(first.get_ref()));
            self.wrong_endpoint(message, first.span());
            return None;
        };
        let host = self.text(first, host);
        match second.get_ref() {
            DeValue::Integer(port) => {
                let port = Number::toml(self.source, second.span(), port);
                Some(WrittenEndpoint::Pair { host, port, place: self.place(value.span()) })
            }
            DeValue::String(text) => {
                let second = self.text(second, text);
                Some(WrittenEndpoint::TextPair { first: host, second })
            }
            other => {
                let message = format!("found {} where a port is expected", article(other));
                self.wrong_endpoint(message, second.span());
                None
            }
        }
    }

    fn wrong_endpoint(&mut self, message: String, span: Range<usize>) {
        let help = "an endpoint is a multiaddr, such as \"/unix/run/feed.sock\", \
                    or a pair, such as [\"127.0.0.1\", 5555]";
        self.diagnostics.push(Diagnostic::error(message, self.place(span)).help(help.to_owned()));
    }

    fn duration(&mut self, limits: &Limits<Duration>, value: &Value<'_>) -> Option<Text> {
        match value.get_ref() {
            DeValue::String(text) => Some(self.text(value, text)),
            other => {
                let message = format!("found {} where a duration is expected", article(other));
                let help = match other {
                    DeValue::Integer(number) => {
                        match values::with_likely_unit(&number.to_string(), limits) {
                            Some(it) => format!("write the unit: {} = \"{it}\"", limits.key),
                            None => values::range(limits),
                        }
                    }
                    _ => {
                        let default = format_duration(limits.default);
                        format!("a duration is a string: {} = \"{default}\"", limits.key)
                    }
                };
                self.diagnostics
                    .push(Diagnostic::error(message, self.place(value.span())).help(help));
                None
            }
        }
    }

    /// Reads a string that names the intended digits or name.
    fn word(&mut self, key: &str, example: &str, value: &Value<'_>) -> Option<Text> {
        let (found, other_is_number) = match value.get_ref() {
            DeValue::String(text) => return Some(self.text(value, text)),
            other => (article(other), matches!(other, DeValue::Integer(_))),
        };
        let literal = self.literal(value.span());
        let written = match other_is_number {
            true if key == SOCKET_MODE => rewritten::mode(literal),
            // A number may name a user, and is neither a path nor an engine.
            true if example.starts_with('/') || key == "engine" => None,
            true => Some(literal.to_owned()),
            false => None,
        };
        let written = written.as_deref().unwrap_or(example);
        let message = format!("found {found} where a string is expected");
        let help = format!("write {key} = \"{written}\"");
        self.diagnostics.push(Diagnostic::error(message, self.place(value.span())).help(help));
        None
    }

    fn number<T>(&mut self, limits: &Limits<T>, value: &Value<'_>) -> Option<Number>
    where
        T: Copy + Display + PartialOrd + FromStr,
    {
        match value.get_ref() {
            DeValue::Integer(number) => Some(Number::toml(self.source, value.span(), number)),
            other => {
                let message = format!("found {} where a number is expected", article(other));
                let read = match other {
                    DeValue::String(text) => text.parse().ok(),
                    _ => None,
                };
                let help = match read {
                    Some(number) if (limits.min..=limits.max).contains(&number) => {
                        format!("write it without quotes: {number}")
                    }
                    _ => format!("it may be from {} to {}", limits.min, limits.max),
                };
                self.diagnostics
                    .push(Diagnostic::error(message, self.place(value.span())).help(help));
                None
            }
        }
    }

    fn switch(&mut self, key: &Key<'_>, value: &Value<'_>) -> Option<Switch> {
        match value.get_ref() {
            DeValue::Boolean(boolean) => Some(Switch(*boolean)),
            other => {
                let found = article(other);
                let message = format!("found {found} where `true` or `false` is expected");
                let meant = match other {
                    DeValue::String(text) => words::switch(text),
                    DeValue::Integer(_) => words::switch(self.literal(value.span())),
                    _ => None,
                };
                let key = key.get_ref();
                let help = match (other, meant) {
                    (DeValue::String(text), Some(meant)) if **text == meant.to_string() => {
                        format!("write it without quotes: {meant}")
                    }
                    (_, Some(meant)) => format!("write {key} = {meant}"),
                    (_, None) => format!("write {key} = true, or {key} = false"),
                };
                self.diagnostics
                    .push(Diagnostic::error(message, self.place(value.span())).help(help));
                None
            }
        }
    }

    /// An application may keep callsign's tables beside its own in one file. Only a probable
    /// misspelling of ours is an error.
    fn unknown_at_top(&mut self, key: &Key<'_>, value: &Value<'_>) {
        let name = key.get_ref().as_ref();
        let is_table = value.get_ref().is_table() || self.literal(value.span()).starts_with("[[");
        let (message, help) = if let Some(table) = suggestion(name, TABLES, &[]) {
            let what = if is_table {
                format!("table {}", Quoted(&format!("[{name}]")))
            } else {
                format!("key {}", Quoted(name))
            };
            (format!("unknown {what}"), format!("did you mean `[{table}]`?"))
        } else if is_table {
            return;
        } else {
            let help = match suggestion(name, REGISTRAR_KEYS, &[]) {
                Some(key) => format!("`{key}` belongs in the table `[registrar]`"),
                None if name == "host_id" => {
                    "it belongs in the table `[host]`, where it is called `id`".to_owned()
                }
                None => return,
            };
            (format!("the key {} is in no table", Quoted(name)), help)
        };
        let place = self.key(key).place;
        self.diagnostics.push(Diagnostic::error(message, place).help(help));
    }

    /// Returns the text at `span`.
    fn literal(&self, span: Range<usize>) -> &str {
        self.source.text.get(span).unwrap_or_default()
    }

    fn key(&self, key: &Key<'_>) -> Text {
        Text::toml(self.source, key.span(), key.get_ref())
    }

    fn text(&self, value: &Value<'_>, text: &str) -> Text {
        Text::toml(self.source, value.span(), text)
    }

    fn place(&self, span: Range<usize>) -> Place {
        Place { source: Arc::clone(self.source), span }
    }
}

/// Tells whether two values are a host and a port, however the port is written.
fn is_pair(host: &DeValue<'_>, port: &DeValue<'_>) -> bool {
    let Some(host) = host.as_str().filter(|it| !it.starts_with('/')) else { return false };
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    match port {
        DeValue::String(text) => is_number(text) && !is_number(host),
        DeValue::Integer(_) => true,
        other => other.is_float() || other.is_bool(),
    }
}

/// Tells whether a list has names or addresses without a port beside numbers.
fn are_hosts_and_ports(items: &DeArray<'_>) -> bool {
    let is_host = |it: &DeValue<'_>| it.as_str().is_some_and(|it| !it.contains(['/', '@']));
    let is_port = |it: &DeValue<'_>| {
        let of_ports = |it: &DeArray<'_>| it.iter().all(|it| it.get_ref().is_integer());
        it.is_integer() || it.is_float() || it.as_array().is_some_and(of_ports)
    };
    let values = || items.iter().map(Spanned::get_ref);
    values().any(is_host) && values().any(is_port) && values().all(|it| is_host(it) || is_port(it))
}

/// An endpoint that every table accepts.
const EXAMPLE: &str = "\"/ip4/127.0.0.1/tcp/5555\"";

/// Joins the parts of a dotted key.
fn dotted(first: &Text, mut rest: &DeTable<'_>) -> String {
    let mut name = first.value.clone();
    while let Some((key, value)) = rest.iter().next() {
        name = format!("{name}.{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(table) if value.span() == key.span() => rest = table,
            _ => break,
        }
    }
    name
}

/// Returns the name that `name` was probably meant to be.
fn suggestion(
    name: &str,
    known: &[&'static str],
    aliases: &[(&str, &'static str)],
) -> Option<&'static str> {
    // Longer names are not slips, and the comparison takes quadratic time.
    if name.len() > 32 {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('-', "_");
    if let Some((_, meant)) = aliases.iter().find(|(alias, _)| *alias == name) {
        return Some(meant);
    }
    known
        .iter()
        .map(|it| (strsim::damerau_levenshtein(&name, it), *it))
        // One slip in three letters.
        .filter(|(slips, it)| *slips <= it.len() / 3)
        .min()
        .map(|(_, it)| it)
}

const REGISTRAR_ALIASES: &[(&str, &str)] = &[
    ("address", "listen"),
    ("addresses", "listen"),
    ("bind", "listen"),
    ("endpoints", "listen"),
    ("listen_on", "listen"),
    ("group", SOCKET_GROUP),
    ("max_sessions", "sessions_max"),
    ("mode", SOCKET_MODE),
    ("permissions", SOCKET_MODE),
    ("timeout", "handshake_timeout"),
    ("heartbeat_interval", "heartbeat"),
    ("shutdown_timeout", "drain_timeout"),
];

fn list(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|it| format!("`{it}`")).collect();
    quoted.join(", ")
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
