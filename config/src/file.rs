//! Which settings file is read, and who has named it.

use std::{ffi::OsStr, fmt, path::PathBuf};

/// A settings file that is to be read. It prints as who reads it would call it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SettingsFile {
    /// Where it is.
    pub path: PathBuf,
    /// Who has named it.
    pub named_by: NamedBy,
}

/// Who has named a settings file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NamedBy {
    /// A flag of the command line.
    Flag(String),
    /// A variable of the environment.
    Variable(String),
    /// The program itself.
    Program,
    /// Nobody: the program looks whether it is there.
    Nobody,
}

/// A flag or a variable, and what it says.
pub type Said<'a> = (&'a str, &'a OsStr);

impl SettingsFile {
    /// Returns the file that the flag names, or else the variable, or else what is left. An empty
    /// variable is as good as none.
    pub fn choose(
        flag: Option<Said<'_>>,
        variable: Option<Said<'_>>,
        otherwise: Option<Self>,
    ) -> Option<Self> {
        let named = |path: &OsStr, named_by| Some(Self { path: path.into(), named_by });
        let variable = variable.filter(|(_, path)| !path.is_empty());
        match (flag, variable) {
            (Some((flag, path)), _) => named(path, NamedBy::Flag(flag.to_owned())),
            (None, Some((variable, path))) => named(path, NamedBy::Variable(variable.to_owned())),
            (None, None) => otherwise,
        }
    }
}

impl fmt::Display for SettingsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings file `{}`", self.path.display())?;
        match &self.named_by {
            NamedBy::Flag(name) | NamedBy::Variable(name) => write!(f, ", which {name} names"),
            NamedBy::Program | NamedBy::Nobody => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_goes_before_a_variable_and_that_before_the_rest() {
        let file = |path: &str, named_by| SettingsFile { path: path.into(), named_by };
        let check = |flag: Option<&str>, variable: Option<&str>, left, expected: Option<&str>| {
            let flag = flag.map(|it| ("--config", OsStr::new(it)));
            let variable = variable.map(|it| ("CALLSIGN_CONFIG", OsStr::new(it)));
            let chosen = SettingsFile::choose(flag, variable, left);
            assert_eq!(chosen.map(|it| it.to_string()).as_deref(), expected);
        };
        let looked_for = || Some(file("callsign.toml", NamedBy::Nobody));
        let flag = Some("the settings file `a`, which --config names");
        let variable = Some("the settings file `b`, which CALLSIGN_CONFIG names");
        check(Some("a"), Some("b"), looked_for(), flag);
        check(None, Some("b"), looked_for(), variable);
        check(None, Some(""), looked_for(), Some("the settings file `callsign.toml`"));
        check(None, None, Some(file("c", NamedBy::Program)), Some("the settings file `c`"));
        check(None, Some(""), None, None);
    }
}
