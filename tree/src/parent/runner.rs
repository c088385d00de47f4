//! The runner of a child: the task that sees one run of it from launch to end.
//!
//! ```text
//!   launch ─▶ boot ─▶ running ─▶ ending ─▶ gone, and out of the registry
//!              │         └─ it is gone ───▶
//!              └─ it is gone, or too slow ─▶
//! ```
//!
//! Every step but running is bounded in time, and at every step the child's death is noticed.

mod boot;
mod child_channel;
mod teardown;

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{sleep, timeout};
use tracing::Span;
use uuid::Uuid;
use wire::{InstanceSecret, RemoteError};

pub(crate) use self::boot::StartedRun;
use self::child_channel::{ChildChannel, ChildEvent};
use super::{
    backend::{RawExit, RunningChild},
    link::StopCause,
};
use crate::{
    Exit, Portal, Pressure, SpawnError,
    actor::{self, Core},
    child::{
        calls::Reply,
        places::{self, Places},
    },
    outcome::cancel::Cancel,
    registration::parent_service::{ParentService, Subtree},
    scope::child_spec::ChildSpec,
    status::{Phase, StatusEntry},
};

/// The exit of a child, and the result of its function.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) exit: Exit,
    pub(crate) value: Option<Bytes>,
}

/// Follows one run of a child from launch to end.
pub(crate) struct ChildRunner {
    actor: Arc<Core>,
    spec: Arc<ChildSpec>,
    uuid: Uuid,
    /// The secret from which the UUID is derived.
    secret: InstanceSecret,
    /// The child's places.
    places: Places,
    pub(crate) cancel: Cancel,
    status: StatusEntry,
    /// The span of the child as an actor: the parent's work for it is within.
    pub(crate) span: Span,
    /// The actors below the child, which go with it.
    below: Subtree,
    /// The service of the parent to the child.
    service: ParentService,
}

impl ChildRunner {
    pub(crate) fn new(actor: Arc<Core>, spec: Arc<ChildSpec>) -> Self {
        let status = actor.statuses.add(spec.path.clone(), spec.kind);
        let secret = InstanceSecret::new(Uuid::new_v4().into_bytes());
        let uuid = secret.uuid();
        let places = match &*spec.bind {
            [] => Places {
                endpoints: places::like(
                    &actor.bound,
                    &spec.name,
                    actor.instance.uuid,
                    uuid,
                    spec.kind,
                ),
                are_own: true,
            },
            given => Places { endpoints: given.to_vec(), are_own: false },
        };
        let span = actor::span(&spec.path, uuid);
        let below = Subtree::default();
        let service = ParentService::new(actor.clone(), below.clone());
        let cancel = Cancel::default();
        Self { actor, spec, uuid, secret, places, cancel, status, span, below, service }
    }

    /// Runs the child to its end, from its present state if it has begun. Tells `outcome` once
    /// whether it is ready.
    pub(crate) async fn run(
        self,
        begun: Option<StartedRun>,
        outcome: impl AsyncFnOnce(Result<Portal, SpawnError>),
    ) -> Done {
        let begun = match begun {
            Some(begun) => Ok(begun),
            None => self.launch().await,
        };
        let StartedRun { mut running, mut link, booted } = match begun {
            Ok(begun) => begun,
            Err(source) => {
                let exit = Exit::Unreachable { why: format!("it cannot be started: {source}") };
                let actor = self.spec.path.clone();
                outcome(Err(SpawnError::Launch { actor, source })).await;
                return Done { exit, value: None };
            }
        };
        let booted = match booted {
            Some(booted) => booted,
            None => {
                let mut booted = pin!(self.boot(&mut *link));
                tokio::select! {
                    biased;
                    reason = self.cancel.asked() => Err(StopCause::Cancelled(reason)),
                    booted = &mut booted => booted,
                    // It may have reported the reason a moment ago.
                    _ = running.gone() => {
                        timeout(SAID_WAIT, booted).await.unwrap_or(Err(StopCause::Gone))
                    }
                    () = sleep(BOOT_TIMEOUT) => Err(StopCause::TimedOut),
                }
            }
        };
        let (mut channel, cause, untold) = match booted {
            Ok(portal) => {
                let mut channel = ChildChannel::new(portal.portal.clone(), link);
                outcome(Ok(portal)).await;
                let cause = self.watch(&mut *running, &mut channel).await;
                (Some(channel), cause, None)
            }
            Err(cause) => {
                let phase = self.status.phase();
                // For a child that does not listen yet, the end of its channel says everything.
                link.close().await;
                (None, cause, Some((outcome, phase)))
            }
        };

        let (raw_exit, pressure) = self.end(&mut *running, channel.as_mut(), &cause).await;
        let (said, reply) = match &mut channel {
            Some(channel) => {
                let said = match &raw_exit {
                    Some(_) => channel.last_word().await,
                    None => channel.word_so_far(),
                };
                (said, channel.take_reply())
            }
            None => (None, None),
        };
        let has_parted = said.is_some();
        let is_gone = raw_exit.is_some();
        let exit = self.exit(&cause, said, reply.as_ref(), raw_exit, pressure, &*running);
        self.leave(is_gone, has_parted).await;
        drop(channel);
        if let Some((outcome, phase)) = untold {
            let error = self.spawn_error(&cause, phase, exit.clone(), &*running);
            outcome(Err(error)).await;
        }
        match reply {
            Some(Ok(Reply::Returned(value))) => Done { exit, value: Some(value) },
            _ => Done { exit, value: None },
        }
    }

