//! The functions that code written by `#[export]` calls. They are not part of the public API.
#![doc(hidden)]

use std::error::Error;

use bytes::Bytes;
use rmp::decode::{read_array_len, read_int};
use serde::de::DeserializeOwned;
use wire::ErrorKind;

use super::{CalleeError, Context, Export, Incoming, Mismatch, Never, Running, Wire, body};

/// The return type of an exported function with a `Result`, for aliases that hide the error's type.
pub trait Outcome {
    /// Its value.
    type Value: Wire;
    /// Its error.
    type Error: ExportError;

    /// Returns it as a plain result.
    ///
    /// # Errors
    ///
    /// The function's error.
    fn into_result(self) -> Result<Self::Value, Self::Error>;
}

impl<T: Wire, E: ExportError> Outcome for Result<T, E> {
    type Value = T;
    type Error = E;

    fn into_result(self) -> Self {
        self
    }
}

/// The error of an exported function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of an exported function",
    label = "not an error that can travel",
    note = "it must implement `std::error::Error`, `serde::Serialize` and `serde::Deserialize`"
)]
pub trait ExportError: Error + Wire {}

impl<E: Error + Wire> ExportError for E {}

/// Compiles for what can travel. It makes the compiler point at a type where it is written.
pub const fn travels<T: Wire>() {}

/// Compiles for what a function may fail with, as [`travels`].
pub const fn fails<E: ExportError>() {}

/// Gives a function without a `Result` one.
pub async fn infallible<T>(function: impl Future<Output = T>) -> Result<T, Never> {
    Ok(function.await)
}

/// Carries out a unary call.
pub fn unary<A, F>(export: Export, incoming: Incoming, function: fn(A) -> F) -> Running
where
    A: Wire,
    F: Future<Output: Outcome> + Send + 'static,
{
    Box::pin(async move {
        let arguments = arguments(&export, &incoming.body)?;
        finish(&export, function(arguments).await)
    })
}

/// Carries out a dialogue.
pub fn dialogue<S, I, O, A, F>(
    export: Export,
    incoming: Incoming,
    function: fn(Context<S, I, O>, A) -> F,
) -> Running
where
    S: Wire,
    I: Wire,
    O: Wire,
    A: Wire,
    F: Future<Output: Outcome> + Send + 'static,
{
    Box::pin(async move {
        let arguments = arguments(&export, &incoming.body)?;
        let Some(ends) = incoming.ends else {
            let message = format!("`{}` is a dialogue, and was called as if unary", export.path);
            return Err(CalleeError::new(ErrorKind::Invalid, message));
        };
        let context = Context::new(ends);
        finish(&export, function(context, arguments).await)
    })
}

fn finish<R: Outcome>(export: &Export, outcome: R) -> Result<Bytes, CalleeError> {
    let value = outcome.into_result().map_err(|error| CalleeError::failed(&error))?;
    body::encode(&value).map_err(|error| {
        let message = format!("the result of `{}` cannot be written: {error}", export.path);
        CalleeError::new(ErrorKind::Internal, message)
    })
}

/// Reads the arguments of a call of `export`, after the fingerprint, so that a caller built from
/// another source learns that, and not where reading failed.
///
/// # Errors
///
/// The answer to the caller.
fn arguments<A: DeserializeOwned>(export: &Export, body: &[u8]) -> Result<A, CalleeError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        let message = format!("the arguments of `{}` cannot be read: {error}", export.path);
        CalleeError::new(ErrorKind::Invalid, message)
    };
    let mut rest = body;
    match read_array_len(&mut rest) {
        Ok(2) => {}
        Ok(_) => return Err(unreadable(&"they do not follow a fingerprint")),
        Err(error) => return Err(unreadable(&error)),
    }
    let caller: u64 = read_int(&mut rest).map_err(|error| unreadable(&error))?;
    if caller != export.fingerprint {
        let path = export.path.to_owned();
        return Err(Mismatch { path, caller, callee: export.fingerprint }.into());
    }
    body::decode(rest).map_err(|error| unreadable(&error))
}
