//! Quotas: converts the limits of an owner's use as written into limits as meant.

use std::net::IpAddr;

use endpoints::Quoted;

use crate::{
    diagnostic::{Diagnostic, Place},
    keys::{COUNTS, TRUSTED},
    names::{KINDS, is_certified},
    text::Text,
    values,
    written::{WrittenQuota, WrittenQuotas},
};

/// The quotas of the owners of a registrar. An absent one has its default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct QuotaSettings {
    /// Those of everybody but the trusted.
    pub others: Quota,
    /// Those of user 0 and of the user as whom the registrar runs.
    pub trusted: Quota,
    /// Those of single owners.
    pub named: Vec<(QuotaOwner, Quota)>,
}

/// The limits of one owner; `None` where the default holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Quota {
    /// Connections.
    pub sessions: Option<usize>,
    /// Registered instances.
    pub instances: Option<usize>,
    /// Calls that wait for a name.
    pub waits: Option<usize>,
    /// Watches.
    pub watches: Option<usize>,
    /// Looks at endpoints that wait or are under way.
    pub looks: Option<usize>,
    /// Time of a processor, in percent of one.
    pub cpu: Option<usize>,
    /// Bytes of memory.
    pub bytes: Option<usize>,
}

/// The owner of a quota.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum QuotaOwner {
    /// A user, by name or number. Whether there is such a user is known only where the settings are
    /// used.
    User(QuotaUser),
    /// The peers at an address; for IPv6, in its network (the first 64 bits).
    Address(IpAddr),
    /// The holder of a certificate, by its name there: a SPIFFE ID or a DNS name.
    Certified(String),
}

/// A user by name or number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QuotaUser {
    /// Its name, or its number.
    pub name: String,
    place: Place,
}

impl QuotaUser {
    /// Returns the fault that there is no such user.
    pub fn unknown(&self) -> Diagnostic {
        let name = Quoted(&self.name);
        let help = "name one that exists (`getent passwd`), or create it (`useradd`)";
        Diagnostic::error(format!("there is no user {name}"), self.place.clone())
            .help(help.to_owned())
    }
}

pub(crate) fn quotas(written: &WrittenQuotas, diagnostics: &mut Vec<Diagnostic>) -> QuotaSettings {
    let (others, trusted) =
        (quota(&written.others, diagnostics), quota(&written.trusted, diagnostics));
    let mut named = Vec::with_capacity(written.named.len());
    for (name, written) in &written.named {
        let quota = quota(written, diagnostics);
        if let Some(owner) = owner(name, diagnostics) {
            named.push((owner, quota));
        }
    }
    QuotaSettings { others, trusted, named }
}

fn quota(written: &WrittenQuota, diagnostics: &mut Vec<Diagnostic>) -> Quota {
    let mut counts = [None; COUNTS.len()];
    for ((count, number), limits) in counts.iter_mut().zip(&written.counts).zip(&COUNTS) {
        *count = number.as_ref().and_then(|it| values::number(it, limits, diagnostics));
    }
    let bytes = written.bytes.as_ref().and_then(|it| size(it, diagnostics));
    let [sessions, instances, waits, watches, looks, cpu] = counts;
    Quota { sessions, instances, waits, watches, looks, cpu, bytes }
}

fn owner(text: &Text, diagnostics: &mut Vec<Diagnostic>) -> Option<QuotaOwner> {
    let is_name = |name: &str| !name.is_empty() && !name.contains([':', '\0', ' ']);
    let owner = match text.value.split_once(':') {
        Some(("user", name)) if is_name(name) => {
            Some(QuotaOwner::User(QuotaUser { name: name.to_owned(), place: text.inside() }))
        }
        Some(("address", address)) => address.parse().ok().map(QuotaOwner::Address),
        Some(("tls", name)) => is_certified(name).then(|| QuotaOwner::Certified(name.to_owned())),
        _ => None,
    };
    if owner.is_none() {
        let message = format!("{} does not say whose quotas these are", Quoted(&text.value));
        let bare = Some(("tls", &*text.value)).filter(|(_, it)| it.starts_with("spiffe://"));
        let meant = bare.or_else(|| text.value.split_once([':', '='])).and_then(|(kind, rest)| {
            let kind = KINDS.meant(kind).filter(|it| *it != "group")?;
            let rest = rest.trim();
            let is_right = match kind {
                "user" => is_name(rest),
                "tls" => is_certified(rest),
                _ => rest.parse::<IpAddr>().is_ok(),
            };
            is_right.then(|| format!("\"{kind}:{rest}\""))
        });
        let help = match text.value.as_str() {
            _ if meant.is_some() => format!("did you mean `{}`?", meant.unwrap_or_default()),
            "all" | "any" | "default" | "everybody" | "everyone" | "others" => {
                "write what everybody may use in `[quotas]` itself".to_owned()
            }
            name if is_name(name) && !name.contains('.') => {
                format!("write `\"user:{name}\"`, or `{TRUSTED}`")
            }
            _ => format!("write `\"user:root\"`, `\"address:10.0.0.7\"` or `{TRUSTED}`"),
        };
        diagnostics.push(Diagnostic::error(message, text.inside()).help(help));
    }
    owner
}

/// Reads a size of memory.
fn size(text: &Text, diagnostics: &mut Vec<Diagnostic>) -> Option<usize> {
    let written = text.value.trim();
    let end = written.find(|it: char| !it.is_ascii_digit()).unwrap_or(written.len());
    let (digits, unit) = (&written[..end], written[end..].trim());
    let known = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
    let (message, help) = match (digits.parse::<usize>(), known) {
        (Ok(count), Some(unit)) => match count.checked_mul(unit) {
            Some(bytes) if (BYTES_MIN..=BYTES_MAX).contains(&bytes) => return Some(bytes),
            _ => {
                let message = format!("{} is out of range for `bytes`", Quoted(&text.value));
                (message, "it may be from 1MiB to 1024GiB".to_owned())
            }
        },
        (Ok(count), None) => {
            let message = match unit {
                "" => format!("{} has no unit of memory", Quoted(&text.value)),
                _ => format!("{} is not a unit of memory", Quoted(unit)),
            };
            let meant = match unit.chars().next().map(|it| it.to_ascii_lowercase()) {
                Some('k') => "KiB",
                Some('g') => "GiB",
                _ => "MiB",
            };
            (message, format!("write `{count}{meant}`; the units are KiB, MiB, GiB"))
        }
        (Err(_), _) => {
            let message = format!("{} is not a size", Quoted(&text.value));
            (message, "a size is a number and a unit, such as `64MiB` or `1GiB`".to_owned())
        }
    };
    diagnostics.push(Diagnostic::error(message, text.inside()).help(help));
    None
}

const UNITS: [(&str, usize); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Less is used up by a few answers, and more has no machine.
const BYTES_MIN: usize = 1 << 20;
const BYTES_MAX: usize = 1 << 40;
