//! The metadata of actors that a tree supervises.

/// The path of an actor in its tree, such as `/base/desk/feed`.
pub const PATH_KEY: &str = "tree.path";

/// The kind of an actor: `root`, `task`, `thread`, `process`, `forkserver`.
pub const KIND_KEY: &str = "tree.kind";

/// The process id of an actor, as that process sees it.
pub const PID_KEY: &str = "tree.pid";

/// The UUID of the parent's instance; a root has none.
pub const PARENT_KEY: &str = "tree.parent";
