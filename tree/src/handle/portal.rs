//! The handle of one actor.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use endpoints::{Endpoint, Stamped};
use portal::{Closed, Request};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use wire::ErrorKind;

use super::pool::{PooledConnection, Reached, Shared};
use crate::{
    ActorPath, Call, CallError, CancelReason, Dialogue, Stream,
    child::calls::{Reply, WINDOW},
    export::{ITEMS_AHEAD, RawStream, Wire},
    messages::{CANCEL, CancelRequest},
};

/// A handle of one actor: through it the actor's exposed functions are called. Clones are handles
/// of the same one.
///
/// ```standalone_crate
/// # extern crate callsign_tree as callsign;
/// use callsign::Portal;
///
/// #[callsign::export]
/// async fn mean(numbers: Vec<f64>) -> f64 {
///     numbers.iter().sum::<f64>() / numbers.len() as f64
/// }
///
/// async fn ask(math: &Portal) -> Option<f64> {
///     math.call(mean(vec![1.0, 2.0])).await.ok()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Portal {
    /// The reached actor.
    actor: ActorPath,
    /// The actor that holds this handle.
    caller: ActorPath,
    pub(crate) portal: portal::Portal,
    /// A child's endpoints.
    endpoints: Arc<[Endpoint]>,
    /// The way in which a looked-up actor was reached.
    reached: Option<Reached>,
    /// Keeps the connection to an actor that was looked up.
    _contact: Option<Arc<Shared>>,
}

impl Portal {
    /// Makes the handle of a child, whose channel its runner drives.
    pub(crate) fn of_child(
        actor: ActorPath,
        caller: ActorPath,
        portal: portal::Portal,
        endpoints: &[Stamped],
    ) -> Self {
        let endpoints = endpoints.iter().map(|it| it.endpoint.clone()).collect();
        Self { actor, caller, portal, endpoints, reached: None, _contact: None }
    }

    /// Makes the handle of an actor that was looked up.
    pub(crate) fn of_found(caller: ActorPath, connection: Arc<Shared>) -> Self {
        let PooledConnection { actor, portal, reached, .. } = &**connection;
        Self {
            actor: actor.clone(),
            caller,
            portal: portal.clone(),
            endpoints: [reached.endpoint.clone()].into(),
            reached: Some(reached.clone()),
            _contact: Some(connection),
        }
    }

    /// Returns the actor's path in its tree.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Portal;
    ///
    /// fn show(portal: &Portal) {
    ///     println!("{}", portal.path());
    /// }
    /// ```
    pub fn path(&self) -> &ActorPath {
        &self.actor
    }

    /// Returns what the actor is called.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Portal;
    ///
    /// fn show(portal: &Portal) {
    ///     println!("{} is {}, at {:?}", portal.name(), portal.path(), portal.endpoints());
    /// }
    /// ```
    pub fn name(&self) -> &str {
        self.actor.name()
    }

    /// Returns where a child listens, or where an actor that was looked up was reached.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Portal;
    ///
    /// /// Tells whether others than the programs of this host can reach it.
    /// fn is_public(portal: &Portal) -> bool {
    ///     portal.endpoints().iter().any(|it| !it.is_socket_file())
    /// }
    /// ```
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Returns how an actor that was looked up was reached; `None` for a child, to which its
    /// parent has a channel.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use endpoints::Locality;
    /// use callsign::Portal;
    ///
    /// /// Tells whether calls go over a network.
    /// fn is_far(portal: &Portal) -> bool {
    ///     portal.reached().is_some_and(|it| it.locality == Locality::Remote)
    /// }
    /// ```
    pub fn reached(&self) -> Option<&Reached> {
        self.reached.as_ref()
    }

    /// Calls an exported function, and returns its result.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// use callsign::{CallError, Never, Portal};
    ///
    /// #[callsign::export]
    /// async fn mean(numbers: Vec<f64>) -> f64 {
    ///     numbers.iter().sum::<f64>() / numbers.len() as f64
    /// }
    ///
    /// async fn ask(math: &Portal) -> Result<f64, CallError<Never>> {
    ///     math.call(mean(vec![1.0, 2.0])).await
    /// }
    /// # fn main() {
    /// #     let _ = ask;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CallError::App`] with the function's own error, or the reason why there is no result.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the function at its next `await`.
    pub async fn call<T: Wire, E: Wire>(&self, call: Call<T, E>) -> Result<T, CallError<E>> {
        let request = Request::encoded(call.export().method, call.encoded()?);
        let value = read(self.portal.call_encoded(request).await)?;
        call.decode(Ok(&value))
    }

