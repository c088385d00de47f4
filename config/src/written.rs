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
    /// The identity of this host.
    pub(crate) host: WrittenHost,
    /// The settings of a registrar node.
    pub(crate) registrar: WrittenRegistrar,
    /// The endpoints that each actor binds, by its name. A wildcard address binds every address of
    /// the host, and port 0 a free port. `::` takes IPv4 too, unless an IPv4 address of the same
    /// port is in its list.
    #[schemars(with = "Actors")]
    pub(crate) network: Vec<Actor>,
    /// Actors that never register themselves. The registrar publishes them as they stand, so
    /// their endpoints are such that callers can dial.
    #[schemars(with = "Actors")]
    pub(crate) declared: Vec<Actor>,
    /// The rules of names, by pattern: `*` matches any run of characters and `?` any one. The most
    /// specific matching rule holds: a whole name before a pattern, then the pattern with more
    /// other characters.
    #[schemars(with = "std::collections::BTreeMap<String, WrittenRule>")]
    pub(crate) names: Vec<(Text, WrittenRule)>,
    /// The limits of each owner's use of the registrar, over all of its connections; an owner is a
    /// user of this host, or an address. The keys apply to all except user 0 and the registrar's
    /// own user, who have the table `[quotas.trusted]`; `[quotas."user:feed"]` and
    /// `[quotas."address:10.0.0.7"]` apply to one owner. A key that a table omits has its usual
    /// value.
    #[schemars(with = "QuotaTable")]
    pub(crate) quotas: WrittenQuotas,
    /// The DNS server of the registrar: every program that can resolve a name finds actors, as
    /// `feed.callsign`.
    pub(crate) dns: WrittenDns,
    /// The certificate with which this program listens and dials at `/tls` endpoints.
    pub(crate) tls: WrittenTls,
    /// The HTTP server of the registrar: an interface of JSON, metrics, and a page to look at.
    pub(crate) http: WrittenHttp,
    /// The other registrars with which the registrar shares what it knows.
    pub(crate) cluster: WrittenCluster,
}

/// The other registrars with which a registrar shares what it knows, through etcd. All of them have
/// the same table, except for `node`.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Cluster", default, deny_unknown_fields)]
pub(crate) struct WrittenCluster {
    /// Through what they share: "etcd".
    #[schemars(with = "String", extend("enum" = ["etcd"]))]
    pub(crate) engine: Option<Text>,
    /// Where the members of etcd are, such as "https://etcd-1.example:2379".
    #[schemars(with = "Vec<String>")]
    pub(crate) endpoints: Option<Vec<Text>>,
    /// With what every key of the cluster begins. Whoever may write such keys can register anything
    /// under any name, and whoever may read them can pass for any actor.
    #[schemars(with = "String", extend("default" = "/callsign/"))]
    pub(crate) prefix: Option<Text>,
    /// What this node is called: no other of the cluster has the same name. If absent, it is the name
    /// of the host.
    #[schemars(with = "String")]
    pub(crate) node: Option<Text>,
    /// For how long the others keep the records of a node that is gone.
    #[schemars(with = "Duration", extend("default" = "3s"))]
    pub(crate) lease: Option<Text>,
    /// As whom etcd knows this node, if not by its certificate.
    #[schemars(with = "String")]
    pub(crate) user: Option<Text>,
    /// The file with the password of that user. The path may begin with `$CREDENTIALS_DIRECTORY`, as
    /// the next three may.
    #[schemars(with = "String")]
    pub(crate) password_file: Option<Text>,
    /// The file with the certificate of the authority that signs etcd's certificates, in PEM.
    #[schemars(with = "String")]
    pub(crate) ca: Option<Text>,
    /// The certificate by which etcd knows this node, in PEM.
    #[schemars(with = "String")]
    pub(crate) certificate: Option<Text>,
    /// The private key of the certificate.
    #[schemars(with = "String")]
    pub(crate) key: Option<Text>,
    /// The header of the table, if there is one.
    #[schemars(skip)]
    pub(crate) place: Option<Place>,
    /// The keys whose values are of the wrong type, which is reported.
    #[schemars(skip)]
    pub(crate) mistyped: Vec<&'static str>,
}

