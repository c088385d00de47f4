//! The scope of an actor's children.
//!
//! | module | its one idea |
//! |---|---|
//! | `nursery` | the scope, as its body sees it |
//! | `spawn`, `spawn_error` | the order for a child; the reasons why there is none |
//! | `child_spec` | the specification of a child, as its parent keeps it |
//! | `supervisor` | the task that owns the children of one scope |
//! | `supervision` | the state of the children, and the policy: pure |

pub(crate) mod child_spec;
pub(crate) mod nursery;
pub(crate) mod spawn;
pub(crate) mod spawn_error;
pub(crate) mod supervision;
pub(crate) mod supervisor;
