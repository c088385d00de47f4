//! Handles of actors, and the way to them from a name.
//!
//! | module | its one idea |
//! |---|---|
//! | `portal` | the handle of one actor |
//! | `find` | from a name to a handle |
//! | `pool` | the connections to actors that were looked up, which a process shares |

pub(crate) mod find;
pub(crate) mod pool;
pub(crate) mod portal;