    /// Calls an exported function as [`call`](Self::call) does, with a time limit. The actor learns
    /// the limit, and ends the function by itself.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # use std::time::Duration;
    /// use callsign::Portal;
    ///
    /// # #[callsign::export]
    /// # async fn mean(numbers: Vec<f64>) -> f64 {
    /// #     numbers.iter().sum::<f64>() / numbers.len() as f64
    /// # }
    ///
    /// /// Asks for a mean, and does without one that would come too late.
    /// async fn ask(math: &Portal) -> Option<f64> {
    ///     math.call_within(mean(vec![1.0, 2.0]), Duration::from_secs(1)).await.ok()
    /// }
    /// # fn main() {
    /// #     let _ = ask;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); [`CallError::Transport`] with [`portal::CallError::TimedOut`] if it
    /// takes longer.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_within<T: Wire, E: Wire>(
        &self,
        call: Call<T, E>,
        within: Duration,
    ) -> Result<T, CallError<E>> {
        let request = Request::encoded(call.export().method, call.encoded()?).within(within);
        let value = read(self.portal.call_encoded(request).await)?;
        call.decode(Ok(&value))
    }

    /// Conducts a dialogue with an exported function: `body` gets the started value, and a stream
    /// on which both sides send. When it returns, this side sends no more, and the function's
    /// result is awaited. Returns the results of both sides.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # use callsign::{Context, Ended};
    /// use callsign::{CallError, Portal};
    ///
    /// # #[callsign::export]
    /// # async fn shout(context: &mut Context<(), String, String>) -> Result<u32, Ended> {
    /// #     let mut stream = context.started(()).await?;
    /// #     let mut count = 0;
    /// #     while let Some(word) = stream.recv().await? {
    /// #         stream.send(word.to_uppercase()).await?;
    /// #         count += 1;
    /// #     }
    /// #     Ok(count)
    /// # }
    ///
    /// /// Has two words shouted, and returns how many the other side has heard.
    /// async fn shout_twice(crier: &Portal) -> Result<u32, CallError<Ended>> {
    ///     let dialogue = crier.context(shout(), async |(), mut stream| {
    ///         for word in ["buy", "sell"] {
    ///             stream.send(word.to_owned()).await?;
    ///             println!("{:?}", stream.recv().await?);
    ///         }
    ///         Ok::<_, Ended>(())
    ///     });
    ///     let (_said, heard) = dialogue.await?;
    ///     Ok(heard)
    /// }
    /// # fn main() {
    /// #     let _ = shout_twice;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), and [`CallError::NeverStarted`]. The result of `body` is lost then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the dialogue.
    pub async fn context<Started: Wire, In: Wire, Out: Wire, T: Wire, E: Wire, R>(
        &self,
        dialogue: Dialogue<Started, In, Out, T, E>,
        body: impl AsyncFnOnce(Started, Stream<Out, In>) -> R,
    ) -> Result<(R, T), CallError<E>> {
        hold(&self.portal, dialogue, None, body).await
    }

    /// Conducts a dialogue as [`context`](Self::context) does, with a time limit. The actor learns
    /// the limit, and ends the function by itself; `body` is dropped where it waits.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # use std::time::Duration;
    /// # use callsign::{CallError, Context, Ended};
    /// use callsign::Portal;
    ///
    /// # #[callsign::export]
    /// # async fn shout(context: &mut Context<(), String, String>) -> Result<u32, Ended> {
    /// #     let mut stream = context.started(()).await?;
    /// #     let mut count = 0;
    /// #     while let Some(word) = stream.recv().await? {
    /// #         stream.send(word.to_uppercase()).await?;
    /// #         count += 1;
    /// #     }
    /// #     Ok(count)
    /// # }
    ///
    /// /// Has a word shouted, within a second.
    /// async fn shout_now(crier: &Portal) -> Result<u32, CallError<Ended>> {
    ///     let second = Duration::from_secs(1);
    ///     let dialogue = crier.context_within(shout(), second, async |(), stream| {
    ///         stream.send("sell".to_owned()).await
    ///     });
    ///     let (_said, heard) = dialogue.await?;
    ///     Ok(heard)
    /// }
    /// # fn main() {
    /// #     let _ = shout_now;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`context`](Self::context); [`CallError::Transport`] with [`portal::CallError::TimedOut`]
    /// if it takes longer.
    ///
    /// # Cancel safety
    ///
    /// As [`context`](Self::context).
    pub async fn context_within<Started: Wire, In: Wire, Out: Wire, T: Wire, E: Wire, R>(
        &self,
        dialogue: Dialogue<Started, In, Out, T, E>,
        within: Duration,
        body: impl AsyncFnOnce(Started, Stream<Out, In>) -> R,
    ) -> Result<(R, T), CallError<E>> {
        let held = hold(&self.portal, dialogue, Some(within), body);
        let timed_out = portal::CallError::TimedOut(within);
        timeout(within, held).await.unwrap_or(Err(CallError::Transport(timed_out)))
    }

    /// Asks the actor to end, and waits for its acknowledgement. An actor that ends before it could
    /// answer has complied.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Portal;
    ///
    /// /// Ends a feed, and says so if it is not ours to end.
    /// async fn end(feed: &Portal) {
    ///     if let Err(error) = feed.cancel("the market is closed").await {
    ///         println!("{} goes on: {error}", feed.path());
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`portal::CallError`] if it does not accept such requests from here, was gone before, or its
    /// fate is unknown.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future withdraws nothing.
    pub async fn cancel(&self, why: &str) -> Result<(), portal::CallError> {
        let reason = CancelReason::new(self.caller.clone(), why);
        let was_there = !self.portal.is_closed();
        let request = Request::new(CANCEL, &CancelRequest { reason, force: false });
        match self.portal.call(request).await {
            Err(portal::CallError::Closed(closed)) if was_there && is_end(&closed) => Ok(()),
            told => told,
        }
    }

    /// Waits until the connection to the actor has ended, and returns why.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Portal;
    ///
    /// async fn watch(feed: &Portal) {
    ///     let why = feed.closed().await;
    ///     println!("{} is out of reach: {why}", feed.path());
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> Closed {
        self.portal.closed().await
    }
}

