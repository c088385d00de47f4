//! The more specific of two patterns, and whether they overlap.

use std::cmp::Ordering;

use crate::NamePattern;

impl NamePattern {
    /// Compares how much two patterns say of the names that they match: a whole name says more than
    /// any pattern, then the one with more characters that are neither `*` nor `?`, then the one
    /// with more `?`.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use std::cmp::Ordering;
    ///
    /// use callsign::NamePattern;
    ///
    /// let of = |text: &str| NamePattern::new(text).unwrap();
    /// assert_eq!(of("feed.eu*").cmp_specific(&of("feed.*")), Ordering::Greater);
    /// assert_eq!(of("feed").cmp_specific(&of("feed-of-????")), Ordering::Greater);
    /// ```
    pub fn cmp_specific(&self, other: &Self) -> Ordering {
        let says = |it: &Self| {
            let count = |is: fn(char) -> bool| it.as_str().chars().filter(|it| is(*it)).count();
            let literal = count(|it| !matches!(it, '*' | '?'));
            (it.exact().is_some(), literal, count(|it| it == '?'))
        };
        says(self).cmp(&says(other))
    }

    /// Tells whether there is a name that both patterns match, in time `O(one × other)`.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::NamePattern;
    ///
    /// let of = |text: &str| NamePattern::new(text).unwrap();
    /// assert!(of("feed*").overlaps(&of("*feed")));
    /// assert!(!of("feed*").overlaps(&of("clock?")));
    /// ```
    pub fn overlaps(&self, other: &Self) -> bool {
        let one: Vec<char> = self.as_str().chars().collect();
        let other: Vec<char> = other.as_str().chars().collect();
        // For each pair of positions, from the end, whether the rests of both patterns match a
        // common string.
        let mut below = vec![false; other.len() + 1];
        for at in (0..=one.len()).rev() {
            let mut row = vec![false; other.len() + 1];
            for to in (0..=other.len()).rev() {
                row[to] = match (one.get(at), other.get(to)) {
                    (None, None) => true,
                    (Some('*'), next) => below[to] || (next.is_some() && row[to + 1]),
                    (next, Some('*')) => row[to + 1] || (next.is_some() && below[to]),
                    (Some(a), Some(b)) => (a == b || *a == '?' || *b == '?') && below[to + 1],
                    _ => false,
                };
            }
            below = row;
        }
        below[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_where_a_name_fits_both() {
        let check = |one: &str, other: &str, expected: bool| {
            let (one, other) = (NamePattern::new(one).unwrap(), NamePattern::new(other).unwrap());
            assert_eq!(one.overlaps(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.overlaps(&one), expected, "{other:?} {one:?}");
        };
        check("feed", "feed", true);
        check("feed", "feeds", false);
        check("*", "feed", true);
        check("feed*", "feed", true);
        check("a*c", "ab*", true);
        check("a*c", "*b", false);
        check("a?c", "ab?", true);
        check("??", "a", false);
        check("*a*", "*b*", true);
        check("größe*", "gr????", true);
    }
}
