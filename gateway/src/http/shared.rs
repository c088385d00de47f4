//! What all connections share.

use axum::Router;
use endpoints::RootId;
use tokio::sync::Semaphore;

use super::{kept::Kept, requests::Requests};
use crate::surroundings::Surroundings;

/// What all connections share.
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) surroundings: Surroundings,
    pub(super) root: Option<RootId>,
    pub(super) requests: Requests,
    pub(super) kept: Kept,
    /// Lets one long answer be made at a time.
    pub(super) beside: Semaphore,
}
