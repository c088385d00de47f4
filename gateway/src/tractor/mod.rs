//! tractor: trees of actors in Python, which find each other through a registrar of their own.
//!
//! Its programs use a callsign node as that registrar, without changes: see [`TractorAdapter`]. In
//! the other direction, [`TractorSource`] asks a registrar of theirs, and [`call`] calls a function
//! of one of their actors.
//!
//! The protocol has no authentication and no encryption. `docs/tractor.md` has the instructions,
//! and the differences from the original.
//!
//! | module | its one idea |
//! |---|---|
//! | `message` | the messages as data, and their encoding |
//! | `uid`, `address` | names and endpoints, in tractor's form and in callsign's |
//! | `channel` | a connection: whole messages above, bytes below |
//! | `adapter` | recognises tractor's connections and serves them |
//! | `shared` | the state shared by an adapter's connections |
//! | `conversation` | a connection to the registrar, and its calls |
//! | `received`, `refused` | a program's messages to a registrar; the reasons for refusals |
//! | `liveness`, `look` | whether registered programs live; a look at one of them |
//! | `ledger` | the record of registrations for the next run of the node |
//! | `call`, `source` | calling an actor; asking a registrar of tractor's |
//! | `defaults` | the default places of a tractor registrar |

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
