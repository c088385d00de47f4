//! The calls that a registrar makes to this side.

use std::{sync::Arc, time::Duration};

use portal::{Call, Replies, Service};
use transport::is_there;
use wire::{
    ErrorKind, RemoteError,
    callbacks::{
        CLUSTER, CONFIRM, Confirm, Confirmed, LOST, Others, SET_STATE, SET_TOKEN, SetState,
        SetToken,
    },
};

use super::{Hub, LinkState, desired::Token};
use crate::{LinkError, Lost};

/// Answers a registrar by the desired state.
#[derive(Debug)]
pub(crate) struct Registrant {
    hub: Arc<Hub>,
    /// The link.
    index: usize,
    /// The status of the link before its registrar fell silent.
    before: Option<LinkState>,
}

impl Registrant {
    pub(crate) fn new(hub: Arc<Hub>, index: usize) -> Self {
        Self { hub, index, before: None }
    }

    /// Confirms whether an instance is where it is registered.
    fn confirm(&self, call: Call<'_>) -> Result<Confirmed, RemoteError> {
        let Confirm { uuid, endpoint, .. } = call.args()?;
        let entry = self.hub.desired.find(uuid).ok_or_else(unknown)?;
        let wanted = entry.wanted().1.endpoints;
        let stamped = wanted.iter().find(|it| it.endpoint == endpoint);
        let is_own_socket = stamped.and_then(is_there);
        let confirmed = Confirmed { is_wanted: stamped.is_some(), is_own_socket };
        tracing::info!(
            target: "callsign", name = %entry.name, %uuid, %endpoint, is_yes = confirmed.is_yes(),
            "a registrar asks whether it is there"
        );
        Ok(confirmed)
    }

    /// Adopts the state that another program has given an instance.
    fn set_state(&self, call: Call<'_>) -> Result<(), RemoteError> {
        let SetState { uuid, state, .. } = call.args()?;
        let entry = self.hub.desired.find(uuid).ok_or_else(unknown)?;
        if entry.wanted().1.state != state {
            tracing::info!(
                target: "callsign", name = %entry.name, %uuid, %state,
                "somebody else has changed its state"
            );
            self.hub.desired.change(&entry, |it| it.state = state);
        }
        Ok(())
    }

    /// Records by which token an instance has its name since the registrar's rules have changed.
    fn set_token(&self, call: Call<'_>) -> Result<(), RemoteError> {
        let SetToken { uuid, epoch, token, resume } = call.args()?;
        let entry = self.hub.desired.find(uuid).ok_or_else(unknown)?;
        tracing::info!(target: "callsign", name = %entry.name, %uuid, token, "it has another token");
        entry.tell_token(self.index, epoch, token.map(|number| Token { number, resume }));
        Ok(())
    }

    /// Records where the others are that know what the registrar knows.
    fn follow_cluster(&self, call: Call<'_>) -> Result<(), RemoteError> {
        let Others { cluster } = call.args()?;
        self.hub.links[self.index].set_others(cluster);
        Ok(())
    }

    /// Records the loss of an instance.
    fn lose(&self, call: Call<'_>) -> Result<(), RemoteError> {
        let said: wire::callbacks::Lost = call.args()?;
        let uuid = said.uuid;
        let entry = self.hub.desired.find(uuid).ok_or_else(unknown)?;
        let registrar = self.hub.links[self.index].registrar.clone();
        let lost = Lost::told_by(registrar, said);
        tracing::info!(target: "callsign", name = %entry.name, %uuid, %lost, "it has lost an entry");
        self.hub.desired.lose(&entry, lost);
        Ok(())
    }
}

impl Service for Registrant {
    fn call(&mut self, call: Call<'_>, replies: &mut Replies) {
        let called = match call.method {
            CONFIRM => self.confirm(call).map(|it| replies.finish(call.id, &it)),
            SET_STATE => self.set_state(call).map(|it| replies.finish(call.id, &it)),
            SET_TOKEN => self.set_token(call).map(|it| replies.finish(call.id, &it)),
            CLUSTER => self.follow_cluster(call).map(|()| replies.finish(call.id, &())),
            LOST => self.lose(call).map(|it| replies.finish(call.id, &it)),
            _ => Err(call.unknown()),
        };
        if let Err(error) = called {
            replies.fail(call.id, error);
        }
    }

    /// Marks the link as down, though its connection lasts: the registrar is stopped, or busy, and
    /// its entries are there when it continues.
    fn fell_silent(&mut self, silence: Duration) {
        let link = &self.hub.links[self.index];
        let state = link.state();
        if matches!(state, LinkState::Up(_)) {
            tracing::info!(target: "callsign", ?silence, "the registrar gives no sign of life");
            link.set(LinkState::Down(Arc::new(LinkError::Silent(silence))));
            self.before = Some(state);
        }
    }

    fn heard_again(&mut self) {
        if let Some(before) = self.before.take() {
            let link = &self.hub.links[self.index];
            tracing::info!(target: "callsign", "the registrar is heard again");
            link.set(before);
        }
    }
}

/// An instance outside the desired state may have been left in the registry on purpose.
fn unknown() -> RemoteError {
    RemoteError::new(ErrorKind::NotFound, "no such instance is kept registered here")
}
