//! The environment of this process.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use anyhow::anyhow;
use config::REGISTRARS_VARIABLE;

use super::CONFIG_VARIABLE;
use crate::failure::Failure;

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

    /// Makes sure that the variables of this program are text, as far as they are no paths: bytes that
    /// are put in place of others mean another place.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let is_text = |name: &str| {
            name.starts_with("CALLSIGN_")
                && ![CONFIG_VARIABLE, config::SYSTEM_DIR_VARIABLE].contains(&name)
        };
        let named = self.variables.iter().filter_map(|(name, value)| Some((name.to_str()?, value)));
        let mut wrong: Vec<_> =
            named.filter(|(name, value)| is_text(name) && value.to_str().is_none()).collect();
        wrong.sort();
        let Some((name, value)) = wrong.first() else { return Ok(()) };
        let error = anyhow!("{name} is no UTF-8: `{}`", value.as_bytes().escape_ascii());
        Err(Failure::usage(error).hint("in the path of an endpoint, `%FF` stands for such a byte"))
    }

    /// Returns a variable as text, unless it is not set or empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.raw(name).filter(|it| !it.is_empty()).map(|it| it.to_string_lossy().into_owned())
    }
}
