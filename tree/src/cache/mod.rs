//! A keyed cache of resources that several tasks share: opened once, closed by the last user.
//!
//! [`Cache::open`] returns a [`Guard`] of the resource of a key. The first user opens the resource,
//! later ones wait for that and share it, and when the last guard is [released](Guard::release) the
//! resource is closed. A user that arrives during the teardown waits for its end and opens the
//! resource again, so a key never has two resources, and nobody gets one that is half closed. Keys
//! are independent: a slow one delays no other. Once a resource has
//! [ended by itself](Resource::has_ended), the next user opens a new one, beside the one that earlier users
//! still hold. An error of the close reaches the last user. Connections to actors are shared in
//! this way.
//!
//! Closing takes time, and must not end because its last user was cancelled. So the [`Reaper`] does
//! it, a future that the owner of the cache polls. The owner must live as long as the cache is
//! used, so that nothing stays open.
//!
//! Why not a map of `Weak` or `OnceCell`? Neither closes with an `await`, nor waits for it.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use callsign_tree::cache::{Cache, Resource};
//!
//! struct Table(Vec<u32>);
//!
//! impl Resource for Table {
//!     type Error = Infallible;
//!
//!     async fn close(self) -> Result<(), Infallible> {
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (cache, reaper) = Cache::new();
//! let mut tasks = tokio::task::JoinSet::new();
//! tasks.spawn(reaper.run());
//!
//! let primes = cache.open("primes", async || Ok(Table(vec![2, 3, 5]))).await?;
//! let again = cache.open("primes", async || unreachable!("it is there")).await?;
//! assert_eq!(primes.0, again.0);
//! primes.release().await?;
//! again.release().await?;
//! # Ok(())
//! # }
//! ```

mod entries;
mod error;
mod guard;
mod open;
mod reaper;
mod shared;

use std::{error::Error, fmt, hash::Hash, sync::Arc};

use self::shared::{Shared, Tie};

pub use error::{CloseError, OpenError};
pub use guard::Guard;
pub use reaper::Reaper;

/// A resource that can be shared: used by reference, and closed by value.
///
/// ```
/// # use callsign_tree as callsign;
/// use std::io;
///
/// use callsign::cache::Resource;
///
/// struct Log(Vec<String>);
///
/// impl Resource for Log {
///     type Error = io::Error;
///
///     async fn close(self) -> io::Result<()> {
///         self.0.iter().for_each(|line| println!("{line}"));
///         Ok(())
///     }
/// }
/// # let _ = |log: Log| log.close();
/// ```
pub trait Resource: Send + Sync + 'static {
    /// The error of making or closing it.
    type Error: Error + Send + Sync + 'static;

    /// Whether dropping the last guard is as good as releasing it, because nobody needs the result
    /// of closing.
    const MAY_BE_DROPPED: bool = false;

    /// Tells whether it is no longer usable for new users, because it has ended by itself. It is
    /// called whenever somebody opens its key, and must be quick.
    fn has_ended(&self) -> bool {
        false
    }

    /// Closes it. It has no users any more.
    fn close(self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The key of a resource.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::cache::Key;
///
/// /// Says what a resource is called by.
/// fn label(key: &impl Key) -> String {
///     format!("{key:?}")
/// }
///
/// assert_eq!(label(&("db", 5432)), r#"("db", 5432)"#);
/// ```
pub trait Key: Clone + Eq + fmt::Debug + Hash + Send + 'static {}

impl<K: Clone + Eq + fmt::Debug + Hash + Send + 'static> Key for K {}

/// Resources by key. It is a handle, and cheap to clone.
///
/// It holds a resource only while somebody uses, makes or closes it, so it is no larger than the
/// number of its users, which bounds it.
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
///
/// let primes = cache.open("primes", async || Ok(Table(vec![2, 3, 5]))).await?;
/// assert_eq!(primes.0[2], 5);
/// primes.release().await?;
/// # Ok(())
/// # }
/// ```
pub struct Cache<K: Key, V: Resource> {
    tie: Arc<Tie<K, V>>,
}

impl<K: Key, V: Resource> Cache<K, V> {
    /// Makes a cache, and its reaper, which somebody has to run.
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
    /// let mut tasks = tokio::task::JoinSet::new();
    /// tasks.spawn(reaper.run());
    /// # drop(cache);
    /// # tasks.join_all().await;
    /// # }
    /// ```
    pub fn new() -> (Self, Reaper<K, V>) {
        let shared = Arc::new(Shared::default());
        let tie = Arc::new(Tie(Arc::clone(&shared)));
        (Self { tie }, Reaper::new(shared))
    }

    /// Opens the resource of a key: makes it with `make` if it is absent, or shares it.
    ///
    /// Of several callers that open it together one makes it. If that fails, it fails for all of
    /// them; if that caller is dropped while making it, the next makes it with its own `make`. A
    /// `make` must not open its own key.
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
    /// let make = async || Ok(Table(vec![2, 3, 5]));
    /// let (one, other) = tokio::join!(cache.open("primes", make), cache.open("primes", make));
    /// let (one, other) = (one?, other?);
    /// assert!(std::ptr::eq(&*one, &*other), "it was made once");
    /// # one.release().await?;
    /// # other.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError`] if making it fails or the reaper has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a guard that was about to be returned is released.
    pub async fn open(
        &self,
        key: K,
        make: impl AsyncFnOnce() -> Result<V, V::Error>,
    ) -> Result<Guard<K, V>, OpenError<V::Error>> {
        open::open(&self.tie, key, make).await
    }
}

impl<K: Key, V: Resource> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self { tie: Arc::clone(&self.tie) }
    }
}

impl<K: Key, V: Resource> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
