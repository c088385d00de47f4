//! Who calls over a connection.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::geteuid;
use transport::{Stream, Who};

use crate::registry::{Caller, Owner};

/// Asks the kernel who is at the other end of a connection: once, when it is there.
pub(crate) fn caller(stream: &Stream) -> Caller {
    match stream.who() {
        Who::User { uid, groups } => {
            let is_trusted = uid == 0 || uid == geteuid().as_raw();
            Caller { owner: Owner::User(uid), groups: groups.into(), is_trusted }
        }
        Who::Address(ip) => Owner::Host(ip).into(),
        Who::Here => Owner::Registrar.into(),
        _ => Owner::Unknown(UNKNOWN.fetch_add(1, Ordering::Relaxed)).into(),
    }
}

/// Counts the connections of those whose user is unknown.
static UNKNOWN: AtomicU64 = AtomicU64::new(0);
