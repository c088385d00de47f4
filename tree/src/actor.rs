//! An actor as it sees itself.

use std::{
    fs::OpenOptions,
    future::Future,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use discovery::Lost;
use endpoints::{Endpoint, InstanceId};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, error_span};
use uuid::Uuid;

use crate::{
    ActorPath, CancelReason, ChildError, Kind, Never, NurseryError, Pressure,
    outcome::cancel::Cancel,
    process_context::ProcessContext,
    registration::{routes::Routes, uplink::Uplink},
    status::{ChildState, StatusTable},
};

/// An actor, as it sees itself: the root, or the one that runs the calling function. Clones are
/// handles of the same actor.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::Actor;
///
/// /// Functions called here may be called outside of a tree too.
/// fn whereabouts() -> String {
///     match Actor::current() {
///         Some(actor) => format!("{}, a {}", actor.path(), actor.kind()),
///         None => "no actor".to_owned(),
///     }
/// }
///
/// assert_eq!(whereabouts(), "no actor");
/// ```
#[derive(Clone, Debug)]
pub struct Actor {
    pub(crate) core: Arc<Core>,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) path: ActorPath,
    pub(crate) instance: InstanceId,
    pub(crate) kind: Kind,
    /// The endpoints at which it listens, as bound; its children listen alike.
    pub(crate) bound: Vec<Endpoint>,
    /// The span of the actor: all its work is within.
    pub(crate) span: Span,
    /// Asks the actor to end.
    pub(crate) cancel: Cancel,
    /// Asks those that wait for its end to stop waiting.
    pub(crate) force: CancellationToken,
    pub(crate) uplink: Uplink,
    /// The routes to the instances below; and the identity of the actor itself.
    pub(crate) routes: Routes,
    pub(crate) context: Arc<ProcessContext>,
    /// The phases of its children.
    pub(crate) statuses: StatusTable,
    /// The errors of scopes that were dropped when the actor was cancelled.
    left_behind: Mutex<Vec<NurseryError>>,
    /// The tasks that own the children of its scopes.
    supervisors: Mutex<JoinSet<()>>,
    /// Held by everything at work; `None` for an actor with its own process.
    liveness: Option<mpsc::WeakSender<Never>>,
    /// The number of functions and supervisors at work.
    busy: AtomicUsize,
    /// Notified when none is.
    idle: Notify,
}

tokio::task_local! {
    static CURRENT: Actor;
}