/// Tells whether a connection has ended because the other side has, and not the link to it.
fn is_end(closed: &Closed) -> bool {
    match closed {
        // A child's connection is closed here once it has ended.
        Closed::Here | Closed::ByPeer | Closed::Goodbye(_) => true,
        Closed::Broken(error) => {
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        }
        _ => false,
    }
}

/// Conducts a dialogue. The actor learns its time limit.
async fn hold<Started: Wire, In: Wire, Out: Wire, T: Wire, E: Wire, R>(
    portal: &portal::Portal,
    dialogue: Dialogue<Started, In, Out, T, E>,
    within: Option<Duration>,
    body: impl AsyncFnOnce(Started, Stream<Out, In>) -> R,
) -> Result<(R, T), CallError<E>> {
    let arguments = dialogue.body()?;
    let request = Request { within, ..Request::encoded(dialogue.export().method, &arguments) };
    let mut carried = match portal.dialogue(request, WINDOW).await {
        Ok(carried) => carried,
        // It ended without the awaited value.
        Err(portal::CallError::Unreadable(_)) => {
            return Err(CallError::NeverStarted(dialogue.export().path));
        }
        Err(error) => return Err(failed(error)),
    };
    let started = dialogue.decode_started(carried.started_encoded())?;

    let (replies, mut outgoing) = mpsc::channel(ITEMS_AHEAD);
    let (incoming, items) = mpsc::channel(ITEMS_AHEAD);
    let cancelled = CancellationToken::new();
    let stream = Stream::new(RawStream { items, replies }, cancelled.clone());
    let sender = carried.sender();
    let send = async {
        while let Some(item) = outgoing.recv().await {
            if sender.send_encoded(item).await.is_err() {
                // The function wants no more; its result says why.
                outgoing.close();
                return;
            }
        }
        sender.finish();
    };
    let receive = async {
        let failure = loop {
            match carried.next_encoded().await {
                Ok(Some(item)) => {
                    // When the body wants no more, the rest is dropped with the result.
                    if incoming.send(item).await.is_err() {
                        break None;
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if failure.is_some() {
            cancelled.cancel();
        }
        drop(incoming);
        failure
    };
    let (given, (), failure) = tokio::join!(body(started, stream), send, receive);
    if let Some(error) = failure {
        return Err(failed(error));
    }
    let result = read(carried.result_encoded().await)?;
    Ok((given, dialogue.decode(Ok(&result))?))
}

/// Reads the result of a call of an exported function.
fn read<E: Wire>(reply: Result<Bytes, portal::CallError>) -> Result<Bytes, CallError<E>> {
    reply.map_err(failed)
}

/// Returns the error of a call of an exported function without a value.
fn failed<E: Wire>(error: portal::CallError) -> CallError<E> {
    let error = match error {
        portal::CallError::Remote(error) => error,
        error => return CallError::Transport(error),
    };
    match Reply::read(Err(error)) {
        Ok(Reply::Failed(error)) => error.into(),
        Ok(Reply::Panicked(panic)) => CallError::Panicked(panic),
        Ok(Reply::Cancelled(reason)) => CallError::Cancelled(reason),
        Ok(Reply::Returned(_)) => unreachable!("an error is read"),
        Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::NoSuchMethod) => {
            CallError::NotExposed(error.message)
        }
        Err(error) => CallError::Transport(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use endpoints::Name;
    use portal::{Established, NoService, Options};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        task::JoinSet,
    };
    use transport::Stream as Bytes;
    use wire::{Frame, FrameReader, Hello};

    use super::*;

    /// The other side's reaction when it is asked to end.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum Does {
        Answer,
        Refuse,
        Leave,
        LeaveBefore,
        SayGoodbye,
        TalkNonsense,
    }

    #[tokio::test]
    async fn an_end_before_the_answer_succeeds_and_an_absence_before_the_call_fails() {
        let check = async |does: Does, is_well: bool| {
            let (near, mut far) = Bytes::pair();
            let connected = Established::dialed(near, Hello::default())
                .converse(&Options::default(), NoService);
            let path = ActorPath::root(&Name::new("actor").unwrap());
            let portal = Portal::of_child(path.clone(), path, connected.portal, &[]);
            let mut drivers = JoinSet::new();
            drivers.spawn(connected.driver);
            if does == Does::LeaveBefore {
                drop(far);
                portal.closed().await;
                assert!(portal.cancel("enough").await.is_err(), "{does:?}");
                return;
            }
            let other = async {
                let mut reader = FrameReader::default();
                let frame = loop {
                    if let Some(frame) = reader.next().unwrap() {
                        break frame;
                    }
                    assert_ne!(far.read_buf(reader.buffer()).await.unwrap(), 0);
                };
                let Ok(Frame::Call { id, method: CANCEL, .. }) = Frame::decode(&frame) else {
                    panic!("{frame:?}")
                };
                let mut bytes = bytes::BytesMut::new();
                let nil = wire::encode_body(&());
                let refusal = wire::RemoteError::new(ErrorKind::Denied, "no");
                let answer = match does {
                    Does::Answer => Frame::Return { id, body: &nil },
                    Does::Refuse => Frame::Error { id, error: refusal },
                    Does::SayGoodbye => {
                        Frame::Goodbye { reason: "it has ended", returns: false, error: None }
                    }
                    Does::TalkNonsense => Frame::Started { id, body: &nil },
                    Does::Leave | Does::LeaveBefore => return drop(far),
                };
                answer.encode(&mut bytes).unwrap();
                far.write_all(&bytes).await.unwrap();
                portal.closed().await;
            };
            let told = tokio::select! {
                biased;
                told = portal.cancel("enough") => told,
                () = async { other.await; std::future::pending().await } => unreachable!(),
            };
            assert_eq!(told.is_ok(), is_well, "{does:?}: {told:?}");
        };
        check(Does::Answer, true).await;
        check(Does::Leave, true).await;
        check(Does::SayGoodbye, true).await;
        check(Does::Refuse, false).await;
        check(Does::TalkNonsense, false).await;
        check(Does::LeaveBefore, false).await;
    }
}
