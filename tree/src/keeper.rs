//! The task that keeps one run of one child: from its launch to its end.
//!
//! ```text
//!   launch ─▶ boot ─▶ running ─▶ ending ─▶ gone, and out of the registry
//!              │         └─ it is gone ───▶
//!              └─ it is gone, or too slow ─▶
//! ```
//!
//! Every step but running is bounded in time, and at every step the child's death is noticed.

mod boot;
mod line;
mod teardown;

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{sleep, timeout};
use uuid::Uuid;
use wire::RemoteError;

pub(crate) use self::boot::Begun;
use self::{
    boot::{Stage, Up},
    line::{Line, News},
};
use crate::{
    CancelReason, Exit, Portal, Pressure, SpawnError,
    actor::Core,
    calls::Reply,
    child_spec::ChildSpec,
    host::{Below, Host},
    kinds::{Remains, Vessel},
    outcome::cancel::Cancel,
    phase::{Phase, Place},
    places::{self, Places},
};

/// How a child ended, and what its function returned.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) exit: Exit,
    pub(crate) value: Option<Bytes>,
}

/// Keeps one run of one child.
pub(crate) struct Keeper {
    actor: Arc<Core>,
    spec: Arc<ChildSpec>,
    uuid: Uuid,
    /// Where the child is to listen.
    places: Places,
    pub(crate) cancel: Cancel,
    place: Place,
    /// What is below the child, and goes with it.
    below: Below,
    /// What the child may ask of its parent.
    host: Host,
}

/// Why a child does not run, or not any more.
enum Fall {
    Cancelled(CancelReason),
    /// It was not ready in time.
    TimedOut,
    /// It is gone, or is about to be.
    Gone,
    /// It could not be registered.
    Refused(RemoteError),
    /// Its function has ended, or cannot be called.
    Over,
}

impl Keeper {
    pub(crate) fn new(actor: Arc<Core>, spec: Arc<ChildSpec>) -> Self {
        let place = actor.board.place(spec.path.clone(), spec.kind);
        let uuid = Uuid::new_v4();
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
        let below = Below::default();
        let host = Host::new(actor.clone(), below.clone());
        Self { actor, spec, uuid, places, cancel: Cancel::default(), place, below, host }
    }

    /// Keeps the child to its end, from where it is if it has begun. Tells `outcome` once whether
    /// it is ready.
    pub(crate) async fn run(
        self,
        begun: Option<Begun>,
        outcome: impl AsyncFnOnce(Result<Portal, SpawnError>),
    ) -> Done {
        let begun = match begun {
            Some(begun) => Ok(begun),
            None => self.launch().await,
        };
        let Begun { mut vessel, mut drivers, stage } = match begun {
            Ok(begun) => begun,
            Err(source) => {
                let exit = Exit::Unreachable { why: format!("it cannot be started: {source}") };
                let actor = self.spec.path.clone();
                outcome(Err(SpawnError::Launch { actor, source })).await;
                return Done { exit, value: None };
            }
        };
        let booted = match stage {
            Stage::Booted(booted) => booted,
            Stage::Launched(channel) => {
                let mut booted = pin!(self.boot(channel, &mut drivers));
                tokio::select! {
                    biased;
                    reason = self.cancel.asked() => Err(Fall::Cancelled(reason)),
                    booted = &mut booted => booted,
                    // It may have said why, a moment ago.
                    _ = vessel.gone() => {
                        timeout(SAID_WAIT, booted).await.unwrap_or(Err(Fall::Gone))
                    }
                    () = sleep(BOOT_TIMEOUT) => Err(Fall::TimedOut),
                }
            }
        };
        let (mut line, fall, untold) = match booted {
            Ok(up) => {
                let Up { mut line, portal } = *up;
                outcome(Ok(portal)).await;
                let fall = self.watch(&mut *vessel, &mut line).await;
                (Some(line), fall, None)
            }
            Err(fall) => {
                let phase = self.place.phase();
                // To a child that does not listen yet, the end of its channel says all.
                drivers.shutdown().await;
                (None, fall, Some((outcome, phase)))
            }
        };

        let (remains, pressure) = self.end(&mut *vessel, line.as_mut(), &fall).await;
        let (said, reply) = match &mut line {
            Some(line) => {
                let said = match &remains {
                    Some(_) => line.last_word().await,
                    None => line.word_so_far(),
                };
                (said, line.take_reply())
            }
            None => (None, None),
        };
        let has_parted = said.is_some();
        let is_gone = remains.is_some();
        let exit = self.exit(&fall, said, reply.as_ref(), remains, pressure, &*vessel);
        self.leave(is_gone, has_parted).await;
        drop(drivers);
        if let Some((outcome, phase)) = untold {
            let error = self.spawn_error(&fall, phase, exit.clone(), &*vessel);
            outcome(Err(error)).await;
        }
        match reply {
            Some(Ok(Reply::Returned(value))) => Done { exit, value: Some(value) },
            _ => Done { exit, value: None },
        }
    }

