//! The root of a tree.

mod boot;
mod error;
mod options;

use std::{future::Future, ops::Deref, panic::Location, sync::Mutex};

pub use self::{
    error::{CancelledRoot, RootError},
    options::RootOptions,
};
use tracing::Instrument as _;

use crate::{Actor, AnyError, CancelReason, child::signals::Signals, outcome::error::place};

/// The root of a tree: the actor that has no parent. There is one in a process.
///
/// It is an [`Actor`], and what an actor can do it can.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Root, RootError};
///
/// async fn run() -> Result<(), RootError> {
///     let options = Root::options().name("market").registrar("/unix/@market");
///     options
///         .run(async |root: Root| {
///             println!("{} {}", root.path(), root.is_registrar());
///             root.cancel("there is nothing to do");
///             Ok::<_, callsign::AnyError>(())
///         })
///         .await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Root {
    actor: Actor,
    is_registrar: bool,
}

impl Root {
    /// Begins to configure the root of this process.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Root;
    ///
    /// let options = Root::options().name("market").registrar("/unix/@market");
    /// # drop(options);
    /// ```
    pub fn options() -> RootOptions {
        RootOptions::default()
    }

    /// Tells whether this root has become the registrar.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Root;
    ///
    /// fn show(root: &Root) {
    ///     let role = if root.is_registrar() { "keeps the names" } else { "asks a registrar" };
    ///     println!("{} {role}", root.path());
    /// }
    /// ```
    pub fn is_registrar(&self) -> bool {
        self.is_registrar
    }

    /// Asks the whole tree to end, as SIGTERM does.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Root;
    ///
    /// fn close(root: &Root) {
    ///     root.cancel("the market is closed");
    /// }
    /// ```
    pub fn cancel(&self, why: &str) {
        self.actor.core.cancel.ask(CancelReason::new(self.actor.path().clone(), why));
    }
}

impl Deref for Root {
    type Target = Actor;

    fn deref(&self) -> &Actor {
        &self.actor
    }
}

impl RootOptions {
    /// Opens the root, runs `body` as it, and ends the tree.
    ///
    /// The configured registrars are tried first. If one answers, the root uses it; if none is
    /// there, the root becomes the registrar. In the folder where it listens it removes the drawn
    /// sockets of actors that were killed with their root: those without a listener that are this
    /// user's, and a minute old.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Nursery, Root, RootError};
    ///
    /// /// Runs a tree of one feed within a larger program.
    /// async fn run() -> Result<(), RootError> {
    ///     let options = Root::options().name("market");
    ///     options
    ///         .run(async |root: Root| {
    ///             let scope = root.nursery(async |nursery: &Nursery| {
    ///                 nursery.spawn("feed").task().await?;
    ///                 Ok(())
    ///             });
    ///             Ok(scope.await?)
    ///         })
    ///         .await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RootError`], with the body's error, or the reason why there is no root.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels all children, and does not wait for their end. Processes among
    /// them notice that they are alone, and end.
    #[track_caller]
    pub fn run<T, F>(self, body: F) -> impl Future<Output = Result<T, RootError>> + use<T, F>
    where
        F: AsyncFnOnce(Root) -> Result<T, AnyError>,
    {
        let opened = place(Location::caller());
        self.run_at(opened, body)
    }

    async fn run_at<T, F>(self, opened: String, body: F) -> Result<T, RootError>
    where
        F: AsyncFnOnce(Root) -> Result<T, AnyError>,
    {
        let _one = One::take(&opened)?;
        process::attend_forkserver();
        let mut signals = Signals::new(self.heeds_signals).map_err(RootError::Signals)?;
        let opening = self.open();
        let opened_root = tokio::select! {
            biased;
            signal = signals.next() => return Err(RootError::Stopped(signal)),
            root = opening => root?,
        };
        let boot::Opened { actor, mut services, is_registrar, stop } = opened_root;
        let root = Root { actor: actor.clone(), is_registrar };

        let core = &actor.core;
        let outcome = {
            let mut body = std::pin::pin!(actor.scope(body(root)));
            tokio::select! {
                biased;
                outcome = &mut body => Some(outcome),
                signal = signals.next() => {
                    core.cancel.ask(CancelReason::new(actor.path().clone(), signal));
                    None
                }
                _ = core.cancel.asked() => None,
                broken = services.broken() => {
                    core.cancel.ask(CancelReason::new(actor.path().clone(), broken));
                    None
                }
            }
        };
        // Scopes that the body has left behind are already ending.
        core.cancel.ask(CancelReason::new(actor.path().clone(), "the root has ended"));
        let mut idle = std::pin::pin!(core.idle());
        loop {
            tokio::select! {
                biased;
                () = &mut idle => break,
                _ = signals.next() => {
                    core.force.cancel();
                    // Actors below a stuck thread of this process are notified as well.
                    process::force_children_to_end();
                }
            }
        }
        core.context.pool.close().await;
        boot::close(services, &stop).instrument(core.span.clone()).await;
        match (outcome, core.take_left_behind()) {
            (Some(Ok(value)), _) => Ok(value),
            (Some(Err(error)), _) => Err(RootError::body(error)),
            (None, Some(error)) => Err(RootError::Nursery(error)),
            (None, None) => {
                let reason = core.cancel.reason().expect("it was asked to end").clone();
                Err(RootError::Cancelled(CancelledRoot(reason)))
            }
        }
    }
}

/// The place of the one root of a process.
struct One;

impl One {
    fn take(opened: &str) -> Result<Self, RootError> {
        let mut first = ONE.lock().expect("nothing panics while it holds the lock");
        match &*first {
            Some(first) => Err(RootError::Second { first: first.clone() }),
            None => {
                *first = Some(opened.to_owned());
                Ok(Self)
            }
        }
    }
}

impl Drop for One {
    fn drop(&mut self) {
        *ONE.lock().expect("nothing panics while it holds the lock") = None;
    }
}

/// The place where the root of this process was opened.
static ONE: Mutex<Option<String>> = Mutex::new(None);
