//! A few futures, waited for side by side.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

/// A few futures, waited for side by side in the task that owns them. Each has a key, by which
/// its output is known.
///
/// All of them are polled at each wake. That is no loss for as many as there are registrars or
/// dials under way, and spares the dependency on a set that wakes them one by one.
pub(crate) struct Together<'a, T> {
    futures: Vec<(usize, BoxFuture<'a, T>)>,
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl<'a, T> Together<'a, T> {
    pub(crate) fn push(&mut self, key: usize, future: impl Future<Output = T> + Send + 'a) {
        self.futures.push((key, Box::pin(future)));
    }

    pub(crate) fn len(&self) -> usize {
        self.futures.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.futures.is_empty()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = usize> {
        self.futures.iter().map(|(key, _)| *key)
    }

    /// Waits for the next output, the first pushed first; `None` if there are no futures left.
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<(usize, T)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Returns the next output as [`next`](Self::next) does, once it is there.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, T)>> {
        for at in 0..self.futures.len() {
            let (key, future) = &mut self.futures[at];
            let key = *key;
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                drop(self.futures.remove(at));
                return Poll::Ready(Some((key, output)));
            }
        }
        if self.futures.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Waits for all outputs, and returns them by key.
    pub(crate) async fn all(mut self) -> Vec<(usize, T)> {
        let mut outputs = Vec::with_capacity(self.futures.len());
        while let Some(output) = self.next().await {
            outputs.push(output);
        }
        outputs.sort_by_key(|(key, _)| *key);
        outputs
    }
}

impl<T, E> Together<'_, Result<T, E>> {
    /// Waits for the first success; if there is none, returns all errors by key.
    pub(crate) async fn first_success(mut self) -> Result<T, Vec<E>> {
        let mut errors = Vec::new();
        while let Some((key, output)) = self.next().await {
            match output {
                Ok(value) => return Ok(value),
                Err(error) => errors.push((key, error)),
            }
        }
        errors.sort_by_key(|(key, _)| *key);
        Err(errors.into_iter().map(|(_, error)| error).collect())
    }
}

impl<T> Default for Together<'_, T> {
    fn default() -> Self {
        Self { futures: Vec::new() }
    }
}

impl<T> fmt::Debug for Together<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys()).finish()
    }
}
