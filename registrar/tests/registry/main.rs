//! The registry, event by event, and against a model that a watcher must agree with.
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod again;
mod crowds;
mod declared;
mod ends;
mod entries;
mod foreign;
mod hidden;
mod histories;
mod lines;
mod names;
mod passed_over;
mod quotas;
mod refused;
mod remote;
mod ruled;
mod stage;
mod support;
mod suspicion;
mod tokens;
mod watches;
