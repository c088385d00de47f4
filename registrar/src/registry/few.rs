//! The names of a page: all that were found, or the first few and the last without a copy of the others.

use std::collections::HashSet;

/// Names as they are found, some of them several times.
pub(super) enum Found<'a> {
    All(HashSet<&'a str>),
    Few(Few<'a>),
}

impl<'a> Found<'a> {
    /// Begins; with a number, only so many names are kept: of more, the first in order and the last.
    pub(super) fn new(few: Option<usize>) -> Self {
        match few {
            None => Self::All(HashSet::new()),
            Some(few) => Self::Few(Few { few, names: Vec::new(), bound: None, last: None }),
        }
    }

    pub(super) fn add(&mut self, name: &'a str) {
        match self {
            Self::All(names) => drop(names.insert(name)),
            Self::Few(names) => names.add(name),
        }
    }

    /// Returns the names, each once.
    pub(super) fn into_names(self) -> Vec<String> {
        match self {
            Self::All(names) => names.into_iter().map(str::to_owned).collect(),
            Self::Few(names) => names.finished().into_iter().map(str::to_owned).collect(),
        }
    }
}

/// The first few names so far, and the last.
pub(super) struct Few<'a> {
    few: usize,
    /// Those that may be among the first, in no order, and at most twice as many as are wanted.
    names: Vec<&'a str>,
    /// No name from here on is among the first.
    bound: Option<&'a str>,
    last: Option<&'a str>,
}

impl<'a> Few<'a> {
    fn add(&mut self, name: &'a str) {
        self.last = self.last.max(Some(name));
        if self.bound.is_some_and(|it| name >= it) {
            return;
        }
        self.names.push(name);
        if self.names.len() >= self.few.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.names.sort_unstable();
        self.names.dedup();
        self.names.truncate(self.few);
        if self.names.len() == self.few {
            self.bound = self.names.last().copied();
        }
    }

    fn finished(mut self) -> Vec<&'a str> {
        self.cut();
        let is_left_out = self.names.last().copied() < self.last;
        if is_left_out && self.names.pop().is_some() {
            self.names.extend(self.last);
        }
        self.names
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(names: &[String], few: Option<usize>) -> Vec<String> {
        let mut found = Found::new(few);
        names.iter().for_each(|it| found.add(it));
        let mut kept = found.into_names();
        kept.sort();
        kept
    }

    proptest! {
        #[test]
        fn the_first_are_kept_and_the_last(
            names in prop::collection::vec("[a-c]{0,4}", 0..80),
            few in 0_usize..12,
        ) {
            let mut all = names.clone();
            all.sort();
            all.dedup();
            prop_assert_eq!(kept(&names, None), &all[..]);
            let mut expected = all.clone();
            if all.len() > few {
                let last = all.last().filter(|_| few > 0).cloned();
                expected.truncate(few.saturating_sub(1));
                expected.extend(last);
            }
            prop_assert_eq!(kept(&names, Some(few)), expected);
        }
    }

    #[test]
    fn no_more_are_held_than_twice_as_many() {
        let names: Vec<_> = (0..1000).rev().map(|it| format!("n{it:04}")).collect();
        let mut few = Few { few: 10, names: Vec::new(), bound: None, last: None };
        for name in &names {
            few.add(name);
            assert!(few.names.len() < 20, "{}", few.names.len());
        }
        assert_eq!(few.finished()[8..], ["n0008", "n0999"]);
    }
}
