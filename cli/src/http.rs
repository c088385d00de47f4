//! The HTTP server of a registrar that a program embeds. `docs/http.md` says what it answers.

pub use gateway::http::{HttpAdapter, HttpError};
