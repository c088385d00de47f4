//! Nodes that share through a real etcd, which is killed, restarted, emptied and compacted.

#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]
#![expect(clippy::print_stderr, reason = "who runs a test reads what it says")]

mod bundles;
mod etcd;
mod exclusive;
mod node;
mod proof;
mod relay;
mod secured;
mod sharing;
mod soak;
mod strange;
mod troubles;
