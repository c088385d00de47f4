//! The reaper: it closes resources that are no longer used.

use std::{collections::HashMap, fmt, sync::Arc};

use tokio::task::{Id, JoinError, JoinSet};

use super::{
    CloseError, Key, Resource,
    shared::{Closing, Report, Shared},
};

/// Closes resources that are no longer used, each in its own task, so that a slow one delays no
/// other.
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
/// use callsign::cache::{Cache, Resource};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (cache, reaper) = Cache::new();
/// let mut tasks = tokio::task::JoinSet::new();
/// tasks.spawn(reaper.run());
/// let primes = cache.open("primes", async || Ok(Table(vec![2, 3, 5]))).await?;
/// primes.release().await?;
///
/// // Without handles and guards there is nothing more to be closed, and it ends.
/// drop(cache);
/// tasks.join_all().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "a resource is closed only while this runs"]
pub struct Reaper<K: Key, V: Resource> {
    shared: Arc<Shared<K, V>>,
    tasks: JoinSet<Result<(), V::Error>>,
    /// The resource that each task closes.
    closing: HashMap<Id, UnderWay<K, V>>,
}

/// The result of closing a resource, and its recipient.
struct UnderWay<K: Key, V: Resource> {
    key: K,
    has_ended: bool,
    report: Option<Report<V>>,
}

impl<K: Key, V: Resource> Reaper<K, V> {
    pub(super) fn new(shared: Arc<Shared<K, V>>) -> Self {
        Self { shared, tasks: JoinSet::new(), closing: HashMap::new() }
    }

    /// Runs until every handle of the cache and every guard is gone, and all resources are closed.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use callsign::cache::Resource;
    /// # struct Table(Vec<u32>);
    /// # impl Resource for Table {
    /// #     type Error = std::convert::Infallible;
    /// #     async fn close(self) -> Result<(), Self::Error> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// use callsign::cache::Cache;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let (cache, reaper) = Cache::<String, Table>::new();
    /// drop(cache);
    /// reaper.run().await; // nobody can open anything any more
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, resources being closed are dropped instead, and the cache ends:
    /// nothing can be opened any more, and waiters get an error.
    pub async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut can_be_more = true;
        while can_be_more || !self.tasks.is_empty() {
            tokio::select! {
                closing = shared.next_closing(), if can_be_more => {
                    can_be_more = closing.is_some();
                    closing.into_iter().flatten().for_each(|it| self.close(it));
                }
                Some(closed) = self.tasks.join_next_with_id() => self.closed(closed),
            }
        }
    }

    fn close(&mut self, closing: Closing<K, V>) {
        let Closing { key, value, has_ended, report } = closing;
        let task = self.tasks.spawn(async move { value.close().await });
        self.closing.insert(task.id(), UnderWay { key, has_ended, report });
    }

    fn closed(&mut self, closed: Result<(Id, Result<(), V::Error>), JoinError>) {
        let (task, result) = match closed {
            Ok((task, result)) => (task, result.map_err(CloseError::Failed)),
            Err(error) => (error.id(), Err(CloseError::Panicked)),
        };
        let UnderWay { key, has_ended, report } =
            self.closing.remove(&task).expect("every task is entered when it is spawned");
        // The key is freed first: the last user may open it again once it is notified.
        if !has_ended {
            self.shared.exited(&key);
        }
        let unheard = match report {
            Some(report) => report.send(result).err(),
            None => Some(result),
        };
        if let Some(Err(error)) = unheard {
            let error = portal::WithCauses(&error);
            tracing::warn!(?key, %error, "a resource failed to close");
        }
    }
}

impl<K: Key, V: Resource> Drop for Reaper<K, V> {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl<K: Key, V: Resource> fmt::Debug for Reaper<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaper").field("closing", &self.closing.len()).finish_non_exhaustive()
    }
}
