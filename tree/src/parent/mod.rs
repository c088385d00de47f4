//! The life of a child, as its parent sees it.
//!
//! | module | its one idea |
//! |---|---|
//! | `runner` | one run of one child: boot, running, teardown |
//! | `backend` | the ways to run an actor, behind one trait |

pub(crate) mod backend;
pub(crate) mod runner;
