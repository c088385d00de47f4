//! The errors of opening and closing.

use std::{error::Error, sync::Arc};

use thiserror::Error;

/// The reason why a resource was not opened.
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
/// use callsign::cache::{Cache, OpenError, Resource};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (cache, reaper) = Cache::new();
/// // Nobody would close the resource.
/// drop(reaper);
/// let opened = cache.open("primes", async || Ok(Table(vec![2, 3, 5]))).await;
/// assert!(matches!(opened, Err(OpenError::Over)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError<E: Error + 'static> {
    /// It could not be made. All waiters get the same error.
    #[error("the resource could not be made")]
    Make(#[source] Arc<E>),
    /// The reaper that would close it has ended.
    #[error("the cache has ended")]
    Over,
}

/// Why a resource is not closed well. It is gone all the same.
///
/// ```
/// # use callsign_tree as callsign;
/// use std::io;
///
/// use callsign::cache::{Cache, CloseError, Resource};
///
/// struct Full;
///
/// impl Resource for Full {
///     type Error = io::Error;
///
///     async fn close(self) -> io::Result<()> {
///         Err(io::ErrorKind::StorageFull.into())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (cache, reaper) = Cache::new();
/// # let mut tasks = tokio::task::JoinSet::new();
/// # tasks.spawn(reaper.run());
/// let log = cache.open("log", async || Ok(Full)).await?;
/// assert!(matches!(log.release().await, Err(CloseError::Failed(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CloseError<E: Error + 'static> {
    /// Closing it failed.
    #[error("closing the resource failed")]
    Failed(#[source] E),
    /// Closing it panicked.
    #[error("closing the resource panicked")]
    Panicked,
    /// The reaper that should close it has ended. It was dropped instead.
    #[error("the cache has ended before the resource was closed")]
    Over,
}
