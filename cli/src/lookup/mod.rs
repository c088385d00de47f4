//! Look-ups of actors: sources, queries, and the ranking of answers.

pub(crate) mod choice;
pub(crate) mod digits;
pub(crate) mod dnsaddr;
pub(crate) mod query;
pub(crate) mod ranking;
pub(crate) mod sources;
pub(crate) mod suggestion;
