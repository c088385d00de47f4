//! The settings as they are written: the right shape, with places, not yet understood.
//!
//! The comments on the fields are what an editor shows; the schema is made from them.

use schemars::JsonSchema;

use crate::{
    diagnostic::Place,
    keys::COUNTS,
    schema::types::{
        Actors, Duration, HeartbeatMisses, HostIdText, NamesWord, OneOrMoreEndpoints, QuotaTable,
        SessionsMax, SocketGroupText, SocketMode,
    },
    text::{Number, Text},
};

/// Settings of callsign: a registrar node, and where actors listen.
#[derive(Debug, Default, JsonSchema)]
#[schemars(title = "callsign settings", rename = "Settings", default)]
pub(crate) struct Written {
    /// Which host this is.
    pub(crate) host: WrittenHost,
    /// How a registrar node runs.
    pub(crate) registrar: WrittenRegistrar,
    /// Where each actor listens: its name, and what it binds. A wildcard address binds every
    /// address of the host, and port 0 a free port. `::` takes IPv4 too, unless an IPv4 address
    /// of the same port is in its list.
    #[schemars(with = "Actors")]
    pub(crate) network: Vec<Actor>,
    /// Actors that never register themselves. The registrar publishes them as they stand, so
    /// their endpoints are such that callers can dial.
    #[schemars(with = "Actors")]
    pub(crate) declared: Vec<Actor>,
    /// Whose names are, by patterns of names, in which `*` stands for any run of characters and `?`
    /// for any one. Of several that match a name the most specific one holds: a whole name before
    /// a pattern, then the one with more characters that are neither.
    #[schemars(with = "std::collections::BTreeMap<String, WrittenRule>")]
    pub(crate) names: Vec<(Text, WrittenRule)>,
    /// How much of the registrar one owner may use, over all of its connections: a user of this host,
    /// or an address. The keys hold for everybody but user 0 and the registrar's own user, who have
    /// the table `[quotas.trusted]`; `[quotas."user:feed"]` and `[quotas."address:10.0.0.7"]` hold
    /// for that one, whoever it is. What a table leaves out is as it is without it.
    #[schemars(with = "QuotaTable")]
    pub(crate) quotas: WrittenQuotas,
}

/// Whose the names are that a pattern matches.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Rule", default, deny_unknown_fields)]
pub(crate) struct WrittenRule {
    /// Who may register under them, several at a time: `user:` and a name or a number, `group:` and
    /// one, `address:10.0.0.0/8`, or `any`. Root and the registrar's own user may anyway. Left
    /// out, `names` of `[registrar]` says it.
    #[schemars(with = "Vec<String>")]
    pub(crate) register: Option<Vec<Text>>,
    /// Who may find what has them, written alike; for all others there is no such actor. Left out,
    /// everybody may.
    #[schemars(with = "Vec<String>")]
    pub(crate) find: Option<Vec<Text>>,
    /// Whether one instance has each of them at a time.
    #[schemars(with = "bool")]
    pub(crate) exclusive: Option<Switch>,
    /// How many instances may have each of them at a time.
    #[schemars(with = "u32")]
    pub(crate) max_instances: Option<Number>,
}

/// Which host this is.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Host", default, deny_unknown_fields)]
pub(crate) struct WrittenHost {
    /// What this host goes by, in the place of what its kernel drew when it booted. Leave it out
    /// unless containers of one kernel see different ones (`/proc/sys/kernel/random/boot_id`), or
    /// copies of a machine have the same. All that share a kernel need the same id, and nobody else
    /// may have it: two machines with one id take each other's loopback for their own.
    #[schemars(with = "HostIdText")]
    pub(crate) id: Option<Text>,
}

