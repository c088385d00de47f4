//! Remedies for a failure, as data.

/// A remedy for a failure, in one line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Hint {
    /// As it stands.
    Text(String),
    /// A command of this program, and its purpose.
    Command {
        /// Its effect.
        does: String,
        /// Its words, without the program and what holds for all commands.
        words: Vec<String>,
    },
}

impl<T: Into<String>> From<T> for Hint {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}