    /// Waits until the child is to end, or has ended.
    async fn watch(&self, running: &mut dyn RunningChild, channel: &mut ChildChannel) -> StopCause {
        if let Some(main) = &self.spec.entry_point {
            channel.call(main);
        }
        tokio::select! {
            biased;
            reason = self.cancel.asked() => StopCause::Cancelled(reason),
            news = channel.news() => match news {
                ChildEvent::FunctionEnded => StopCause::Over,
                ChildEvent::Ended => StopCause::Gone,
            },
            _ = running.gone() => StopCause::Gone,
        }
    }

    /// Returns the exit of the child.
    fn exit(
        &self,
        cause: &StopCause,
        said: Option<Exit>,
        reply: Option<&Result<Reply, RemoteError>>,
        raw_exit: Option<RawExit>,
        pressure: Pressure,
        running: &dyn RunningChild,
    ) -> Exit {
        match reply {
            // The function's result is the actor's result, even if it was cancelled at the same
            // moment, or is abandoned: no error is lost.
            Some(Ok(Reply::Cancelled(_))) | None => {}
            Some(Ok(Reply::Returned(_))) if raw_exit.is_none() => {}
            Some(Ok(reply)) => return reply.clone().into_exit(),
            Some(Err(error)) => return Exit::Failed(error.clone().into()),
        }
        let Some(raw_exit) = raw_exit else {
            // Its abandonment has been logged by now.
            let why = "it did not end in time, and cannot be stopped by force".to_owned();
            return said
                .filter(|it| matches!(it, Exit::Failed(_)))
                .unwrap_or(Exit::Unreachable { why });
        };
        match (cause, said) {
            (_, Some(Exit::Cancelled { reason, .. })) => Exit::Cancelled { reason, pressure },
            (_, Some(exit)) => exit,
            (StopCause::Cancelled(reason), None) if raw_exit.is_by(pressure) => {
                Exit::Cancelled { reason: reason.clone(), pressure }
            }
            (_, None) if pressure == Pressure::Killed && raw_exit.is_by(pressure) => {
                let why = "its channel was closed, and it did not end".to_owned();
                Exit::Unreachable { why }
            }
            (_, None) => raw_exit.into_exit(running.last_words()),
        }
    }

    fn spawn_error(
        &self,
        cause: &StopCause,
        phase: Phase,
        exit: Exit,
        running: &dyn RunningChild,
    ) -> SpawnError {
        let actor = self.spec.path.clone();
        match cause {
            StopCause::Cancelled(reason) => SpawnError::Cancelled { actor, reason: reason.clone() },
            StopCause::TimedOut => {
                let limit = BOOT_TIMEOUT;
                SpawnError::TimedOut { actor, phase, limit, last_words: running.last_words() }
            }
            StopCause::Refused(error) if phase == Phase::Booting => {
                SpawnError::Begin { actor, source: error.clone() }
            }
            StopCause::Refused(error) => SpawnError::Register { actor, source: error.clone() },
            StopCause::Gone | StopCause::Over => SpawnError::Ended { actor, phase, exit },
        }
    }
}

/// The time for a child to listen and be registered. It takes milliseconds; on a machine that
/// starts a hundred together it takes a second.
const BOOT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time for reading a gone child's last messages: they are already there, unless another
/// process holds the child's end of the channel.
const SAID_WAIT: Duration = Duration::from_secs(1);
