//! A call to be made.

use std::{borrow::Cow, time::Duration};

use serde::Serialize;
use wire::encode_body;

/// A call to be made: the method, its encoded arguments, and how long it may take.
///
/// ```
/// use std::time::Duration;
///
/// use callsign_portal::{CallError, Portal, Request};
///
/// /// Doubles a number, within a second.
/// async fn double(portal: &Portal, number: i64) -> Result<i64, CallError> {
///     portal.call(Request::new("double", &number).within(Duration::from_secs(1))).await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// Its arguments, encoded.
    pub body: Cow<'a, [u8]>,
    /// The time limit of the call, from now to its result; `None` for no limit. The peer learns of
    /// it, and ends the call by itself.
    pub within: Option<Duration>,
}

impl<'a> Request<'a> {
    /// Makes a request, and encodes its arguments.
    pub fn new(method: &'a str, args: &(impl Serialize + ?Sized)) -> Self {
        Self { method, body: encode_body(args).into(), within: None }
    }

    /// Makes a request whose arguments are encoded already.
    pub fn encoded(method: &'a str, body: &'a [u8]) -> Self {
        Self { method, body: body.into(), within: None }
    }

    /// Limits how long the call may take. Beyond, it fails with
    /// [`CallError::TimedOut`](crate::CallError::TimedOut).
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { within: Some(limit), ..self }
    }

    pub(crate) fn within_ms(&self) -> Option<u64> {
        self.within.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
    }
}
