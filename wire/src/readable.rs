//! Tolerant reading: data of a later version, as far as this one understands it.
//!
//! An unknown place, name or word costs only what it belongs to: an endpoint of an unknown kind
//! leaves the other endpoints of its record, an invalid name leaves the other records of an answer.

use std::{borrow::Cow, collections::BTreeMap};

use endpoints::{Endpoint, Name, NameError, Stamp, Stamped};
use serde::{Deserialize, Deserializer, de::Error as _};
use uuid::Uuid;

use crate::{Epoch, Lifetime, Owner, Record, State, Suspicion, optional::or_default};

/// Reads stamped endpoints, and leaves out those of an unknown kind.
pub(crate) fn stamped<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Stamped>, D::Error> {
    let written = Vec::<WrittenStamped<'_>>::deserialize(from)?;
    Ok(written.into_iter().filter_map(WrittenStamped::read).collect())
}

/// Reads stamped endpoints as [`stamped`] does: none, if they are nil.
pub(crate) fn stamped_or_none<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<Stamped>, D::Error> {
    some_stamped(from).map(Option::unwrap_or_default)
}

/// Reads stamped endpoints that may be absent, as [`stamped`] does.
pub(crate) fn some_stamped<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<Stamped>>, D::Error> {
    let written = Option::<Vec<WrittenStamped<'_>>>::deserialize(from)?;
    Ok(written.map(|it| it.into_iter().filter_map(WrittenStamped::read).collect()))
}

/// Reads endpoints that may be absent, and leaves out those of an unknown kind.
pub(crate) fn endpoints<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Endpoint>, D::Error> {
    let written: Vec<Cow<'_, str>> = or_default(from)?;
    Ok(written.iter().filter_map(|it| it.parse().ok()).collect())
}

/// Reads records, and drops those with invalid names.
pub(crate) fn records<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Record>, D::Error> {
    let written = Vec::<WrittenRecord>::deserialize(from)?;
    Ok(written.into_iter().filter_map(|it| it.try_into().ok()).collect())
}

/// A [`Stamped`] as it is written.
#[derive(Deserialize)]
struct WrittenStamped<'a> {
    #[serde(borrow)]
    endpoint: Cow<'a, str>,
    #[serde(default, deserialize_with = "or_default")]
    stamp: Stamp,
}

impl WrittenStamped<'_> {
    fn read(self) -> Option<Stamped> {
        Some(Stamped { endpoint: self.endpoint.parse().ok()?, stamp: self.stamp })
    }
}

/// A [`Record`] as it is written.
#[derive(Deserialize)]
pub(crate) struct WrittenRecord {
    name: String,
    uuid: Uuid,
    epoch: Epoch,
    #[serde(deserialize_with = "stamped")]
    endpoints: Vec<Stamped>,
    #[serde(default, deserialize_with = "or_default")]
    metadata: BTreeMap<String, String>,
    state: State,
    lifetime: Lifetime,
    since_ms: u64,
    #[serde(default)]
    suspicion: Option<Suspicion>,
    #[serde(default, deserialize_with = "or_default")]
    proves: bool,
    #[serde(default)]
    user: Option<u32>,
    #[serde(default)]
    owner: Option<Owner>,
    #[serde(default)]
    token: Option<u64>,
    #[serde(default, deserialize_with = "or_default")]
    waiting: u64,
    #[serde(default)]
    node: Option<Name>,
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        WrittenRecord::deserialize(from)?.try_into().map_err(D::Error::custom)
    }
}

impl TryFrom<WrittenRecord> for Record {
    type Error = NameError;

