//! Programs of the Python project tractor: an adapter that lets them use a registrar as theirs, and the
//! way to their own. `docs/tractor.md` says more.

pub use gateway::tractor::{
    CallError, Scope, TractorAdapter, TractorSource, call, default_endpoints,
};
