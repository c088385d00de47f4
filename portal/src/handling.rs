//! The function that handles one call: its panics become errors, and it ends in time.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    select,
    time::{Instant, sleep, sleep_until},
};
use tracing::Span;
use wire::{ErrorKind, RemoteError};

use crate::incoming_call::CallState;

/// The result of a function, for its caller.
pub(crate) type Answer = Result<Bytes, RemoteError>;

/// The state of a function that was run until it waits.
pub(crate) enum Begun<Fut> {
    /// It has ended.
    Over(Answer),
    /// It waits, and must be polled elsewhere.
    Waits(Handling<Fut>),
}

/// A running function. Its panic becomes the call's error; a panic while it is dropped is reported
/// by the panic hook only.
pub(crate) struct Handling<Fut> {
    function: Option<Pin<Box<Fut>>>,
    span: Span,
}

impl<Fut: Future<Output = Answer>> Handling<Fut> {
    /// Calls a function, and runs it until it first waits. Later it runs within the span that is
    /// current here.
    pub(crate) fn begin(handle: impl FnOnce() -> Fut) -> Begun<Fut> {
        let function = match catch_unwind(AssertUnwindSafe(|| Box::pin(handle()))) {
            Ok(function) => function,
            Err(payload) => return Begun::Over(Err(panicked(payload))),
        };
        let mut begun = Self { function: Some(function), span: Span::none() }.step();
        if let Begun::Waits(handling) = &mut begun {
            handling.span = Span::current();
        }
        begun
    }

    /// Runs it until it waits.
    pub(crate) fn step(mut self) -> Begun<Fut> {
        // The next owner polls it again, and sees everything that came in between: no wake-up is
        // needed.
        match Pin::new(&mut self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Begun::Over(answer),
            Poll::Pending => Begun::Waits(self),
        }
    }

    /// Runs until the function ends, or a grace after its cancellation.
    pub(crate) async fn within(
        mut self,
        state: &CallState,
        deadline: Option<Instant>,
        grace: Duration,
    ) -> Answer {
        let timed_out = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let (kind, why) = select! {
            biased;
            answer = &mut self => return answer,
            () = state.given_up() => (ErrorKind::Cancelled, "the call was cancelled"),
            () = timed_out => (ErrorKind::TimedOut, "the call took longer than its caller allowed"),
        };
        state.cancel();
        // However it ends now, its caller has abandoned it.
        select! {
            biased;
            _ = &mut self => {}
            () = sleep(grace) => {}
        }
        Err(RemoteError::new(kind, why))
    }
}

impl<Fut: Future<Output = Answer>> Future for Handling<Fut> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let Self { function, span } = &mut *self;
        let function = function.as_mut().expect("it is there until it is dropped");
        let polled =
            catch_unwind(AssertUnwindSafe(|| span.in_scope(|| function.as_mut().poll(cx))));
        polled.unwrap_or_else(|payload| Poll::Ready(Err(panicked(payload))))
    }
}

impl<Fut> Drop for Handling<Fut> {
    fn drop(&mut self) {
        let Self { function, span } = self;
        drop(catch_unwind(AssertUnwindSafe(|| span.in_scope(|| drop(function.take())))));
    }
}

fn panicked(payload: Box<dyn Any + Send>) -> RemoteError {
    let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text.as_str(),
        (None, None) => "without a message",
    };
    RemoteError::new(ErrorKind::Internal, format!("the call panicked: {text}"))
}
