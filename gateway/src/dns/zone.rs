//! The domain: what is answered to a question.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    str,
    sync::Arc,
};

use endpoints::{Endpoint, Here, Host, Locality, Stamped};
use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, NS, PTR, SOA, SRV, TXT},
    },
};
use registrar::{
    RegistryHandle,
    registry::{Caller, Owner},
};
use uuid::Uuid;
use wire::State;

use super::{
    asker::{judge, place_of},
    label::{ADDRESSES, labels},
    question::Subject,
};
use crate::{cached::Cached, surroundings::Surroundings};

/// The domain, and what it is answered from.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) domain: Name,
    pub(super) registry: RegistryHandle,
    /// Where this server listens.
    pub(super) servers: Vec<SocketAddr>,
    pub(super) surroundings: Surroundings,
    /// The names of all actors as types of services, sorted.
    pub(super) types: Cached<[Name]>,
    /// The names that have no records, and below which some have: those above the names of actors.
    pub(super) above: Cached<HashSet<Name>>,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) code: ResponseCode,
    pub(super) records: Vec<Record>,
    /// Records that the asker would ask for next.
    pub(super) additionals: Vec<Record>,
}

impl Answer {
    fn of(records: Vec<Record>) -> Self {
        Self { code: ResponseCode::NoError, records, additionals: Vec::new() }
    }

    /// The name exists, and has no records of the type.
    fn no_data() -> Self {
        Self::of(Vec::new())
    }

    fn no_such_name() -> Self {
        Self { code: ResponseCode::NXDomain, ..Self::no_data() }
    }

    /// Nobody knows: clients of an earlier registrar may still be on their way, or another node of
    /// the cluster may have them.
    fn not_yet_known() -> Self {
        Self { code: ResponseCode::ServFail, ..Self::no_data() }
    }

    /// Another domain is asked for.
    fn refused() -> Self {
        Self { code: ResponseCode::Refused, ..Self::no_data() }
    }

    /// Tells whether it says that there is nothing, so that the domain's SOA belongs beside it.
    pub(super) fn is_negative(&self) -> bool {
        self.records.is_empty()
            && matches!(self.code, ResponseCode::NoError | ResponseCode::NXDomain)
    }
}

/// An endpoint of a ready instance.
struct Place {
    instance: Uuid,
    index: usize,
    stamped: Stamped,
    locality: Locality,
    is_suspect: bool,
}

impl Zone {
    /// Answers a question, with no more records than `most` where there are many.
    pub(super) fn answer(
        &self,
        name: &Name,
        wanted: RecordType,
        asker: IpAddr,
        most: usize,
    ) -> Answer {
        let lower = name.to_lowercase();
        if !self.domain.zone_of(&lower) {
            return Answer::refused();
        }
        // `num_labels` does not count a label `*`.
        let own = lower.iter().len() - self.domain.iter().len();
        // What is no text names nothing.
        let labels: Result<Vec<_>, _> = lower.iter().take(own).map(str::from_utf8).collect();
        let subject = labels.map_or(Subject::Nothing, |it| Subject::read(&it));
        let question = Question { zone: self, name, wanted, most, by: anybody() };
        let may_come = !matches!(subject, Subject::Nothing);
        let answer = match subject {
            Subject::Nothing => Answer::no_such_name(),
            Subject::Domain => question.domain(),
            Subject::Actor(actor) => question.actor(&actor, asker),
            Subject::Service(actor) => question.service(&actor, asker),
            Subject::Instance(actor, uuid) => question.instance(&actor, uuid, asker),
            Subject::Multiaddrs(actor) => question.multiaddrs(&actor, asker),
            Subject::Host(uuid, index) => question.host(uuid, index, asker),
            Subject::NameServer => question.name_server(),
            Subject::Browsing => question.browsing(),
            Subject::Empty => Answer::no_data(),
        };
        let is_no = answer.code == ResponseCode::NXDomain;
        // What names nothing is named by nobody, whoever returns.
        if is_no && may_come && !self.registry.knows_all() {
            return Answer::not_yet_known();
        }
        // A resolver takes a "no" for the end of all that is below (RFC 8020).
        if is_no && self.above.get(|| self.read_above()).contains(&lower) {
            return Answer::no_data();
        }
        answer
    }

