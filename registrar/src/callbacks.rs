//! The registrar's calls to a registrant, over the session that registered the instance.

use std::time::Duration;

use endpoints::Endpoint;
use portal::{Request, while_awake};
use tokio::task::JoinSet;
use tracing::{debug, info};
use transport::is_there;
use uuid::Uuid;
use wire::callbacks::{
    CLUSTER, CONFIRM, Confirm, Confirmed, LOST, Lost, Others, SET_STATE, SET_TOKEN, SetState,
    SetToken,
};

use crate::{
    RegistryHandle,
    registry::{Claimant, Epoch, SessionId},
};

/// A registrant's answer about an endpoint in doubt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// The instance is there.
    Confirmed,
    /// It is not there.
    Disowned,
    /// No answer in time, or no useful one: the registrant may be hung, or not know the question.
    Nothing,
}

/// Asks the registrant of an instance whether it is there.
pub(crate) async fn confirm(registry: &RegistryHandle, claimant: &Claimant) -> Answer {
    let Claimant { uuid, epoch, stamped } = claimant;
    let Some(registrant) = registry.registrant(*uuid) else { return Answer::Nothing };
    if registrant.as_local().is_some() {
        return vouch(claimant);
    }
    let Some(portal) = registrant.portal() else { return Answer::Nothing };
    let endpoint: &Endpoint = &stamped.endpoint;
    let asked = Confirm { uuid: *uuid, epoch: *epoch, endpoint: endpoint.clone() };
    let asking = portal.call::<Confirmed>(Request::new(CONFIRM, &asked));
    let answer = match while_awake(ANSWER_TIMEOUT, asking).await {
        Some(Ok(confirmed)) if confirmed.is_yes() => Answer::Confirmed,
        Some(Ok(_)) => Answer::Disowned,
        Some(Err(error)) => {
            debug!(target: "callsign", %uuid, %error, "the registrant does not say");
            Answer::Nothing
        }
        None => Answer::Nothing,
    };
    info!(target: "callsign", %uuid, epoch, %endpoint, ?answer, "the registrant was asked");
    answer
}

/// Confirms for a client in this process whether an instance is there: it is, unless its socket is
/// not in its place, or this host has lost its address.
pub(crate) fn vouch(claimant: &Claimant) -> Answer {
    match is_there(&claimant.stamped) {
        Some(false) => Answer::Disowned,
        _ => Answer::Confirmed,
    }
}

/// Tells the registrant of an instance that another program has changed its state.
pub(crate) async fn tell_state(registry: &RegistryHandle, uuid: Uuid) {
    let Some(record) = registry.read(|registry| registry.record(uuid)) else { return };
    let Some(portal) = registry.registrant(uuid).and_then(|it| it.portal()) else { return };
    let (epoch, state): (Epoch, _) = (record.epoch, record.state);
    let told = SetState { uuid, epoch, state };
    match while_awake(ANSWER_TIMEOUT, portal.call::<()>(Request::new(SET_STATE, &told))).await {
        Some(Ok(())) => debug!(target: "callsign", %uuid, epoch, %state, "the registrant is told"),
        Some(Err(error)) => {
            debug!(target: "callsign", %uuid, %state, %error, "the registrant does not take it");
        }
        None => debug!(target: "callsign", %uuid, %state, "the registrant does not answer"),
    }
}

/// Tells a session by which tokens instances of its own have their names now.
pub(crate) async fn tell_tokens(registry: &RegistryHandle, session: SessionId, uuids: Vec<Uuid>) {
    let Some(portal) = registry.handle(session).and_then(|it| it.portal()) else { return };
    for uuid in uuids {
        let Some((epoch, token, resume)) = registry.read(|it| it.token_of(uuid)) else { continue };
        let told = SetToken { uuid, epoch, token, resume };
        match while_awake(ANSWER_TIMEOUT, portal.call::<()>(Request::new(SET_TOKEN, &told))).await {
            Some(Ok(())) => {
                debug!(target: "callsign", %uuid, epoch, token, "the registrant is told")
            }
            Some(Err(error)) => {
                debug!(target: "callsign", %uuid, token, %error, "the registrant does not take it");
            }
            None => {
                debug!(target: "callsign", %uuid, token, "the registrant does not answer");
                return;
            }
        }
    }
}

/// Tells all clients where the other nodes of the cluster are now.
pub(crate) async fn tell_cluster(registry: &RegistryHandle) {
    let others = Others { cluster: registry.others() };
    let mut told = JoinSet::new();
    for portal in registry.portals() {
        if told.len() >= TOLD_AT_ONCE {
            drop(told.join_next().await);
        }
        let others = others.clone();
        told.spawn(async move {
            // Whoever does not know the call learns it as it connects.
            let telling = portal.call::<()>(Request::new(CLUSTER, &others));
            drop(while_awake(ANSWER_TIMEOUT, telling).await);
        });
    }
    told.join_all().await;
}

/// Reports the losses of a session's registrations that others caused.
pub(crate) async fn tell_lost(registry: &RegistryHandle, session: SessionId, losses: Vec<Lost>) {
    let Some(handle) = registry.handle(session) else { return };
    for lost in losses {
        let uuid = lost.uuid;
        if let Some(local_client) = handle.as_local() {
            drop(local_client.try_send(lost));
            continue;
        }
        let Some(portal) = handle.portal() else { return };
        match while_awake(ANSWER_TIMEOUT, portal.call::<()>(Request::new(LOST, &lost))).await {
            Some(Ok(())) => debug!(target: "callsign", %uuid, "the registrant is told of its loss"),
            Some(Err(error)) => {
                debug!(target: "callsign", %uuid, %error, "the registrant takes no note of it");
            }
            None => {
                debug!(target: "callsign", %uuid, "the registrant does not answer");
                return;
            }
        }
    }
}

/// The clients that are told at once of a change of the cluster.
const TOLD_AT_ONCE: usize = 64;

/// The time limit for a registrant's answer: a thousand times what a healthy one needs, and no
/// longer than its client waits for a registrar.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
