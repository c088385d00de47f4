//! Incoming calls of an actor's exported functions.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use portal::IncomingCall;
use tokio::time::{Instant, timeout};
use wire::{ErrorKind, RemoteError, encode_body};

use crate::{
    Actor, CalleeBacktrace, CalleeError, CancelReason, Exit, Export, Panic, Pressure,
    export::{self, Ends, ExportKind, FarEnds, Incoming, RawStream, Running},
    messages::{CANCEL, CancelRequest, KEYS, LOST},
    outcome::panics,
};

/// The outcome of a call of an exported function. Over a connection it is a result: the value,
/// or an error with this as its payload.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Returned(Bytes),
    Failed(CalleeError),
    Panicked(Panic),
    /// The actor was cancelled while the function ran.
    Cancelled(CancelReason),
}

impl Reply {
    /// Reads a result that came over a connection.
    ///
    /// # Errors
    ///
    /// The reason why the function was not called.
    pub(crate) fn read(result: Result<Bytes, RemoteError>) -> Result<Self, RemoteError> {
        let error = match result {
            Ok(value) => return Ok(Self::Returned(value)),
            Err(error) => error,
        };
        if let Ok(Some(panic)) = error.payload::<Panic>(PANIC) {
            let backtrace = error.details.and_then(|it| it.backtrace);
            let backtrace = backtrace.map(CalleeBacktrace::from_text);
            return Ok(Self::Panicked(Panic { backtrace, ..panic }));
        }
        if let Ok(Some(reason)) = error.payload(CANCELLED) {
            return Ok(Self::Cancelled(reason));
        }
        match error.kind {
            ErrorKind::Failed | ErrorKind::Mismatch => Ok(Self::Failed(error.into())),
            _ => Err(error),
        }
    }

    /// Returns the place of the backtrace of a failure, if there is one.
    fn backtrace(&mut self) -> Option<&mut Option<CalleeBacktrace>> {
        match self {
            Self::Failed(error) => Some(&mut error.backtrace),
            Self::Panicked(panic) => Some(&mut panic.backtrace),
            Self::Returned(_) | Self::Cancelled(_) => None,
        }
    }

    fn into_result(self) -> Result<Bytes, RemoteError> {
        Err(match self {
            Self::Returned(value) => return Ok(value),
            Self::Failed(error) => error.into(),
            Self::Panicked(panic) => {
                let said = format!("the function panicked: {panic}");
                let error = RemoteError::new(ErrorKind::Internal, said).with_payload(PANIC, &panic);
                match panic.backtrace.as_ref().and_then(CalleeBacktrace::text) {
                    Some(text) => error.with_backtrace(text),
                    None => error,
                }
            }
            Self::Cancelled(reason) => {
                let said = format!("the callee was {reason}");
                RemoteError::new(ErrorKind::Cancelled, said).with_payload(CANCELLED, &reason)
            }
        })
    }

    /// Returns the exit of an actor with this function only.
    pub(crate) fn into_exit(self) -> Exit {
        match self {
            Self::Returned(_) => Exit::Returned,
            Self::Failed(error) => Exit::Failed(error),
            Self::Panicked(panic) => Exit::Panicked(panic),
            Self::Cancelled(reason) => Exit::Cancelled { reason, pressure: Pressure::Asked },
        }
    }
}

/// Returns the method by which an exported function is called over a connection.
pub(crate) fn method(path: &str) -> String {
    format!("{EXPORT_PREFIX}{path}")
}

/// Answers calls of an actor's exported functions.
#[derive(Clone)]
pub(crate) struct Calls {
    actor: Actor,
    exposed: Arc<[String]>,
    /// Whether the caller may ask the actor to end.
    may_cancel: bool,
    /// Whether the caller is the actor's parent.
    is_parents: bool,
}

impl Calls {
    /// Answers the calls of a peer.
    pub(crate) fn of_peer(actor: Actor, exposed: Arc<[String]>, may_cancel: bool) -> Self {
        Self { actor, exposed, may_cancel, is_parents: false }
    }

    /// Answers the calls of the actor's parent.
    pub(crate) fn of_parent(actor: Actor, exposed: Arc<[String]>) -> Self {
        Self { actor, exposed, may_cancel: true, is_parents: true }
    }

    /// Answers a call.
    pub(crate) async fn handle(self, mut call: IncomingCall) -> Result<Bytes, RemoteError> {
        match call.method() {
            CANCEL => self.cancel(&call)?,
            KEYS if self.is_parents => self.actor.core.routes.deliver(call.args()?),
            LOST if self.is_parents => self.actor.core.routes.tell(call.args()?),
            method => {
                let Some(path) = method.strip_prefix(EXPORT_PREFIX) else {
                    return Err(call.unknown());
                };
                let export = self.export(path)?;
                // The actor's last message, which it sends when it is idle, must follow the answer.
                call.keep(self.actor.core.enter());
                // The part of a function before its first wait does not run in the connection's
                // task.
                call.offload().await;
                let reply = match export.kind {
                    ExportKind::Unary => self.carry_out(export, &mut call).await,
                    // In a box, because it is large, and most calls are of functions without one.
                    ExportKind::Dialogue => Box::pin(self.hold(export, call)).await,
                };
                return reply.into_result();
            }
        }
        Ok(encode_body(&()).into())
    }

