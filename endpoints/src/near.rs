//! Suggestions for a misspelt name.

/// Returns the nearest of some names, if one or two slips separate it from the misspelt one: at
/// most three, all equally near.
///
/// ```
/// use endpoints::names_like;
///
/// assert_eq!(names_like("fede", ["feed", "web"]), ["feed"]);
/// assert!(names_like("broker", ["feed", "web"]).is_empty());
/// ```
pub fn names_like<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let length = written.chars().count();
    if length > CHARACTERS_MAX {
        return Vec::new();
    }
    let small = written.to_lowercase();
    // One slip in three letters; a name of one letter with a slip would be another name.
    let slips_max = if length == 1 { 0 } else { (length / 3).max(1) };
    let slips = |name: &'a str| {
        let is_near = name.chars().count().abs_diff(length) <= slips_max;
        let slips = is_near.then(|| strsim::damerau_levenshtein(&small, &name.to_lowercase()))?;
        (slips <= slips_max && name != written).then_some((slips, name))
    };
    let mut near: Vec<_> = names.into_iter().filter_map(slips).collect();
    near.sort_unstable();
    near.dedup();
    let best = near.first().map(|(slips, _)| *slips);
    let best = near.into_iter().filter(|(slips, _)| Some(*slips) == best);
    best.map(|(_, name)| name).take(SHOWN_MAX).collect()
}

/// The comparison takes the square of the length, and longer names are seldom typed.
const CHARACTERS_MAX: usize = 64;

/// More would be a list.
const SHOWN_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_another_name() {
        let check = |written: &str, expected: &[&str]| {
            let names = ["web", "web", "feed", "feed-eu", "feed-us", "order.book", "x", "Grüße"];
            assert_eq!(names_like(written, names), expected, "{written}");
        };
        check("wbe", &["web"]);
        check("wob", &["web"]);
        check("we", &["web"]);
        check("WEB", &["web"]);
        check("feeed", &["feed"]);
        check("feed_eu", &["feed-eu"]);
        check("feed-xs", &["feed-us"]);
        check("feed-u", &["feed-eu", "feed-us"]);
        check("orderbook", &["order.book"]);
        check("grusse", &[]);
        check("grüsse", &["Grüße"]);
        check("broker", &[]);
        check("y", &[]);
        check("X", &["x"]);
        check("web", &[]);
        check(&"w".repeat(65), &[]);
    }
}