    /// Returns the record that says whose domain it is, and for how long a "no" is to be believed:
    /// not at all, because the next moment may bring an actor.
    pub(super) fn soa(&self) -> Record {
        let serial = self.registry.revision() as u32;
        let hostmaster = self.below(["hostmaster"]).unwrap_or_else(|| self.domain.clone());
        let (refresh, retry, expire, minimum) = (60, 10, 600, 0);
        let soa = SOA::new(self.server(), hostmaster, serial, refresh, retry, expire, minimum);
        Record::from_rdata(self.domain.clone(), TTL, RData::SOA(soa))
    }

    /// Returns the record that names its server.
    pub(super) fn ns(&self) -> Record {
        Record::from_rdata(self.domain.clone(), TTL, RData::NS(NS(self.server())))
    }

    fn read_types(&self) -> Arc<[Name]> {
        let mut names = self.registry.names_for(&anybody());
        names.sort_unstable();
        let types = names.iter().filter_map(|it| {
            let labels = labels(&endpoints::Name::new(it).ok()?);
            let (first, rest) = labels.split_first()?;
            let first = format!("_{first}");
            let rest = rest.iter().map(String::as_str).chain(["_tcp"]);
            self.below([first.as_str()].into_iter().chain(rest))
        });
        types.collect()
    }

    /// Returns the names above those of actors and of their services, in small letters.
    fn read_above(&self) -> Arc<HashSet<Name>> {
        let mut above: HashSet<_> = self.below([ADDRESSES]).into_iter().collect();
        let mut add_parents = |name: Name| {
            let mut parent = name.base_name();
            while parent.num_labels() > self.domain.num_labels() && above.insert(parent.clone()) {
                parent = parent.base_name();
            }
        };
        for name in self.registry.names_for(&anybody()) {
            let Ok(name) = endpoints::Name::new(&name) else { continue };
            let labels = labels(&name);
            // A name of one part has nothing above it but the domain and `_tcp`, which exist.
            if labels.len() > 1 {
                let labels = labels.iter().map(String::as_str);
                self.below(labels.clone()).into_iter().for_each(&mut add_parents);
                self.below(labels.chain(["_tcp"])).into_iter().for_each(&mut add_parents);
            }
        }
        Arc::new(above)
    }

    fn server(&self) -> Name {
        self.below(["ns", ADDRESSES]).unwrap_or_else(|| self.domain.clone())
    }

    /// Returns a name in the domain, unless it would be too long for one.
    fn below<'a>(&'a self, labels: impl IntoIterator<Item = &'a str>) -> Option<Name> {
        let labels = labels.into_iter().map(str::as_bytes).chain(self.domain.iter());
        Name::from_labels(labels).ok()
    }
}

/// A question about a name in the domain.
struct Question<'a> {
    zone: &'a Zone,
    /// As it was written, which answers repeat.
    name: &'a Name,
    wanted: RecordType,
    most: usize,
    by: Caller,
}

/// Returns somebody whom no rule names: whoever asks may ask for others, and an address may be
/// forged, so an asker is told what everybody may know.
fn anybody() -> Caller {
    Caller::from(Owner::Unknown(u64::MAX))
}

