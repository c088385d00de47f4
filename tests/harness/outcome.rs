//! The end of a command.

use std::fmt;

use serde_json::Value;

/// The end of a command, and its output.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The command line, for people.
    pub(crate) command: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The exit code; `None` if a signal has ended it.
    pub(crate) code: Option<i32>,
    /// The signal that has ended it.
    pub(crate) signal: Option<i32>,
}

impl Outcome {
    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "the exit code is not as expected\n{self}");
        self
    }

    /// Checks which signal has ended it.
    #[track_caller]
    pub(crate) fn ends_by(self, signal: i32) -> Self {
        assert_eq!(self.signal, Some(signal), "the end is not by the signal expected\n{self}");
        self
    }

    /// Checks that all went well.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.ends_with(0)
    }

    /// Checks that all of these are in the output.
    #[track_caller]
    pub(crate) fn prints(self, expected: &[&str]) -> Self {
        for text in expected {
            assert!(has(&self.stdout, text), "`{text}` is not in the output\n{self}");
        }
        self
    }

    /// Checks that all of these are on standard error.
    #[track_caller]
    pub(crate) fn says(self, expected: &[&str]) -> Self {
        for text in expected {
            assert!(has(&self.stderr, text), "`{text}` is not said\n{self}");
        }
        self
    }

    /// Reads the output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("the output is no JSON: {error}\n{self}"),
        }
    }
}

/// Tells whether a text is in the output, however that was wrapped: a path in it may be longer on
/// one machine than on another.
fn has(shown: &str, text: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    shown.contains(text) || words(shown).contains(&words(text))
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, stdout, stderr, code, signal: _ } = self;
        let code = code.map_or("a signal".to_owned(), |it| it.to_string());
        write!(f, "$ {command}\n{stdout}--- stderr\n{stderr}--- ended with {code}")
    }
}
