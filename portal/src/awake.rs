//! Bounds of time that count only while this process runs.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep_until};

/// Waits for a future for at most `limit`; `None` if it takes longer. A timer that fires far too
/// late means that this process was stopped meanwhile, and could neither ask nor hear: then `limit`
/// restarts, so that input that waits to be read counts.
///
/// ```
/// # use callsign_portal as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::{future::pending, time::Duration};
///
/// let limit = Duration::from_millis(10);
/// assert_eq!(callsign::while_awake(limit, async { 7 }).await, Some(7));
/// assert_eq!(callsign::while_awake(limit, pending::<()>()).await, None);
/// # }
/// ```
///
/// # Cancel safety
///
/// As cancel safe as the future.
pub async fn while_awake<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    loop {
        let deadline = Instant::now() + limit;
        tokio::select! {
            biased;
            output = &mut future => return Some(output),
            () = sleep_until(deadline) => {}
        }
        if deadline.elapsed() < LATE {
            return None;
        }
    }
}

/// The delay from which on a timer is far too late: a busy machine is late by some ten
/// milliseconds.
const LATE: Duration = Duration::from_millis(900);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_limit_begins_anew_after_a_stop() {
        let limit = Duration::from_secs(2);
        let begin = Instant::now();
        assert_eq!(while_awake(limit, pending::<()>()).await, None);
        assert_eq!(begin.elapsed().as_secs(), 2);

        // The answer is there when the process continues, but not read yet.
        let answer = async {
            advance(Duration::from_secs(60)).await;
            sleep(Duration::from_secs(1)).await;
            7
        };
        assert_eq!(while_awake(limit, answer).await, Some(7));
        // There is no answer, and the wait still ends.
        let silence = async {
            advance(Duration::from_secs(60)).await;
            pending::<()>().await;
        };
        let begin = Instant::now();
        assert_eq!(while_awake(limit, silence).await, None);
        assert_eq!(begin.elapsed().as_secs(), 62);
    }
}
