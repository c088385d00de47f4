//! A compiled pattern of names.
//!
//! A caller chooses the pattern, and registrants choose the names, so no pair of them may take
//! long: a match reads the name once, whatever the pattern. The possible positions in the pattern
//! are the bits of a set, and each character moves them all together.
//!
//! Why not `regex` or `globset`? They build an automaton for each pattern, of which a registrar may
//! keep some ten thousand, and are built for texts far longer than a name.

use crate::NamePattern;

/// A pattern of names, made ready to be held against many.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The part before the first `*` or `?`.
    prefix: Box<str>,
    rest: Rest,
}

/// The part after the literal beginning of a pattern.
#[derive(Clone, Debug)]
enum Rest {
    Nothing,
    Anything,
    /// Anything, and this at the end.
    Suffix(Box<str>),
    States(Box<States>),
}

impl Matcher {
    /// Makes a pattern ready.
    pub fn new(pattern: &NamePattern) -> Self {
        let pattern = pattern.as_str();
        let literal = pattern.find(['*', '?']).unwrap_or(pattern.len());
        let (prefix, rest) = pattern.split_at(literal);
        let behind_stars = rest.trim_start_matches('*');
        let rest = match behind_stars.len() {
            0 if rest.is_empty() => Rest::Nothing,
            0 => Rest::Anything,
            length if length < rest.len() && !behind_stars.contains(['*', '?']) => {
                Rest::Suffix(behind_stars.into())
            }
            _ => Rest::States(Box::new(States::new(rest))),
        };
        Self { prefix: prefix.into(), rest }
    }

    /// Tells whether the pattern matches the whole of `name`, in time `O(name)`.
    pub fn matches(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(&*self.prefix) else { return false };
        match &self.rest {
            Rest::Nothing => rest.is_empty(),
            Rest::Anything => true,
            Rest::Suffix(suffix) => rest.ends_with(&**suffix),
            Rest::States(states) => states.accept(rest),
        }
    }

    /// Returns the beginning that all names have which it matches.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Tells whether it matches all names that have its beginning.
    pub fn is_prefix_alone(&self) -> bool {
        matches!(self.rest, Rest::Anything)
    }

    /// Returns its size in bytes, excluding itself.
    pub fn held_bytes(&self) -> usize {
        let rest = match &self.rest {
            Rest::Nothing | Rest::Anything => 0,
            Rest::Suffix(suffix) => suffix.len(),
            Rest::States(states) => {
                size_of::<States>()
                    + states.leading.capacity() * size_of::<Set>()
                    + states.others.capacity() * size_of::<(char, u8)>()
            }
        };
        self.prefix.len() + rest
    }

    /// Returns how many steps it takes at most to hold a name against it. A step is some 25 ns, as
    /// much as it takes to come to a name and to compare it.
    pub fn steps(&self, name: &str) -> usize {
        match &self.rest {
            Rest::States(states) if name.starts_with(&*self.prefix) => {
                1 + name.len() * states.words / STATES_A_STEP
            }
            _ => 1,
        }
    }
}

/// The number of a set's words that are shifted in the time of a step.
const STATES_A_STEP: usize = 32;

/// The positions in a pattern: the first is before its first character, and each further one after
/// another. Stars are not characters here; the position of a star is never left.
#[derive(Clone, Debug)]
struct States {
    /// The number of characters: the place at which a match ends.
    end: usize,
    /// The number of words in use in each set.
    words: usize,
    /// The positions that are never left.
    stars: Set,
    /// The positions from which a character leads on. The first set is for characters that the
    /// pattern does not contain.
    leading: Vec<Set>,
    /// The places in `leading` of ASCII characters.
    ascii: [u8; 128],
    /// The places in `leading` of all other characters of the pattern, in order.
    others: Vec<(char, u8)>,
}

/// A set of places, a bit for each. A pattern of 255 bytes has 256 at most.
type Set = [u64; 4];

