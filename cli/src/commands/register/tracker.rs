//! Observation of an actor through the kernel: where it listens, and whether the listener is the
//! actor.
//!
//! The actor is recognised by its processes. Those of a program started here descend from this
//! process; those of a running one are the first that were seen to listen, and after a restart
//! their [successor](Former). Any other program that takes its place later is another one, and so is
//! another user's from the beginning: callers of a user's actor accept that user's listener, or root's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use endpoints::{Endpoint, Interface, Stamp, Stamped, TcpAddress, UnixAddress, UnixPath};
use tokio::time::Instant;
use transport::{
    Beyond, DialError, Listening, ListeningSocket, Process, Silence, Whose, any_listens, beyond,
    dial_within, endpoints_of, expand, here, holders, listening, lost_address, may_speak_for,
    stamp, user_ids_are_global, whose, without_address,
};

use super::former::Former;
use crate::users::user_name;

/// Observes where an actor listens, and remembers what it has seen.
#[derive(Clone, Debug)]
pub(super) struct ListenerTracker {
    places: Vec<Place>,
    /// The actor's processes descend from this one; `None` if the first listeners count.
    program: Option<Process>,
    /// The observations of each endpoint that was ever looked at.
    known: BTreeMap<Endpoint, KnownEndpoint>,
}

/// A place where the actor was said to listen, which may be a wildcard address.
#[derive(Clone, Debug)]
struct Place {
    said: Endpoint,
    /// The server that was seen to listen there first, or its successor.
    former: Option<Former>,
}

/// The observations of one endpoint.
#[derive(Clone, Debug)]
struct KnownEndpoint {
    stamp: Stamp,
    /// The sockets that were the actor's when they were looked at last.
    sockets: BTreeSet<u64>,
    /// Whether the actor has ever listened there.
    was_own: bool,
    /// The sockets of another program, that program, and when this was found out.
    others: Option<(BTreeSet<u64>, Option<Process>, Instant)>,
}

/// The present observation of one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    pub(super) endpoint: Endpoint,
    /// The endpoint as given, which may be a wildcard address.
    pub(super) said: Endpoint,
    pub(super) finding: Finding,
    /// Whether the actor listens there, or has before.
    pub(super) was_own: bool,
    /// Whether the actor was found there just now to have restarted, and as which process.
    pub(super) successor: Option<Option<Process>>,
    stamp: Stamp,
    origin: Origin,
}

/// The origin of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Origin {
    /// It was given.
    Said,
    /// A wildcard address of its own family includes it.
    Meant,
    /// It is an IPv4 address, which an IPv6 wildcard may mean or not.
    Guessed,
}

/// Whether the actor listens at an endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Finding {
    /// The actor does.
    Own,
    /// Another program does; it is named if visible.
    Others(Option<Process>),
    /// Another user's program does, for which this user cannot speak.
    Strangers(u32, Option<Process>),
    /// Nobody does.
    Nobody(Silence),
    /// The kernel cannot tell from here; only a connection can.
    Unknown,
}

impl ListenerTracker {
    /// Looks for a program that this process starts, and for its descendants.
    pub(super) fn of_program(said: Vec<Endpoint>) -> Self {
        Self { program: Process::own(), ..Self::of_first(said) }
    }

    /// Observes the first listener that is seen.
    pub(super) fn of_first(said: Vec<Endpoint>) -> Self {
        let places = said.into_iter().map(|said| Place { said, former: None }).collect();
        Self { places, program: None, known: BTreeMap::new() }
    }

