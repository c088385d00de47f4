//! The losses of one registration, as they come.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{Lost, link::desired::Entry};

/// The losses of one registration, as they come.
///
/// ```
/// # use callsign_discovery as callsign;
/// # async fn example(kept: callsign::Registered) {
/// let mut losses = kept.losses();
/// while !losses.next().await.is_final() {
///     println!("an endpoint is gone; it is registered again when it is bound again");
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Losses {
    changes: watch::Receiver<Option<Lost>>,
    /// The owner of the followed registration.
    _entry: Arc<Entry>,
}

impl Losses {
    pub(crate) fn of(entry: Arc<Entry>) -> Self {
        let changes = entry.losses();
        Self { changes, _entry: entry }
    }

    /// Waits for the next loss; the first is the present one, if there is one. Of several that come
    /// faster than they are read, only the last is returned.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example(kept: &callsign::Registered) {
    /// let lost = kept.losses().next().await;
    /// println!("{lost}");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Lost {
        loop {
            self.changes.changed().await.expect("the entry owns the sender");
            if let Some(lost) = self.changes.borrow_and_update().clone() {
                return lost;
            }
        }
    }
}
