//! Names without their instances: for completion and suggestions.

use std::collections::BTreeSet;

use endpoints::{Name, NamePattern};
use futures_util::future::join_all;
use wire::{
    Epoch, ErrorKind, Record, encode_body,
    registrar::{self, ListNames, NamesPage},
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
        self.some_names(pattern, None).await
    }

    /// Returns at most so many of the names that match `pattern`: of more, the first in order, and
    /// the last. So a shell completes a word as far as all of them begin alike, and shows some, and
    /// a registrar with many sends no more than that.
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
    /// /// Tells whether anything is called `desk.rates` or the like.
    /// async fn has_desks(callsign: &Client) -> Result<bool, LookupError> {
    ///     Ok(!callsign.few_names("desk.*", 1).await?.names.is_empty())
    /// }
    /// ```
    pub async fn few_names(&self, pattern: &str, few: usize) -> Result<NamesResult, LookupError> {
        self.some_names(pattern, Some(few)).await
    }

    async fn some_names(
        &self,
        pattern: &str,
        few: Option<usize>,
    ) -> Result<NamesResult, LookupError> {
        let pattern = NamePattern::new(pattern)?;
        let (mut names, mut failures, mut is_answered) = (BTreeSet::new(), Vec::new(), false);
        for listed in self.gather(|index| self.names_of(index, &pattern, few)).await {
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
                let mut page = NamesPage { next: None, names: names.into_iter().collect() };
                page.keep_few(few.unwrap_or(usize::MAX));
                page.names.sort_unstable();
                let names = page.names.iter().filter_map(|it| Name::new(it).ok()).collect();
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
        few: Option<usize>,
    ) -> Option<Result<Vec<String>, RegistrarFailure>> {
        let few = few.map(|it| u32::try_from(it).unwrap_or(u32::MAX));
        let mut names = Vec::new();
        let mut pages = Pages::default();
        loop {
            let asked = pages.next().map(|after| {
                self.names_after(index, ListNames { pattern: pattern.clone(), after, few })
            });
            for (after, page) in join_all(asked).await {
                let page = match page? {
                    Ok(Reply { value, .. }) => value,
                    Err(failure) if is_too_old(&failure) => {
                        let name = |record: Record, _| record.name.to_string();
                        let listed = self.list_of(index, pattern, &name).await?;
                        return Some(listed.map(|part| part.into_kept().collect()));
                    }
                    Err(failure) => return Some(Err(failure)),
                };
                let NamesPage { next, names: listed } = page;
                names.extend(listed);
                pages.read(after, next);
            }
            if pages.is_done() {
                return Some(Ok(names));
            }
        }
    }

    async fn names_after(
        &self,
        index: usize,
        list: ListNames,
    ) -> (Epoch, Option<Result<Reply<NamesPage>, RegistrarFailure>>) {
        (list.after, self.hub().ask(index, registrar::NAMES, &encode_body(&list)).await)
    }
}

/// The pages of a list of names, several of which are asked for at once: each says where the next
/// one begins, but on a busy host a wait for each takes longer than all of them.
///
/// Where a page begins that is not yet known is guessed from the length of the one before. If there
/// is a gap before it, it is asked for again; what two pages have in common is a name anyway.
#[derive(Debug, Default)]
struct Pages {
    /// Up to where they are read.
    read_to: Epoch,
    /// How far apart to ask, once that is known.
    stride: Option<Epoch>,
    /// From where those of this round were asked.
    from: Epoch,
    is_done: bool,
}

impl Pages {
    /// Begins a round. Returns after which epochs its pages begin.
    fn next(&mut self) -> impl Iterator<Item = Epoch> + use<> {
        let (from, stride) = (self.read_to, self.stride.unwrap_or_default());
        self.from = from;
        let count = if self.stride.is_some() { PAGES_AT_ONCE } else { 1 };
        (0..count).map(move |nth| from.saturating_add(nth.saturating_mul(stride)))
    }

    /// Records where a page of this round began, and where the one after it does.
    fn read(&mut self, after: Epoch, next: Option<Epoch>) {
        if self.is_done || after > self.read_to {
            return;
        }
        match next {
            // Only a broken registrar would send a list round in circles.
            Some(next) if next > after => {
                // Of the first one, it is not known where its entries begin.
                self.stride = Some(next - after).filter(|_| after > 0);
                // Pages that overlap a little are better than gaps between them.
                self.stride = self.stride.map(|it| it - it / 16);
                self.read_to = self.read_to.max(next);
            }
            _ => self.is_done = true,
        }
    }

    fn is_done(&self) -> bool {
        self.is_done || self.read_to <= self.from
    }
}

/// Tells whether a registrar lacks a call of a later version.
fn is_too_old(failure: &RegistrarFailure) -> bool {
    matches!(&*failure.error, LinkError::Refused(error) if error.kind == ErrorKind::NoSuchMethod)
}

/// The most pages to ask for at once: some 30,000 names. A registrar serves others between them.
const PAGES_AT_ONCE: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a list whose pages have so many steps, of entries at these epochs with so many steps each.
    /// Returns what was read, and in how many rounds.
    fn read(entries: &[(Epoch, u64)], page_steps: u64) -> (BTreeSet<Epoch>, usize) {
        let (mut pages, mut seen, mut rounds) = (Pages::default(), BTreeSet::new(), 0);
        loop {
            rounds += 1;
            for after in pages.next() {
                let (mut steps, mut next, mut last) = (0, None, after);
                for (epoch, own) in entries.iter().filter(|(epoch, _)| *epoch > after) {
                    if steps >= page_steps {
                        next = Some(last);
                        break;
                    }
                    seen.insert(*epoch);
                    (steps, last) = (steps + own, *epoch);
                }
                pages.read(after, next);
            }
            if pages.is_done() {
                return (seen, rounds);
            }
        }
    }

    #[test]
    fn however_the_names_lie_each_is_read_in_few_rounds() {
        let check = |entries: &[(Epoch, u64)], rounds_max: usize| {
            let (seen, rounds) = read(entries, 100);
            assert!(entries.iter().all(|(epoch, _)| seen.contains(epoch)), "{seen:?}");
            assert!(rounds <= rounds_max, "{rounds} rounds");
        };
        let begin = 1_795_000_000_000_000;
        check(&[], 1);
        check(&[(begin, 1)], 1);
        let even: Vec<_> = (0..1000).map(|it| (begin + it, 1)).collect();
        check(&even, 4);
        let apart: Vec<_> = (0..1000).map(|it| (begin + 1_000_000 * it, 1)).collect();
        check(&apart, 4);
        // Long names, then short ones; many early ones, and few late ones; and the other way round.
        let shorter: Vec<_> =
            (0..1000).map(|it| (begin + it, if it < 300 { 9 } else { 1 })).collect();
        check(&shorter, 12);
        let later: Vec<_> = (0..1000_u64).map(|it| (begin + it * it * it, 1)).collect();
        check(&later, 12);
        let sooner: Vec<_> =
            (1..1000_u64).map(|it| (begin + 10_000_000 - 10_000_000 / it, 1)).collect();
        check(&sooner, 12);
    }

    #[test]
    fn a_list_that_goes_round_in_circles_ends() {
        let mut pages = Pages::default();
        assert_eq!(pages.next().collect::<Vec<_>>(), [0]);
        pages.read(0, Some(7));
        assert_eq!(pages.next().collect::<Vec<_>>(), [7]);
        pages.read(7, Some(3));
        assert!(pages.is_done());
    }
}
