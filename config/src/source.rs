//! The texts that settings are read from, and the lines and columns of their bytes.

use std::sync::{Arc, OnceLock};

/// A text that settings were read from.
///
/// ```
/// let diagnostics = config::read("[registrar]\nlisten = 7", "market.toml").unwrap_err();
/// assert_eq!(diagnostics.0[0].place.source.name, "market.toml");
/// ```
#[derive(Clone, Debug)]
pub struct Source {
    /// The source: the name of a file, an environment variable, or a flag.
    pub name: String,
    /// All of it.
    pub text: String,
    marks: OnceLock<Vec<Mark>>,
}

/// A byte of a text, and its line and column, each from 0.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    offset: usize,
    line: usize,
    column: usize,
}

impl Source {
    /// Names a text.
    ///
    /// ```
    /// use config::Source;
    ///
    /// let source = Source::new("market.toml", "[registrar]\nlisten = 7");
    /// assert_eq!(source.line_column(12), (2, 1));
    /// ```
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), marks: OnceLock::new() }
    }

    pub(crate) fn shared(name: &str, text: &str) -> Arc<Self> {
        Arc::new(Self::new(name, text))
    }

    /// Returns the line and the column of a byte, each from 1. Columns count characters.
    ///
    /// However many faults a text has, it is read once for all of them.
    ///
    /// ```
    /// use config::Source;
    ///
    /// let source = Source::new("market.toml", "# Märkte\nfeed = 7");
    /// let offset = source.text.find('7').ok_or("no number")?;
    /// assert_eq!(source.line_column(offset), (2, 8));
    /// # Ok::<(), &str>(())
    /// ```
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let marks = self.marks.get_or_init(|| marks(self.text.as_bytes()));
        let offset = offset.min(self.text.len());
        let after = marks.partition_point(|it| it.offset <= offset);
        let mark = after.checked_sub(1).map_or(Mark::default(), |it| marks[it]);
        let Mark { line, column, .. } = mark.after(&self.text.as_bytes()[mark.offset..offset]);
        (line + 1, column + 1)
    }
}

/// Whether the lines are counted already is no difference.
impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.text) == (&other.name, &other.text)
    }
}

impl Eq for Source {}

impl Mark {
    /// Moves past some bytes.
    fn after(self, bytes: &[u8]) -> Self {
        let lines = bytes.iter().filter(|it| **it == b'\n').count();
        let (begun, column) = match bytes.iter().rposition(|it| *it == b'\n') {
            Some(at) => (at + 1, 0),
            None => (0, self.column),
        };
        // All but the first byte of a character begin with the bits 10.
        let characters = bytes[begun..].iter().filter(|it| **it & 0xc0 != 0x80).count();
        let offset = self.offset + bytes.len();
        Self { offset, line: self.line + lines, column: column + characters }
    }
}

fn marks(text: &[u8]) -> Vec<Mark> {
    let further = text.chunks(MARK_BYTES).scan(Mark::default(), |mark, bytes| {
        *mark = mark.after(bytes);
        Some(*mark)
    });
    [Mark::default()].into_iter().chain(further).collect()
}

/// The bytes that are read for one place, at the most.
const MARK_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let check = |text: &str, offset: usize, expected: (usize, usize)| {
            let source = Source::new("", text);
            assert_eq!(source.line_column(offset), expected, "{text:?} at {offset}");
        };
        check("", 0, (1, 1));
        check("ab", 1, (1, 2));
        check("a\nb", 1, (1, 2));
        check("a\nb", 2, (2, 1));
        check("a\n", 2, (2, 1));
        check("öä", 2, (1, 2));
        check("öä", 4, (1, 3));
        check("a", 99, (1, 2));
        // Over several marks, and around each.
        let text = "öä, \n und so weiter: ".repeat(MARK_BYTES) + &"größer ".repeat(MARK_BYTES);
        let source = Source::new("", text.as_str());
        let counted = |offset: usize| {
            let before = String::from_utf8_lossy(&text.as_bytes()[..offset.min(text.len())]);
            let line = before.rsplit('\n').next().unwrap();
            (before.matches('\n').count() + 1, line.chars().count() + 1)
        };
        for mark in (0..text.len()).step_by(MARK_BYTES) {
            for offset in mark.saturating_sub(2)..mark + 3 {
                // A character that is cut counts as one.
                assert_eq!(source.line_column(offset), counted(offset), "{offset}");
            }
        }
    }
}
