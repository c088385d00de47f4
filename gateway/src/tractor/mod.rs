//! tractor: trees of actors in Python, which find each other through a registrar of their own.
//!
//! Its programs use a callsign node as that registrar, and nothing is changed on their side: see
//! [`TractorAdapter`]. The other way round, [`TractorSource`] asks a registrar of theirs, and
//! [`call`] calls a function of one of their actors.
//!
//! The protocol has no authentication and no encryption. `docs/tractor.md` says what to do, and
//! what differs from the original.
//!
//! | module | its one idea |
//! |---|---|
//! | `message` | the messages as data, and their encoding |
//! | `uid`, `address` | who and where, in tractor's words and in callsign's |
//! | `channel` | one connection: whole messages above, bytes below |
//! | `adapter` | which connections are tractor's |
//! | `shared` | what those of a adapter share: where it is served, and who the registrar is |
//! | `conversation` | one connection to the registrar, and what may be called |
//! | `received`, `refused` | what a program says to a registrar; why that is not done |
//! | `liveness`, `look` | whether the registered programs live; a look at one of them |
//! | `ledger` | what is written down of them, for the next run of the node |
//! | `call`, `source` | calling an actor; asking a registrar of tractor's |
//! | `defaults` | where tractor programs look for a registrar if nothing is said |

mod adapter;
mod address;
mod call;
mod channel;
mod conversation;
mod defaults;
mod ledger;
mod liveness;
mod look;
mod message;
mod received;
mod refused;
mod shared;
mod source;
mod uid;

pub use adapter::TractorAdapter;
pub use call::{CallError, call};
pub use defaults::default_endpoints;
pub use shared::Scope;
pub use source::TractorSource;

use uid::Uid;
