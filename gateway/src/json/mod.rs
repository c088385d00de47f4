//! Records and their like as JSON, for HTTP and the command line alike. `docs/json.md` describes
//! them; a field that is added here is in both.

mod record;
mod resolved;
#[cfg(feature = "http")]
pub(crate) mod schema;
mod status;
mod tree;

pub use record::{LeftOutJson, LifetimeJson, RecordJson, SuspicionJson, age_ms};
pub use resolved::{ResolvedJson, Row, Source, rows};
pub use status::StatusJson;
pub use tree::{Supervised, SupervisedJson, forest};
