//! The life of a child, as its parent sees it.
//!
//! | module | its one idea |
//! |---|---|
//! | `runner` | one run of one child: boot, running, teardown |
//! | `backend` | the ways to run an actor, behind one trait |
//! | `link` | the link to a child, within this process or beyond, behind one trait |

pub(crate) mod backend;
mod link;
pub(crate) mod runner;
