//! Servers that go by names, reached by the clients of other libraries.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod axum;
mod hyper;
mod support;
mod tower;
