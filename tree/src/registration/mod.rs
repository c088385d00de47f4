//! How actors get into the registry, and out of it: up the tree, to the root.
//!
//! | module | its one idea |
//! |---|---|
//! | `uplink` | the way up: the root's own client, or the parent |
//! | `parent_service` | the parent's side: what is registered below it |
//! | `routes` | the way down: keys, and losses |

pub(crate) mod parent_service;
pub(crate) mod routes;
pub(crate) mod uplink;