impl States {
    fn new(pattern: &str) -> Self {
        let characters = || pattern.chars().filter(|it| *it != '*').enumerate();
        let mut named: Vec<_> = characters().map(|(_, it)| it).filter(|it| *it != '?').collect();
        named.sort_unstable();
        named.dedup();
        let mut states = Self {
            end: characters().count(),
            words: characters().count() / 64 + 1,
            stars: [0; 4],
            leading: vec![[0; 4]; named.len() + 1],
            ascii: [0; 128],
            others: Vec::new(),
        };
        for (at, character) in (1..=u8::MAX).zip(named) {
            match states.ascii.get_mut(character as usize) {
                Some(own) => *own = at,
                None => states.others.push((character, at)),
            }
        }
        for (place, character) in characters() {
            match character {
                '?' => states.leading.iter_mut().for_each(|it| insert(it, place)),
                _ => {
                    let own = states.leads(character);
                    insert(&mut states.leading[own], place);
                }
            }
        }
        let mut place = 0;
        for character in pattern.chars() {
            match character {
                '*' => insert(&mut states.stars, place),
                _ => place += 1,
            }
        }
        states
    }

    fn accept(&self, text: &str) -> bool {
        // A character is at least one byte.
        if text.len() < self.end && self.stars == [0; 4] {
            return false;
        }
        let mut places: Set = [1, 0, 0, 0];
        for character in text.chars() {
            let leading = &self.leading[self.leads(character)];
            let (mut carried, mut any) = (0, 0);
            for word in 0..self.words {
                let left = places[word] & leading[word];
                places[word] = places[word] & self.stars[word] | left << 1 | carried;
                carried = left >> 63;
                any |= places[word];
            }
            if any == 0 {
                return false;
            }
        }
        places[self.end / 64] >> (self.end % 64) & 1 == 1
    }

    fn leads(&self, character: char) -> usize {
        let at = match self.ascii.get(character as usize) {
            Some(at) => *at,
            None => {
                let found = self.others.binary_search_by_key(&character, |(it, _)| *it);
                found.map_or(0, |at| self.others[at].1)
            }
        };
        at.into()
    }
}

fn insert(set: &mut Set, place: usize) {
    set[place / 64] |= 1 << (place % 64);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::is_match;

    fn matcher(pattern: &str) -> Matcher {
        Matcher::new(&NamePattern::new(pattern).unwrap())
    }

    #[test]
    fn it_matches_as_the_pattern_does() {
        let long = "a".repeat(255);
        let stars = "*a".repeat(127);
        let questions = "?".repeat(255);
        let patterns = [
            "feed",
            "*",
            "**",
            "feed*",
            "feed.*",
            "*ed",
            "**ed",
            "f?ed",
            "f*e*d",
            "f*?",
            "?",
            "??",
            "*ö?",
            "*?*",
            "?*?",
            "feed?",
            "feed**",
            "a*a",
            "*東?*",
            &long,
            &stars,
            &questions,
            "a?*a?*a?*b",
        ];
        let names = [
            "feed",
            "feeds",
            "fed",
            "feed.eu",
            "fxexexd",
            "f",
            "ö",
            "aböc",
            "東京都",
            "a",
            "aa",
            "aaa",
            "ed",
            "eed",
            "ababab",
            &long,
            &long[1..],
            &"ab".repeat(127),
        ];
        for pattern in patterns {
            let ready = matcher(pattern);
            for name in names {
                assert_eq!(ready.matches(name), is_match(pattern, name), "{pattern} on {name}");
                assert!(ready.steps(name) <= 33);
            }
        }
    }

    #[test]
    fn the_common_prefix_of_its_names_is_known() {
        let check = |pattern: &str, prefix: &str, is_alone: bool| {
            let ready = matcher(pattern);
            assert_eq!((ready.prefix(), ready.is_prefix_alone()), (prefix, is_alone), "{pattern}");
        };
        check("feed.*", "feed.", true);
        check("feed.**", "feed.", true);
        check("*", "", true);
        check("feed", "feed", false);
        check("fe?d*", "fe", false);
        check("fe*d", "fe", false);
        check("ö*", "ö", true);
    }

    proptest! {
        #[test]
        fn a_matcher_agrees_with_its_pattern(
            pattern in "[abö*?]{1,40}",
            names in proptest::collection::vec("[abcö東]{1,60}", 1..8),
        ) {
            let ready = matcher(&pattern);
            for name in names {
                prop_assert_eq!(ready.matches(&name), is_match(&pattern, &name), "{}", name);
            }
        }
    }
}
