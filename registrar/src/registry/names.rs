//! The rules of names: who may register one, who may find its instances, and how many it may have
//! at a time.

use std::{fmt, net::IpAddr};

use endpoints::{Matcher, NamePattern};
use foldhash::HashMap;

use super::{Caller, Owner};

/// The rules of names.
///
/// Of the rules whose patterns match a name, only the most specific one applies: a whole name
/// before a pattern, then the one with the most characters that are neither `*` nor `?`, then the
/// one with the most `?`.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::{NodeOptions, NameRules, Names};
///
/// // Everybody may register under any name.
/// let rules = NameRules::new(Names::Open, "this program".to_owned(), Vec::new());
/// let options = NodeOptions { rules, ..NodeOptions::default() };
/// # drop(options);
/// ```
#[derive(Clone, Debug)]
pub struct NameRules {
    otherwise: Names,
    /// The place of that policy, for people.
    otherwise_place: String,
    /// The most specific first.
    rules: Vec<(Matcher, NameRule)>,
    /// The rules to match against a name, by the beginning of their patterns, so that a name is
    /// matched against few however many there are.
    by_prefix: HashMap<Box<str>, Vec<usize>>,
    /// The lengths of those beginnings.
    lengths: Vec<usize>,
    /// Whether some may not find what others may.
    hides: bool,
    /// Whether some names are exclusive.
    has_exclusive: bool,
}

/// The default name of a tree's root. It identifies no one in particular, so every user may have
/// one, unless a rule says otherwise.
pub const UNNAMED_ROOT: &str = "root";

/// The policy for names without a rule.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::Names;
///
/// assert_eq!(Names::default(), Names::SameUser);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Names {
    /// A name belongs to the owner of its instances: nobody else registers it. Declared names are
    /// the registrar's.
    #[default]
    SameUser,
    /// Everybody may register under any name.
    Open,
}

/// A rule for the names that a pattern matches.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::{Grantee, NameRule, NameRules, Names};
///
/// // The databases are those of user 70, and one instance has each of their names at a time.
/// let databases = NameRule {
///     pattern: "db.*".parse()?,
///     register: Some(vec![Grantee::User(70)]),
///     find: None,
///     exclusive: true,
///     instances_max: None,
///     place: "this program".to_owned(),
/// };
/// let rules = NameRules::new(Names::SameUser, "this program".to_owned(), vec![databases]);
/// # drop(rules);
/// # Ok::<(), endpoints::NameError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NameRule {
    /// The names.
    pub pattern: NamePattern,
    /// The owners that may register them; `None` leaves that to [`NameRules::otherwise`].
    pub register: Option<Vec<Grantee>>,
    /// The owners that may find their instances; `None` means all. To all others the actors do not
    /// exist.
    pub find: Option<Vec<Grantee>>,
    /// Whether the names are exclusive.
    pub exclusive: bool,
    /// The most instances that each of them may have at a time.
    pub instances_max: Option<usize>,
    /// Its place, for people.
    pub place: String,
}

/// An owner, or a set of owners, that a rule allows something.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::Grantee;
///
/// // Group 27, and the peers in this network.
/// let network = Grantee::Address("10.0.0.0".parse()?, 8);
/// let grantees = [Grantee::Group(27), network];
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Grantee {
    /// All that can connect.
    Any,
    /// A user of this host.
    User(u32),
    /// The members of a group, as the kernel reports them over a Unix socket.
    Group(u32),
    /// The peers at an address, or at those with this many of its leading bits.
    Address(IpAddr, u8),
    /// The holder of a certificate, by its name there; `spiffe://market/*` are all below
    /// `spiffe://market/`.
    Certified(String),
}