    /// Returns the function of a path, if it may be called.
    fn export(&self, path: &str) -> Result<&'static Export, RemoteError> {
        if !self.exposed.iter().any(|it| it == path) {
            let why = format!(
                "`{path}` is not exposed by {}: list it with `expose` where the actor is spawned",
                self.actor.path()
            );
            return Err(RemoteError::new(ErrorKind::Denied, why));
        }
        export::find(path).ok_or_else(|| {
            let why = format!("the program of {} has no function `{path}`", self.actor.path());
            RemoteError::new(ErrorKind::NoSuchMethod, why)
        })
    }

    /// Runs a function without a dialogue until it ends, its caller gives it up, or the actor is
    /// cancelled.
    async fn carry_out(&self, export: &'static Export, call: &mut IncomingCall) -> Reply {
        let incoming = Incoming { body: call.take_body(), ends: None };
        let running = pin!(self.actor.run(CatchPanic((export.run)(incoming))));
        self.end(running, pin!(call.given_up()), call.deadline()).await
    }

    /// Runs a function with a dialogue, and carries its items, as long as one without.
    async fn hold(&self, export: &'static Export, mut call: IncomingCall) -> Reply {
        let deadline = call.deadline();
        let cancelled = call.cancelled().clone();
        // A dialogue that outlives its call, in its own task, is notified.
        let _ended = cancelled.clone().drop_guard();
        let (ends, far) = Ends::pair(cancelled.clone());
        let incoming = Incoming { body: call.take_body(), ends: Some(ends) };
        let running = self.actor.run(CatchPanic((export.run)(incoming)));
        // The items that it has sent go before its result.
        let held = pin!(async { tokio::join!(running, carry(call, far)).0 });
        self.end(held, pin!(cancelled.cancelled()), deadline).await
    }

    /// Waits until a function has ended by itself, or has to end.
    async fn end(
        &self,
        running: Pin<&mut impl Future<Output = FunctionEnd>>,
        given_up: Pin<&mut impl Future<Output = ()>>,
        deadline: Option<Instant>,
    ) -> Reply {
        let ended = tokio::select! {
            biased;
            // A function that has ended by itself is not cancelled.
            ended = running => ended,
            reason = self.actor.cancelled() => return Reply::Cancelled(reason),
            () = given_up => {
                let why = "its caller has given it up";
                return Reply::Cancelled(CancelReason::new(self.actor.path().clone(), why));
            }
        };
        let reply = match ended {
            Ok(Ok(value)) => return Reply::Returned(value),
            Ok(Err(error)) => Reply::Failed(error.at(self.actor.path())),
            Err(panic) => Reply::Panicked(panic),
        };
        // The call is under way until this has ended: a dialogue is not taken for abandoned.
        Box::pin(self.with_backtrace(reply, deadline)).await
    }

    /// Resolves the text of the backtrace, if there is one, and there is time. Half of the
    /// remaining time of the caller is left for the answer.
    async fn with_backtrace(&self, mut reply: Reply, deadline: Option<Instant>) -> Reply {
        if let Some(slot) = reply.backtrace()
            && let Some(backtrace) = slot.take()
        {
            let left = deadline.map(|it| it.saturating_duration_since(Instant::now()) / 2);
            let cancelled = timeout(left.unwrap_or(Duration::MAX), self.actor.cancelled());
            *slot = backtrace.told(async { drop(cancelled.await) }).await;
        }
        reply
    }

    fn cancel(&self, call: &IncomingCall) -> Result<(), RemoteError> {
        if !self.may_cancel {
            let why = format!("{} is ended by its own user alone", self.actor.path());
            return Err(RemoteError::new(ErrorKind::Denied, why));
        }
        let CancelRequest { mut reason, force } = call.args()?;
        reason.is_from_peer |= !self.is_parents;
        self.actor.core.cancel.ask(reason);
        if force {
            self.actor.core.force.cancel();
        }
        Ok(())
    }
}

/// Carries the items of a dialogue, until the function sends no more.
async fn carry(mut call: IncomingCall, far: FarEnds) {
    let FarEnds { started, stream: RawStream { mut items, replies } } = far;
    // The function has ended before, and its end tells why.
    let Ok(started) = started.await else { return };
    if call.start_encoded(&started, WINDOW).is_err() {
        return;
    }
    let sender = call.sender();
    let outgoing = async {
        while let Some(item) = items.recv().await {
            if sender.send_encoded(item).await.is_err() {
                return;
            }
        }
        sender.finish();
    };
    let incoming = async {
        while let Some(item) = call.next_encoded().await {
            if replies.send(item).await.is_err() {
                break;
            }
        }
        // The end of the items is itself an item; the call continues.
        drop(replies);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = outgoing => {}
        () = incoming => {}
    }
}

/// The end of a function: its result, or its panic.
type FunctionEnd = Result<Result<Bytes, CalleeError>, Panic>;

/// A function whose panic is its result.
struct CatchPanic(Running);

impl Future for CatchPanic {
    type Output = FunctionEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FunctionEnd> {
        // A future that panicked is not polled again.
        match catch_unwind(AssertUnwindSafe(|| panics::telling(|| self.0.as_mut().poll(cx)))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            // This thread knows the rest.
            Err(payload) => Poll::Ready(Err(Panic::from_payload(&*payload))),
        }
    }
}

/// The type name of the payload of an error that reports a panic.
const PANIC: &str = "callsign.panic";

/// The type name of the payload of an error that reports a cancellation.
const CANCELLED: &str = "callsign.cancelled";

/// The most items of a dialogue in transit in one direction. It keeps a connection busy; with items
/// of 64 KiB it is a megabyte.
pub(crate) const WINDOW: u16 = 16;

/// The prefix of the methods that call exported functions.
const EXPORT_PREFIX: &str = "export.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_is_called_by_its_path() {
        for export in export::exports() {
            assert_eq!(export.method, method(export.path));
        }
    }
}
