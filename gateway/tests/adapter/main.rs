//! The adapter for tractor programs, tested over real sockets by a client that knows MessagePack
//! and shares no code with the adapter.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]
#![expect(clippy::print_stderr, reason = "who runs a test reads what it says")]

mod calling;
mod everything;
mod hostile;
mod life;
mod liveness;
mod names;
mod support;
