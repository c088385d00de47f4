//! The endpoint table: which actor listens where.

use std::collections::{BTreeMap, HashMap, btree_map};

use serde::Serialize;

use crate::{Endpoint, Name};

/// The endpoints of each actor. Actors are sorted by name; the endpoints of each keep their written
/// order. No actor has an endpoint twice; an actor may have none.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{EndpointTable, Name};
///
/// let mut table = EndpointTable::default();
/// table.insert(Name::new("feed")?, ["/unix/run/feed.sock".parse()?]);
/// for (name, endpoints) in &table {
///     println!("{name} listens at {}", endpoints[0]);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct EndpointTable(BTreeMap<Name, Vec<Endpoint>>);

impl EndpointTable {
    /// Returns the endpoints of an actor, or `None` if the table does not name it.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::{Written, parse_endpoints};
    ///
    /// let table = parse_endpoints([("feed", Written::from("/unix/@feed"))])?;
    /// assert_eq!(table.get("feed"), Some(&["/unix/@feed".parse()?][..]));
    /// assert_eq!(table.get("chart"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, name: &str) -> Option<&[Endpoint]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Adds endpoints to those of an actor. An endpoint that it already has is not added again,
    /// whatever its spelling.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::EndpointTable;
    ///
    /// let mut table = EndpointTable::default();
    /// table.insert("feed".parse()?, ["/ip4/10.0.0.7/tcp/80".parse()?]);
    /// assert_eq!(table.get("feed").map(<[_]>::len), Some(1));
    /// assert_eq!(table.get("fed"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert(&mut self, name: Name, endpoints: impl IntoIterator<Item = Endpoint>) {
        let own = self.0.entry(name).or_default();
        for endpoint in endpoints {
            if !own.contains(&endpoint) {
                own.push(endpoint);
            }
        }
    }

    /// Goes through the actors, by name.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::EndpointTable;
    ///
    /// let mut table = EndpointTable::default();
    /// assert!(table.is_empty());
    /// table.insert("feed".parse()?, ["/unix/@feed".parse()?]);
    /// table.insert("db".parse()?, ["/unix/@db".parse()?]);
    /// let names: Vec<_> = table.iter().map(|(name, _)| name.as_str()).collect();
    /// assert_eq!((names, table.len()), (vec!["db", "feed"], 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Actors<'_> {
        Actors(self.0.iter())
    }

    /// Returns how many actors the table names.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::{Written, parse_endpoints};
    ///
    /// let table = parse_endpoints([("feed", Written::from("/unix/@feed"))])?;
    /// assert_eq!(table.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether the table names no actor.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// assert!(callsign::EndpointTable::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the pairs of actors that cannot both bind on one host what the table gives them:
    /// the very same endpoint, or a port that one binds on every address and the other on one.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::EndpointTable;
    ///
    /// let mut table = EndpointTable::default();
    /// table.insert("feed".parse()?, ["/ip4/0.0.0.0/tcp/80".parse()?]);
    /// table.insert("web".parse()?, ["/ip4/10.0.0.7/tcp/80".parse()?]);
    /// let [conflict] = &table.conflicts()[..] else { panic!("they want one port") };
    /// assert_eq!(conflict.second.0.as_str(), "web");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        // Only endpoints with the same port, or that are equal otherwise, can conflict.
        let mut seen: HashMap<Place<'_>, Vec<(&Name, &Endpoint)>> = HashMap::new();
        for (name, endpoints) in self.iter() {
            for endpoint in endpoints {
                let place = match endpoint {
                    Endpoint::Tcp(tcp) => Place::Port(tcp.port),
                    other => Place::Other(other),
                };
                let claims = seen.entry(place).or_default();
                conflicts.extend(
                    claims
                        .iter()
                        .filter(|(first, kept)| *first != name && kept.conflicts_with(endpoint))
                        .map(|&(first, kept)| Conflict {
                            first: (first.clone(), kept.clone()),
                            second: (name.clone(), endpoint.clone()),
                        }),
                );
                claims.push((name, endpoint));
            }
        }
        conflicts
    }
}

impl<'a> IntoIterator for &'a EndpointTable {
    type Item = (&'a Name, &'a [Endpoint]);
    type IntoIter = Actors<'a>;

    fn into_iter(self) -> Actors<'a> {
        self.iter()
    }
}