    /// Looks at all endpoints: the given ones, and the present addresses of wildcards.
    pub(super) fn look(&mut self, now: Instant) -> Vec<Observation> {
        let has_wildcard = self.places.iter().any(|it| is_wildcard(&it.said));
        let interfaces = if has_wildcard { here().interfaces } else { Vec::new() };
        let mut seen: Vec<Observation> = Vec::new();
        let ipv4_wildcards = self.places.iter().map(|it| &it.said).filter(|it| !is_ipv6(it));
        let ipv4_ports: BTreeSet<_> =
            ipv4_wildcards.filter(|it| is_wildcard(it)).filter_map(port_of).collect();
        // Who comes later to a place where nobody has listened is the actor only if it is of a
        // server that has been seen at another place.
        let servers: Vec<Former> = if self.places.iter().any(|it| it.former.is_none()) {
            self.places.iter().filter_map(|it| it.former.clone()).collect()
        } else {
            Vec::new()
        };
        for Place { said, former } in &mut self.places {
            let before = seen.len();
            for endpoint in meant(said, &interfaces) {
                // The IPv4 wildcard given beside this one includes it.
                let is_others = is_ipv6(said) && !is_ipv6(&endpoint);
                if is_others && port_of(said).is_some_and(|it| ipv4_ports.contains(&it)) {
                    continue;
                }
                if seen.iter().any(|it| it.endpoint == endpoint) {
                    continue;
                }
                let origin = match (&endpoint, is_wildcard(said)) {
                    (_, false) => Origin::Said,
                    (found, true) if is_ipv6(found) == is_ipv6(said) => Origin::Meant,
                    (_, true) => Origin::Guessed,
                };
                let known = self.known.entry(endpoint.clone()).or_insert_with(|| KnownEndpoint {
                    stamp: Stamp { socket: None, ..stamp(&endpoint) },
                    sockets: BTreeSet::new(),
                    was_own: false,
                    others: None,
                });
                let (finding, successor) =
                    known.look(&endpoint, self.program, former, &servers, now);
                let KnownEndpoint { stamp, was_own, .. } = *known;
                let said = said.clone();
                seen.push(Observation {
                    endpoint,
                    said,
                    finding,
                    was_own,
                    successor,
                    stamp,
                    origin,
                });
            }
            // If the program should be there and is not, a wildcard stands for itself.
            let found = &mut seen[before..];
            let is_silent = found.iter().all(|it| matches!(it.finding, Finding::Nobody(_)));
            if self.program.is_none() && former.is_none() && is_silent {
                let meant = found.iter_mut().filter(|it| it.origin == Origin::Meant);
                meant.for_each(|it| it.origin = Origin::Said);
            }
        }
        if self.known.len() > KNOWN_MAX {
            self.known.retain(|endpoint, _| seen.iter().any(|it| it.endpoint == *endpoint));
        }
        seen
    }

    /// Returns what the program started here has at an endpoint where nobody listens, and the remedy.
    pub(super) fn beyond(&self, endpoint: &Endpoint) -> Option<String> {
        let found = beyond(&[self.program?], endpoint)?;
        let remedy = match found {
            Beyond::OtherNetwork(_) => {
                "let it listen at a socket path, or say where it is reached: --state ready"
            }
            Beyond::Datagrams(_) => "actors take connections: let it listen at a TCP port",
        };
        Some(format!("{found}; {remedy}"))
    }

    /// Returns the endpoints at which the program started here listens, given or not.
    pub(super) fn own_endpoints(&self) -> Vec<Endpoint> {
        self.program.map(|it| endpoints_of(&[it])).unwrap_or_default()
    }
}

impl KnownEndpoint {
    /// Looks who listens, and tells whether that is the actor, and as which process if it has
    /// restarted.
    fn look(
        &mut self,
        endpoint: &Endpoint,
        program: Option<Process>,
        former: &mut Option<Former>,
        servers: &[Former],
        now: Instant,
    ) -> (Finding, Option<Option<Process>>) {
        let mut listened = listening(endpoint);
        for _look in 1..LOOKS {
            let Listening::Sockets(sockets) = &listened else { break };
            if let Some(judged) = self.judge(endpoint, sockets, program, former, servers, now) {
                return judged;
            }
            listened = listening(endpoint);
        }
        match listened {
            Listening::Nobody(silence) => (Finding::Nobody(silence), None),
            Listening::Sockets(sockets) => {
                let judged = self.judge(endpoint, &sockets, program, former, servers, now);
                judged.unwrap_or((Finding::Unknown, None))
            }
            Listening::Unknown => {
                // What was seen here is not elsewhere now: another host may have been given the address.
                let lost = lost_address(endpoint).filter(|_| self.was_own);
                if let Some(silence) = lost.or_else(|| without_address(endpoint)) {
                    return (Finding::Nobody(silence), None);
                }
                // The holder of a socket at a path is not visible either. For a running program,
                // the first one counts.
                if program.is_some() || self.stamp.socket.is_none() {
                    self.stamp = stamp(endpoint);
                }
                (Finding::Unknown, None)
            }
        }
    }

