//! The ends of actors, and their errors.
//!
//! | module | its one idea |
//! |---|---|
//! | `exit` | how one actor ended |
//! | `error` | all that went wrong in a scope, as a tree |
//! | `backtrace`, `panics` | where in the code it went wrong |
//! | `cancel` | who asked an actor to end, and why |
//! | `restart` | when a child is started again |

pub(crate) mod backtrace;
pub(crate) mod cancel;
pub(crate) mod error;
pub(crate) mod exit;
pub(crate) mod panics;
pub(crate) mod restart;