/// How a registrar node runs.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Registrar", default, deny_unknown_fields)]
pub(crate) struct WrittenRegistrar {
    /// Where the registrar listens. Left out, it is a Unix socket in the runtime directory and
    /// port 1616 of the loopback.
    #[schemars(with = "OneOrMoreEndpoints")]
    pub(crate) listen: Option<Endpoints>,
    /// Who may connect to the socket files, as `chmod` takes it in octal digits: whoever may write.
    /// Left out, it is "0600", the registrar's own user alone; "0660" where `socket_group` is set;
    /// and "0666", everybody on this host, where the registrar of the whole system listens,
    /// `/run/callsign/registrar.sock`. Ports and abstract names are open to everybody who gets at
    /// them, and sockets that a service manager hands over have the mode that it gave them.
    #[schemars(with = "SocketMode")]
    pub(crate) socket_mode: Option<Text>,
    /// The group that the socket files are given, by its name or its number. The registrar's user
    /// has to be in it, or be root.
    #[schemars(with = "SocketGroupText")]
    pub(crate) socket_group: Option<Text>,
    /// How long a peer may take to say who it is, from 10ms to 5min.
    #[schemars(with = "Duration", extend("default" = "5s"))]
    pub(crate) handshake_timeout: Option<Text>,
    /// How often a peer is asked for a sign of life, from 10ms to 1h.
    #[schemars(with = "Duration", extend("default" = "900ms"))]
    pub(crate) heartbeat: Option<Text>,
    /// How many signs of life in a row may be missed before a peer is taken for gone over TCP, and
    /// for hung over a Unix socket.
    #[schemars(with = "HeartbeatMisses")]
    pub(crate) heartbeat_misses: Option<Number>,
    /// How many sessions may be open at once.
    #[schemars(with = "SessionsMax")]
    pub(crate) sessions_max: Option<Number>,
    /// How long those may take to come back whom a registrar before this one knew, up to 1min. For
    /// so long after the start, that a name is not there is no knowledge, and look-ups wait for it;
    /// 0s says that nobody is to be waited for.
    #[schemars(with = "Duration", extend("default" = "5s"))]
    pub(crate) settle_time: Option<Text>,
    /// How long sessions may take to end when the node stops, up to 1h; 0s ends them at once.
    #[schemars(with = "Duration", extend("default" = "5s"))]
    pub(crate) drain_timeout: Option<Text>,
    /// Whether programs of the Python project tractor may use the registrar as theirs. Left out,
    /// they may on Unix sockets and the loopback alone, for their protocol has no authentication:
    /// with `true`, whoever can connect may register under any name.
    #[schemars(with = "bool")]
    pub(crate) tractor: Option<Switch>,
    /// Whose a name is that no rule of `[names]` gives to anybody: with `same-user` it is that of
    /// whoever has it, and nobody else registers under it but root and the registrar's own user;
    /// with `open` it is anybody's.
    #[schemars(with = "NamesWord", extend("default" = "same-user"))]
    pub(crate) names: Option<Text>,
}

/// How much each owner may use.
#[derive(Debug, Default)]
pub(crate) struct WrittenQuotas {
    pub(crate) others: WrittenQuota,
    pub(crate) trusted: WrittenQuota,
    pub(crate) named: Vec<(Text, WrittenQuota)>,
}

/// How much one owner may use.
#[derive(Debug, Default)]
pub(crate) struct WrittenQuota {
    /// In the order of their limits.
    pub(crate) counts: [Option<Number>; COUNTS.len()],
    pub(crate) bytes: Option<Text>,
}

/// `true` or `false`. What is left out is neither, so the schema is not to name a default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch(pub(crate) bool);

/// One line of an endpoint table.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) name: Text,
    pub(crate) endpoints: Endpoints,
}

/// The endpoints that one key is given.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    pub(crate) list: Vec<WrittenEndpoint>,
    /// The whole value, if it was one of endpoints.
    pub(crate) place: Option<Place>,
}

/// One endpoint.
#[derive(Debug)]
pub(crate) enum WrittenEndpoint {
    /// A multiaddr.
    Text(Text),
    /// A `[host, port]` pair.
    Pair { host: Text, port: Number, place: Place },
    /// A pair whose second part is a text. It is never right; it is kept to say so.
    TextPair { first: Text, second: Text },
}

impl WrittenEndpoint {
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Text(text) => text.inside(),
            Self::Pair { place, .. } => place.clone(),
            Self::TextPair { first, second } => {
                let span = first.place.span.start..second.place.span.end;
                Place { span, ..first.place.clone() }
            }
        }
    }
}