impl IntoIterator for EndpointTable {
    type Item = (Name, Vec<Endpoint>);
    type IntoIter = btree_map::IntoIter<Name, Vec<Endpoint>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The actors of an [`EndpointTable`] by name, each with its endpoints.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Written, parse_endpoints};
///
/// let table = parse_endpoints([("feed", Written::from("/memory/1"))])?;
/// assert_eq!(table.iter().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Actors<'a>(btree_map::Iter<'a, Name, Vec<Endpoint>>);

impl<'a> Iterator for Actors<'a> {
    type Item = (&'a Name, &'a [Endpoint]);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, endpoints)| (name, endpoints.as_slice()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Actors<'_> {}

/// Two actors that claim the same place.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Written, parse_endpoints};
///
/// let table = parse_endpoints([
///     ("chart", Written::from(("0.0.0.0", 80))),
///     ("web", Written::from(("127.0.0.1", 80))),
/// ])?;
/// let [conflict] = &table.conflicts()[..] else { unreachable!("there is one") };
/// assert_eq!((conflict.first.0.as_str(), conflict.second.0.as_str()), ("chart", "web"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Conflict {
    /// The actor that comes first by name, and its claim.
    pub first: (Name, Endpoint),
    /// The other actor, and its claim.
    pub second: (Name, Endpoint),
}

#[derive(Eq, Hash, PartialEq)]
enum Place<'a> {
    Port(u16),
    Other(&'a Endpoint),
}

#[cfg(test)]
mod tests {
    use crate::{Written, parse_endpoints};

    #[test]
    fn a_table_is_gone_through_by_name() {
        let table =
            parse_endpoints([("b", Written::from("/memory/2")), ("a", Written::from("/memory/1"))])
                .unwrap();
        let mut seen = Vec::new();
        for (name, endpoints) in &table {
            seen.push(format!("{name} {}", endpoints[0]));
        }
        assert_eq!(seen, ["a /memory/1", "b /memory/2"]);
        assert_eq!(table.iter().len(), 2);
        let names: Vec<_> = table.into_iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn two_actors_cannot_have_the_same_place() {
        let check = |first: &str, second: &str, expected: bool| {
            let table = parse_endpoints([
                ("a", Written::from_iter([first, "/memory/1"])),
                ("b", Written::from_iter(["/unix/@b", second])),
            ])
            .unwrap();
            let conflicts = table.conflicts();
            assert_eq!(!conflicts.is_empty(), expected, "{first} and {second}");
            if let [conflict] = &*conflicts {
                assert_eq!(conflict.first.0.as_str(), "a");
                assert_eq!(conflict.second.1, second.parse().unwrap());
            }
        };
        check("/unix/run/x", "/unix/%2Frun%2Fx", true);
        check("/unix/run/x", "/unix/run/y", false);
        check("/unix/x", "/unix/@x", false);
        check("/memory/7", "/memory/7", true);
        check("/memory/0", "/memory/0", false);
        check("/ip4/10.0.0.1/tcp/80", "/ip4/10.0.0.1/tcp/80/tls", true);
        check("/ip4/10.0.0.1/tcp/80", "/ip4/10.0.0.1/tcp/81", false);
        check("/ip4/10.0.0.1/tcp/80", "/ip4/10.0.0.2/tcp/80", false);
        check("/ip4/10.0.0.1/tcp/0", "/ip4/10.0.0.1/tcp/0", false);
        check("/ip4/10.0.0.1/tcp/80", "/ip6/::ffff:10.0.0.1/tcp/80", true);
        check("/ip4/0.0.0.0/tcp/80", "/ip4/10.0.0.1/tcp/80", true);
        check("/ip4/10.0.0.1/tcp/80", "/ip4/0.0.0.0/tcp/80", true);
        check("/ip4/0.0.0.0/tcp/80", "/ip6/::1/tcp/80", false);
        check("/ip4/0.0.0.0/tcp/80", "/dns/localhost/tcp/80", true);
        check("/ip6/::/tcp/80", "/ip4/10.0.0.1/tcp/80", true);
        check("/ip6/::/tcp/80", "/ip6zone/eth0/ip6/fe80::1/tcp/80", true);
        check("/ip6/::/tcp/80", "/dns/feed/tcp/80", false);
        check("/dns4/feed/tcp/80", "/dns/Feed/tcp/80", true);
        check("/ip6zone/eth0/ip6/fe80::1/tcp/80", "/ip6zone/eth1/ip6/fe80::1/tcp/80", false);
    }
}
