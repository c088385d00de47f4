//! The scope in which children live.
//!
//! ```text
//!   body ──orders──▶ Supervisor ──▶ ChildRunner of a child ══channel══ child
//!   (the caller's     (a task of     (a task of the
//!    future)           the actor's)   supervisor's)
//!                     └─ SupervisionState: decides who is cancelled and who is started again
//! ```

use std::{
    future::Future,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    supervision::{ChildId, NurseryOptions},
    supervisor::{Asks, Dismissed, Order, Supervisor},
};
use crate::{
    Actor, ActorPath, AnyError, BodyError, CancelReason, ChildError, NurseryError, SpawnError,
    outcome::{cancel::Cancel, error::place},
};

impl Actor {
    /// Opens a scope for children, runs `body` in it, and waits until all of its children have
    /// ended. The body may borrow.
    ///
    /// When the body has returned, children that run a function are awaited, and those that only
    /// answer calls are cancelled. When the body or a child fails, the body is dropped where it
    /// waits, all children are cancelled, and every error is kept. After a child has ended the
    /// scope, the scope's refusal of further children is not reported beside that child's error.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Actor, Nursery, NurseryError};
    ///
    /// /// Has two children for as long as it takes to count them.
    /// async fn count(actor: &Actor) -> Result<usize, NurseryError> {
    ///     actor
    ///         .nursery(async |nursery: &Nursery| {
    ///             nursery.spawn("one").task().await?;
    ///             nursery.spawn("other").task().await?;
    ///             Ok(actor.children().len())
    ///         })
    ///         .await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NurseryError`] with all errors.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels all children. A task of the actor ends them, and does not itself
    /// end before they have.
    #[track_caller]
    pub fn nursery<T, F>(
        &self,
        body: F,
    ) -> impl Future<Output = Result<T, NurseryError>> + use<'_, T, F>
    where
        F: AsyncFnOnce(&Nursery) -> Result<T, AnyError>,
    {
        self.nursery_with(NurseryOptions::default(), body)
    }

    /// Opens a scope as [`nursery`](Self::nursery) does, with options.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Actor, Intensity, Nursery, NurseryError, NurseryOptions, Restart};
    ///
    /// /// Runs a feed that is started again up to twenty times in half a minute.
    /// async fn serve(actor: &Actor) -> Result<(), NurseryError> {
    ///     let intensity = Intensity { restarts: 20, ..Intensity::default() };
    ///     let options = NurseryOptions { intensity, ..NurseryOptions::default() };
    ///     let scope = actor.nursery_with(options, async |nursery: &Nursery| {
    ///         nursery.spawn("feed").restart(Restart::OnFailure).await?;
    ///         Ok(())
    ///     });
    ///     scope.await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`nursery`](Self::nursery).
    ///
    /// # Cancel safety
    ///
    /// As [`nursery`](Self::nursery).
    #[track_caller]
    pub fn nursery_with<T, F>(
        &self,
        options: NurseryOptions,
        body: F,
    ) -> impl Future<Output = Result<T, NurseryError>> + use<'_, T, F>
    where
        F: AsyncFnOnce(&Nursery) -> Result<T, AnyError>,
    {
        let opened = place(Location::caller());
        self.run_nursery(options, opened, body)
    }

    async fn run_nursery<T, F>(
        &self,
        options: NurseryOptions,
        opened: String,
        body: F,
    ) -> Result<T, NurseryError>
    where
        F: AsyncFnOnce(&Nursery) -> Result<T, AnyError>,
    {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (body_ended, body_end) = oneshot::channel();
        let (settled, settlement) = oneshot::channel();
        let (cancel, stop_body) = (Cancel::default(), CancellationToken::new());
        let supervisor = Supervisor::new(self.core.clone(), options, opened.clone());
        let dismissed = Arc::new(Dismissed::default());
        let asks = Asks {
            orders: inbox,
            dismissed: dismissed.clone(),
            body_end,
            cancel: cancel.clone(),
            stop_body: stop_body.clone(),
        };
        let supervising = supervisor.run(asks, settled);
        self.core.adopt(supervising);

        let mut guard = Guard {
            cancel: cancel.clone(),
            actor: self,
            opened: &opened,
            settlement,
            is_armed: true,
        };
        let nursery = Nursery {
            actor: self.clone(),
            orders,
            cancel: cancel.clone(),
            dismissed,
            next_child: AtomicU32::new(0),
        };
        let outcome = tokio::select! {
            biased;
            // A body that has ended by itself has a result.
            outcome = body(&nursery) => Some(outcome),
            () = stop_body.cancelled() => None,
        };
        let is_well = matches!(outcome, Some(Ok(_)));
        // The supervisor is there until it has settled, and after that nobody asks.
        let _heard = body_ended.send(is_well);
        let settled = (&mut guard.settlement).await;
        let children = settled.expect("a supervisor settles before it ends");
        guard.disarm();

        match outcome {
            Some(Ok(value)) if children.is_empty() => Ok(value),
            outcome => {
                let body = outcome.and_then(Result::err);
                // The closed scope is a consequence of the error that ended it.
                let actor = self.path().clone();
                let is_told = |it: &AnyError| children.is_empty() || !is_closed(it, &actor);
                let body = body.filter(is_told).map(BodyError::new);
                Err(NurseryError::new(actor, opened, body, children).collapsed())
            }
        }
    }
}

