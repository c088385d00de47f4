//! The calls that a registrant answers: a registrar makes them over the connection that it was
//! registered over. A registrant that does not know one may say so, without consequences.
//!
//! | method | takes | gives |
//! |---|---|---|
//! | [`CONFIRM`] | [`Confirm`] | [`Confirmed`] |
//! | [`SET_STATE`] | [`SetState`] | nothing |
//! | [`SET_TOKEN`] | [`SetToken`] | nothing |
//! | [`LOST`] | [`Lost`] | nothing |
//! | [`CLUSTER`] | [`Others`] | nothing |

use endpoints::{Endpoint, Stamped};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    proof::Proof,
    readable,
    record::{Epoch, State},
};

/// Asks whether an instance is where it is registered.
pub const CONFIRM: &str = "registrant.confirm";
/// Says that another program has changed the state of an instance.
pub const SET_STATE: &str = "registrant.set-state";
/// Says by which token an instance has its name since the rules of names have changed.
pub const SET_TOKEN: &str = "registrant.set-token";

/// Says that an instance has lost its entry, or an endpoint of it, and not by its registrant's
/// doing.
pub const LOST: &str = "registrant.lost";

/// Says that the nodes of the registrar's cluster have changed.
pub const CLUSTER: &str = "registrant.cluster";

/// Says where the other registrars of a cluster are from now on.
///
/// ```
/// # use callsign_wire as callsign;
/// use callsign::callbacks::Others;
///
/// assert!(Others::default().cluster.is_empty(), "there are none");
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Others {
    /// Where those are that live.
    #[serde(default, deserialize_with = "readable::stamped_or_none")]
    pub cluster: Vec<Stamped>,
}

/// Asks whether an instance is where it is registered: it was reported not to answer, and the
/// registrar could not tell.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Confirm {
    /// The instance.
    pub uuid: Uuid,
    /// Its registration.
    pub epoch: Epoch,
    /// The endpoint in doubt.
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

/// Says that an authorised program has changed the state of an instance. The registrant keeps that
/// state.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct SetState {
    /// The instance.
    pub uuid: Uuid,
    /// Its registration.
    pub epoch: Epoch,
    /// Its new state.
    pub state: State,
}

/// Says by which token an instance has its name, which has become exclusive while the instance had
/// it, or is no longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct SetToken {
    /// The instance.
    pub uuid: Uuid,
    /// Its registration.
    pub epoch: Epoch,
    /// Its fencing token; absent if its name is not exclusive, or others have it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// What shows a later run of the registrar that the token is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Proof>,
}

/// Says that an instance has lost its entry, or an endpoint of it, and not by its registrant's
/// doing.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Lost {
    /// The instance.
    pub uuid: Uuid,
    /// Its registration.
    pub epoch: Epoch,
    /// The cause of the loss.
    pub cause: LostCause,
    /// The endpoint that was found dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// The one who did it, or who is at the endpoint now, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The cause of the loss of an entry, or of one of its endpoints.
///
/// ```
/// # use callsign_wire::callbacks as callsign;
/// use callsign::LostCause;
///
/// assert!(LostCause::Unregistered.is_final() && !LostCause::FoundDead.is_final());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LostCause {
    /// An authorised program has removed it.
    Unregistered,
    /// An authorised program has registered the same instance, and keeps it now.
    Replaced,
    /// The registrar found nobody, or another program, at one of its endpoints.
    FoundDead,
    /// Its node of a cluster has lost the right to its exclusive name: another node may have given that
    /// away.
    NameLost,
    /// Its host has lost the address of one of its endpoints, which is published again once it is back.
    AddressGone,
    /// A cause that this version does not know.
    #[serde(other)]
    Unknown,
}

impl LostCause {
    /// Tells whether the loss was intended, so that the registrant leaves it at that.
    ///
    /// ```
    /// # use callsign_wire::callbacks as callsign;
    /// use callsign::LostCause;
    ///
    /// assert!(LostCause::Unregistered.is_final(), "somebody meant it");
    /// assert!(!LostCause::FoundDead.is_final(), "it may be there again");
    /// ```
    pub fn is_final(self) -> bool {
        matches!(self, Self::Unregistered | Self::Replaced | Self::NameLost)
    }
}
