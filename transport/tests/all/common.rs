//! Shared by the tests of this crate.

use std::{net::Ipv6Addr, path::Path, time::Duration};

use endpoints::Endpoint;
use transport::here;

/// Far more than any test takes; whatever takes longer hangs.
pub(crate) const TOO_LONG: Duration = Duration::from_secs(240);

/// Waits for `future`, with a limit.
pub(crate) async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TOO_LONG, future).await.expect("it hangs")
}

/// Returns the endpoint of a socket at `path`.
pub(crate) fn unix(path: &Path) -> Endpoint {
    format!("/unix{}", path.display()).parse().unwrap()
}

/// Tells whether this machine has IPv6, without which some tests are smaller.
pub(crate) fn has_ipv6() -> bool {
    here().interfaces.iter().any(|it| it.ip == Ipv6Addr::LOCALHOST)
}

/// Runs `future` without the rights of root, on a separate thread: Linux keeps the user for each
/// thread.
pub(crate) fn as_nobody<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || {
        if rustix::process::geteuid().is_root() {
            let nobody = rustix::process::Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(bounded(future))
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}
