//! What a domain name asks for.

use endpoints::Name;
use uuid::Uuid;

use super::label::{self, ADDRESSES};

/// What a domain name below the domain stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    /// The domain itself.
    Domain,
    /// An actor.
    Actor(Name),
    /// An actor, as a service of TCP (RFC 2782): `_feed._tcp`.
    Service(Name),
    /// One instance of that service (RFC 6763): `<uuid>._feed._tcp`.
    Instance(Name, Uuid),
    /// An actor's endpoints as multiaddrs: `_dnsaddr.feed`.
    Multiaddrs(Name),
    /// The host name of an endpoint: `<index>.<uuid>.addr`.
    Host(Uuid, usize),
    /// This server: `ns.addr`.
    NameServer,
    /// The types of services (RFC 6763, section 9): `_services._dns-sd._udp`.
    Browsing,
    /// A name that exists because others do that end with it, and has no records.
    Empty,
    /// None of these: there is no such name.
    Nothing,
}

impl Subject {
    /// Reads the labels before the domain, in small letters.
    pub(super) fn read(labels: &[&str]) -> Self {
        let service = |labels: &[&str]| {
            let (first, rest) = labels.split_first()?;
            let first = first.strip_prefix('_')?;
            label::name(&[&[first], rest].concat())
        };
        let subject = match labels {
            [] => Some(Self::Domain),
            ["_tcp" | "_udp"] | ["_dns-sd", "_udp"] => Some(Self::Empty),
            ["_services", "_dns-sd", "_udp"] => Some(Self::Browsing),
            [rest @ .., "_tcp"] => service(rest).map(Self::Service).or_else(|| {
                let (first, rest) = rest.split_first()?;
                Some(Self::Instance(service(rest)?, read_uuid(first)?))
            }),
            // Before the domain of endpoints: an actor may be called as that is.
            ["_dnsaddr", rest @ ..] => label::name(rest).map(Self::Multiaddrs),
            ["ns", ADDRESSES] => Some(Self::NameServer),
            [uuid, ADDRESSES] => read_uuid(uuid).map(|_| Self::Empty),
            [index, uuid, ADDRESSES] => {
                let plain = |it: &usize| it.to_string() == **index;
                let index = index.parse().ok().filter(plain);
                index.zip(read_uuid(uuid)).map(|(index, uuid)| Self::Host(uuid, index))
            }
            actor => label::name(actor).map(Self::Actor),
        };
        subject.unwrap_or(Self::Nothing)
    }
}

/// Reads a UUID with its hyphens.
fn read_uuid(label: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(label).ok()?;
    (uuid.to_string() == label).then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_its_subject() {
        let check = |labels: &str, expected: Subject| {
            let labels: Vec<_> = labels.split('.').filter(|it| !it.is_empty()).collect();
            assert_eq!(Subject::read(&labels), expected, "{labels:?}");
        };
        let name = |text| Name::new(text).unwrap();
        let uuid = Uuid::from_u128(0xa1);
        check("", Subject::Domain);
        check("feed", Subject::Actor(name("feed")));
        check("feed.eurusd", Subject::Actor(name("feed.eurusd")));
        check("_feed._tcp", Subject::Service(name("feed")));
        check("_feed.eurusd._tcp", Subject::Service(name("feed.eurusd")));
        check("__46eed._tcp", Subject::Service(name("Feed")));
        check(&format!("{uuid}._feed._tcp"), Subject::Instance(name("feed"), uuid));
        check("_dnsaddr.feed", Subject::Multiaddrs(name("feed")));
        check("_dnsaddr.addr", Subject::Multiaddrs(name("addr")));
        check("_dnsaddr.x._61ddr", Subject::Multiaddrs(name("x.addr")));
        check("_addr._tcp", Subject::Service(name("addr")));
        check(&format!("0.{uuid}.addr"), Subject::Host(uuid, 0));
        check(&format!("{uuid}.addr"), Subject::Empty);
        check("ns.addr", Subject::NameServer);
        check("addr", Subject::Actor(name("addr")));
        check("_services._dns-sd._udp", Subject::Browsing);
        for empty in ["_tcp", "_udp", "_dns-sd._udp"] {
            check(empty, Subject::Empty);
        }
        let no_uuid = uuid.simple().to_string();
        for nothing in [
            "feed._tcp",
            "_feed._udp",
            "x.addr",
            "00.ns.addr",
            "_dnsaddr",
            "_feed",
            &format!("0.{no_uuid}.addr"),
        ] {
            check(nothing, Subject::Nothing);
        }
    }
}
