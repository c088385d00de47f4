//! Looking actors up: whom to ask, what to ask, and what is made of the answers.

pub(crate) mod choice;
pub(crate) mod query;
pub(crate) mod ranking;
pub(crate) mod sources;
pub(crate) mod suggestion;
