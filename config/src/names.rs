//! The rules of names: converts them as written into rules as meant.

use std::{cmp::Ordering, net::IpAddr};

use endpoints::{DnsName, NamePattern, Quoted, SpiffeId, TrustDomain};

use crate::{
    diagnostic::{Diagnostic, Place},
    text::{Number, Text},
    words::Words,
    written::{Switch, WrittenRule},
};

/// The policy for names without a rule.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Names {
    /// A name belongs to the owner of its instances.
    #[default]
    SameUser,
    /// Everybody may register under any name.
    Open,
}

/// A rule for the names that a pattern matches. The most specific matching rule holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NameRule {
    /// The names.
    pub pattern: NamePattern,
    /// The owners that may register them; `None` leaves it to [`Names`].
    pub register: Option<Vec<Grantee>>,
    /// The owners that may find them; `None` means all.
    pub find: Option<Vec<Grantee>>,
    /// Whether the names are exclusive.
    pub exclusive: bool,
    /// The most instances that each of them may have.
    pub instances_max: Option<usize>,
    place: Place,
}

impl NameRule {
    /// Returns its place: the file, and the line.
    pub fn place(&self) -> String {
        place(&self.place)
    }
}

/// Returns the position of something: the file, and the line.
pub(crate) fn place(place: &Place) -> String {
    format!("{}:{}", place.source.name, place.line_column().0)
}

/// An owner, or a set of owners, that a rule allows something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Grantee {
    /// Everybody.
    Any,
    /// A user.
    User(Account),
    /// The members of a group.
    Group(Account),
    /// The peers at addresses with this many leading bits of this one.
    Address(IpAddr, u8),
    /// The holder of a certificate, by its name there: a SPIFFE ID, all below one
    /// (`spiffe://market/*`), or a DNS name.
    Certified(String),
}

/// A user or a group by name or number. Only the program that uses the settings knows whether it
/// exists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Its name, or its number.
    pub name: String,
    place: Place,
}

impl Account {
    /// Returns the fault that there is no such user.
    pub fn unknown_user(&self) -> Diagnostic {
        self.unknown("user", "passwd", "useradd")
    }

    /// Returns the fault that there is no such group.
    pub fn unknown_group(&self) -> Diagnostic {
        self.unknown("group", "group", "groupadd")
    }

    fn unknown(&self, what: &str, list: &str, make: &str) -> Diagnostic {
        let name = Quoted(&self.name);
        let help = format!("name one that exists (`getent {list}`), or create it (`{make}`)");
        Diagnostic::error(format!("there is no {what} {name}"), self.place.clone()).help(help)
    }
}

/// Reads the policy for names without a rule.
pub(crate) fn names(text: &Text, diagnostics: &mut Vec<Diagnostic>) -> Option<Names> {
    match text.value.as_str() {
        "same-user" => Some(Names::SameUser),
        "open" => Some(Names::Open),
        other => {
            let message = format!("{} is not a value of `names`", Quoted(other));
            let help = match POLICIES.meant(other) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "write `same-user` (a name belongs to the owner of its instances) or `open` (anybody may register any name)".to_owned(),
            };
            diagnostics.push(Diagnostic::error(message, text.inside()).help(help));
            None
        }
    }
}