    /// Waits until the child is to end, or has ended.
    async fn watch(&self, vessel: &mut dyn Vessel, line: &mut Line) -> Fall {
        if let Some(main) = &self.spec.entry_point {
            line.call(main);
        }
        tokio::select! {
            biased;
            reason = self.cancel.asked() => Fall::Cancelled(reason),
            news = line.news() => match news {
                News::FunctionEnded => Fall::Over,
                News::Ended => Fall::Gone,
            },
            _ = vessel.gone() => Fall::Gone,
        }
    }

    /// Tells how the child ended.
    fn exit(
        &self,
        fall: &Fall,
        said: Option<Exit>,
        reply: Option<&Result<Reply, RemoteError>>,
        remains: Option<Remains>,
        pressure: Pressure,
        vessel: &dyn Vessel,
    ) -> Exit {
        match reply {
            // What became of the function is what became of the actor, also if it was cancelled
            // at the same moment, or is given up: no error is lost.
            Some(Ok(Reply::Cancelled(_))) | None => {}
            Some(Ok(Reply::Returned(_))) if remains.is_none() => {}
            Some(Ok(reply)) => return reply.clone().into_exit(),
            Some(Err(error)) => return Exit::Failed(error.clone().into()),
        }
        let Some(remains) = remains else {
            // That it is given up is in the log by now.
            let why = "it did not end in time, and cannot be stopped by force".to_owned();
            return said
                .filter(|it| matches!(it, Exit::Failed(_)))
                .unwrap_or(Exit::Unreachable { why });
        };
        match (fall, said) {
            (_, Some(Exit::Cancelled { reason, .. })) => Exit::Cancelled { reason, pressure },
            (_, Some(exit)) => exit,
            (Fall::Cancelled(reason), None) if remains.is_by(pressure) => {
                Exit::Cancelled { reason: reason.clone(), pressure }
            }
            (_, None) if pressure == Pressure::Killed && remains.is_by(pressure) => {
                let why = "its channel was closed, and it did not end".to_owned();
                Exit::Unreachable { why }
            }
            (_, None) => remains.into_exit(vessel.last_words()),
        }
    }

    fn spawn_error(
        &self,
        fall: &Fall,
        phase: Phase,
        exit: Exit,
        vessel: &dyn Vessel,
    ) -> SpawnError {
        let actor = self.spec.path.clone();
        match fall {
            Fall::Cancelled(reason) => SpawnError::Cancelled { actor, reason: reason.clone() },
            Fall::TimedOut => {
                let limit = BOOT_TIMEOUT;
                SpawnError::TimedOut { actor, phase, limit, last_words: vessel.last_words() }
            }
            Fall::Refused(error) if phase == Phase::Booting => {
                SpawnError::Begin { actor, source: error.clone() }
            }
            Fall::Refused(error) => SpawnError::Register { actor, source: error.clone() },
            Fall::Gone | Fall::Over => SpawnError::Ended { actor, phase, exit },
        }
    }
}

/// How long a child may take to listen and be registered. It takes milliseconds; on a machine that
/// starts a hundred at once it takes a second.
const BOOT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take to hear what a child said before it was gone: it is there already, unless
/// somebody else holds the child's end of the channel.
const SAID_WAIT: Duration = Duration::from_secs(1);
