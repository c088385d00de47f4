//! Registrations under names that a cluster decides about, which takes a moment.

use std::{future::poll_fn, mem, task::Poll};

use tracing::debug;
use wire::{CallId, Epoch, RemoteError, registrar::Registered};

use super::ForeignSession;
use crate::registry::{Entered, Event, Foreign, SessionId};

impl ForeignSession {
    /// Registers a foreign instance again, as
    /// [`RegistryHandle::return_foreign`](crate::RegistryHandle::return_foreign) does.
    pub(crate) async fn enter_again(&self, foreign: Foreign) -> Result<Option<Epoch>, RemoteError> {
        let entered = self.registry.enter_again(foreign, &self.caller, self.to_decide())?;
        self.epoch(entered).await
    }

    /// Returns by which call of its it stands in line.
    pub(super) fn to_decide(&self) -> (SessionId, CallId) {
        (self.id, DECIDED)
    }

    pub(super) async fn epoch(
        &self,
        entered: Option<Entered>,
    ) -> Result<Option<Epoch>, RemoteError> {
        match entered {
            Some(entered) => Ok(Some(self.registered(entered).await?.epoch)),
            None => Ok(None),
        }
    }

    /// Waits until a cluster has decided about an instance, if that stands in line.
    pub(super) async fn registered(&self, entered: Entered) -> Result<Registered, RemoteError> {
        if let Entered::Registered(registered) = entered {
            return Ok(registered);
        }
        let undecided = Undecided(self);
        let answer = poll_fn(|cx| {
            // That is a watch's, and here it only says by whom to be woken.
            self.handle.take_has_changes(cx);
            self.handle.take_granted().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        mem::forget(undecided);
        answer.result
    }
}

/// An instance that stands in line. Dropping it ends that.
struct Undecided<'a>(&'a ForeignSession);

impl Drop for Undecided<'_> {
    fn drop(&mut self) {
        let ForeignSession { registry, caller, handle, id } = self.0;
        registry.leave_line((*id, DECIDED));
        // It has been given the name just now, and nobody would take care of it.
        if let Some(uuid) = handle.forget_granted(DECIDED) {
            let event = Event::Unregister { uuid, by: caller.owner };
            if let Err(error) = registry.unregister(event, &[uuid], caller, *id) {
                debug!(target: "callsign", %uuid, %error, "it is gone already");
            }
        }
    }
}

/// The call by which an instance stands in line: such a session makes no others of this kind.
const DECIDED: CallId = CallId::MAX;