/// Reads the rules. Two rules for one name are never ambiguous.
pub(crate) fn rules(
    written: &[(Text, WrittenRule)],
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<NameRule> {
    if let Some(beyond) = written.get(RULES_MAX) {
        let message = format!("there are {} rules of names", written.len());
        let help = format!("at most {RULES_MAX} are allowed: let one pattern match several names");
        diagnostics.push(Diagnostic::error(message, beyond.0.place.clone()).help(help));
        return Vec::new();
    }
    let (mut rules, mut faulty): (Vec<NameRule>, Vec<NameRule>) = (Vec::new(), Vec::new());
    for (pattern, written) in written {
        let (rule, is_faulty) = rule(pattern, written, diagnostics);
        if is_faulty {
            faulty.push(rule);
            continue;
        }
        let is_rival = |it: &&NameRule| {
            it.pattern.cmp_specific(&rule.pattern) == Ordering::Equal
                && it.pattern.overlaps(&rule.pattern)
        };
        if let Some(rival) = rules.iter().find(is_rival) {
            let (one, other) = (Quoted(rival.pattern.as_str()), Quoted(rule.pattern.as_str()));
            let message =
                format!("{one} and {other} are equally specific, so neither takes precedence");
            let diagnostic = Diagnostic::error(message, pattern.place.clone())
                .related(rival.place.clone(), "as specific as this one")
                .help(
                    "make one of them more specific: the pattern with more literal characters wins"
                        .to_owned(),
                );
            diagnostics.push(diagnostic);
        }
        rules.push(rule);
    }
    // Nobody follows these, but whom they name may be checked.
    rules.extend(faulty);
    rules
}

/// Reads a rule, and tells whether its pattern is none.
fn rule(
    pattern: &Text,
    written: &WrittenRule,
    diagnostics: &mut Vec<Diagnostic>,
) -> (NameRule, bool) {
    let WrittenRule { register, find, exclusive, max_instances } = written;
    let place = pattern.place.clone();
    let mut grantees = |written: &Option<Vec<Text>>| {
        let written = written.as_ref()?;
        if let Some(beyond) = written.get(GRANTEES_MAX) {
            let message = format!("{} owners are listed here", written.len());
            let help =
                format!("at most {GRANTEES_MAX} are allowed: name a group that they are all in");
            diagnostics.push(Diagnostic::error(message, beyond.place.clone()).help(help));
        }
        Some(written.iter().filter_map(|it| grantee(it, diagnostics)).collect())
    };
    let (register, find) = (grantees(register), grantees(find));
    let exclusive = exclusive.is_some_and(|Switch(it)| it);
    let instances_max = max_instances.as_ref().and_then(|it| count(it, diagnostics));
    if let (true, Some(number)) = (exclusive, max_instances) {
        let message = "`exclusive` allows one instance, so `max_instances` has no effect";
        let diagnostic = Diagnostic::warning(message, number.text.place.clone());
        diagnostics.push(diagnostic.help("leave out one of the two".to_owned()));
    }
    let (pattern, is_faulty) = match NamePattern::new(&pattern.value) {
        Ok(pattern) => (pattern, false),
        Err(error) => {
            let diagnostic = Diagnostic::error(error.to_string(), place.clone());
            diagnostics.push(diagnostic.help(error.help().to_owned()));
            (NamePattern::new("*").expect("it matches every name"), true)
        }
    };
    (NameRule { pattern, register, find, exclusive, instances_max, place }, is_faulty)
}

fn count(number: &Number, diagnostics: &mut Vec<Diagnostic>) -> Option<usize> {
    let count = number.value.and_then(|it| usize::try_from(it).ok()).filter(|it| *it > 0);
    if count.is_none() {
        let message = format!("`max_instances` is at least 1, not {}", number.text.value);
        let help = "write 1 or more; `register` says who may register at all";
        diagnostics
            .push(Diagnostic::error(message, number.text.place.clone()).help(help.to_owned()));
    }
    count
}

fn grantee(text: &Text, diagnostics: &mut Vec<Diagnostic>) -> Option<Grantee> {
    let account = |name: &str| {
        let is_name = !name.is_empty() && !name.contains([':', '\0', ' ']);
        is_name.then(|| Account { name: name.to_owned(), place: text.inside() })
    };
    let read = match text.value.split_once(':') {
        None if text.value == "any" => Some(Grantee::Any),
        Some(("user", name)) => account(name).map(Grantee::User),
        Some(("group", name)) => account(name).map(Grantee::Group),
        Some(("address", address)) => network(address),
        Some(("tls", name)) => are_certified(name).then(|| Grantee::Certified(name.to_owned())),
        _ => None,
    };
    if read.is_none() {
        let message = format!("{} does not name an owner", Quoted(&text.value));
        diagnostics.push(Diagnostic::error(message, text.inside()).help(whom(&text.value)));
    }
    read
}

/// Proposes what to write for an owner.
fn whom(written: &str) -> String {
    match meant(written) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if NOBODY.contains(&&*written.trim().to_lowercase()) => {
            "write `[]`: an empty list names nobody".to_owned()
        }
        None if is_account(written) => format!("write `user:{written}` or `group:{written}`"),
        None => "write `user:root`, `group:root`, `address:10.0.0.0/8`, \
                 `tls:spiffe://callsign.internal/feed` or `any`"
            .to_owned(),
    }
}

