//! The environment of this process.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use config::REGISTRARS_VARIABLE;

/// The environment, read once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    variables: HashMap<OsString, OsString>,
    /// The folder for temporary files.
    pub(crate) temp_dir: PathBuf,
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn of_process() -> Self {
        Self { variables: std::env::vars_os().collect(), temp_dir: std::env::temp_dir() }
    }

    /// Returns the names of all variables.
    pub(crate) fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.variables.keys().map(OsString::as_os_str)
    }

    /// Returns a variable as it is.
    pub(crate) fn raw(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Returns the variable that names the registrars to ask, if it names any.
    pub(crate) fn registrars(&self) -> Option<String> {
        self.text(REGISTRARS_VARIABLE).filter(|it| config::names_registrars(it))
    }

    /// Returns a variable as text, unless it is not set or empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.raw(name).filter(|it| !it.is_empty()).map(|it| it.to_string_lossy().into_owned())
    }
}
