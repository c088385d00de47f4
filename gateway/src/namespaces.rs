//! Whether a peer sees the same places as this process.

use std::fs;

/// Tells whether a process is visibly in another namespace of a kind. The namespaces of another
/// user's process may be invisible; that user is compared when the actor is dialed.
pub(crate) fn is_in_another(namespace: &str, pid: i32) -> bool {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}")).ok();
    matches!((of(&pid.to_string()), of("self")), (Some(theirs), Some(own)) if theirs != own)
}
