//! A function that every program exports.

/// Answers immediately, which shows a caller that the actor does.
///
/// The registry is a linker section, and must not be empty: some linkers stumble over that.
#[crate::export(crate = crate)]
pub async fn ping() {}
