//! The claims of actors to endpoints, and conflicts between them.

use std::collections::HashMap;

use endpoints::{Endpoint, Quoted};

use crate::diagnostic::{Diagnostic, Place};

/// The claim of an actor to an endpoint: that it listens there.
#[derive(Clone, Debug)]
pub(crate) struct Claim<'a> {
    /// The table of the file that gives it.
    pub(crate) table: &'static str,
    pub(crate) actor: &'a str,
    pub(crate) endpoint: Endpoint,
    pub(crate) place: Place,
}

/// Finds claims to an endpoint that an earlier claim has. Each is reported once, with the earlier
/// one.
///
/// An endpoint that two actors claim is an error if they cannot both have it. It is a warning if
/// they may run on different hosts, or if one actor claims it twice, unless the registrar itself
/// could not bind it.
pub(crate) fn diagnostics(claims: &[Claim<'_>]) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    // Only endpoints with the same port, or that are equal otherwise, can conflict.
    let mut groups: HashMap<Group<'_>, Vec<&Claim<'_>>> = HashMap::new();
    for claim in claims {
        let group = match &claim.endpoint {
            Endpoint::Tcp(tcp) => Group::Port(tcp.port),
            other => Group::Other(other),
        };
        let earlier = groups.entry(group).or_default();
        let mut rivals = earlier.iter().filter_map(|it| Some((it, between(it, claim)?)));
        if let Some((first, verdict)) = rivals.clone().find(|(_, it)| it.is_error()) {
            diagnostics.push(tell(first, claim, verdict));
        } else if let Some((first, verdict)) = rivals.next() {
            diagnostics.push(tell(first, claim, verdict));
        }
        earlier.push(claim);
    }
    diagnostics
}

#[derive(Eq, Hash, PartialEq)]
enum Group<'a> {
    Port(u16),
    Other(&'a Endpoint),
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Verdict {
    /// Two actors cannot both have it.
    Conflict,
    /// Two actors cannot both have it if they are on one host.
    MaybeConflict,
    /// One actor has the same endpoint twice.
    Repeated,
    /// One actor has it, and a wildcard that includes it.
    Included,
    /// The registrar has it, and a wildcard that includes it.
    Unbindable,
}

impl Verdict {
    fn is_error(self) -> bool {
        matches!(self, Self::Conflict | Self::Unbindable)
    }
}

fn between(first: &Claim<'_>, second: &Claim<'_>) -> Option<Verdict> {
    if first.actor != second.actor {
        let clash = clash(&first.endpoint, &second.endpoint)?;
        return Some(match clash {
            Clash::Certain => Verdict::Conflict,
            Clash::OnOneHost => Verdict::MaybeConflict,
        });
    }
    // A declared actor may have an entry in either table, and binds by one of them.
    if first.table != second.table {
        return None;
    }
    if first.endpoint == second.endpoint {
        return Some(Verdict::Repeated);
    }
    if !first.endpoint.conflicts_in_list_with(&second.endpoint) {
        return None;
    }
    // A registrar would not start. An actor's program decides what to bind.
    let has_address = |it: &Endpoint| matches!(it, Endpoint::Tcp(tcp) if tcp.host.ip().is_some());
    let is_certain = has_address(&first.endpoint) && has_address(&second.endpoint);
    Some(if first.table == REGISTRAR && is_certain {
        Verdict::Unbindable
    } else {
        Verdict::Included
    })
}

/// The actor that the table `[registrar]` describes.
pub(crate) const REGISTRAR: &str = "registrar";

/// What the table `[http]` describes, which cannot share an endpoint with an actor either. No actor
/// has that name.
pub(crate) const HTTP: &str = "[http]";

/// How certain it is that two actors cannot both have their endpoints.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Clash {
    /// Wherever they are.
    Certain,
    /// If they are on one host.
    OnOneHost,
}

pub(crate) fn clash(first: &Endpoint, second: &Endpoint) -> Option<Clash> {
    if !first.conflicts_with(second) {
        return None;
    }
    // A wildcard address includes the addresses of its own host, but of no other.
    let is_certain = match (first, second) {
        (Endpoint::Tcp(first), Endpoint::Tcp(second)) => {
            first.host.is_wildcard() == second.host.is_wildcard()
                || first.host.is_loopback()
                || second.host.is_loopback()
        }
        _ => true,
    };
    Some(if is_certain { Clash::Certain } else { Clash::OnOneHost })
}

fn tell(first: &Claim<'_>, second: &Claim<'_>, verdict: Verdict) -> Diagnostic {
    let place = second.place.clone();
    let (endpoint, actor) = (&second.endpoint, Quoted(second.actor));
    let (first_endpoint, first_actor) = (&first.endpoint, Quoted(first.actor));
    let diagnostic = match verdict {
        Verdict::Conflict if first_endpoint == endpoint => {
            let message = format!("`{endpoint}` is claimed by {first_actor} and by {actor}");
            let help = "give one of them another endpoint; two actors cannot listen at one";
            Diagnostic::error(message, place).help(help.to_owned())
        }
        Verdict::Conflict => {
            let message = format!(
                "`{endpoint}` of {actor} is the same place as `{first_endpoint}` of {first_actor}"
            );
            Diagnostic::error(message, place).help("give one of them another port".to_owned())
        }
        Verdict::MaybeConflict => {
            let message = format!(
                "`{endpoint}` of {actor} and `{first_endpoint}` of {first_actor} \
                 cannot be on one host"
            );
            let help = "if they are, give one of them another port";
            Diagnostic::warning(message, place).help(help.to_owned())
        }
        Verdict::Repeated => {
            let message = format!("{actor} has `{endpoint}` twice");
            Diagnostic::warning(message, place).help("leave it out here; it binds once".to_owned())
        }
        Verdict::Included | Verdict::Unbindable => {
            let message =
                format!("`{endpoint}` is the same place as `{first_endpoint}` of {actor}");
            let help = "leave out one of them; it cannot be bound twice";
            let tell = match verdict {
                Verdict::Unbindable => Diagnostic::error,
                _ => Diagnostic::warning,
            };
            tell(message, place).help(help.to_owned())
        }
    };
    let (here, there) = match verdict {
        Verdict::Repeated | Verdict::Included | Verdict::Unbindable => ("again here", "first here"),
        _ => ("claimed here", "first claimed here"),
    };
    diagnostic.label(here).related(first.place.clone(), there)
}