/// The HTTP server of a registrar.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Http", default, deny_unknown_fields)]
pub(crate) struct WrittenHttp {
    /// The endpoints at which it answers: Unix sockets, such as "/unix/run/callsign/http.sock", and
    /// ports of the loopback, such as "/ip4/127.0.0.1/tcp/8080"; also ports of any address with TLS,
    /// such as "/ip4/0.0.0.0/tcp/8443/tls": whoever asks there has to show a certificate that an
    /// authority of `[tls]` signed, and is whom that names. The socket files have the mode and
    /// the group of the registrar's. If absent, there is no HTTP server.
    #[schemars(with = "OneOrMoreEndpoints")]
    pub(crate) listen: Option<Endpoints>,
}

/// The DNS server of a registrar.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Dns", default, deny_unknown_fields)]
pub(crate) struct WrittenDns {
    /// The addresses at which it answers, over UDP and TCP, such as "127.0.0.1:5300". If absent,
    /// there is no DNS server.
    #[schemars(with = "Vec<String>")]
    pub(crate) listen: Option<Vec<Text>>,
    /// The domain in which actors are found.
    #[schemars(with = "String", extend("default" = "callsign"))]
    pub(crate) domain: Option<Text>,
}

/// The certificate of a program. The files are in PEM, as `callsign keys` makes them, and are read
/// again when they change. A path may begin with `$CREDENTIALS_DIRECTORY`, the folder of a systemd
/// service's credentials.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Tls", default, deny_unknown_fields)]
pub(crate) struct WrittenTls {
    /// The authorities that sign the certificates of peers: a file, or a folder of `.pem` and
    /// `.crt` files.
    #[schemars(with = "String")]
    pub(crate) ca: Option<Text>,
    /// The certificate of this program, and those between it and the authority.
    #[schemars(with = "String")]
    pub(crate) certificate: Option<Text>,
    /// The private key of the certificate, which nobody else may read.
    #[schemars(with = "String")]
    pub(crate) key: Option<Text>,
    /// The header of the table, if there is one.
    #[schemars(skip)]
    pub(crate) place: Option<Place>,
    /// The keys whose values are of the wrong type, which is reported.
    #[schemars(skip)]
    pub(crate) mistyped: Vec<&'static str>,
}

/// A rule for the names that a pattern matches.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Rule", default, deny_unknown_fields)]
pub(crate) struct WrittenRule {
    /// The owners that may register them: one or several of `user:` and a name or number, `group:`
    /// likewise, `address:10.0.0.0/8`, or `any`. Root and the registrar's own user always may. If
    /// absent, `names` of `[registrar]` decides.
    #[schemars(with = "Vec<String>")]
    pub(crate) register: Option<Vec<Text>>,
    /// The owners that may find them, in the same form; to all others the actors do not exist. If
    /// absent, everybody may.
    #[schemars(with = "Vec<String>")]
    pub(crate) find: Option<Vec<Text>>,
    /// Whether one instance has each of them at a time.
    #[schemars(with = "bool")]
    pub(crate) exclusive: Option<Switch>,
    /// The most instances that each of them may have at a time.
    #[schemars(with = "u32")]
    pub(crate) max_instances: Option<Number>,
}

/// The identity of this host.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Host", default, deny_unknown_fields)]
pub(crate) struct WrittenHost {
    /// A name for this host, instead of the identity that its kernel draws when it boots. Omit it
    /// unless containers of one kernel see different identities
    /// (`/proc/sys/kernel/random/boot_id`), or copied machines share one. All programs on one
    /// kernel need the same id, and no others may have it: two machines with one id take each
    /// other's loopback for their own.
    #[schemars(with = "HostIdText")]
    pub(crate) id: Option<Text>,
}