    /// Tells whose the sockets are, like [`Self::look`]; `None` if they have closed meanwhile.
    fn judge(
        &mut self,
        endpoint: &Endpoint,
        sockets: &[ListeningSocket],
        program: Option<Process>,
        former: &mut Option<Former>,
        servers: &[Former],
        now: Instant,
    ) -> Option<(Finding, Option<Option<Process>>)> {
        let inodes = numbers(sockets);
        let mut successor = None;
        let stranger = sockets.iter().find_map(|it| it.uid.filter(|uid| !may_speak_for(*uid)));
        if let Some(user) = stranger.filter(|_| program.is_none()) {
            let known = self.others.as_ref().filter(|it| it.0 == inodes);
            let who = known.map_or_else(|| holders(sockets).first().copied(), |it| it.1);
            self.others = Some((inodes, who, now));
            return Some((Finding::Strangers(user, who), None));
        }
        if !inodes.is_subset(&self.sockets) {
            match &self.others {
                Some((theirs, who, at)) if *theirs == inodes && now - *at < LOOK_AGAIN => {
                    return Some((Finding::Others(*who), None));
                }
                _ => {}
            }
            let whose = match (program, &former) {
                (Some(program), _) => whose(sockets, &[program]),
                (None, None) if servers.is_empty() => Whose::Theirs,
                (None, None) if servers.iter().any(|it| it.includes(sockets)) => Whose::Theirs,
                (None, None) => Whose::Others(holders(sockets).first().copied()),
                (None, Some(former)) => former.whose(sockets),
            };
            let mut other = match whose {
                Whose::Theirs => None,
                Whose::Others(who) => Some(who),
                // Of a program started here, only processes with another user's rights are hidden.
                // There is no evidence that another one has taken the place of the first.
                Whose::Unknown => program.is_none().then_some(None),
            };
            let found = match (former.as_ref(), other) {
                _ if program.is_some() => None,
                (None, None) => Some(Former::of(sockets)),
                (Some(before), Some(_)) => before.successor(sockets),
                (None, Some(_)) | (Some(_), None) => None,
            };
            let is_beside = |it: &Former| it.has_beside(sockets, &self.sockets);
            if program.is_none() && found.is_none() && former.as_ref().is_some_and(is_beside) {
                other = None;
            }
            // Who held sockets that have closed cannot be told any more.
            if !any_listens(&inodes) {
                return None;
            }
            if let Some(found) = found {
                if other.take().is_some() {
                    successor = Some(found.process());
                }
                *former = Some(found);
            } else if let (Some(former), None, None) = (former, program, other) {
                former.extend(sockets);
            }
            if let Some(who) = other {
                self.others = Some((inodes, who, now));
                return Some((Finding::Others(who), None));
            }
            self.sockets = inodes;
        }
        (self.was_own, self.others) = (true, None);
        // Its address may have come since it was stamped.
        if self.stamp.kernel.is_none() {
            self.stamp = Stamp { socket: None, ..stamp(endpoint) };
        }
        match sockets.iter().find_map(|it| it.file) {
            Some(file) => self.stamp.socket = Some(file),
            // A port or a name is free for every user as soon as its server ends: before the next look,
            // callers tell another user's by this.
            None if user_ids_are_global() => {
                self.stamp.user = sockets.first().and_then(|it| it.uid);
            }
            None => {}
        }
        Some((Finding::Own, successor))
    }
}

/// Returns the endpoints that a given one means: the addresses of a wildcard, and the socket that a
/// symbolic link leads to, because callers follow none.
fn meant(said: &Endpoint, interfaces: &[Interface]) -> Vec<Endpoint> {
    match linked_to(said) {
        Some(linked) => vec![linked],
        None => expand(said, interfaces),
    }
}

/// Returns where a symbolic link at the path of a socket leads to.
pub(super) fn linked_to(said: &Endpoint) -> Option<Endpoint> {
    let Endpoint::Unix(UnixAddress::Path(path)) = said else { return None };
    let path = path.as_path();
    if !fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink()) {
        return None;
    }
    let linked = UnixPath::new(&fs::canonicalize(path).ok()?).ok()?;
    Some(Endpoint::Unix(UnixAddress::Path(linked)))
}

fn numbers(sockets: &[ListeningSocket]) -> BTreeSet<u64> {
    sockets.iter().map(|it| it.inode).collect()
}

/// Returns the endpoints to publish. While the actor listens somewhere, those at which it does not
/// are left out, as far as the kernel can tell.
pub(super) fn published(seen: &[Observation], is_vouched_for: bool) -> Vec<Stamped> {
    let serves = seen.iter().any(Observation::may_serve);
    let is_left_out = |it: &Observation| serves && it.silence().is_some() && !is_vouched_for;
    let kept = seen.iter().filter(|it| !is_left_out(it));
    kept.filter_map(|it| it.published(is_vouched_for)).collect()
}

