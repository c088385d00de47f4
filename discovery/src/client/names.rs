//! Names without their instances: for completion and suggestions.

use std::collections::BTreeSet;

use endpoints::{Name, NamePattern};
use wire::{
    ErrorKind, encode_body,
    registrar::{self, List, NamesPage},
};

use crate::{Client, LinkError, LookupError, RegistrarFailure, RegistrarFailures, link::Reply};

/// The names that [`Client::names`] has found.
///
/// ```
/// # use callsign_discovery as callsign;
/// use callsign::NamesResult;
///
/// /// Tells whether there may be other names than those that were found.
/// fn is_partial(found: &NamesResult) -> bool {
///     !found.unanswered.is_empty()
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct NamesResult {
    /// The names, each once, in order.
    pub names: Vec<Name>,
    /// The registrars that did not answer, though they count. Names that only they know are missing.
    pub unanswered: Vec<RegistrarFailure>,
}

impl Client {
    /// Lists the names that match a pattern, each once, in order. It takes a small part of the time
    /// of a [`list`](Self::list), because it reports no instances.
    ///
    /// # Errors
    ///
    /// [`LookupError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Examples
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// use callsign::{Client, LookupError};
    ///
    /// /// Returns the desks, which are called `desk.rates` and the like.
    /// async fn desks(callsign: &Client) -> Result<Vec<String>, LookupError> {
    ///     let found = callsign.names("desk.*").await?;
    ///     for failure in &found.unanswered {
    ///         eprintln!("there may be more: {failure}");
    ///     }
    ///     Ok(found.names.iter().map(|it| it.to_string()).collect())
    /// }
    /// ```
    pub async fn names(&self, pattern: &str) -> Result<NamesResult, LookupError> {
        let pattern = NamePattern::new(pattern)?;
        let (mut names, mut failures, mut is_answered) = (BTreeSet::new(), Vec::new(), false);
        for listed in self.gather(|index| self.names_of(index, &pattern)).await {
            match listed {
                Some(Ok(listed)) => {
                    is_answered = true;
                    names.extend(listed);
                }
                Some(Err(failure)) => failures.push(failure),
                None => {}
            }
        }
        if is_answered {
            failures.retain(|it| self.hub().options.trust.misses(it));
            if names.is_empty() && !failures.is_empty() {
                Err(LookupError::Incomplete(RegistrarFailures(failures)))
            } else {
                let names = names.iter().filter_map(|it| Name::new(it).ok()).collect();
                Ok(NamesResult { names, unanswered: failures })
            }
        } else {
            Err(RegistrarFailures(failures).into())
        }
    }

    async fn names_of(
        &self,
        index: usize,
        pattern: &NamePattern,
    ) -> Option<Result<Vec<String>, RegistrarFailure>> {
        let mut list = List { pattern: pattern.clone(), after: 0 };
        let mut names = Vec::new();
        loop {
            let args = encode_body(&list);
            let page: NamesPage = match self.hub().ask(index, registrar::NAMES, &args).await? {
                Ok(Reply { value, .. }) => value,
                Err(failure) if is_too_old(&failure) => {
                    let names =
                        |it: Vec<wire::Record>| it.iter().map(|it| it.name.to_string()).collect();
                    let listed = self.list_of(index, pattern).await?;
                    return Some(listed.map(|part| names(part.records)));
                }
                Err(failure) => return Some(Err(failure)),
            };
            names.extend(page.names);
            match page.next {
                // Only a broken registrar would send a list round in circles.
                Some(next) if next > list.after => list.after = next,
                _ => return Some(Ok(names)),
            }
        }
    }
}

/// Tells whether a registrar lacks a call of a later version.
fn is_too_old(failure: &RegistrarFailure) -> bool {
    matches!(&*failure.error, LinkError::Refused(error) if error.kind == ErrorKind::NoSuchMethod)
}
