//! Real sockets, files and processes.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may")]

mod access;
mod adopted;
mod claims;
mod common;
mod impostors;
mod listening;
mod places;
mod processes;
mod together;
mod transports;
mod who;
