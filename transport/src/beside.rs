//! Work that blocks, on a thread beside the runtime.

use std::{io, thread};

use tokio::sync::oneshot;

/// Does work that blocks on a thread of its own, which ends with it.
///
/// Why not tokio's `spawn_blocking`? It panics if no thread can be started, which is for a moment so
/// whenever somebody of the same user or container has used up the processes allowed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// assert_eq!(transport::beside("sum", || 1 + 1).await?, 2);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If the thread cannot be started, or the work panics.
///
/// # Cancel safety
///
/// The work goes on if the future is dropped; its result is lost.
pub async fn beside<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, is_done) = oneshot::channel();
    let work = move || drop(done.send(work()));
    thread::Builder::new().name(name.to_owned()).spawn(work)?;
    is_done.await.map_err(|_| io::Error::other(format!("the thread `{name}` panicked")))
}
