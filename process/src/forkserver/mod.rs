//! The forkserver: a process with a single thread, from which children are forked.
//!
//! | module | its one idea |
//! |---|---|
//! | `client` | the forkserver as the process that made it sees it |
//! | `server` | the forkserver as it sees itself |
//! | `wire` | what goes between the two |

mod client;
mod server;
pub(crate) mod wire;

pub(super) use self::{
    client::Forkserver,
    server::{Live, become_one, fork},
};
