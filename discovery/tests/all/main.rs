//! Clients against real registrars and sockets.
//!
//! One program holds all these tests, because each test program links everything that it uses.

#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod addresses;
mod dial;
mod displaced;
mod evidence;
mod follow;
mod last_good;
mod line;
mod lookup;
mod lost;
mod others;
mod panics;
mod partial;
mod proof;
mod register;
mod silent;
mod support;
mod wait;
mod watch;
mod young;
