//! Asking a registrar of tractor's.

use std::{collections::BTreeMap, fmt, net::IpAddr, time::Duration};

use discovery::{Resolve, ResolveError};
use endpoints::{Endpoint, Name, Stamp, Stamped};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use tokio::time::timeout;
use tracing::debug;
use wire::{Lifetime, Record};

use super::{CallError, Uid, address::Address, call, uid::Form};

/// A registrar of tractor's, as a source of records.
///
/// Its records are stamped by what this process sees, if the registrar is on this host;
/// otherwise only what another host can reach is within reach.
///
/// ```
/// # use callsign_gateway as callsign;
/// use callsign::tractor::{CallError, TractorSource};
///
/// async fn names(source: &TractorSource) -> Result<Vec<String>, CallError> {
///     Ok(source.list().await?.iter().map(|it| it.name.to_string()).collect())
/// }
///
/// let source = TractorSource::new("/ip4/127.0.0.1/tcp/1616".parse()?);
/// # let _ = names(&source);
/// # Ok::<(), endpoints::ParseEndpointError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TractorSource {
    registrar: Endpoint,
}

impl TractorSource {
    /// Takes where the registrar listens.
    ///
    /// ```
    /// # use callsign_gateway as callsign;
    /// use callsign::tractor::TractorSource;
    ///
    /// let source = TractorSource::new("/ip4/127.0.0.1/tcp/1616".parse()?);
    /// assert_eq!(source.registrar().to_string(), "/ip4/127.0.0.1/tcp/1616");
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn new(registrar: Endpoint) -> Self {
        Self { registrar }
    }

    /// Returns where the registrar listens.
    ///
    /// ```
    /// # mod callsign { pub use callsign_gateway::*; pub use registrar; }
    /// use callsign::tractor::TractorSource;
    ///
    /// let source = TractorSource::new("/ip4/127.0.0.1/tcp/1616".parse()?);
    /// println!("asking {}", source.registrar());
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn registrar(&self) -> &Endpoint {
        &self.registrar
    }

    /// Returns all registered actors, the newest first. The time of registration is unknown, and is
    /// 0.
    ///
    /// An entry that is no instance in callsign's words, such as one with a space in its name, is
    /// left out.
    ///
    /// ```
    /// # use callsign_gateway as callsign;
    /// use callsign::tractor::{CallError, TractorSource};
    ///
    /// /// Says which actors a registrar of tractor's has, and where.
    /// async fn show(source: &TractorSource) -> Result<(), CallError> {
    ///     println!("asking {}", source.registrar());
    ///     for record in source.list().await? {
    ///         println!("{}: {} endpoints", record.name, record.endpoints.len());
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn list(&self) -> Result<Vec<Record>, CallError> {
        let nothing = BTreeMap::<&str, ()>::new();
        let asking = call(&self.registrar, "self", "get_registry", &nothing);
        let late = || CallError::Dial(transport::DialError::TimedOut);
        let Entries(entries) =
            timeout(ASK_TIMEOUT, asking).await.unwrap_or_else(|_| Err(late()))?;
        let records = entries.iter().filter_map(|(key, addresses)| {
            let record = self.record(key, addresses);
            if record.is_none() {
                debug!(key, "left out: it is not a valid instance of callsign's");
            }
            record
        });
        Ok(records.rev().collect())
    }

    fn record(&self, key: &str, addresses: &[Address]) -> Option<Record> {
        // A name may have a dot in it. A UUID has none.
        let (name, uuid) = key.rsplit_once('.')?;
        let uid = Uid(name.to_owned(), uuid.to_owned());
        let (name, uuid) = uid.instance().ok()?;
        let endpoints = addresses.iter().filter_map(|it| it.read().ok());
        let stamped = |(endpoint, _): (Endpoint, Form)| Stamped {
            stamp: if self.is_on_this_host() {
                transport::stamp(&endpoint)
            } else {
                Stamp::default()
            },
            endpoint,
        };
        Some(Record {
            endpoints: endpoints.map(stamped).collect(),
            metadata: uid.metadata(Form::Pairs),
            lifetime: Lifetime::Foreign,
            ..Record::new(name, uuid)
        })
    }

    fn is_on_this_host(&self) -> bool {
        match &self.registrar {
            Endpoint::Tcp(tcp) => tcp.host.ip().is_some_and(|ip: IpAddr| ip.is_loopback()),
            Endpoint::Unix(_) | Endpoint::Memory(_) => true,
        }
    }
}

impl Resolve for TractorSource {
    async fn resolve(&self, name: &Name) -> Result<Vec<Record>, ResolveError> {
        let mut records = self.list().await.map_err(|error| ResolveError::Other(error.into()))?;
        records.retain(|it| it.name == *name);
        Ok(records)
    }
}

/// A registrar's entries, in its order: the oldest first.
#[derive(Debug)]
struct Entries(Vec<(String, Vec<Address>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of actors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Map)
    }
}

/// The time limit for a registrar's answer: a person's patience, many times the usual.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