    fn try_from(it: WrittenRecord) -> Result<Self, NameError> {
        Ok(Self {
            name: Name::new(&it.name)?,
            uuid: it.uuid,
            epoch: it.epoch,
            endpoints: it.endpoints,
            metadata: it.metadata,
            state: it.state,
            lifetime: it.lifetime,
            since_ms: it.since_ms,
            suspicion: it.suspicion,
            proves: it.proves,
            owner: it.user.map(Owner::User).or(it.owner),
            token: it.token,
            waiting: it.waiting,
            node: it.node,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde::{Serialize, Serializer, de::DeserializeOwned};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        Frame, RemoteError, WireError, decode_body, encode_body,
        registrar::{
            Answer, Change, List, Located, Page, Query, Register, Status, Update, WrittenAnswer,
            WrittenLocated,
        },
    };

    /// Writes a record as bytes would contain it, with fields of a later version.
    fn record(name: &str, endpoints: &[&str], state: &str) -> Value {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|it| json!({ "endpoint": it, "stamp": { "kernel": 1, "vm": [1, 2] }, "cost": 3 }))
            .collect();
        json!({
            "name": name, "uuid": "UUID", "epoch": 1, "endpoints": endpoints, "state": state,
            "lifetime": { "replica": { "of": [1] } }, "since_ms": 5, "later": { "a": [null] },
        })
    }

    /// Writes JSON as MessagePack, with bytes for a UUID.
    struct Packed<'a>(&'a Value);

