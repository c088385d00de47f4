//! The channel to a child: its notes, and the call of its function.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use portal::{CallError, Request};
use tokio::time::timeout;
use wire::RemoteError;

use crate::{
    Exit,
    child::calls::{Reply, method},
    messages::Note,
    parent::link::ChildLink,
    scope::child_spec::EntryPoint,
    status::StatusEntry,
};

/// The channel to a child.
pub(super) struct ChildChannel {
    pub(super) portal: portal::Portal,
    link: Box<dyn ChildLink>,
    /// Whether the child may send more notes.
    is_open: bool,
    exit: Option<Exit>,
    /// The call of its entry point, if it is not over.
    function: Option<Function>,
    /// Its result.
    reply: Option<Result<Reply, RemoteError>>,
}

/// A call of a function that is under way.
type Function = Pin<Box<dyn Future<Output = Result<Bytes, CallError>> + Send>>;

impl ChildChannel {
    pub(super) fn new(portal: portal::Portal, link: Box<dyn ChildLink>) -> Self {
        Self { portal, link, is_open: true, exit: None, function: None, reply: None }
    }

    /// Calls the entry point of the child.
    pub(super) fn call(&mut self, main: &EntryPoint) {
        let (portal, main) = (self.portal.clone(), main.clone());
        self.function = Some(Box::pin(async move {
            portal.call_encoded(Request::encoded(&method(&main.path), &main.body)).await
        }));
    }

    /// Waits until the function has ended, or the child has sent its last message.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn news(&mut self) -> ChildEvent {
        let Self { link, is_open, exit, function, reply, .. } = self;
        tokio::select! {
            biased;
            () = function_ended(function, reply) => return ChildEvent::FunctionEnded,
            () = ended(&mut **link, is_open, exit) => {}
        }
        self.part().await;
        ChildEvent::Ended
    }

    /// Takes the result of the entry point, if it has ended.
    pub(super) fn take_reply(&mut self) -> Option<Result<Reply, RemoteError>> {
        self.reply.take()
    }

    /// Follows the notes, and never returns.
    pub(super) async fn follow<T>(&mut self, status: &StatusEntry) -> T {
        while self.is_open {
            match self.link.next_note().await {
                Some(Note::Exit(exit)) => self.exit = Some(exit),
                Some(Note::Phase(phase)) => status.enter(phase),
                None => self.is_open = false,
            }
        }
        self.part().await;
        std::future::pending().await
    }

    /// Returns the child's own report of its end, once it is gone: its messages are in transit.
    pub(super) async fn last_word(&mut self) -> Option<Exit> {
        let Self { link, is_open, exit, function, reply, .. } = self;
        let all = async {
            ended(&mut **link, is_open, exit).await;
            settle(function, reply).await;
        };
        if timeout(LAST_WORD_WAIT, all).await.is_err() {
            tracing::warn!(target: "callsign", "the channel of a child is still open after its end");
        }
        self.word_so_far()
    }

    /// Returns the exit that the child has reported, if it has.
    pub(super) fn word_so_far(&mut self) -> Option<Exit> {
        self.portal.close("goodbye");
        self.exit.take()
    }

    /// Takes the result of the function, and lets the child go: it waits for that.
    ///
    /// The result is there: an actor sends its last message when it is idle, which it is only once
    /// the results of its functions are in transit. Only a child that breaks this rule is waited
    /// for.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: call it again.
    async fn part(&mut self) {
        let settled = settle(&mut self.function, &mut self.reply);
        if timeout(LAST_WORD_WAIT, settled).await.is_err() {
            tracing::warn!(target: "callsign", "a child ended without the result of its function");
        }
        self.portal.close("goodbye");
    }
}

/// An event of a child.
pub(super) enum ChildEvent {
    FunctionEnded,
    Ended,
}

/// Waits until a child has sent its last message.
async fn ended(link: &mut dyn ChildLink, is_open: &mut bool, exit: &mut Option<Exit>) {
    while *is_open {
        match link.next_note().await {
            Some(Note::Exit(said)) => *exit = Some(said),
            Some(Note::Phase(_)) => {}
            None => *is_open = false,
        }
    }
}

/// Waits until a function has ended; for ever, if there is none, or the channel ends first.
async fn function_ended(
    function: &mut Option<Function>,
    reply: &mut Option<Result<Reply, RemoteError>>,
) {
    settle(function, reply).await;
    if reply.is_none() {
        std::future::pending().await
    }
}

/// Waits until a function has ended, or the channel has.
async fn settle(function: &mut Option<Function>, reply: &mut Option<Result<Reply, RemoteError>>) {
    let Some(call) = function else { return };
    let brought = call.await;
    *function = None;
    *reply = match brought {
        Ok(value) => Some(Reply::read(Ok(value))),
        Err(CallError::Remote(error)) => Some(Reply::read(Err(error))),
        // It is gone, and its backend tells more.
        Err(_) => None,
    };
}

/// The time for reading the channel of a child that is gone, and for its function's result.
/// Everything is already there, followed by the channel's end: this is far longer than a busy
/// machine delays this process, and is for a channel that another process has inherited.
const LAST_WORD_WAIT: Duration = Duration::from_secs(10);
