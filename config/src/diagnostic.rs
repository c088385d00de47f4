//! Diagnostics: the fault of a setting, its place, and its remedy.
//!
//! A diagnostic is data. The caller draws it, with the lines of its source.

use std::{fmt, ops::Range, sync::Arc};

use thiserror::Error;

use crate::source::Source;

/// All diagnostics of one reading, in the order of their places.
///
/// ```
/// let diagnostics = config::read("[registrar]\nlisten = 7\nheartbeat = 8", "market.toml").unwrap_err();
/// assert!(diagnostics.has_errors());
/// assert_eq!(diagnostics.0.len(), 2, "both are told at once");
/// ```
#[derive(Clone, Debug, Default, Eq, Error, PartialEq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Tells whether anything is worse than a warning.
    ///
    /// ```
    /// let (_, warnings) = config::read("[network]\nfeed = \"/unix/~/feed.sock\"", "market.toml")?;
    /// assert!(!warnings.has_errors(), "`~` is not expanded, which is a warning");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|it| it.severity == Severity::Error)
    }

    /// Returns the diagnostics as an error if one of them is an error, otherwise beside `outcome`.
    pub(crate) fn or<T>(self, outcome: T) -> Result<(T, Self), Self> {
        if self.has_errors() { Err(self) } else { Ok((outcome, self)) }
    }
}

/// Writes a line for each fault, without the lines of its source.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, diagnostic) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

/// A fault of the settings.
///
/// ```
/// let diagnostics = config::read("[registrar]\nheartbeet = \"1s\"", "market.toml").unwrap_err();
/// let diagnostic = &diagnostics.0[0];
/// assert_eq!(diagnostic.place.line_column(), (2, 1));
/// println!("{diagnostic}");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// The severity.
    pub severity: Severity,
    /// The fault, in one line.
    pub message: String,
    /// The place at fault. Its span may be empty, where something is missing.
    pub place: Place,
    /// A label for the place; empty if the message suffices.
    pub label: String,
    /// Other places involved.
    pub related: Vec<Related>,
    /// A correction, if one can be guessed.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn error(message: impl Into<String>, place: Place) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            place,
            label: String::new(),
            related: Vec::new(),
            help: None,
        }
    }

    pub(crate) fn warning(message: impl Into<String>, place: Place) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message, place) }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push(Related { place, label: label.into() });
        self
    }

    pub(crate) fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.place.line_column();
        write!(
            f,
            "{}:{line}:{column}: {}: {}",
            self.place.source.name, self.severity, self.message
        )?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// The severity of a diagnostic.
///
/// ```
/// use config::Severity;
///
/// let (_, warnings) = config::read("[network]\nfeed = \"/unix/~/feed.sock\"", "market.toml")?;
/// assert_eq!(warnings.0[0].severity, Severity::Warning);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The settings cannot be used.
    Error,
    /// The settings can be used, but probably do not mean what their author wanted.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A place involved in a diagnostic.
///
/// ```
/// let wrong = "[network]\nfeed = \"/udp/1\"";
/// let diagnostics = config::read(wrong, "market.toml").unwrap_err();
/// assert_eq!(diagnostics.0[0].related[0].label, "of this actor");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Related {
    /// The place.
    pub place: Place,
    /// Its role in the diagnostic.
    pub label: String,
}

/// Some bytes of a source.
///
/// ```
/// let wrong = "[network]\nfeed = \"/udp/1\"";
/// let diagnostics = config::read(wrong, "market.toml").unwrap_err();
/// let place = &diagnostics.0[0].place;
/// assert_eq!(&place.source.text[place.span.clone()], "udp");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The source.
    pub source: Arc<Source>,
    /// The bytes of the source.
    pub span: Range<usize>,
}

impl Place {
    /// Returns the line and the column where the place begins, each from 1.
    ///
    /// ```
    /// let wrong = "[network]\nfeed = \"/udp/1\"";
    /// let diagnostics = config::read(wrong, "market.toml").unwrap_err();
    /// assert_eq!(diagnostics.0[0].place.line_column(), (2, 10));
    /// ```
    pub fn line_column(&self) -> (usize, usize) {
        self.source.line_column(self.span.start)
    }
}
