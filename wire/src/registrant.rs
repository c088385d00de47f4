//! The calls that a registrant answers: a registrar makes them over the connection that it was
//! registered over. A registrant that knows neither may say so: then nothing comes of them.
//!
//! | method | takes | gives |
//! |---|---|---|
//! | [`CONFIRM`] | [`Confirm`] | [`Confirmed`] |
//! | [`SET_STATE`] | [`SetState`] | nothing |

use endpoints::Endpoint;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::record::{Epoch, State};

/// Asks whether an instance is where it is registered.
pub const CONFIRM: &str = "registrant.confirm";
/// Says that somebody else has changed how far an instance is in its life.
pub const SET_STATE: &str = "registrant.set-state";

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
