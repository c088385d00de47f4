//! The service of a parent to its child: registration.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use bytes::Bytes;
use endpoints::Stamped;
use portal::IncomingCall;
use uuid::Uuid;
use wire::{ErrorKind, RemoteError, encode_body};

use super::{
    routes::Route,
    uplink::{Answer, Parent},
};
use crate::{
    actor::Core,
    messages::{
        REGISTER, RELOCATE, RegisterRequest, RelocateRequest, UNREGISTER, UnregisterRequest,
    },
};

/// The actors below one: the instances registered through it, including itself, and their
/// endpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subtree {
    state: Arc<Mutex<BelowState>>,
}

#[derive(Debug, Default)]
struct BelowState {
    instances: BTreeMap<Uuid, Vec<Stamped>>,
    /// Whether the child is gone, or abandoned: nothing is registered below it any more.
    is_over: bool,
}

impl Subtree {
    /// Adds an instance, unless all is over.
    fn add(&self, request: &RegisterRequest) -> Result<(), RemoteError> {
        let mut state = self.lock();
        if state.is_over {
            return Err(parted());
        }
        state.instances.insert(request.uuid, request.endpoints.clone());
        Ok(())
    }

    /// Tells whether the child has its own children.
    pub(crate) fn is_family(&self) -> bool {
        self.lock().instances.len() > 1
    }

    /// Removes everything left, for good.
    pub(crate) fn take(&self) -> BTreeMap<Uuid, Vec<Stamped>> {
        let mut state = self.lock();
        state.is_over = true;
        std::mem::take(&mut state.instances)
    }

    fn lock(&self) -> MutexGuard<'_, BelowState> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

/// Registers a child and all actors below it. A child within the same process uses the service
/// directly, and any other calls it over its channel.
#[derive(Clone, Debug)]
pub(crate) struct ParentService {
    actor: Arc<Core>,
    below: Subtree,
    /// The route to the child, once it is open.
    child: Arc<OnceLock<Route>>,
}

impl ParentService {
    pub(crate) fn new(actor: Arc<Core>, below: Subtree) -> Self {
        Self { actor, below, child: Arc::default() }
    }

    /// Sets the route to the child.
    pub(crate) fn open(&self, child: Route) {
        // It is opened once.
        drop(self.child.set(child));
    }

    fn note(&self, request: &RegisterRequest) -> Result<(), RemoteError> {
        self.below.add(request)?;
        if let Some(child) = self.child.get() {
            self.actor.routes.add(request.uuid, child.clone());
        }
        Ok(())
    }

    /// Answers a call of the child.
    pub(crate) async fn handle(self, call: IncomingCall) -> Result<Bytes, RemoteError> {
        match call.method() {
            REGISTER => self.register(&call.args()?).await?,
            UNREGISTER => {
                let UnregisterRequest { uuids } = call.args()?;
                self.unregister(uuids).await?;
            }
            RELOCATE => self.relocate(&call.args()?).await?,
            _ => return Err(call.unknown()),
        }
        Ok(encode_body(&()).into())
    }
}

impl Parent for ParentService {
    fn register<'a>(&'a self, request: &'a RegisterRequest) -> Answer<'a> {
        Box::pin(async move {
            self.note(request)?;
            self.actor.uplink.register(request).await?;
            let is_below = self.below.lock().instances.contains_key(&request.uuid);
            if !is_below {
                // It was removed meanwhile, before this arrived.
                self.unregister(vec![request.uuid]).await?;
                return Err(parted());
            }
            Ok(())
        })
    }

    fn unregister(&self, uuids: Vec<Uuid>) -> Answer<'_> {
        Box::pin(async move {
            for uuid in &uuids {
                self.below.lock().instances.remove(uuid);
                self.actor.routes.remove(*uuid);
            }
            self.actor.uplink.unregister(uuids).await
        })
    }

