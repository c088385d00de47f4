//! The link from a parent to a child, behind one trait: the child is in this process, or in
//! another.

use std::{future::Future, mem, pin::Pin, process};

use endpoints::Stamped;
use portal::{
    CallError, Connected, Established, Handlers, Items, NoService, Options, Portal, Request,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tracing::Instrument as _;
use transport::Stream;
use wire::{Hello, RemoteError};

use crate::{
    CancelReason,
    child::Near,
    messages::{Listening, Note, RUN, SpawnSpec},
    registration::{parent_service::ParentService, routes::Route},
};

/// The link from a parent to a child. Dropping it closes the channel.
pub(crate) trait ChildLink: Send {
    /// Sends the child its specification, unless it has it, and waits until it listens.
    ///
    /// # Errors
    ///
    /// The reason why it does not.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe for a child within this process; any other is lost.
    fn open(&mut self) -> LinkOpening<'_>;

    /// Waits for the next note of a child that is open; `None` when it has said its last word.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    fn next_note(&mut self) -> Pin<Box<dyn Future<Output = Option<Note>> + Send + '_>>;

    /// Closes the channel, without a goodbye.
    fn close(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The wait until a child listens.
pub(crate) type LinkOpening<'a> =
    Pin<Box<dyn Future<Output = Result<(Portal, Listening), StopCause>> + Send + 'a>>;

/// Why a child did not start, or stopped.
pub(crate) enum StopCause {
    Cancelled(CancelReason),
    /// It was not ready in time.
    TimedOut,
    /// It is gone, or is about to be.
    Gone,
    /// It could not begin, or not be registered.
    Refused(RemoteError),
    /// Its function has ended, or cannot be called.
    Over,
}

/// The link to a child within this process, which has its specification.
pub(crate) struct LocalLink {
    portal: Portal,
    driver: JoinSet<()>,
    listening: oneshot::Receiver<Result<Vec<Stamped>, RemoteError>>,
    notes: mpsc::Receiver<Note>,
}

impl LocalLink {
    /// Runs the channel on the present runtime. The child makes no calls over it.
    pub(crate) fn new(near: Near) -> Self {
        let Near { channel, listening, notes } = near;
        let established = Established::dialed(channel, Hello::default());
        let Connected { portal, driver } = established.converse(&Options::default(), NoService);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(driver.await) }.in_current_span());
        Self { portal, driver: tasks, listening, notes }
    }
}

impl ChildLink for LocalLink {
    fn open(&mut self) -> LinkOpening<'_> {
        Box::pin(async {
            // A silent child is gone.
            let endpoints = (&mut self.listening).await.map_err(|_| StopCause::Gone)?;
            let endpoints = endpoints.map_err(StopCause::Refused)?;
            Ok((self.portal.clone(), Listening { pid: process::id(), endpoints }))
        })
    }

    fn next_note(&mut self) -> Pin<Box<dyn Future<Output = Option<Note>> + Send + '_>> {
        Box::pin(self.notes.recv())
    }

    fn close(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.driver.shutdown())
    }
}

/// The link to a child that is a process.
pub(crate) struct ProcessLink {
    stage: LinkStage,
    driver: JoinSet<()>,
}

enum LinkStage {
    /// The child waits at its end for its specification.
    Launched(Box<Introduction>),
    Open(Items<Note>),
    Closed,
}

/// The first message to a child that is a process, and its sender.
struct Introduction {
    channel: Stream,
    spec: SpawnSpec,
    service: ParentService,
}

impl ProcessLink {
    pub(crate) fn new(channel: Stream, spec: SpawnSpec, service: ParentService) -> Self {
        let introduction = Introduction { channel, spec, service };
        Self { stage: LinkStage::Launched(Box::new(introduction)), driver: JoinSet::new() }
    }

    async fn introduce(
        &mut self,
        introduction: Introduction,
    ) -> Result<(Portal, Listening), StopCause> {
        let Introduction { channel, spec, service } = introduction;
        let answering = service.clone();
        let handlers = Handlers::new(move |call| answering.clone().handle(call));
        let connected =
            portal::connect(channel, Options::default(), handlers).await.map_err(|error| {
                tracing::debug!(target: "callsign", %error, "no handshake");
                StopCause::Gone
            })?;
        let Connected { portal, driver } = connected;
        self.driver.spawn(async move { drop(driver.await) }.in_current_span());
        service.open(Route::Channel(portal.clone()));
        match portal.stream(Request::new(RUN, &spec), NOTES_WINDOW).await {
            Ok((listening, notes)) => {
                self.stage = LinkStage::Open(notes);
                Ok((portal, listening))
            }
            Err(CallError::Remote(error)) => Err(StopCause::Refused(error)),
            Err(_) => Err(StopCause::Gone),
        }
    }
}

impl ChildLink for ProcessLink {
    fn open(&mut self) -> LinkOpening<'_> {
        Box::pin(async {
            match mem::replace(&mut self.stage, LinkStage::Closed) {
                LinkStage::Launched(introduction) => self.introduce(*introduction).await,
                LinkStage::Open(_) | LinkStage::Closed => Err(StopCause::Gone),
            }
        })
    }

    fn next_note(&mut self) -> Pin<Box<dyn Future<Output = Option<Note>> + Send + '_>> {
        Box::pin(async {
            let LinkStage::Open(notes) = &mut self.stage else { return None };
            // An unreadable note is as good as a closed channel: the backend reports the rest.
            notes.next().await.ok().flatten()
        })
    }

    fn close(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            // A child that waits for its parent's first words learns by that that none will come.
            self.stage = LinkStage::Closed;
            self.driver.shutdown().await;
        })
    }
}

/// The most notes of a child in transit: it sends few.
const NOTES_WINDOW: u16 = 16;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use endpoints::Name;
    use tokio::{io::AsyncReadExt as _, time::timeout};
    use uuid::Uuid;

    use super::*;
    use crate::{
        ActorPath, Kind,
        child::places::Places,
        registration::parent_service::{Subtree, tests::actor},
    };

    #[tokio::test]
    async fn a_channel_is_closed_before_anything_was_said_too() {
        let (above, _far) = Stream::pair();
        let above = Established::dialed(above, Hello::default());
        let above = above.converse(&Options::default(), NoService).portal;
        let service = ParentService::new(actor(above), Subtree::default());
        let spec = SpawnSpec {
            path: ActorPath::root(&Name::new("feed").unwrap()),
            uuid: Uuid::new_v4(),
            kind: Kind::Process,
            places: Places { endpoints: Vec::new(), are_own: true },
            expose: Vec::new(),
            entry_point: None,
            registrars: Vec::new(),
            insecure: false,
            tls: None,
            table: BTreeMap::new(),
            dumps: std::env::temp_dir(),
        };
        let (near, mut child) = Stream::pair();
        let mut link = ProcessLink::new(near, spec, service);
        link.close().await;
        let heard = timeout(Duration::from_secs(60), child.read_u8()).await;
        assert!(heard.expect("its end has come").is_err());
        drop(link);
    }
}
