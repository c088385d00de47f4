//! A call of an exported function, as a value.

use std::{fmt, marker::PhantomData};

use bytes::Bytes;
use serde::Serialize;

use super::{CallError, CalleeError, Export, Incoming, Wire, body};

/// A call of an exported function that gives a `T` or fails with an `E`. It is what the function
/// returns, and does nothing until it is sent to an actor.
///
/// ```standalone_crate
/// # extern crate callsign_tree as callsign;
/// #[callsign::export]
/// async fn double(number: u32) -> u32 {
///     2 * number
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let call = double(21);
/// assert_eq!(call.run_here().await?, 42);
/// # Ok(())
/// # }
/// ```
#[must_use = "a call does nothing until it is sent to an actor"]
pub struct Call<T, E> {
    export: Export,
    /// The encoded arguments, or why they cannot be encoded.
    body: Result<Bytes, String>,
    result: PhantomData<fn() -> (T, E)>,
}

impl<T: Wire, E: Wire> Call<T, E> {
    /// Reads the result.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # #[callsign::export]
    /// # async fn double(number: u32) -> u32 {
    /// #     2 * number
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let call = double(21);
    /// // Anything but a number in MessagePack is no answer.
    /// assert!(call.decode(Ok(b"\xc0")).is_err());
    /// assert_eq!(call.decode(Ok(&[42]))?, 42);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The function's error, or the reason why it is unknown.
    pub fn decode(&self, result: Result<&[u8], CalleeError>) -> Result<T, CallError<E>> {
        body::decode(result?).map_err(CallError::Unreadable)
    }

    /// Carries out the call in this very task, without an actor. It is encoded and decoded as if
    /// it had travelled, so that a test of the function is one of its types too.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// #[callsign::export]
    /// async fn double(number: u32) -> u32 {
    ///     2 * number
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(double(21).run_here().await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As with [`decode`](Self::decode), and [`CallError::Unsendable`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the function where it waits.
    pub async fn run_here(self) -> Result<T, CallError<E>> {
        let incoming = Incoming { body: self.body()?, ends: None };
        let result = (self.export.run)(incoming).await;
        self.decode(result.as_deref().map_err(Clone::clone))
    }
}

impl<T, E> Call<T, E> {
    /// Makes a call. The attribute guarantees that the arguments are those of the function.
    #[doc(hidden)]
    pub fn new<A: Serialize>(export: Export, arguments: &A) -> Self {
        let body = body::encode(&(export.fingerprint, arguments));
        Self { export, body, result: PhantomData }
    }

    /// Returns which function is called.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # #[callsign::export]
    /// # async fn double(number: u32) -> u32 {
    /// #     2 * number
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(double(21).export().path, double::EXPORT.path);
    /// # Ok(())
    /// # }
    /// ```
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// Returns what to send: the fingerprint and the arguments.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// # #[callsign::export]
    /// # async fn double(number: u32) -> u32 {
    /// #     2 * number
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_ne!(double(21).body()?, double(22).body()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CallError::Unsendable`] when an argument's own `Serialize` has refused.
    pub fn body(&self) -> Result<Bytes, CallError<E>> {
        self.body.clone().map_err(CallError::Unsendable)
    }

    /// Returns what to send, without sharing it.
    pub(crate) fn encoded(&self) -> Result<&[u8], CallError<E>> {
        self.body.as_deref().map_err(|why| CallError::Unsendable(why.clone()))
    }
}

impl<T, E> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({})", self.export.path)
    }
}
