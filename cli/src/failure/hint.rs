//! What to do about a failure, as data.

/// What to do about a failure, in one line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Hint {
    /// As it stands.
    Text(String),
    /// A command of this program, and what it is for.
    Command {
        /// What it does.
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
