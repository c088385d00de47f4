//! One message to its answer.

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, ResponseCode},
    rr::{DNSClass, RData, Record, RecordType},
};

use super::zone::Zone;

/// How an answer travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// Answers a message. `None` if it deserves no answer: it is none, or is an answer itself.
pub(super) fn answer(
    zone: &Zone,
    bytes: &[u8],
    asker: IpAddr,
    transport: Transport,
) -> Option<Vec<u8>> {
    let [id_high, id_low, flags, ..] = *bytes else { return None };
    if bytes.len() < HEADER_BYTES || flags & IS_ANSWER != 0 {
        return None;
    }
    let id = u16::from_be_bytes([id_high, id_low]);
    let Ok(request) = Message::from_vec(bytes) else {
        let op_code = OpCode::from_u8(flags >> 3 & 0xf);
        return Message::error_msg(id, op_code, ResponseCode::FormErr).to_vec().ok();
    };
    let mut response = Message::new(id, MessageType::Response, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.queries.clone_from(&request.queries);
    response.edns = request.edns.as_ref().map(|it| {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_BYTES_MAX).set_dnssec_ok(it.flags().dnssec_ok);
        edns
    });
    let limit = usize::from(match (transport, &request.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => PLAIN_BYTES_MAX,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_BYTES_MAX, UDP_BYTES_MAX),
    });
    let most = limit / RECORD_BYTES_MIN;
    response.metadata.response_code = fill(zone, &request, &mut response, asker, most);
    fit(response, limit, transport)
}

/// Adds the records that answer a request, no more than can matter, and returns the code.
fn fill(
    zone: &Zone,
    request: &Message,
    response: &mut Message,
    asker: IpAddr,
    most: usize,
) -> ResponseCode {
    let version = request.edns.as_ref().map_or(0, Edns::version);
    let [query] = &request.queries[..] else { return ResponseCode::FormErr };
    match () {
        () if request.metadata.op_code != OpCode::Query => return ResponseCode::NotImp,
        () if version > 0 => return ResponseCode::BADVERS,
        () if query.query_class != DNSClass::IN => return ResponseCode::Refused,
        // Nobody may take the whole domain.
        () if matches!(query.query_type, RecordType::AXFR | RecordType::IXFR) => {
            return ResponseCode::Refused;
        }
        () => {}
    }
    let answer = zone.answer(&query.name, query.query_type, asker, most);
    response.metadata.authoritative = answer.code != ResponseCode::Refused;
    if answer.is_negative() {
        response.authorities.push(zone.soa());
    }
    if answer.is_negative() && answer.code == ResponseCode::NoError {
        // Beside it, c-ares too believes that there is nothing of a type for no longer than it is told
        // (RFC 2308, section 2.2, type 1).
        response.authorities.push(zone.ns());
    }
    response.answers = answer.records;
    response.additionals = answer.additionals;
    answer.code
}

/// Writes a response within a limit. What the asker can ask for separately goes first, then records
/// of the answer, and over UDP it is told so, because over TCP it gets more.
fn fit(mut response: Message, limit: usize, transport: Transport) -> Option<Vec<u8>> {
    // The library cuts a longer message itself, within a record.
    if shorten(&mut response) {
        response.metadata.truncation = transport == Transport::Udp;
    }
    loop {
        let bytes = response.to_vec().ok()?;
        let (too_long, answers) = (bytes.len() > limit, response.answers.len());
        if !too_long {
            return Some(bytes);
        }
        if !response.additionals.is_empty() {
            response.additionals.clear();
        } else if answers > 0 {
            response.metadata.truncation = transport == Transport::Udp;
            // As many as fit if all are alike, but fewer than now.
            response.answers.truncate((answers * limit / bytes.len()).min(answers - 1));
        } else if !response.authorities.is_empty() {
            response.authorities.clear();
        } else {
            return None;
        }
    }
}

/// Leaves out what no message has room for, and tells whether it was a part of the answer.
fn shorten(response: &mut Message) -> bool {
    let mut length = HEAD_BYTES_MAX;
    let mut has_room = |record: &Record| {
        length += length_max(record);
        length <= u16::MAX.into()
    };
    let fitting = response.answers.iter().take_while(|it| has_room(it)).count();
    let is_cut = fitting < response.answers.len();
    response.answers.truncate(fitting);
    if !response.additionals.iter().all(has_room) {
        response.additionals.clear();
    }
    is_cut
}

/// Returns the length of a record without compression.
fn length_max(record: &Record) -> usize {
    let data = match &record.data {
        RData::A(_) => 4,
        RData::AAAA(_) => 16,
        RData::PTR(name) => name.len() + 1,
        RData::SRV(service) => 6 + service.target.len() + 1,
        RData::TXT(text) => text.txt_data.iter().map(|it| it.len() + 1).sum(),
        // One of them is in an answer.
        _ => 0,
    };
    record.name.len() + 1 + RECORD_HEAD_BYTES + data
}

/// The type, the class, the TTL and the length of a record (RFC 1035, section 4.1.3); and with a
/// name that is compressed and the shortest data, the least that a record takes.
const RECORD_HEAD_BYTES: usize = 10;
const RECORD_BYTES_MIN: usize = 2 + RECORD_HEAD_BYTES + 2;

