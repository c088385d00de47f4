//! Registrars of many hosts that share what they know through etcd.
//!
//! Each node of a cluster writes what *it* has accepted (sessions, leases, declared and foreign
//! actors) as whole records under one lease of its own, and follows what the others write. Its registry
//! holds everybody's records in memory, each marked with its node, so that look-ups, waits, watches,
//! DNS and HTTP are answered as in a registrar that is alone: etcd is on no look-up's path.
//!
//! - [`EtcdAdapter`] is the link to the cluster, as a part of a [`Node`](registrar::Node).
//! - [`ClusterSettings`] says how a node shares.
//!
//! ```text
//!   clients ─── registrar `rome` ───┐            ┌─── registrar `oslo` ─── clients
//!                 own records       ├──▶ etcd ◀──┤      own records
//!                 those of oslo  ◀──┘            └──▶   those of rome
//! ```
//!
//! What happens when:
//!
//! - **A node dies.** Its lease ends, and etcd removes its keys. After a change of its leader etcd may
//!   keep a lease for seconds longer, so the others drop a node's records themselves when its beats,
//!   three to a lease, have not come for the length of a lease while their own have. A node whose own
//!   beats were away hears all others anew from then on: what elects is etcd, and nobody has died.
//! - **A member hangs, or loses the others.** The lease is kept whatever else goes on, by whichever member
//!   answers; and so is the next connection made: all are asked, each a moment after the one
//!   before. What a node has lost nevertheless, it writes anew at once; and when its lease has ended, the
//!   others drop its records at once, for it may be dead.
//! - **A node is cut off from etcd.** It goes on answering, and says how old its knowledge of the others
//!   is. The others lose its records with its lease. When it is back, it writes them anew.
//! - **etcd's members restart.** The watch goes on after the last revision. If etcd has compacted that
//!   away, or has lost everything, all of it is read anew and compared: what a node has not yet written
//!   anew stays for as long as its lease would have lasted.
//! - **An instance moves** from one node to another: it registers there before the lease of the former
//!   ends, with a higher epoch, so that watchers everywhere see an update.
//!
//! - **An exclusive name** is given by a transaction of etcd, and had by its revision. A node that is
//!   cut off gives none, and takes those that it has given from their holders before its lease ends.
//!
//! Other rules of names hold at the node that accepts a registration.
//!
//! The calls of etcd are made with tonic and with messages that are written out here
//! (`etcd::messages`). Why not just use the crate etcd-client? It needs `protoc` and the files of
//! protobuf for a build, and its watch and its keeper of a lease end for good with the connection, so
//! that all that is hard about them would be here anyway.
//!
//! | module | its one idea |
//! |---|---|
//! | `adapter` | the link as a part of a node |
//! | `settings` | what a node has to know of its cluster |
//! | `link` | one connection to etcd after another |
//! | `view` | what the other nodes have written: pure |
//! | `outbox` | what this node has yet to write, and in which bundles |
//! | `faults` | what of others is left out |
//! | `names` | who has an exclusive name |
//! | `keys` | the keys in etcd, and what they hold |
//! | `etcd` | the calls of etcd, and their messages |

#![forbid(unsafe_code)]

mod adapter;
mod etcd;
mod faults;
mod keys;
mod link;
mod names;
mod outbox;
mod settings;
mod view;

pub use adapter::EtcdAdapter;
pub use settings::{ClusterError, ClusterSettings, EtcdTls, EtcdUser};