impl Observation {
    /// Returns the endpoint to publish, if any.
    ///
    /// A given endpoint is published until another program or host has the actor's place. An address of a
    /// wildcard is published only if the actor is seen to listen there.
    fn published(&self, is_vouched_for: bool) -> Option<Stamped> {
        let is_published = match (&self.finding, self.origin) {
            (Finding::Own, _) => true,
            // Its stamp tells a socket file from any other.
            _ if self.endpoint.is_socket_file() => true,
            (Finding::Others(_) | Finding::Strangers(..), Origin::Said) => {
                is_vouched_for && !self.was_own
            }
            (Finding::Nobody(silence), _) if has_no_address(silence) => false,
            (Finding::Nobody(_), Origin::Said) => true,
            (Finding::Unknown, origin) => origin != Origin::Guessed,
            (Finding::Others(_) | Finding::Strangers(..) | Finding::Nobody(_), _) => false,
        };
        is_published.then(|| Stamped { endpoint: self.endpoint.clone(), stamp: self.stamp })
    }

    /// Tells whether the actor listens there, or may for all that the kernel can tell.
    pub(super) fn may_serve(&self) -> bool {
        match self.finding {
            Finding::Own => true,
            Finding::Unknown => self.origin != Origin::Guessed,
            Finding::Nobody(_) | Finding::Others(_) | Finding::Strangers(..) => false,
        }
    }

    /// Tells whether a program listens there, and another host may have the address.
    pub(super) fn has_no_address(&self) -> bool {
        matches!(&self.finding, Finding::Nobody(silence) if has_no_address(silence))
    }

    /// Tells whether the actor has listened there, and nobody does.
    pub(super) fn is_silenced(&self) -> bool {
        self.was_own && matches!(self.finding, Finding::Nobody(_))
    }

    /// Tells whether another program has the actor's place.
    pub(super) fn is_lost(&self) -> bool {
        self.was_own && matches!(self.finding, Finding::Others(_) | Finding::Strangers(..))
    }

    /// Returns the reason why the actor is not seen to listen there; `None` if it is, or if that is
    /// unknown.
    pub(super) fn silence(&self) -> Option<String> {
        match &self.finding {
            Finding::Own | Finding::Unknown => None,
            Finding::Nobody(silence) => Some(silence.to_string()),
            Finding::Others(Some(process)) => Some(format!("{process} listens there")),
            Finding::Others(None) => Some("another process listens there".to_owned()),
            Finding::Strangers(user, process) => {
                let who = process.map_or_else(|| "a process".to_owned(), |it| it.to_string());
                Some(format!("{who} of user {} listens there, and not you", user_name(*user)))
            }
        }
    }

    /// Connects, if the kernel cannot tell whether anybody listens.
    pub(super) async fn dial(&self) -> Result<(), DialError> {
        match dial_within(&without_tls(&self.endpoint), PROBE_TIMEOUT).await {
            // A full queue belongs to somebody.
            Ok(_) | Err(DialError::Busy) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Tells whether another host may have the address.
pub(super) fn has_no_address(silence: &Silence) -> bool {
    use Silence::{AddressGone, LoopbackDown, NoAddress};
    matches!(silence, AddressGone | LoopbackDown | NoAddress { .. })
}

fn port_of(endpoint: &Endpoint) -> Option<u16> {
    match endpoint {
        Endpoint::Tcp(tcp) => Some(tcp.port),
        _ => None,
    }
}

fn is_wildcard(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Tcp(tcp) if tcp.host.is_wildcard())
}

fn is_ipv6(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Tcp(tcp) if tcp.host.ip().is_some_and(|it| it.is_ipv6()))
}

/// Returns the port below TLS: a connection to it is all that can be checked.
fn without_tls(endpoint: &Endpoint) -> Endpoint {
    match endpoint {
        Endpoint::Tcp(tcp) => Endpoint::Tcp(TcpAddress { tls: false, ..tcp.clone() }),
        other => other.clone(),
    }
}

/// The time limit for a connection, if one has to tell: many times what any on this host needs.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The time for which another's socket is remembered as such: searching all processes takes some
/// milliseconds, and the descriptor might be handed on.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The number of looks at an endpoint whose sockets close between being seen and being searched
/// for.
const LOOKS: usize = 3;

/// The most endpoints to remember: more addresses than a host has in a day.
const KNOWN_MAX: usize = 1024;
