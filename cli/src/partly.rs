//! Requests that only some of the registrars carried out.

use anyhow::anyhow;
use discovery::{RegistrarFailures, RequestError};
use endpoints::InstanceId;

use crate::failure::Failure;

/// The registrars that did not do what others have done, and the instances concerned.
#[derive(Debug)]
pub(crate) struct Partly {
    /// The state of an instance that a missing change leaves: `still known`.
    remains: &'static str,
    instances: Vec<InstanceId>,
    /// The registrars, each once.
    left: RegistrarFailures,
}

impl Partly {
    pub(crate) fn new(remains: &'static str) -> Self {
        Self { remains, instances: Vec::new(), left: RegistrarFailures::default() }
    }

    /// Passes on a request to all registrars as successful if one has carried it out.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if none has.
    pub(crate) fn take(
        &mut self,
        instance: InstanceId,
        done: Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        let Err(RequestError::Partly(RegistrarFailures(failures))) = done else { return done };
        self.instances.push(instance);
        for failure in failures {
            if !self.left.0.iter().any(|it| it.registrar == failure.registrar) {
                self.left.0.push(failure);
            }
        }
        Ok(())
    }

    /// Makes the failure that names the other registrars; `None` if all have done it.
    pub(crate) fn failure(self) -> Option<Failure> {
        let Self { remains, instances, left } = self;
        let (first, others) = instances.split_first()?;
        let (subject, is) = match others.len() {
            0 => (first.to_string(), "is"),
            1 => (format!("{first} and {}", others[0]), "are"),
            count => (format!("{first} and {count} others"), "are"),
        };
        // A registrar that refused is known to have changed nothing.
        let verb = if left.are_denials() { format!("{is} {remains}") } else { may_be(remains) };
        let error = anyhow!("{subject} {verb} at:\n{left}");
        Some(Failure::not_found(error).open(&left.0))
    }
}

/// Adds the possibility: `may still be known`.
fn may_be(remains: &str) -> String {
    let (adverb, rest) = remains.split_once(' ').unwrap_or(("", remains));
    format!("may {adverb} be {rest}")
}