    impl Serialize for Packed<'_> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                Value::Object(map) => to.collect_map(map.iter().map(|(key, it)| (key, Packed(it)))),
                Value::Array(items) => to.collect_seq(items.iter().map(Packed)),
                Value::String(text) if text == "UUID" => to.serialize_bytes(&[7; 16]),
                other => other.serialize(to),
            }
        }
    }

    /// Decodes what a later version might have encoded.
    fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, WireError> {
        decode_body(&encode_body(&Packed(value)))
    }

    fn later() -> Vec<Value> {
        vec![
            record("feed", &["/vsock/3/port/7", "/unix/@feed"], "ready"),
            record("no name/at all", &["/unix/@x"], "ready"),
            record("chart", &["/ip4/10.0.0.1/udp/1/quic-v1"], "paused"),
        ]
    }

    fn seen(records: &[Record]) -> Vec<String> {
        let line = |it: &Record| {
            let endpoints: Vec<_> = it.endpoints.iter().map(|it| it.endpoint.to_string()).collect();
            format!("{} {} {} {}", it.name, it.state, it.lifetime, endpoints.join(" "))
        };
        records.iter().map(line).collect()
    }

    const SEEN: [&str; 2] = ["feed ready unknown /unix/@feed", "chart unknown unknown "];

    #[test]
    fn an_unreadable_element_costs_only_itself() {
        let answer = json!({ "revision": 1, "now_ms": 2, "total": 3, "records": later() });
        let read: Answer = decode(&answer).unwrap();
        assert_eq!((read.total, seen(&read.records)), (3, SEEN.map(str::to_owned).to_vec()));

        let page = json!({ "revision": 1, "now_ms": 2, "next": null, "records": later() });
        let read: Page = decode(&page).unwrap();
        assert_eq!(seen(&read.records), SEEN);

        let located = json!({
            "answer": answer, "registrar": "UUID", "nonce": "UUID", "proofs": [null, null, null],
        });
        let read: Located = decode(&located).unwrap();
        assert_eq!(
            (seen(&read.answer.records), read.proofs.len()),
            (SEEN.map(str::to_owned).to_vec(), 2)
        );

        let add = json!({ "add": { "record": later()[0], "revision": 9 } });
        let Change::Add { record, .. } = decode(&add).unwrap() else { panic!("it was added") };
        assert_eq!(seen(&[record]), SEEN[..1]);
        assert!(
            decode::<Change>(&json!({ "add": { "record": later()[1], "revision": 9 } })).is_err()
        );
    }

    #[test]
    fn proofs_stay_with_their_records() {
        let prove = |byte: u8| {
            let key = crate::ProofKey::derive(&crate::ProofSecret::new([byte; 32]), Uuid::nil(), 1);
            let challenge =
                crate::Challenge { registrar: Uuid::nil(), epoch: 1, nonce: Uuid::nil() };
            let name = Name::new("feed").unwrap();
            key.prove(&endpoints::InstanceId { name, uuid: Uuid::nil() }, &challenge)
        };
        let records: Vec<WrittenRecord> = later().iter().map(|it| decode(it).unwrap()).collect();
        let answer = WrittenAnswer { revision: 1, now_ms: 2, total: 3, records };
        let proofs = vec![Some(prove(1)), Some(prove(2)), Some(prove(3))];
        let located = WrittenLocated {
            answer,
            registrar: Uuid::nil(),
            nonce: Uuid::nil(),
            proofs: proofs.clone(),
            over_tls: proofs.clone(),
            homes: vec![Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2)), None],
        };
        let read = Located::from(located);
        assert!(read.proofs == [proofs[0], proofs[2]]);
        assert!(read.over_tls == [proofs[0], proofs[2]]);
        assert_eq!(read.homes, [Some(Uuid::from_u128(1)), None]);
    }

    #[test]
    fn a_registration_keeps_the_endpoints_that_are_known() {
        let endpoints = later()[0]["endpoints"].clone();
        let register = json!({
            "name": "feed", "uuid": "UUID", "endpoints": endpoints, "state": "ready",
        });
        let read: Register = decode(&register).unwrap();
        assert_eq!(read.endpoints.len(), 1);
        assert_eq!(read.endpoints[0].endpoint.to_string(), "/unix/@feed");
        assert!(read.endpoints[0].stamp.kernel.is_some());

        let update: Update = decode(&json!({ "uuid": "UUID", "endpoints": endpoints })).unwrap();
        assert_eq!(update.endpoints.map(|it| it.len()), Some(1));
        let update: Update = decode(&json!({ "uuid": "UUID" })).unwrap();
        assert_eq!(update.endpoints, None);

        let status = json!({
            "registrar": "UUID", "agent": "later/9", "revision": 1, "uptime_ms": 1, "sessions": 1,
            "instances": 1, "waiters": 0, "watchers": 0,
            "endpoints": ["/vsock/3/port/7", "/unix/@r"],
        });
        let read: Status = decode(&status).unwrap();
        assert_eq!(read.endpoints.len(), 1);
    }

    #[test]
    fn an_optional_field_may_be_nil() {
        let stamped = json!({ "endpoint": "/unix/@feed", "stamp": null });
        let register = json!({
            "name": "feed", "uuid": "UUID", "endpoints": [stamped], "state": "ready",
            "metadata": null, "lease_ms": null, "proves": null, "again": null, "wait": null,
            "token": null, "resume": null, "secret": null,
        });
        let read = Register::decode(&encode_body(&Packed(&register))).unwrap();
        let expected = Register::new(Name::new("feed").unwrap(), Uuid::from_bytes([7; 16]));
        let endpoints = vec![Stamped::bare("/unix/@feed".parse().unwrap())];
        assert_eq!(read, Register { endpoints, ..expected });

        let query = encode_body(&Packed(&json!({ "name": "feed", "all": null, "owner": null })));
        assert_eq!(Query::decode(&query), Ok(Query::of("feed")));
        let list: List = decode(&json!({ "pattern": "*", "after": null })).unwrap();
        assert_eq!(list.after, 0);

        let mut feed = record("feed", &[], "ready");
        let with_nil = feed.as_object_mut().unwrap();
        for field in ["metadata", "suspicion", "proves", "owner", "token", "waiting"] {
            with_nil.insert(field.to_owned(), Value::Null);
        }
        let read: Record = decode(&feed).unwrap();
        assert_eq!((read.proves, read.waiting, read.metadata.len()), (false, 0, 0));

        let goodbye = json!({ "goodbye": { "reason": "x", "returns": null, "error": null } });
        let goodbye = encode_body(&Packed(&goodbye));
        let read = Frame::decode(&goodbye).unwrap();
        assert_eq!(read, Frame::Goodbye { reason: "x", returns: false, error: None });
        let hello = encode_body(&Packed(&json!({ "hello": { "agent": null, "wanted": null } })));
        assert_eq!(Frame::decode(&hello), Ok(Frame::Hello(Box::default())));
        let details = json!({ "causes": null, "actor": null });
        let error = json!({ "kind": "failed", "message": "x", "details": details });
        let read: RemoteError = decode(&error).unwrap();
        assert_eq!(read.details, Some(Box::default()));
    }

    #[test]
    fn elements_are_written_as_they_were_read() {
        let read: Record = decode(&later()[0]).unwrap();
        assert_eq!(decode_body::<Record>(&encode_body(&read)), Ok(read));
    }
}