impl NameRules {
    /// Puts rules in order. `place` says where it is written what holds of all other names.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{NameRule, NameRules, Names};
    ///
    /// let one_leader = NameRule {
    ///     pattern: "leader".parse()?,
    ///     register: None,
    ///     find: None,
    ///     exclusive: true,
    ///     instances_max: None,
    ///     place: "node.toml:7".to_owned(),
    /// };
    /// let rules = NameRules::new(Names::Open, "node.toml:3".to_owned(), vec![one_leader]);
    /// assert!(rules.of("leader").is_some() && rules.of("feed").is_none());
    /// # Ok::<(), callsign::NameError>(())
    /// ```
    pub fn new(otherwise: Names, place: String, mut rules: Vec<NameRule>) -> Self {
        rules.sort_by(|one, other| other.pattern.cmp_specific(&one.pattern));
        let hides = rules.iter().any(|it| it.find.is_some());
        let has_exclusive = rules.iter().any(|it| it.exclusive);
        let ready = |rule: NameRule| (Matcher::new(&rule.pattern), rule);
        let rules: Vec<_> = rules.into_iter().map(ready).collect();
        let mut by_prefix: HashMap<Box<str>, Vec<usize>> = HashMap::default();
        for (at, (matcher, _)) in rules.iter().enumerate() {
            by_prefix.entry(matcher.prefix().into()).or_default().push(at);
        }
        let mut lengths: Vec<_> = by_prefix.keys().map(|it| it.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let otherwise_place = place;
        Self { otherwise, otherwise_place, rules, by_prefix, lengths, hides, has_exclusive }
    }

    /// Returns what holds of names that no rule gives to anybody.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{NameRules, Names};
    ///
    /// assert_eq!(NameRules::default().otherwise(), Names::SameUser);
    /// ```
    pub fn otherwise(&self) -> Names {
        self.otherwise
    }

    /// Returns the place of that, for people.
    pub(crate) fn otherwise_place(&self) -> &str {
        &self.otherwise_place
    }

    /// Returns the rule that holds of a name.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, wire::*};
    /// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{NameRule, NameRules, Names};
    ///
    /// let one_leader = NameRule {
    ///     pattern: "leader".parse()?,
    ///     register: None,
    ///     find: None,
    ///     exclusive: true,
    ///     instances_max: None,
    ///     place: "node.toml:7".to_owned(),
    /// };
    /// let rules = NameRules::new(Names::Open, "node.toml:3".to_owned(), vec![one_leader]);
    /// println!("see {}", rules.of("leader").ok_or("no rule")?.place);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(&self, name: &str) -> Option<&NameRule> {
        self.get(self.number_of(name))
    }

    /// Goes through all rules, the most specific first.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::NameRules;
    ///
    /// /// Returns the patterns of exclusive names.
    /// fn exclusive(rules: &NameRules) -> Vec<&str> {
    ///     rules.iter().filter(|it| it.exclusive).map(|it| it.pattern.as_str()).collect()
    /// }
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &NameRule> {
        self.rules.iter().map(|(_, rule)| rule)
    }

    /// Returns how many steps it takes at most to find the rule that holds of a name.
    pub(crate) fn steps(&self, name: &str) -> usize {
        self.candidates(name).map(|at| self.rules[at].0.steps(name)).sum()
    }

    /// Tells whether a caller may find others' registrations under a name.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{NameRules, Owner};
    ///
    /// let rules = NameRules::default();
    /// assert!(rules.may_find(&Owner::User(1000).into(), "feed"), "no rule hides it");
    /// ```
    pub fn may_find(&self, caller: &Caller, name: &str) -> bool {
        !self.hides_from(caller) || self.lets_find(caller, self.number_of(name))
    }

    /// Tells whether anything may be hidden from a caller.
    pub(super) fn hides_from(&self, caller: &Caller) -> bool {
        self.hides && !caller.is_trusted
    }

    /// Tells whether some may not find what others may.
    pub(super) fn hides(&self) -> bool {
        self.hides
    }

    /// Tells whether some names are exclusive.
    pub(super) fn has_exclusive(&self) -> bool {
        self.has_exclusive
    }

    /// Tells whether a name is exclusive.
    pub(super) fn is_exclusive(&self, name: &str) -> bool {
        self.has_exclusive && self.of(name).is_some_and(|it| it.exclusive)
    }