impl Actor {
    /// Returns the actor that runs the calling function; `None` outside of exported functions,
    /// and in tasks that they spawn by themselves.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Actor;
    ///
    /// assert!(Actor::current().is_none(), "this is no actor's function");
    /// ```
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Runs a future as a part of this actor, so that [`current`](Self::current) finds it.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Actor;
    ///
    /// /// Does a part of an actor's work, wherever it is polled.
    /// async fn part(actor: &Actor) {
    ///     actor.scope(async { assert!(Actor::current().is_some()) }).await;
    /// }
    /// ```
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self.clone(), future).instrument(self.core.span.clone())
    }

    /// Runs a call as a part of this actor, and within the present span of the call: a filter finds
    /// its events by either.
    pub(crate) fn run<F: Future>(&self, call: F) -> impl Future<Output = F::Output> {
        self.scope(call.in_current_span())
    }

    /// Returns the actor's path in its tree.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Actor;
    ///
    /// fn greet() -> Option<String> {
    ///     Some(format!("{} at your service", Actor::current()?.path()))
    /// }
    /// ```
    pub fn path(&self) -> &ActorPath {
        &self.core.path
    }

    /// Returns the instance: this run of the actor.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Actor;
    ///
    /// /// Two runs of one actor have one path, and two instances.
    /// fn is_same_run(actor: &Actor, other: &Actor) -> bool {
    ///     actor.instance().uuid == other.instance().uuid
    /// }
    /// ```
    pub fn instance(&self) -> &InstanceId {
        &self.core.instance
    }

    /// Returns the kind of the actor.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Actor;
    ///
    /// /// Tells whether a crash of this actor would take others along.
    /// fn shares_its_process(actor: &Actor) -> bool {
    ///     !actor.kind().is_process()
    /// }
    /// ```
    pub fn kind(&self) -> Kind {
        self.core.kind
    }

    /// Returns the endpoints that it listens at.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Actor;
    ///
    /// fn announce(actor: &Actor) {
    ///     for endpoint in actor.endpoints() {
    ///         println!("{} listens at {endpoint}", actor.path());
    ///     }
    /// }
    /// ```
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.core.bound
    }

    /// Returns the children of all scopes of the actor, and what each is at.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Actor;
    ///
    /// fn show(actor: &Actor) {
    ///     for child in actor.children() {
    ///         println!("{}: {}", child.actor, child.phase);
    ///     }
    /// }
    /// ```
    pub fn children(&self) -> Vec<ChildState> {
        self.core.statuses.states()
    }

    /// Waits until the actor has lost its entry in the registry, or an endpoint of it, by another's
    /// doing. An intended removal is not undone.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Actor;
    ///
    /// /// Says whenever callers do not find the actor any more.
    /// async fn watch(actor: &Actor) {
    ///     loop {
    ///         let lost = actor.lost().await;
    ///         println!("callers do not find it any more: {lost}");
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn lost(&self) -> Lost {
        self.core.routes.lost().await
    }

    /// Waits until the actor is asked to end, and returns who asked and why.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Actor;
    ///
    /// /// Works until the actor is asked to end.
    /// async fn until_cancelled(actor: &Actor, work: impl Future<Output = ()>) {
    ///     tokio::select! {
    ///         reason = actor.cancelled() => println!("{reason}"),
    ///         () = work => {}
    ///     }
    /// }
    /// # let _ = |actor: &Actor| drop(until_cancelled(actor, std::future::ready(())));
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) -> CancelReason {
        self.core.cancel.asked().await
    }
}

/// The parts of an actor.
pub(crate) struct CoreParts {
    pub(crate) path: ActorPath,
    pub(crate) kind: Kind,
    pub(crate) bound: Vec<Endpoint>,
    pub(crate) span: Span,
    pub(crate) uplink: Uplink,
    /// With the identity of the actor.
    pub(crate) routes: Routes,
    pub(crate) context: Arc<ProcessContext>,
    pub(crate) liveness: Option<LivenessGuard>,
}

/// Makes the span of an actor. It has no parent, because the path tells the actor's place; and its
/// level is that of errors, so that it exists whatever level of events a filter passes.
pub(crate) fn span(path: &ActorPath, uuid: Uuid) -> Span {
    error_span!(
        target: "callsign", parent: None, "actor", path = %path, name = path.name(), uuid = %uuid
    )
}

impl Core {
    pub(crate) fn new(parts: CoreParts) -> Self {
        let CoreParts { path, kind, bound, span, uplink, routes, context, liveness } = parts;
        Self {
            path,
            instance: routes.own().instance().clone(),
            kind,
            bound,
            span,
            cancel: Cancel::default(),
            force: CancellationToken::new(),
            uplink,
            routes,
            context,
            statuses: StatusTable::default(),
            left_behind: Mutex::default(),
            supervisors: Mutex::default(),
            liveness: liveness.map(|it| it.0.downgrade()),
            busy: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }

    /// Adopts a supervisor: it runs to its end, whoever else abandons it.
    pub(crate) fn adopt(self: &Arc<Self>, supervisor: impl Future<Output = ()> + Send + 'static) {
        let mut supervisors = self.supervisors();
        while supervisors.try_join_next().is_some() {}
        let busy = self.enter();
        let supervising = async move {
            let _busy = busy;
            supervisor.await;
        };
        supervisors.spawn(supervising.instrument(self.span.clone()));
    }

    /// Marks the actor as at work, until the result is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::SeqCst);
        let liveness = self.liveness.as_ref().and_then(mpsc::WeakSender::upgrade);
        Busy { core: self.clone(), _liveness: liveness }
    }

