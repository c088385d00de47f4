//! Opening a resource: to make it, to join it, or to wait for one of the two.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    Guard, Key, OpenError, Resource,
    entries::Ticket,
    shared::{Grant, Opening, Tie},
};

pub(super) async fn open<K: Key, V: Resource>(
    tie: &Arc<Tie<K, V>>,
    key: K,
    make: impl AsyncFnOnce() -> Result<V, V::Error>,
) -> Result<Guard<K, V>, OpenError<V::Error>> {
    let grant = match tie.0.ask(&key).ok_or(OpenError::Over)? {
        Opening::Enter => Grant::Enter,
        Opening::Join(value) => Grant::Join(value),
        Opening::Wait(ticket, grant) => {
            Waiting { tie, key: &key, ticket, grant }.granted().await.ok_or(OpenError::Over)?
        }
    };
    match grant {
        Grant::Enter => enter(tie, key, make).await,
        Grant::Join(value) => Ok(Guard::new(tie, key, value)),
        Grant::Failed(error) => Err(OpenError::Make(error)),
    }
}

async fn enter<K: Key, V: Resource>(
    tie: &Arc<Tie<K, V>>,
    key: K,
    make: impl AsyncFnOnce() -> Result<V, V::Error>,
) -> Result<Guard<K, V>, OpenError<V::Error>> {
    let mut making = Making { tie, key: &key, is_done: false };
    let made = make().await;
    making.is_done = true;
    match made.map(|value| tie.0.entered(&key, value)) {
        Ok(Ok(value)) => Ok(Guard::new(tie, key.clone(), value)),
        Ok(Err(value)) => {
            if let Err(error) = value.close().await {
                tracing::warn!(?key, %error, "a resource made too late could not be closed");
            }
            Err(OpenError::Over)
        }
        Err(error) => {
            let error = Arc::new(error);
            tie.0.failed(&key, &error);
            Err(OpenError::Make(error))
        }
    }
}

/// A caller that makes a resource. If it ends before that is done, the next one makes it.
struct Making<'a, K: Key, V: Resource> {
    tie: &'a Tie<K, V>,
    key: &'a K,
    is_done: bool,
}

impl<K: Key, V: Resource> Drop for Making<'_, K, V> {
    fn drop(&mut self) {
        if !self.is_done {
            self.tie.0.abandoned(self.key);
        }
    }
}

/// A caller that waits for a resource. If it leaves before it has taken what was granted, it
/// returns that.
struct Waiting<'a, K: Key, V: Resource> {
    tie: &'a Tie<K, V>,
    key: &'a K,
    ticket: Ticket,
    grant: oneshot::Receiver<Grant<V>>,
}

impl<K: Key, V: Resource> Waiting<'_, K, V> {
    /// Waits; `None` when nothing will be granted.
    async fn granted(mut self) -> Option<Grant<V>> {
        // A value taken here is no longer there when this is dropped.
        (&mut self.grant).await.ok()
    }
}

impl<K: Key, V: Resource> Drop for Waiting<'_, K, V> {
    fn drop(&mut self) {
        if self.tie.0.forget(self.key, self.ticket) {
            return;
        }
        match self.grant.try_recv() {
            Ok(Grant::Enter) => self.tie.0.abandoned(self.key),
            Ok(Grant::Join(value)) => _ = self.tie.0.left(self.key, value, None),
            Ok(Grant::Failed(_)) | Err(_) => {}
        }
    }
}