impl Question<'_> {
    /// Tells whether records of a type answer it.
    fn wants(&self, kind: RecordType) -> bool {
        self.wanted == kind || self.wanted == RecordType::ANY
    }

    fn record(&self, data: RData) -> Record {
        Record::from_rdata(self.name.clone(), TTL, data)
    }

    fn domain(&self) -> Answer {
        let mut records = Vec::new();
        if self.wants(RecordType::SOA) {
            records.push(self.zone.soa());
        }
        if self.wants(RecordType::NS) {
            records.push(self.record(self.zone.ns().data));
        }
        Answer::of(records)
    }

    fn name_server(&self) -> Answer {
        let addresses = self.zone.servers.iter().map(SocketAddr::ip);
        Answer::of(addresses.filter_map(|it| self.address(self.name, it)).collect())
    }

    fn actor(&self, actor: &endpoints::Name, asker: IpAddr) -> Answer {
        let places = match self.places(actor, asker) {
            Ok(places) => places,
            Err(none) => return none,
        };
        if self.wanted == RecordType::SRV {
            return self.services(&places);
        }
        let mut seen = HashSet::new();
        let addresses = healthy(&places).filter_map(|it| ip(&it.stamped));
        let addresses = addresses.filter(|it| seen.insert(*it));
        Answer::of(addresses.filter_map(|it| self.address(self.name, it)).collect())
    }

    fn service(&self, actor: &endpoints::Name, asker: IpAddr) -> Answer {
        let places = match self.places(actor, asker) {
            Ok(places) => places,
            Err(none) => return none,
        };
        if self.wanted != RecordType::PTR {
            return self.services(&places);
        }
        let mut seen = HashSet::new();
        let instances = places.iter().map(|it| it.instance).filter(|it| seen.insert(*it));
        let names = instances.filter_map(|it| {
            let labels: Vec<_> = self.name.iter().collect();
            Name::from_labels([it.to_string().as_bytes()].into_iter().chain(labels)).ok()
        });
        Answer::of(names.map(|it| self.record(RData::PTR(PTR(it)))).collect())
    }

    fn instance(&self, actor: &endpoints::Name, uuid: Uuid, asker: IpAddr) -> Answer {
        let record = self.zone.registry.record_for(uuid, &self.by);
        let Some(record) = record.filter(|it| it.name == *actor && it.state == State::Ready) else {
            return Answer::no_such_name();
        };
        let mut answer = Answer::no_data();
        if self.wants(RecordType::SRV) {
            answer = self.services(&self.places_of([&record], asker));
        }
        if self.wants(RecordType::TXT) {
            // What is longer than a string of DNS is left out (RFC 6763, section 6.1).
            let pairs = record.metadata.iter().map(|(key, value)| format!("{key}={value}"));
            let mut texts: Vec<_> = pairs.filter(|it| it.len() <= TEXT_BYTES_MAX).collect();
            if texts.is_empty() {
                texts.push(String::new());
            }
            answer.records.push(self.record(RData::TXT(TXT::new(texts))));
        }
        answer
    }

    /// The endpoints as multiaddrs, as the dnsaddr protocol of multiaddr has them: a record each.
    fn multiaddrs(&self, actor: &endpoints::Name, asker: IpAddr) -> Answer {
        let places = match self.places(actor, asker) {
            Ok(places) => places,
            Err(none) => return none,
        };
        if !self.wants(RecordType::TXT) {
            return Answer::no_data();
        }
        let texts = healthy(&places).map(|it| format!("dnsaddr={}", it.stamped.endpoint));
        let texts = texts.filter(|it| it.len() <= TEXT_BYTES_MAX);
        Answer::of(texts.map(|it| self.record(RData::TXT(TXT::new(vec![it])))).collect())
    }

    fn host(&self, uuid: Uuid, index: usize, asker: IpAddr) -> Answer {
        let record = self.zone.registry.record_for(uuid, &self.by);
        let asker = place_of(asker, &self.zone.surroundings);
        let found = record.as_ref().and_then(|it| Some((it, it.endpoints.get(index)?)));
        let found = found.filter(|(record, it)| {
            judge(it, &asker).is_some() && self.zone.surroundings.stranger_at(record, it).is_none()
        });
        match found.and_then(|(_, it)| ip(it)) {
            Some(ip) => Answer::of(self.address(self.name, ip).into_iter().collect()),
            None => Answer::no_such_name(),
        }
    }

    /// The names of all actors, as types of services: the first of them, if there are many.
    fn browsing(&self) -> Answer {
        if !self.wants(RecordType::PTR) {
            return Answer::no_data();
        }
        // There may be many, so they are those of a moment ago.
        let types = self.zone.types.get(|| self.zone.read_types());
        if types.is_empty() && !self.zone.registry.knows_all() {
            return Answer::not_yet_known();
        }
        Answer::of(
            types
                .iter()
                .take(self.most)
                .map(|it| self.record(RData::PTR(PTR(it.clone()))))
                .collect(),
        )
    }

    /// Returns the places of a name; what is answered instead if nobody has it, or if a young
    /// registrar does not know those yet that do.
    fn places(&self, actor: &endpoints::Name, asker: IpAddr) -> Result<Vec<Place>, Answer> {
        let records = self.zone.registry.instances_for(actor, &self.by);
        if records.is_empty() {
            return Err(Answer::no_such_name());
        }
        let places = self.places_of(&records, asker);
        if places.is_empty() && !self.zone.registry.knows_all() {
            return Err(Answer::not_yet_known());
        }
        Ok(places)
    }

    /// Returns the endpoints of ready instances that the asker can reach, the nearest first; the
    /// order of those that are equally near is drawn.
    fn places_of<'a>(
        &self,
        records: impl IntoIterator<Item = &'a wire::Record>,
        asker: IpAddr,
    ) -> Vec<Place> {
        let asker: Here = place_of(asker, &self.zone.surroundings);
        let mut places = Vec::new();
        let mut records: Vec<_> =
            records.into_iter().filter(|it| it.state == State::Ready).collect();
        fastrand::shuffle(&mut records);
        for record in records {
            if places.len() >= PLACES_MAX {
                break;
            }
            let is_suspect = record.suspicion.is_some();
            for (index, stamped) in record.endpoints.iter().enumerate() {
                let Some(locality) = judge(stamped, &asker) else { continue };
                if self.zone.surroundings.stranger_at(record, stamped).is_some() {
                    continue;
                }
                let (instance, stamped) = (record.uuid, stamped.clone());
                places.push(Place { instance, index, stamped, locality, is_suspect });
            }
        }
        fastrand::shuffle(&mut places);
        places.sort_by_key(|it| (it.is_suspect, it.locality));
        places
    }

    /// The places as services, with the addresses of their hosts beside them. Suspect instances
    /// are for those who reach no other.
    fn services(&self, places: &[Place]) -> Answer {
        if !self.wants(RecordType::SRV) {
            return Answer::no_data();
        }
        let mut answer = Answer::no_data();
        for place in places {
            let Endpoint::Tcp(tcp) = &place.stamped.endpoint else { continue };
            let target = match &tcp.host {
                Host::Dns(host, _) => Name::from_ascii(host.as_str()).ok().map(absolute),
                _ => {
                    let (index, uuid) = (place.index.to_string(), place.instance.to_string());
                    self.zone.below([index.as_str(), &uuid, ADDRESSES])
                }
            };
            let Some(target) = target else { continue };
            let priority = place.locality as u16 + if place.is_suspect { SUSPECT } else { 0 };
            if let Some(ip) = ip(&place.stamped) {
                answer.additionals.push(address(&target, ip));
            }
            let service = SRV::new(priority, WEIGHT, tcp.port, target);
            answer.records.push(self.record(RData::SRV(service)));
        }
        answer
    }

    /// Returns the record of an address, if addresses of its kind are wanted.
    fn address(&self, name: &Name, ip: IpAddr) -> Option<Record> {
        let kind = if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        self.wants(kind).then(|| address(name, ip))
    }
}

fn address(name: &Name, ip: IpAddr) -> Record {
    let data = match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(name.clone(), TTL, data)
}

fn absolute(mut name: Name) -> Name {
    name.set_fqdn(true);
    name
}

/// Returns the places of instances that are not suspect; all of them, if every one is.
fn healthy(places: &[Place]) -> impl Iterator<Item = &Place> {
    // They are sorted by that.
    let is_any = places.first().is_some_and(|it| !it.is_suspect);
    places.iter().filter(move |it| !is_any || !it.is_suspect)
}

/// Returns the address of an endpoint, unless its host is a name.
fn ip(stamped: &Stamped) -> Option<IpAddr> {
    match &stamped.endpoint {
        Endpoint::Tcp(tcp) => tcp.host.ip(),
        _ => None,
    }
}

/// For how many seconds answers may be kept: not at all, because an actor may end at any time.
const TTL: u32 = 0;

/// The number of endpoints after which no further instance of a name is looked at.
const PLACES_MAX: usize = 1024;

/// The weight of each service among those that are equally near.
const WEIGHT: u16 = 1;

/// What is added to the priorities of suspect instances.
const SUSPECT: u16 = 100;

/// The longest string of a TXT record.
const TEXT_BYTES_MAX: usize = 255;
