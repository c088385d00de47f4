//! How a registrar sees whoever asks.

use serde::{Deserialize, Serialize};

use crate::{Owner, OwnerUse};

/// How a registrar sees whoever asks, and what he may do.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::Whoami;
///
/// fn may_register(whoami: &Whoami, pattern: &str) -> Option<bool> {
///     whoami.rules.iter().find(|it| it.pattern == pattern)?.may_register
/// }
/// # let _ = may_register;
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Whoami {
    /// Whose is what he registers. An unknown owner has it over the same connection alone.
    pub owner: Owner,
    /// By what his connection has come: `unix`, `tcp`, `memory`, or another word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// How near that is, as the registrar sees it: `in-process`, `unix-socket`, `loopback`,
    /// `this-host`, `same-subnet`, `remote`, or another word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// The groups of users that he is in, as far as the kernel tells: over a Unix socket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<u32>,
    /// Whether no rule of names binds him.
    #[serde(default)]
    pub is_trusted: bool,
    /// Whether he may change what others have registered.
    #[serde(default)]
    pub may_change_all: bool,
    /// What holds of names that no rule gives to anybody: `same-user`, `open`, or another word.
    pub names: String,
    /// Where that is said, for people.
    #[serde(default)]
    pub names_place: String,
    /// The rules of names that let him find what they are of, the most specific first.
    #[serde(default)]
    pub rules: Vec<NameRight>,
    /// What his owner uses of the registrar, over all connections, and how much it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<OwnerUse>,
}

/// What a rule of names lets somebody do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NameRight {
    /// Of which names.
    pub pattern: String,
    /// Where the rule is written, for people.
    pub place: String,
    /// Whether he may register under them; nothing if the rule leaves that open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_register: Option<bool>,
    /// Whether one instance has each of them at a time.
    #[serde(default)]
    pub exclusive: bool,
    /// How many instances may have each of them at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances_max: Option<u64>,
}