    pub(super) fn lets_find(&self, caller: &Caller, number: RuleNumber) -> bool {
        let find = self.get(number).and_then(|it| it.find.as_deref());
        find.is_none_or(|it| it.iter().any(|grantee| grantee.is(caller)))
    }

    /// Returns the number of the rule for a name.
    pub(super) fn number_of(&self, name: &str) -> RuleNumber {
        let matching = self.candidates(name).filter(|at| self.rules[*at].0.matches(name));
        matching.min().and_then(|at| RuleNumber::try_from(at).ok()).unwrap_or(NO_RULE)
    }

    pub(super) fn get(&self, number: RuleNumber) -> Option<&NameRule> {
        self.rules.get(number as usize).map(|(_, rule)| rule)
    }

    /// Tells whether these rules equal others.
    pub(super) fn says_as(&self, other: &Self) -> bool {
        self.otherwise == other.otherwise
            && self.otherwise_place == other.otherwise_place
            && self.iter().eq(other.iter())
    }

    fn candidates(&self, name: &str) -> impl Iterator<Item = usize> {
        self.lengths
            .iter()
            .filter_map(|length| self.by_prefix.get(name.get(..*length)?))
            .flat_map(|rules| rules.iter().copied())
    }
}

impl Default for NameRules {
    fn default() -> Self {
        Self::new(Names::default(), "the default".to_owned(), Vec::new())
    }
}

/// The number of the rule.
pub(super) type RuleNumber = u32;

/// The number for names without a rule.
pub(super) const NO_RULE: RuleNumber = RuleNumber::MAX;

/// The rule for an entry, as determined under some set of rules.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ruled {
    /// The number of that set of rules; 0 is never.
    pub(super) times_set: u32,
    pub(super) rule: RuleNumber,
}

impl Grantee {
    /// Tells whether it includes a caller.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// use callsign::registrar::{Grantee, Owner};
    ///
    /// let network = Grantee::Address("10.0.0.0".parse()?, 8);
    /// assert!(network.is(&Owner::Host("10.1.2.3".parse()?).into()));
    /// assert!(!network.is(&Owner::User(1000).into()));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn is(&self, caller: &Caller) -> bool {
        match (self, caller.owner) {
            (Self::Any, _) => true,
            (Self::User(user), Owner::User(own)) => *user == own,
            (Self::Group(group), _) => caller.groups.contains(group),
            (Self::Address(net, bits), Owner::Host(own)) => begins_alike(*net, own, *bits),
            (Self::Certified(name), Owner::Certified(own)) => match name.strip_suffix('*') {
                Some(above) => own.as_str().strip_prefix(above).is_some_and(|it| !it.is_empty()),
                None => name == own.as_str(),
            },
            _ => false,
        }
    }
}

/// Tells whether two addresses of one kind have the first bits in common.
fn begins_alike(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let differ = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => u128::from(one.to_bits() ^ other.to_bits()) << 96,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= u32::from(bits)
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SameUser => "same-user",
            Self::Open => "open",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str) -> NameRule {
        let pattern = pattern.parse().unwrap();
        let place = String::new();
        let (register, find, instances_max) = (None, None, None);
        NameRule { pattern, register, find, exclusive: false, instances_max, place }
    }

    #[test]
    fn the_most_specific_rule_is_found_by_what_a_name_begins_with() {
        let patterns = ["*", "feed*", "feed.eu*", "feed.eu", "*.eu", "f??d*", "größe*", "?"];
        let rules = patterns.map(rule).into();
        let rules = NameRules::new(Names::Open, String::new(), rules);
        for (name, expected) in [
            ("feed.eu", "feed.eu"),
            ("feed.eu.1", "feed.eu*"),
            ("feed.us", "feed*"),
            ("find.eu", "*.eu"),
            ("fond", "f??d*"),
            ("größer", "größe*"),
            ("gr", "*"),
            ("ö", "?"),
        ] {
            assert_eq!(rules.of(name).unwrap().pattern.as_str(), expected, "{name}");
        }
        let none = NameRules::new(Names::Open, String::new(), vec![rule("feed")]);
        assert_eq!((none.of("feeds"), none.steps("x")), (None, 0));
    }
}