/// The scope in which children live: what the body of [`Actor::nursery`] is given.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Nursery, SpawnError};
///
/// async fn start(nursery: &Nursery) -> Result<(), SpawnError> {
///     let feed = nursery.spawn("feed").thread().await?;
///     println!("{} listens at {:?}", feed.path(), feed.endpoints());
///     // The scope ends, and takes its children along.
///     nursery.cancel();
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Nursery {
    pub(crate) actor: Actor,
    pub(crate) orders: mpsc::Sender<Order>,
    cancel: Cancel,
    dismissed: Arc<Dismissed>,
    next_child: AtomicU32,
}

impl Nursery {
    /// Asks all children to end. The body continues, and can spawn no more.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Nursery, SpawnError};
    ///
    /// async fn race(nursery: &Nursery) -> Result<(), SpawnError> {
    ///     let first = nursery.spawn("first").await?;
    ///     let second = nursery.spawn("second").await?;
    ///     // One of them is done, and the other is not needed any more.
    ///     nursery.cancel();
    /// #   drop((first, second));
    ///     Ok(())
    /// }
    /// ```
    pub fn cancel(&self) {
        let why = "the body of its scope asked for it";
        self.cancel.ask(CancelReason::new(self.actor.path().clone(), why));
    }

    /// Returns the actor whose scope this is.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Nursery;
    ///
    /// fn show(nursery: &Nursery) {
    ///     println!("{} has {} children", nursery.actor().path(), nursery.actor().children().len());
    /// }
    /// ```
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Asks a child to end that nobody waits for any more.
    pub(crate) fn dismiss(&self, child: ChildId) {
        self.dismissed.push(child);
    }

    /// Tells whether the scope was asked to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.reason().or(self.actor.core.cancel.reason()).is_some()
    }

    /// Returns the reason why the scope takes no more children.
    pub(crate) fn why_closed(&self) -> CancelReason {
        let reason = self.cancel.reason().or(self.actor.core.cancel.reason());
        reason.cloned().unwrap_or_else(|| {
            CancelReason::new(self.actor.path().clone(), "a child in it has failed")
        })
    }

    pub(crate) fn number(&self) -> ChildId {
        self.next_child.fetch_add(1, Ordering::Relaxed)
    }
}

/// Tells whether a body has failed because its scope, of this actor, was closed: to another child, or
/// while one came up.
fn is_closed(error: &AnyError, scope: &ActorPath) -> bool {
    match error.downcast_ref() {
        Some(SpawnError::Closed(_)) => true,
        Some(SpawnError::Cancelled { reason, .. }) => reason.by == *scope && !reason.is_from_peer,
        _ => false,
    }
}

/// Cancels the children of a scope whose future is dropped, and keeps its errors.
struct Guard<'a> {
    cancel: Cancel,
    actor: &'a Actor,
    opened: &'a str,
    settlement: oneshot::Receiver<Vec<ChildError>>,
    is_armed: bool,
}

impl Guard<'_> {
    fn disarm(mut self) {
        self.is_armed = false;
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.is_armed {
            return;
        }
        let reason = match self.actor.core.cancel.reason() {
            Some(reason) => reason.clone(),
            None => {
                let _entered = self.actor.core.span.enter();
                let why = "a scope was dropped before its end; its children are cancelled";
                tracing::warn!(target: "callsign", "{why}");
                CancelReason::new(self.actor.path().clone(), "its scope was dropped")
            }
        };
        self.cancel.ask(reason);
        // It gets back all later messages of the supervisor.
        self.settlement.close();
        if let Ok(children) = self.settlement.try_recv() {
            self.actor.core.leave_behind(self.opened, children);
        }
    }
}

/// The most orders that wait for a supervisor, which takes each immediately.
const ORDERS_MAX: usize = 16;
