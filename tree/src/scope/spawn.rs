//! The order for a child.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use discovery::IntoEndpoint;
use endpoints::{Endpoint, Name, ParseEndpointError};
use tokio::sync::oneshot;

use super::{
    child_spec::{ChildSpec, EntryPoint},
    spawn_error::{RunError, SpawnError},
    supervision::{ChildId, Policy, Role},
    supervisor::Order,
};
use crate::{
    Call, Exit, Export, GRACE, Kind, Nursery, Portal, Restart,
    export::Wire,
    parent::runner::{ChildRunner, Done, StartedRun},
};

/// The order for a child. Awaited, it returns the child's [`Portal`] once the child is registered
/// and ready.
///
/// # Errors
///
/// Awaited, [`SpawnError`]. It concerns only the caller, not the scope.
///
/// # Cancel safety
///
/// Dropping the future before it is ready cancels the child.
///
/// ```
/// # use callsign_tree as callsign;
/// use std::time::Duration;
///
/// use callsign::{Nursery, Portal, SpawnError};
///
/// async fn feed(nursery: &Nursery) -> Result<Portal, SpawnError> {
///     nursery
///         .spawn("feed")
///         .process()
///         .bind("/ip4/127.0.0.1/tcp/0")
///         .grace(Duration::from_secs(2))
///         .await
/// }
/// ```
#[derive(Debug)]
#[must_use = "nothing is spawned until it is awaited"]
pub struct Spawn<'a> {
    nursery: &'a Nursery,
    name: String,
    kind: Kind,
    bind: Vec<Endpoint>,
    expose: Vec<String>,
    grace: Duration,
    restart: Restart,
    /// The first invalid argument.
    fault: Option<ParseEndpointError>,
}

impl Nursery {
    /// Begins the order for a child. Nothing happens until the builder is awaited, or gets a
    /// function to run.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Nursery, Portal, SpawnError};
    ///
    /// async fn feed(nursery: &Nursery) -> Result<Portal, SpawnError> {
    ///     let feed = nursery.spawn("feed").await?;
    ///     println!("{} is ready", feed.path());
    ///     Ok(feed)
    /// }
    /// ```
    pub fn spawn(&self, name: impl Into<String>) -> Spawn<'_> {
        Spawn::new(self, name.into())
    }
}

impl<'a> Spawn<'a> {
    pub(crate) fn new(nursery: &'a Nursery, name: String) -> Self {
        Self {
            nursery,
            name,
            kind: Kind::default(),
            bind: Vec::new(),
            expose: Vec::new(),
            grace: GRACE,
            restart: Restart::Never,
            fault: None,
        }
    }

