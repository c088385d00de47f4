//! Registration of actors: up the tree, to the root.
//!
//! | module | its one idea |
//! |---|---|
//! | `uplink` | the way up: the root's own client, or the parent |
//! | `parent_service` | the parent's side: the registrations below it |
//! | `routes` | the way down: keys, and losses |

pub(crate) mod parent_service;
pub(crate) mod routes;
pub(crate) mod uplink;
