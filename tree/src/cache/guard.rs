//! The guard of a resource: one user's part in it.

use std::{fmt, ops::Deref, sync::Arc};

use tokio::sync::oneshot;

use super::{
    CloseError, Key, Resource,
    shared::{Report, Tie},
};

/// One user's hold on a resource, which stays open at least as long.
///
/// It should be [released](Self::release). Dropping it gives up the hold too, but then nobody waits
/// for the resource to be closed, and an error only goes to the log. A warning says so, unless the
/// resource [may be dropped](Resource::MAY_BE_DROPPED).
///
/// ```
/// # use callsign_tree as callsign;
/// # use std::convert::Infallible;
/// # struct Table(Vec<u32>);
/// # impl Resource for Table {
/// #     type Error = Infallible;
/// #     async fn close(self) -> Result<(), Infallible> {
/// #         Ok(())
/// #     }
/// # }
/// use callsign::cache::{Cache, Guard, Resource};
///
/// /// Guards are used as what they guard.
/// fn largest(primes: &Guard<&'static str, Table>) -> Option<u32> {
///     println!("looking into {}", primes.key());
///     primes.0.iter().max().copied()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (cache, reaper) = Cache::new();
/// # let mut tasks = tokio::task::JoinSet::new();
/// # tasks.spawn(reaper.run());
/// let primes = cache.open("primes", async || Ok(Table(vec![2, 3, 5]))).await?;
/// assert_eq!(largest(&primes), Some(5));
/// primes.release().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "the resource is closed when nobody holds a guard of it"]
pub struct Guard<K: Key, V: Resource> {
    tie: Arc<Tie<K, V>>,
    key: K,
    /// `None` once it is released.
    value: Option<Arc<V>>,
}

impl<K: Key, V: Resource> Guard<K, V> {
    pub(super) fn new(tie: &Arc<Tie<K, V>>, key: K, value: Arc<V>) -> Self {
        Self { tie: Arc::clone(tie), key, value: Some(value) }
    }

    /// Returns what the resource is called by.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::cache::{Guard, Resource};
    ///
    /// /// Releases a guard, and says what of.
    /// async fn release<R: Resource>(guard: Guard<u16, R>) {
    ///     println!("nobody needs number {} here any more", guard.key());
    ///     drop(guard.release().await);
    /// }
    /// ```
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Releases the guard. The last one has the resource closed, and waits for that.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use std::convert::Infallible;
    /// # struct Table(Vec<u32>);
    /// # impl Resource for Table {
    /// #     type Error = Infallible;
    /// #     async fn close(self) -> Result<(), Infallible> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # use callsign::cache::{Cache, Resource};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (cache, reaper) = Cache::new();
    /// # let mut tasks = tokio::task::JoinSet::new();
    /// # tasks.spawn(reaper.run());
    /// let primes = cache.open("primes", async || Ok(Table(vec![2, 3, 5]))).await?;
    /// let again = cache.open("primes", async || unreachable!("it is there")).await?;
    /// primes.release().await?; // The other user has it still.
    /// again.release().await?; // Now it is closed.
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CloseError`], to the last user only.
    ///
    /// # Cancel safety
    ///
    /// The guard is released in any case. If the future is dropped, closing continues, and an error
    /// goes to the log.
    pub async fn release(mut self) -> Result<(), CloseError<V::Error>> {
        let (report, reported) = oneshot::channel();
        if self.give_back(Some(report)) {
            // The tie would keep the reaper from ending, and it has nothing more to do here.
            drop(self);
            return reported.await.unwrap_or(Err(CloseError::Over));
        }
        Ok(())
    }

    /// Gives the guard back, unless that is done already. Tells whether it was the last.
    fn give_back(&mut self, report: Option<Report<V>>) -> bool {
        self.value.take().is_some_and(|value| self.tie.0.left(&self.key, value, report))
    }
}

impl<K: Key, V: Resource> Deref for Guard<K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.value.as_ref().expect("a guard is given back by what consumes it")
    }
}

impl<K: Key, V: Resource> Drop for Guard<K, V> {
    fn drop(&mut self) {
        if self.give_back(None) && !V::MAY_BE_DROPPED {
            let key = &self.key;
            tracing::warn!(?key, "the last guard was dropped; nobody waits for it to be closed");
        }
    }
}

impl<K: Key, V: Resource + fmt::Debug> fmt::Debug for Guard<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.key).field(&self.value).finish()
    }
}
