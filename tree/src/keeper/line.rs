//! What a child says of itself.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use portal::{CallError, Items};
use tokio::time::timeout;
use wire::RemoteError;

use crate::{
    Exit,
    calls::{Reply, method},
    phase::Place,
    spawn::Main,
    spec::Note,
};

/// What a child says of itself, over its channel.
pub(super) struct Line {
    pub(super) portal: portal::Portal,
    /// `None` once it has said its last word.
    notes: Option<Items<Note>>,
    exit: Option<Exit>,
    /// The call of the function that the child is there for, if it is not over.
    function: Option<Function>,
    /// What that brought back.
    reply: Option<Result<Reply, RemoteError>>,
}

/// A call of a function that is under way.
type Function = Pin<Box<dyn Future<Output = Result<Bytes, CallError>> + Send>>;

impl Line {
    pub(super) fn new(portal: portal::Portal, notes: Items<Note>) -> Self {
        Self { portal, notes: Some(notes), exit: None, function: None, reply: None }
    }

    /// Calls the function that the child is there for.
    pub(super) fn call(&mut self, main: &Main) {
        let (portal, main) = (self.portal.clone(), main.clone());
        self.function =
            Some(Box::pin(
                async move { portal.call_encoded(&method(&main.path), &main.body).await },
            ));
    }

    /// Waits until the function has ended, or the child has said its last word.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn news(&mut self) -> News {
        let Self { portal, notes, exit, function, reply } = self;
        tokio::select! {
            biased;
            () = function_ended(function, reply) => News::FunctionEnded,
            () = ended(portal, notes, exit) => News::Ended,
        }
    }

    /// Takes what the function brought back, if it has ended.
    pub(super) fn take_reply(&mut self) -> Option<Result<Reply, RemoteError>> {
        self.reply.take()
    }

    /// Listens, and never returns.
    pub(super) async fn follow<T>(&mut self, place: &Place) -> T {
        while let Some(notes) = &mut self.notes {
            match notes.next().await {
                Ok(Some(Note::Exit(exit))) => self.exit = Some(exit),
                Ok(Some(Note::Phase(phase))) => place.enter(phase),
                Ok(None) | Err(_) => {
                    self.notes = None;
                    self.portal.close("goodbye");
                }
            }
        }
        std::future::pending().await
    }

    /// Returns how the child says that it ended, when it is gone: what it said is on its way.
    pub(super) async fn last_word(&mut self) -> Option<Exit> {
        if timeout(LAST_WORD_WAIT, ended(&self.portal, &mut self.notes, &mut self.exit))
            .await
            .is_err()
        {
            tracing::warn!(target: "callsign", "the channel of a child outlives it");
        }
        // What the function brought back came before.
        let reply = function_ended(&mut self.function, &mut self.reply);
        drop(timeout(Duration::ZERO, reply).await);
        self.exit.take()
    }
}

/// What happened to a child.
pub(super) enum News {
    FunctionEnded,
    Ended,
}

/// Listens until a child has said its last word.
async fn ended(portal: &portal::Portal, notes: &mut Option<Items<Note>>, exit: &mut Option<Exit>) {
    while let Some(items) = notes {
        match items.next().await {
            Ok(Some(Note::Exit(said))) => *exit = Some(said),
            Ok(Some(Note::Phase(_))) => {}
            // What cannot be read is as good as a closed channel: the vessel tells the rest.
            Ok(None) | Err(_) => {
                *notes = None;
                // It waits for that before it goes.
                portal.close("goodbye");
            }
        }
    }
}

/// Waits until a function has ended; for ever, where there is none, or the channel ends first.
async fn function_ended(
    function: &mut Option<Function>,
    reply: &mut Option<Result<Reply, RemoteError>>,
) {
    if let Some(call) = function {
        let brought = call.await;
        *function = None;
        *reply = match brought {
            Ok(value) => Some(Reply::read(Ok(value))),
            Err(CallError::Remote(error)) => Some(Reply::read(Err(error))),
            // It is gone, and its vessel will tell more.
            Err(_) => None,
        };
        if reply.is_some() {
            return;
        }
    }
    std::future::pending().await
}

/// How long the channel of a child that is gone is read. All is there already, and so is the end,
/// unless another process inherited the channel.
const LAST_WORD_WAIT: Duration = Duration::from_millis(500);