    /// Runs the child in a task of this runtime.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Nursery, SpawnError};
    ///
    /// /// Spawns an actor of each kind.
    /// async fn spawn_all(nursery: &Nursery) -> Result<(), SpawnError> {
    ///     nursery.spawn("light").task().await?;
    ///     nursery.spawn("busy").thread().await?;
    ///     nursery.spawn("alone").process().await?;
    ///     nursery.spawn("quick").forkserver().await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn task(self) -> Self {
        self.kind(Kind::Task)
    }

    /// Runs the child in a thread with its own runtime.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Nursery, Portal, SpawnError};
    ///
    /// /// Spawns an actor that computes much, and keeps nobody waiting.
    /// async fn pricer(nursery: &Nursery) -> Result<Portal, SpawnError> {
    ///     nursery.spawn("pricer").thread().await
    /// }
    /// ```
    pub fn thread(self) -> Self {
        self.kind(Kind::Thread)
    }

    /// Runs the child in its own process: this program, executed again. This is the default.
    ///
    /// Its output goes to the log of its parent, with the target `callsign::stdio`: a program
    /// without a `tracing` subscriber does not show it.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Nursery, Portal, SpawnError};
    ///
    /// /// Spawns an actor whose crash harms nobody else.
    /// async fn parser(nursery: &Nursery) -> Result<Portal, SpawnError> {
    ///     nursery.spawn("parser").process().await
    /// }
    /// ```
    pub fn process(self) -> Self {
        self.kind(Kind::Process)
    }

    /// Runs the child in its own process, forked from a helper that was set aside when this program
    /// began. Its output goes where that of a [`process`](Self::process) does.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Nursery, Portal, SpawnError};
    ///
    /// /// Spawns workers with processes of their own, quickly.
    /// async fn workers(nursery: &Nursery) -> Result<Vec<Portal>, SpawnError> {
    ///     let mut workers = Vec::new();
    ///     for number in 1..=4 {
    ///         workers.push(nursery.spawn(format!("worker-{number}")).forkserver().await?);
    ///     }
    ///     Ok(workers)
    /// }
    /// ```
    pub fn forkserver(self) -> Self {
        self.kind(Kind::Forkserver)
    }

    /// Says what the child runs in.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Kind, Nursery, Portal, SpawnError};
    ///
    /// /// Spawns a worker: as a task in tests, where everything is to be in one process.
    /// async fn worker(nursery: &Nursery, is_test: bool) -> Result<Portal, SpawnError> {
    ///     let kind = if is_test { Kind::Task } else { Kind::Forkserver };
    ///     nursery.spawn("worker").kind(kind).await
    /// }
    /// ```
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Adds an endpoint of the child, besides those that the endpoint table gives its name. A
    /// repeated one, whatever its spelling, is bound once. A child without any listens at drawn
    /// places, on the transports of its parent.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Nursery, Portal, SpawnError};
    ///
    /// /// Spawns an actor that other hosts can reach, too.
    /// async fn feed(nursery: &Nursery) -> Result<Portal, SpawnError> {
    ///     nursery.spawn("feed").bind("/unix/@feed").bind("/ip4/0.0.0.0/tcp/5555/tls").await
    /// }
    /// ```
    pub fn bind(mut self, endpoint: impl IntoEndpoint) -> Self {
        note(endpoint, &mut self.bind, &mut self.fault);
        self
    }

    /// Sets the child's time for each step of its end: after the request, and after SIGTERM.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use std::time::Duration;
    ///
    /// use callsign::{Nursery, Portal, SpawnError};
    ///
    /// /// Spawns an actor that has much to write when it ends.
    /// async fn archive(nursery: &Nursery) -> Result<Portal, SpawnError> {
    ///     nursery.spawn("archive").grace(Duration::from_secs(60)).await
    /// }
    /// ```
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Says when the child is started again.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Nursery, Portal, Restart, SpawnError};
    ///
    /// /// Spawns a feed that is started again when it fails.
    /// async fn feed(nursery: &Nursery) -> Result<Portal, SpawnError> {
    ///     nursery.spawn("feed").restart(Restart::OnFailure).await
    /// }
    /// ```
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Exposes functions to the child's parent, and to all that find it. Others are refused.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// use callsign::{Nursery, Portal, SpawnError};
    ///
    /// # #[callsign::export]
    /// # async fn mean(numbers: Vec<f64>) -> f64 {
    /// #     numbers.iter().sum::<f64>() / numbers.len() as f64
    /// # }
    ///
    /// /// Spawns an actor that computes means for all callers.
    /// async fn math(nursery: &Nursery) -> Result<Portal, SpawnError> {
    ///     nursery.spawn("math").expose(&[mean::EXPORT]).await
    /// }
    /// # fn main() {
    /// #     let _ = math;
    /// # }
    /// ```
    pub fn expose(mut self, exports: &[Export]) -> Self {
        self.expose.extend(exports.iter().map(|it| it.path.to_owned()));
        self
    }

    /// Runs one function in the child, waits until the child has ended, and returns the function's
    /// result.
    ///
    /// With a [`restart`](Self::restart) policy the child is restarted until the function succeeds,
    /// or too often; the result is that of the last run.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # use callsign::Never;
    /// use callsign::{Nursery, RunError};
    ///
    /// # #[callsign::export]
    /// # async fn mean(numbers: Vec<f64>) -> f64 {
    /// #     numbers.iter().sum::<f64>() / numbers.len() as f64
    /// # }
    ///
    /// /// Computes a mean in a thread of its own.
    /// async fn elsewhere(nursery: &Nursery) -> Result<f64, RunError<Never>> {
    ///     nursery.spawn("once").thread().run(mean(vec![1.0, 2.0])).await
    /// }
    /// # fn main() {
    /// #     let _ = elsewhere;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RunError`]. It concerns only the caller, not the scope.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the child.
    pub async fn run<T: Wire, E: Wire>(self, call: Call<T, E>) -> Result<T, RunError<E>> {
        let entry_point = EntryPoint::of(&call)?;
        let (portal, ordered) = self.order(Some(entry_point), true).await?;
        let Done { exit, value } = ordered.answer().await?;
        match (exit, value) {
            // An abandoned one may have returned before.
            (Exit::Returned | Exit::Unreachable { .. }, Some(value)) => {
                Ok(call.decode(Ok(&value))?)
            }
            (Exit::Failed(error), _) => Err(RunError::Call(error.into())),
            (exit, _) => Err(RunError::Ended { actor: portal.path().clone(), exit }),
        }
    }

    /// Runs one function in the child, and returns once the child is ready. The scope waits for the
    /// function; its failure is the scope's, and its result is dropped.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # use callsign::Never;
    /// use callsign::{Nursery, Portal, RunError};
    ///
    /// #[callsign::export]
    /// async fn publish() {
    ///     println!("EURUSD 1.0842");
    /// }
    ///
    /// /// Begins to publish. The scope does not end before that has.
    /// async fn begin(nursery: &Nursery) -> Result<Portal, RunError<Never>> {
    ///     nursery.spawn("feed").process().start(publish()).await
    /// }
    /// # fn main() {
    /// #     let _ = begin;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RunError`] if there is no child.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the child.
    pub async fn start<T: Wire, E: Wire>(self, call: Call<T, E>) -> Result<Portal, RunError<E>> {
        let entry_point = EntryPoint::of(&call)?;
        let (portal, ordered) = self.order(Some(entry_point), false).await?;
        ordered.keep();
        Ok(portal)
    }

    async fn order(
        self,
        entry_point: Option<EntryPoint>,
        is_answered_for: bool,
    ) -> Result<(Portal, Ordered<'a>), SpawnError> {
        let nursery = self.nursery;
        let parent = nursery.actor.path();
        let name = Name::new(&self.name)
            .map_err(|source| SpawnError::Name { parent: parent.clone(), source })?;
        let path = parent.child(&name);
        if let Some(source) = self.fault {
            return Err(SpawnError::Endpoint { actor: path, source });
        }
        let context = &nursery.actor.core.context;
        let mut bind: Vec<Endpoint> = Vec::new();
        for endpoint in context.table.get(&name).into_iter().flatten().chain(&self.bind) {
            if !bind.contains(endpoint) {
                bind.push(endpoint.clone());
            }
        }
        let role = if entry_point.is_some() { Role::Works } else { Role::Serves };
        let spec = ChildSpec {
            name,
            path,
            kind: self.kind,
            bind,
            expose: self.expose,
            entry_point,
            grace: self.grace,
        };
        let (ready, is_ready) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        let child = nursery.number();
        let closed = || SpawnError::Closed(nursery.why_closed());
        let place = nursery.orders.reserve().await.map_err(|_| closed())?;
        if nursery.is_cancelled() {
            return Err(closed());
        }
        // From here until the order is placed nothing waits, so that nothing that was begun can be
        // left behind.
        let spec = Arc::new(spec);
        let runner = ChildRunner::new(nursery.actor.core.clone(), spec.clone());
        let begun = runner.begin();
        let portal = begun.as_ref().and_then(StartedRun::portal).cloned();
        place.send(Order {
            child,
            spec,
            policy: Policy { restart: self.restart, role, is_answered_for },
            runner: Box::new(runner),
            begun,
            ready,
            answer: is_answered_for.then_some(answer),
        });
        let ordered = Ordered { nursery, child, answered, is_over: false };
        let portal = match portal {
            Some(portal) => portal,
            None => is_ready.await.map_err(|_| closed())??,
        };
        Ok((portal, ordered))
    }
}

