//! A call of an exported function that converses, as a value.

use std::{fmt, marker::PhantomData};

use bytes::Bytes;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Call, CallError, CalleeError, Ends, Export, Incoming, Stream, Wire, body};

/// A call of an exported function that converses: it gives a `Started`, takes items of type `In`
/// and sends items of type `Out`, and ends with a `T` or an `E`. `In` and `Out` are as the
/// function sees them. It does nothing until it is sent to an actor.
///
/// ```standalone_crate
/// # extern crate callsign_tree as callsign;
/// use callsign::{Context, Ended};
///
/// /// Sends back each word in capitals.
/// #[callsign::export]
/// async fn shout(context: &mut Context<(), String, String>) -> Result<u32, Ended> {
///     let mut stream = context.started(()).await?;
///     let mut count = 0;
///     while let Some(word) = stream.recv().await? {
///         stream.send(word.to_uppercase()).await?;
///         count += 1;
///     }
///     Ok(count)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (heard, count) = shout()
///     .run_here(async |(), mut stream| {
///         stream.send("sell".to_owned()).await?;
///         stream.recv().await
///     })
///     .await?;
/// assert_eq!((heard?.as_deref(), count), (Some("SELL"), 1));
/// # Ok(())
/// # }
/// ```
#[must_use = "a dialogue does nothing until it is sent to an actor"]
pub struct Dialogue<Started, In, Out, T, E> {
    call: Call<T, E>,
    types: PhantomData<fn(In) -> (Started, Out)>,
}

impl<Started: Wire, In: Wire, Out: Wire, T: Wire, E: Wire> Dialogue<Started, In, Out, T, E> {
    /// Reads the started value.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # use callsign::{Context, Ended};
    /// # #[callsign::export]
    /// # async fn countdown(context: &mut Context<u32, (), u32>, from: u32) -> Result<(), Ended> {
    /// #     let stream = context.started(from).await?;
    /// #     for number in (0..from).rev() {
    /// #         stream.send(number).await?;
    /// #     }
    /// #     Ok(())
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let dialogue = countdown(3);
    /// // The number 3 in MessagePack.
    /// assert_eq!(dialogue.decode_started(&[3])?, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CallError::Unreadable`].
    pub fn decode_started(&self, started: &[u8]) -> Result<Started, CallError<E>> {
        body::decode(started).map_err(CallError::Unreadable)
    }

    /// Reads what came back in the end.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # use callsign::{Context, Ended};
    /// # #[callsign::export]
    /// # async fn countdown(context: &mut Context<u32, (), u32>, from: u32) -> Result<(), Ended> {
    /// #     let stream = context.started(from).await?;
    /// #     for number in (0..from).rev() {
    /// #         stream.send(number).await?;
    /// #     }
    /// #     Ok(())
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let dialogue = countdown(3);
    /// // Nothing in MessagePack.
    /// assert_eq!(dialogue.decode(Ok(b"\xc0"))?, ());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Call::decode`].
    pub fn decode(&self, result: Result<&[u8], CalleeError>) -> Result<T, CallError<E>> {
        self.call.decode(result)
    }

    /// Runs the dialogue in this very task, without an actor. `body` is the caller's side; when it
    /// returns, its half of the stream closes. Returns the results of both sides.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # use callsign::{Context, Ended};
    /// # #[callsign::export]
    /// # async fn countdown(context: &mut Context<u32, (), u32>, from: u32) -> Result<(), Ended> {
    /// #     let stream = context.started(from).await?;
    /// #     for number in (0..from).rev() {
    /// #         stream.send(number).await?;
    /// #     }
    /// #     Ok(())
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let last = countdown(3).run_here(async |started, mut stream| {
    ///     let mut last = started;
    ///     while let Ok(Some(number)) = stream.recv().await {
    ///         last = number;
    ///     }
    ///     last
    /// });
    /// assert_eq!(last.await?.0, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Call::run_here`], and [`CallError::NeverStarted`]. The result of `body` is lost then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends both sides where they wait.
    pub async fn run_here<R>(
        self,
        body: impl AsyncFnOnce(Started, Stream<Out, In>) -> R,
    ) -> Result<(R, T), CallError<E>> {
        let cancelled = CancellationToken::new();
        let (ends, far) = Ends::pair(cancelled.clone());
        let incoming = Incoming { body: self.body()?, ends: Some(ends) };
        let callee = (self.export().run)(incoming);
        let caller = async {
            // It fails when the callee has ended, and then the callee tells more.
            let Ok(started) = far.started.await else { return Ok::<_, CallError<E>>(None) };
            let started = self.decode_started(&started)?;
            Ok(Some(body(started, Stream::new(far.stream, cancelled)).await))
        };
        let (given, result) = tokio::join!(caller, callee);
        let result = self.decode(result.as_deref().map_err(Clone::clone))?;
        let given = given?.ok_or(CallError::NeverStarted(self.export().path))?;
        Ok((given, result))
    }
}

impl<Started, In, Out, T, E> Dialogue<Started, In, Out, T, E> {
    /// Makes a call. The attribute guarantees that the arguments are those of the function.
    #[doc(hidden)]
    pub fn new<A: Serialize>(export: Export, arguments: &A) -> Self {
        Self { call: Call::new(export, arguments), types: PhantomData }
    }

    /// Returns which function is called.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # use callsign::{Context, Ended};
    /// # #[callsign::export]
    /// # async fn countdown(context: &mut Context<u32, (), u32>, from: u32) -> Result<(), Ended> {
    /// #     let stream = context.started(from).await?;
    /// #     for number in (0..from).rev() {
    /// #         stream.send(number).await?;
    /// #     }
    /// #     Ok(())
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(countdown(3).export().path, countdown::EXPORT.path);
    /// # Ok(())
    /// # }
    /// ```
    pub fn export(&self) -> &Export {
        self.call.export()
    }

    /// Returns what to send: the fingerprint and the arguments.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # use callsign::{Context, Ended};
    /// # #[callsign::export]
    /// # async fn countdown(context: &mut Context<u32, (), u32>, from: u32) -> Result<(), Ended> {
    /// #     let stream = context.started(from).await?;
    /// #     for number in (0..from).rev() {
    /// #         stream.send(number).await?;
    /// #     }
    /// #     Ok(())
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_ne!(countdown(3).body()?, countdown(4).body()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Call::body`].
    pub fn body(&self) -> Result<Bytes, CallError<E>> {
        self.call.body()
    }
}

impl<Started, In, Out, T, E> fmt::Debug for Dialogue<Started, In, Out, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialogue({})", self.export().path)
    }
}