/// The settings of a registrar node.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "Registrar", default, deny_unknown_fields)]
pub(crate) struct WrittenRegistrar {
    /// The endpoints at which the registrar listens. If absent, a Unix socket in the runtime folder
    /// and port 1616 of the loopback.
    #[schemars(with = "OneOrMoreEndpoints")]
    pub(crate) listen: Option<Endpoints>,
    /// Whether the registrar listens at TCP endpoints beyond the loopback without `/tls`, and its
    /// clients talk to it there: then whoever can read the network reads everything, and changes
    /// what it likes.
    #[schemars(with = "bool", extend("default" = false))]
    pub(crate) insecure: Option<Switch>,
    /// The mode of the socket files, in the octal digits of `chmod`: write permission allows to
    /// connect. If absent, it is "0600", the registrar's own user only; "0660" if `socket_group` is
    /// set; and "0666", everybody on this host, for the system's registrar at
    /// `/run/callsign/registrar.sock`. Ports and abstract names are open to all that can reach
    /// them, and sockets from a service manager keep its mode.
    #[schemars(with = "SocketMode")]
    pub(crate) socket_mode: Option<Text>,
    /// The group that the socket files are given, by its name or its number. The registrar's user
    /// has to be in it, or be root.
    #[schemars(with = "SocketGroupText")]
    pub(crate) socket_group: Option<Text>,
    /// The time limit for a handshake, from 10ms to 5min.
    #[schemars(with = "Duration", extend("default" = "5s"))]
    pub(crate) handshake_timeout: Option<Text>,
    /// The interval between heartbeats, from 10ms to 1h.
    #[schemars(with = "Duration", extend("default" = "900ms"))]
    pub(crate) heartbeat: Option<Text>,
    /// The number of missed heartbeats in a row after which a peer is considered gone over TCP, and
    /// hung over a Unix socket.
    #[schemars(with = "HeartbeatMisses")]
    pub(crate) heartbeat_misses: Option<Number>,
    /// The most open sessions.
    #[schemars(with = "SessionsMax")]
    pub(crate) sessions_max: Option<Number>,
    /// The time for clients of the previous registrar to return, up to 1min. For that time after
    /// the start the registrar cannot say that a name does not exist, and look-ups wait for it;
    /// with 0s they do not wait.
    #[schemars(with = "Duration", extend("default" = "5s"))]
    pub(crate) settle_time: Option<Text>,
    /// The time for sessions to end when the node stops, up to 1h; 0s ends them immediately.
    #[schemars(with = "Duration", extend("default" = "5s"))]
    pub(crate) drain_timeout: Option<Text>,
    /// Whether programs of the Python project tractor may use the registrar as theirs. If absent,
    /// they may on Unix sockets and the loopback only, because their protocol has no
    /// authentication: with `true`, any program that can connect may register any free name.
    #[schemars(with = "bool")]
    pub(crate) tractor: Option<Switch>,
    /// The policy for names without a rule of `[names]`: with `same-user` a name belongs to the
    /// owner of its instances, and nobody else registers it except root and the registrar's own
    /// user; with `open` it is open to all.
    #[schemars(with = "NamesWord", extend("default" = "same-user"))]
    pub(crate) names: Option<Text>,
}

/// The limits of each owner.
#[derive(Debug, Default)]
pub(crate) struct WrittenQuotas {
    pub(crate) others: WrittenQuota,
    pub(crate) trusted: WrittenQuota,
    pub(crate) named: Vec<(Text, WrittenQuota)>,
}

/// The limits of one owner.
#[derive(Debug, Default)]
pub(crate) struct WrittenQuota {
    /// In the order of their limits.
    pub(crate) counts: [Option<Number>; COUNTS.len()],
    pub(crate) bytes: Option<Text>,
}

/// `true` or `false`. The default is neither, so the schema must not name one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch(pub(crate) bool);

/// A line of an endpoint table.
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
    /// A pair whose second part is a string. It is never correct; it is kept to say so.
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