/// Returns the owner that was meant by a text, unless it is the name of an account alone.
pub(crate) fn meant(written: &str) -> Option<String> {
    let small = written.trim().to_lowercase();
    if small == "any" || EVERYBODY.contains(&&*small) {
        return Some("any".to_owned());
    }
    let (kind, rest) = match written.split_once([':', '=']) {
        _ if written.starts_with(SPIFFE) => ("tls", written),
        Some((kind, rest)) => (KINDS.meant(kind)?, rest.trim()),
        // As `sudo` has it.
        None if written.starts_with(['@', '%']) => ("group", &written[1..]),
        None => ("address", written),
    };
    let is_one = match kind {
        "address" => network(rest).is_some(),
        "tls" => are_certified(rest),
        _ => is_name(rest),
    };
    is_one.then(|| format!("{kind}:{rest}"))
}

/// Tells whether a text may be the name of a user or a group.
pub(crate) fn is_account(written: &str) -> bool {
    is_name(written) && !written.contains('.')
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains([':', '\0', ' ', '/', '=', '@'])
}

/// Tells whether certificates may name their holders so: one of them, or all below a SPIFFE ID or a
/// trust domain.
fn are_certified(name: &str) -> bool {
    let Some(above) = name.strip_prefix(SPIFFE).and_then(|it| it.strip_suffix("/*")) else {
        return is_certified(name);
    };
    match above.split_once('/') {
        None => TrustDomain::new(above).is_ok(),
        Some(_) => format!("{SPIFFE}{above}").parse::<SpiffeId>().is_ok(),
    }
}

/// Tells whether a certificate may name its holder so.
pub(crate) fn is_certified(name: &str) -> bool {
    if name.starts_with(SPIFFE) {
        name.parse::<SpiffeId>().is_ok()
    } else {
        DnsName::new(name).is_ok()
    }
}

/// The beginning of a SPIFFE ID.
const SPIFFE: &str = "spiffe://";

fn network(text: &str) -> Option<Grantee> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    (bits <= most).then_some(Grantee::Address(address, bits))
}

/// What holds of names without a rule, as it is written.
pub(crate) const POLICIES: Words = Words { known: &["same-user", "open"], aliases: &[] };

/// The kinds of owners.
pub(crate) const KINDS: Words = Words {
    known: &["user", "group", "address", "tls"],
    aliases: &[
        ("uid", "user"),
        ("account", "user"),
        ("gid", "group"),
        ("grp", "group"),
        ("addr", "address"),
        ("cidr", "address"),
        ("host", "address"),
        ("ip", "address"),
        ("ip4", "address"),
        ("ip6", "address"),
        ("net", "address"),
        ("network", "address"),
        ("certificate", "tls"),
        ("cert", "tls"),
        ("dns", "tls"),
        ("spiffe", "tls"),
    ],
};

/// What people call everybody.
const EVERYBODY: &[&str] =
    &["*", "all", "anybody", "anyone", "everybody", "everyone", "public", "world"];

/// What people call nobody. There is such a user, `user:nobody`, who is seldom meant.
const NOBODY: &[&str] =
    &["none", "nobody", "no-one", "noone", "nil", "null", "-", "false", "never"];

/// The most rules: a registered name may have to be matched against all of them.
const RULES_MAX: usize = 256;

/// The most entries of a list: a caller may have to be compared with all of them.
const GRANTEES_MAX: usize = 64;