    fn relocate<'a>(&'a self, request: &'a RelocateRequest) -> Answer<'a> {
        Box::pin(async move {
            match self.below.lock().instances.get_mut(&request.uuid) {
                Some(endpoints) => endpoints.clone_from(&request.endpoints),
                // It is being removed.
                None => return Ok(()),
            }
            self.actor.uplink.relocate(request).await
        })
    }

    fn is_near(&self) -> bool {
        self.actor.uplink.is_near()
    }
}

/// Reports that an actor, or one above it, has left the tree.
fn parted() -> RemoteError {
    RemoteError::new(ErrorKind::Cancelled, "it has ended, or whoever is above it has")
}

#[cfg(test)]
pub(crate) mod tests {
    use endpoints::{InstanceId, Name};
    use portal::{Established, Handlers, Identity, NoService, Options};
    use tokio::{
        sync::{mpsc, oneshot},
        task::JoinSet,
    };
    use tracing::Span;
    use transport::Stream;
    use wire::{Hello, State};

    use super::*;
    use crate::{
        ActorPath, Kind,
        actor::CoreParts,
        process_context::ProcessContext,
        registration::{routes::Routes, uplink::Uplink},
    };

    /// Makes an actor whose parent is at the other end of a channel.
    pub(crate) fn actor(parent: portal::Portal) -> Arc<Core> {
        let name = Name::new("desk").unwrap();
        let instance = InstanceId { name: name.clone(), uuid: Uuid::new_v4() };
        Arc::new(Core::new(CoreParts {
            path: ActorPath::root(&name),
            kind: Kind::Process,
            bound: Vec::new(),
            span: Span::none(),
            uplink: Uplink::Parent(parent),
            routes: Routes::new(Identity::new(instance)),
            context: Arc::new(ProcessContext::new(
                (Vec::new(), false),
                BTreeMap::new(),
                std::env::temp_dir(),
            )),
            liveness: None,
        }))
    }

    #[tokio::test]
    async fn a_registration_that_arrives_after_the_childs_end_is_undone() {
        let (calls, mut called) = mpsc::channel::<(IncomingCall, oneshot::Sender<()>)>(1);
        let handlers = Handlers::new(move |call| {
            let calls = calls.clone();
            async move {
                let (answer, is_answered) = oneshot::channel();
                calls.send((call, answer)).await.unwrap();
                is_answered.await.unwrap();
                Ok(encode_body(&()).into())
            }
        });
        let (near, far) = Stream::pair();
        let above =
            Established::accepted(far, Hello::default()).converse(&Options::default(), handlers);
        let here =
            Established::dialed(near, Hello::default()).converse(&Options::default(), NoService);
        let mut drivers = JoinSet::new();
        drivers.spawn(above.driver);
        drivers.spawn(here.driver);

        let below = Subtree::default();
        let service = ParentService::new(actor(here.portal), below.clone());
        let request = RegisterRequest {
            name: Name::new("feed").unwrap(),
            uuid: Uuid::new_v4(),
            endpoints: Vec::new(),
            metadata: BTreeMap::new(),
            state: State::Ready,
            secret: None,
        };
        let parent = async {
            let (call, answer) = called.recv().await.unwrap();
            assert_eq!(call.method(), REGISTER);
            assert!(below.take().contains_key(&request.uuid), "the child is gone");
            answer.send(()).unwrap();
            let (call, answer) = called.recv().await.unwrap();
            assert_eq!(call.method(), UNREGISTER);
            assert_eq!(call.args::<UnregisterRequest>().unwrap().uuids, [request.uuid]);
            answer.send(()).unwrap();
        };
        let bounded = tokio::time::timeout(std::time::Duration::from_secs(30), parent);
        let (registered, told) = tokio::join!(service.register(&request), bounded);
        told.expect("it is unregistered");
        assert_eq!(registered.unwrap_err().kind, ErrorKind::Cancelled);
    }
}
