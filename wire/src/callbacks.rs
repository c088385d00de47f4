//! The calls that a registrant answers: a registrar makes them over the connection that it was
//! registered over. A registrant that does not know one may say so: then nothing comes of them.
//!
//! | method | takes | gives |
//! |---|---|---|
//! | [`CONFIRM`] | [`Confirm`] | [`Confirmed`] |
//! | [`SET_STATE`] | [`SetState`] | nothing |
//! | [`LOST`] | [`Lost`] | nothing |

use endpoints::Endpoint;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::record::{Epoch, State};

/// Asks whether an instance is where it is registered.
pub const CONFIRM: &str = "registrant.confirm";
/// Says that somebody else has changed how far an instance is in its life.
pub const SET_STATE: &str = "registrant.set-state";

/// Says that an instance has lost its entry, or an endpoint of it, and not by its registrant's doing.
pub const LOST: &str = "registrant.lost";

/// Asks whether an instance is where it is registered: somebody says that it does not answer, and
/// the registrar could not tell.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Confirm {
    /// Which instance.
    pub uuid: Uuid,
    /// Which registration of it.
    pub epoch: Epoch,
    /// Which of its endpoints is in doubt.
    pub endpoint: Endpoint,
}

/// Says whether an instance is where it is registered.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Confirmed {
    /// Whether the registrant means the instance to be registered at that endpoint.
    pub is_wanted: bool,
    /// Whether a path leads to the socket that was registered, or an address is still one of the
    /// host's, as the registrant sees it. Absent if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_own_socket: Option<bool>,
}

impl Confirmed {
    /// Tells whether it is a yes.
    pub fn is_yes(&self) -> bool {
        self.is_wanted && self.is_own_socket != Some(false)
    }
}

/// Says that somebody else, who may, has changed how far an instance is in its life: the
/// registrant is to keep it so.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct SetState {
    /// Which instance.
    pub uuid: Uuid,
    /// Which registration of it.
    pub epoch: Epoch,
    /// What it is now.
    pub state: State,
}

/// Says that an instance has lost its entry, or an endpoint of it, and not by its registrant's doing.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Lost {
    /// Which instance.
    pub uuid: Uuid,
    /// Which registration of it.
    pub epoch: Epoch,
    /// What has happened.
    pub cause: LostCause,
    /// Which endpoint was found dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// Whose doing it is, or who is in its place, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// How an instance has lost its entry, or an endpoint of it.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::callbacks::LostCause;
///
/// assert!(LostCause::Unregistered.is_final() && !LostCause::FoundDead.is_final());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LostCause {
    /// Somebody who may has taken it out.
    Unregistered,
    /// Somebody who may has registered the same instance, which is kept over there now.
    Replaced,
    /// The registrar found nobody at one of its endpoints, or somebody else.
    FoundDead,
    /// A cause that this version does not know.
    #[serde(other)]
    Unknown,
}

impl LostCause {
    /// Tells whether the registrant is to leave it at that: somebody has meant it to be so.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Unregistered | Self::Replaced)
    }
}