impl<'a> IntoFuture for Spawn<'a> {
    type Output = Result<Portal, SpawnError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (portal, ordered) = self.order(None, false).await?;
            ordered.keep();
            Ok(portal)
        })
    }
}

/// Records an endpoint, or the first string that is not one.
pub(crate) fn note(
    endpoint: impl IntoEndpoint,
    noted: &mut Vec<Endpoint>,
    fault: &mut Option<ParseEndpointError>,
) {
    match endpoint.into_endpoint() {
        Ok(endpoint) => noted.push(endpoint),
        Err(error) => drop(fault.get_or_insert(error)),
    }
}

/// A child that was ordered. It is dismissed when this is dropped.
struct Ordered<'a> {
    nursery: &'a Nursery,
    child: ChildId,
    answered: oneshot::Receiver<Done>,
    is_over: bool,
}

impl Ordered<'_> {
    /// Leaves the child to its scope.
    fn keep(mut self) {
        self.is_over = true;
    }

    /// Waits until the child has ended.
    async fn answer(mut self) -> Result<Done, SpawnError> {
        let answer = (&mut self.answered).await;
        self.is_over = true;
        answer.map_err(|_| SpawnError::Closed(self.nursery.why_closed()))
    }
}

impl Drop for Ordered<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.nursery.dismiss(self.child);
        }
    }
}
