//! A registrar's view of a caller.

use serde::{Deserialize, Serialize};

use crate::{Owner, OwnerUse, optional::or_default};

/// A caller's identity and rights, as the registrar sees them.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::Whoami;
///
/// fn may_register(whoami: &Whoami, pattern: &str) -> Option<bool> {
///     whoami.rules.iter().find(|it| it.pattern == pattern)?.may_register
/// }
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Whoami {
    /// The owner of its registrations. An unknown owner is limited to the same connection.
    pub owner: Owner,
    /// The transport of its connection: `unix`, `tcp`, `memory`, or another word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Its locality, as the registrar sees it: `in-process`, `unix-socket`, `loopback`,
    /// `this-host`, `same-subnet`, `remote`, or another word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// The caller's groups, as far as the kernel reports them: over a Unix socket.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<u32>,
    /// Whether the caller is exempt from the rules of names.
    #[serde(default, deserialize_with = "or_default")]
    pub is_trusted: bool,
    /// Whether the caller may change other owners' registrations.
    #[serde(default, deserialize_with = "or_default")]
    pub may_change_all: bool,
    /// The policy for names without a rule: `same-user`, `open`, or another word.
    pub names: String,
    /// The place of that policy, for people.
    #[serde(default, deserialize_with = "or_default")]
    pub names_place: String,
    /// The rules whose names the caller may find, the most specific first.
    #[serde(default, deserialize_with = "or_default")]
    pub rules: Vec<NameRight>,
    /// The owner's use and quotas, over all connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<OwnerUse>,
}

/// The rights that a rule of names grants.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::NameRight;
///
/// /// Says which names a caller may register.
/// fn list(rights: &[NameRight]) {
///     for right in rights.iter().filter(|it| it.may_register == Some(true)) {
///         println!("{} by {}", right.pattern, right.place);
///     }
/// }
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NameRight {
    /// Of which names.
    pub pattern: String,
    /// The place of the rule, for people.
    pub place: String,
    /// Whether the caller may register them; `None` if the rule leaves that open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_register: Option<bool>,
    /// Whether the names are exclusive.
    #[serde(default, deserialize_with = "or_default")]
    pub exclusive: bool,
    /// The most instances that each of them may have at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances_max: Option<u64>,
}