/// The most that the header, the question, an authority and the options of EDNS take.
const HEAD_BYTES_MAX: usize = 1536;

/// The header of a message (RFC 1035, section 4.1.1), and in its third byte the flag of an answer.
const HEADER_BYTES: usize = 12;
const IS_ANSWER: u8 = 0x80;

/// The longest answer to those who do not say what they take (RFC 1035, section 4.2.1).
const PLAIN_BYTES_MAX: u16 = 512;

/// The longest answer over UDP: what every network carries in one piece.
const UDP_BYTES_MAX: u16 = 1232;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

    use hickory_proto::{
        op::Query,
        rr::{Name, rdata::PTR},
    };
    use registrar::{
        RegistryHandle,
        registry::{Foreign, Limits, Owner},
    };
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::*;
    use crate::{cached::Cached, dns::kept::Kept, surroundings::Surroundings};

    /// A domain with an actor `feed` of so many endpoints.
    fn zone(endpoints: u8) -> Zone {
        let registry = RegistryHandle::unattended(Limits::default());
        let (uuid, owner) = (Uuid::from_u128(7), Owner::User(1000));
        for last in 1..=endpoints {
            let endpoint: endpoints::Endpoint =
                format!("/ip4/192.0.2.{last}/tcp/80").parse().unwrap();
            let foreign = Foreign {
                name: "feed".parse().unwrap(),
                uuid,
                endpoint: Some(endpoints::Stamped::bare(endpoint)),
                metadata: BTreeMap::new(),
            };
            registry.remember_foreign(foreign, owner).unwrap();
        }
        registry.settle(uuid, owner);
        Zone {
            domain: Name::from_ascii("callsign.").unwrap(),
            registry,
            servers: vec!["127.0.0.1:53".parse().unwrap()],
            surroundings: Surroundings::new(),
            types: Cached::new(),
            above: Cached::new(),
        }
    }

    fn question(name: &str, wanted: RecordType) -> Message {
        let mut message = Message::query();
        message.metadata.id = 77;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), wanted));
        message
    }

    const ASKER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));

    fn ask(zone: &Zone, message: &Message, transport: Transport) -> (Message, usize) {
        let bytes = answer(zone, &message.to_vec().unwrap(), ASKER, transport).unwrap();
        (Message::from_vec(&bytes).unwrap(), bytes.len())
    }

    #[test]
    fn an_answer_is_as_long_as_the_asker_takes() {
        let zone = zone(64);
        let check = |message: &Message, transport, most: usize, is_cut| {
            let (answer, length) = ask(&zone, message, transport);
            assert!(length <= most, "{length}");
            assert_eq!(answer.metadata.truncation, is_cut);
            assert_eq!(answer.answers.len() < 64, is_cut);
            assert!(!answer.answers.is_empty());
            answer
        };
        let mut services = question("feed.callsign.", RecordType::SRV);
        check(&services, Transport::Udp, 512, true);
        let whole = check(&services, Transport::Tcp, u16::MAX.into(), false);
        assert_eq!(whole.additionals.len(), 64, "their addresses are there too");
        // What an asker takes is no less than what all take, and no more than networks carry.
        for (offered, most) in [(100, 512), (1000, 1000), (4096, 1232)] {
            let mut edns = Edns::new();
            edns.set_max_payload(offered);
            services.edns = Some(edns);
            let answer = check(&services, Transport::Udp, most, true);
            assert_eq!(answer.edns.map(|it| it.max_payload()), Some(1232));
        }
        // Their addresses go before any record of the answer does.
        let mut addresses = question("feed.callsign.", RecordType::A);
        addresses.edns = services.edns;
        check(&addresses, Transport::Udp, 1232, false);
    }

    #[test]
    fn an_answer_is_given_again_until_something_changes() {
        let (zone, several) = (zone(1), zone(2));
        let (mut kept, now) = (Kept::new(), Instant::now());
        let mut bytes = question("feed.callsign.", RecordType::A).to_vec().unwrap();
        assert_eq!(kept.get(&zone, &bytes, ASKER, now), None);
        let first = answer(&zone, &bytes, ASKER, Transport::Udp).unwrap();
        kept.keep(&first);
        assert_eq!(kept.get(&zone, &bytes, ASKER, now), Some(&first[..]));
        // It is as another question wants it, and nobody else's.
        bytes[1] += 1;
        let again = kept.get(&zone, &bytes, ASKER, now).unwrap();
        assert_eq!((again[1], &again[2..]), (bytes[1], &first[2..]));
        let other = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 10));
        assert_eq!(kept.get(&zone, &bytes, other, now), None);
        assert!(kept.get(&zone, &bytes, ASKER, now + Duration::from_millis(99)).is_some());
        assert_eq!(kept.get(&zone, &bytes, ASKER, now + Duration::from_millis(100)), None);

        kept.keep(&first);
        assert!(kept.get(&zone, &bytes, ASKER, now).is_some());
        let web = Foreign {
            name: "web".parse().unwrap(),
            uuid: Uuid::from_u128(8),
            endpoint: None,
            metadata: BTreeMap::new(),
        };
        zone.registry.remember_foreign(web, Owner::User(1000)).unwrap();
        assert_eq!(kept.get(&zone, &bytes, ASKER, now), None, "something has changed");

        // The order of several is drawn each time.
        let mut kept = Kept::new();
        assert_eq!(kept.get(&several, &bytes, ASKER, now), None);
        kept.keep(&answer(&several, &bytes, ASKER, Transport::Udp).unwrap());
        assert_eq!(kept.get(&several, &bytes, ASKER, now), None);
    }

    #[test]
    fn an_answer_over_tcp_has_the_records_that_fit() {
        let zone = zone(1);
        let long = "x".repeat(50);
        for number in 0..2000 {
            let foreign = Foreign {
                name: format!("{long}-{number:04}").parse().unwrap(),
                uuid: Uuid::from_u128(1000 + number),
                endpoint: None,
                metadata: BTreeMap::new(),
            };
            zone.registry.remember_foreign(foreign, Owner::User(1000)).unwrap();
        }
        let mut browsing = question("_services._dns-sd._udp.callsign.", RecordType::PTR);
        browsing.edns = Some(Edns::new());
        for (transport, is_cut) in [(Transport::Tcp, false), (Transport::Udp, true)] {
            let (answer, length) = ask(&zone, &browsing, transport);
            assert_eq!(answer.metadata.truncation, is_cut);
            assert!(answer.edns.is_some());
            let first = RData::PTR(PTR(Name::from_ascii("_feed._tcp.callsign.").unwrap()));
            assert_eq!(answer.answers[0].data, first, "they are sorted");
            let (least, most) = if is_cut { (5, 9) } else { (500, 1999) };
            assert!((least..most).contains(&answer.answers.len()), "{}", answer.answers.len());
            assert!(length * 3 > if is_cut { 512 } else { 65535 }, "{length}");
        }
    }

    #[test]
    fn what_is_not_asked_here_is_told_by_its_code() {
        let zone = zone(1);
        let check = |message: &Message, code, is_authoritative| {
            let (answer, _) = ask(&zone, message, Transport::Udp);
            // Two codes have the number of BADVERS.
            let number = u16::from(answer.metadata.response_code);
            assert_eq!(number, u16::from(code), "{message:?}");
            assert_eq!(answer.metadata.authoritative, is_authoritative);
            assert_eq!((answer.metadata.id, answer.answers.len()), (77, 0));
            answer.authorities.len()
        };
        use ResponseCode::{BADVERS, FormErr, NXDomain, NoError, NotImp, Refused};
        // A "no" has the SOA beside it, and that there is nothing of a type, the NS too.
        assert_eq!(check(&question("feed.callsign.", RecordType::MX), NoError, true), 2);
        assert_eq!(check(&question("other.callsign.", RecordType::A), NXDomain, true), 1);
        assert_eq!(check(&question("*.callsign.", RecordType::A), NXDomain, true), 1);
        assert_eq!(check(&question("*.other.callsign.", RecordType::A), NXDomain, true), 1);
        assert_eq!(check(&question("*.", RecordType::A), Refused, false), 0);
        assert_eq!(check(&question("example.", RecordType::A), Refused, false), 0);
        assert_eq!(check(&question("notcallsign.", RecordType::A), Refused, false), 0);
        check(&question("callsign.", RecordType::AXFR), Refused, false);
        let mut message = question("feed.callsign.", RecordType::A);
        message.queries[0].query_class = DNSClass::CH;
        check(&message, Refused, false);
        message.queries.clear();
        check(&message, FormErr, false);
        let query = question("feed.callsign.", RecordType::A).queries.remove(0);
        message.queries = vec![query.clone(), query];
        check(&message, FormErr, false);
        message.queries.pop();
        message.metadata.op_code = OpCode::Notify;
        check(&message, NotImp, false);
        message.metadata.op_code = OpCode::Query;
        let mut edns = Edns::new();
        edns.set_version(1);
        message.edns = Some(edns);
        check(&message, BADVERS, false);
    }

    #[test]
    fn any_bytes_are_answered_or_not() {
        let zone = zone(3);
        let valid =
            question("0.00000000-0000-0000-0000-000000000007.addr.callsign.", RecordType::A);
        let valid = valid.to_vec().unwrap();
        assert!(answer(&zone, &valid, ASKER, Transport::Udp).is_some());
        for length in 0..HEADER_BYTES {
            assert_eq!(answer(&zone, &valid[..length], ASKER, Transport::Udp), None);
        }
        let mut answered = 0;
        for at in 0..valid.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = valid.clone();
                bytes[at] = byte;
                let cut = &bytes[..bytes.len() - usize::from(byte & 7)];
                let answer = answer(&zone, cut, ASKER, Transport::Udp);
                assert!(answer.as_ref().is_none_or(|it| it.len() <= 512));
                // An answer is never answered, or two servers would talk for ever.
                assert!(bytes[2] & IS_ANSWER == 0 || answer.is_none());
                answered += usize::from(answer.is_some());
            }
        }
        assert!(answered > 0);
    }
}