    /// Waits until no function runs, and every supervisor has ended.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.busy.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Keeps the errors of a scope that was dropped. If the actor is cancelled, they belong to its
    /// end; otherwise the code that dropped the scope did not want them, and they go to the log.
    pub(crate) fn leave_behind(&self, opened: &str, children: Vec<ChildError>) {
        if children.is_empty() {
            return;
        }
        let (actor, opened) = (self.path.clone(), opened.to_owned());
        let error = NurseryError::new(actor, opened, None, children);
        if self.cancel.reason().is_none() {
            tracing::warn!(target: "callsign", %error, "a scope was dropped, and had failed");
            return;
        }
        self.left_behind.lock().expect("nothing panics while it holds the lock").push(error);
    }

    /// Takes the errors of scopes that were dropped when the actor was cancelled.
    pub(crate) fn take_left_behind(&self) -> Option<NurseryError> {
        let mut errors = {
            let mut left = self.left_behind.lock().expect("nothing panics while it holds the lock");
            std::mem::take(&mut *left)
        };
        let mut first = errors.pop()?;
        errors.into_iter().for_each(|it| first.absorb(it));
        Some(first)
    }

    /// Writes the phase of each child, to the log and to a file, because one takes too long to end.
    pub(crate) fn dump(&self, slow: &ActorPath, pressure: Pressure) {
        let file = self.context.dumps.join(format!("callsign-{}.dump", std::process::id()));
        let (text, written) = {
            // Two actors that are late at the same moment would overwrite each other's dump.
            let _alone = DUMPING.lock().expect("nothing panics while it holds the lock");
            let text = self.statuses.dump(Instant::now());
            let written = write_plain(&file, &text);
            (text, written)
        };
        tracing::warn!(
            target: "callsign", actor = %slow, ?pressure, file = %file.display(), ?written,
            "an actor does not end in time; what each is at:\n{text}"
        );
    }

    fn supervisors(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.supervisors.lock().expect("nothing panics while it holds the lock")
    }
}

/// Shows the parent within a process that something of an actor is still alive: once all clones
/// are dropped, nothing of the actor is left.
#[derive(Clone, Debug)]
pub(crate) struct LivenessGuard(mpsc::Sender<Never>);

impl LivenessGuard {
    /// Makes one, with the end at which the parent waits.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Never>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }
}

/// Counts a function or a supervisor for as long as it is at work.
pub(crate) struct Busy {
    core: Arc<Core>,
    /// Shows the parent that something is still at work.
    _liveness: Option<mpsc::Sender<Never>>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.core.busy.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.core.idle.notify_waiters();
        }
    }
}

/// Writes a private file of this user. Others may be able to put something in its place: links are
/// not followed, and a pipe without a reader does not block.
fn write_plain(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file)?.write_all(text.as_bytes())
}

/// Held during the writing of a dump: the actors of a process share one file.
static DUMPING: Mutex<()> = Mutex::new(());

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use super::*;

    #[test]
    fn a_dump_is_written_over_a_dump_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let [dump, link, fifo, other] =
            ["dump", "link", "fifo", "other"].map(|it| folder.path().join(it));
        write_plain(&dump, "the first, which is longer").unwrap();
        write_plain(&dump, "the second").unwrap();
        assert_eq!(fs::read_to_string(&dump).unwrap(), "the second");

        fs::write(&other, "a letter").unwrap();
        symlink(&other, &link).unwrap();
        write_plain(&link, "a dump").unwrap_err();
        assert_eq!(fs::read_to_string(&other).unwrap(), "a letter");

        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        write_plain(&fifo, "a dump").unwrap_err();
    }
}
