//! The settings file of a program of actors.
//!
//! This is the one place of the library that looks at the arguments and the environment of its
//! process, and it does so only where the program has asked for it.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use config::{
    Diagnostics, NamedBy, Settings, SettingsFile, TlsPath, TlsSettings, default_registrars,
};
use endpoints::Endpoint;
use thiserror::Error;
use transport::{TlsFile, TlsFiles};

/// The way a program finds its settings file, which is the program's choice: by a flag, by an
/// environment variable, by a path. The first that is present counts, in this order.
///
/// ```
/// # use callsign_tree::SettingsSource;
/// let source = SettingsSource::new()
///     .flag("--config")
///     .env("MARKET_CONFIG")
///     .file("market.toml");
/// # assert!(source.read().is_ok());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use = "nothing is read by itself"]
pub struct SettingsSource {
    flag: Option<String>,
    variable: Option<String>,
    file: Option<SettingsFile>,
}

impl SettingsSource {
    /// Finds none. There are no settings then, which is as good as an empty file.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::SettingsSource;
    ///
    /// assert!(SettingsSource::new().read()?.network.is_empty());
    /// # Ok::<(), callsign::SettingsError>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the file at a place, where it has to be.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::SettingsSource;
    ///
    /// let missing = SettingsSource::at("/no/such/market.toml");
    /// assert!(missing.read().is_err(), "it has to be there");
    /// ```
    pub fn at(path: impl AsRef<Path>) -> Self {
        Self { file: Some(file(path.as_ref(), NamedBy::Program)), ..Self::default() }
    }

    /// Reads a flag of the command line, given with its dashes: `--config FILE` or `--config=FILE`,
    /// before a bare `--`.
    ///
    /// The arguments stay as they are. A program that parses them itself sees the flag too, and
    /// must expect it.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::SettingsSource;
    ///
    /// let source = SettingsSource::new().flag("--config");
    /// assert!(source.read().is_ok(), "without the flag there are no settings");
    /// ```
    ///
    /// # Panics
    ///
    /// If the flag does not begin with a dash: any word of the command line could be it.
    pub fn flag(mut self, flag: &str) -> Self {
        assert!(flag.starts_with('-'), "the flag `{flag}` does not begin with a dash");
        self.flag = Some(flag.to_owned());
        self
    }

    /// Reads an environment variable. An empty one counts as unset.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::SettingsSource;
    ///
    /// let source = SettingsSource::new().env("CALLSIGN_DOC_NOT_SET");
    /// assert!(source.read().is_ok(), "without the variable there are no settings");
    /// ```
    pub fn env(mut self, variable: &str) -> Self {
        self.variable = Some(variable.to_owned());
        self
    }

    /// Looks for the file at a place, where it may be or not; one that is relative is seen from
    /// the working directory.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::SettingsSource;
    ///
    /// let source = SettingsSource::new().file("no-such-market.toml");
    /// assert!(source.read().is_ok(), "it may be missing");
    /// ```
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        self.file = Some(file(path.as_ref(), NamedBy::Nobody));
        self
    }

    /// Reads the settings. Warnings go to the log.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::SettingsSource;
    ///
    /// let settings = SettingsSource::new().read()?;
    /// assert!(settings.network.is_empty(), "there is no file");
    /// # Ok::<(), callsign::SettingsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SettingsError`]. A file that was named explicitly must exist.
    pub fn read(&self) -> Result<Settings, SettingsError> {
        match self.choose(env::args_os().skip(1), |variable| env::var_os(variable))? {
            Some(file) => read(file),
            None => Ok(Settings::default()),
        }
    }

    fn choose(
        &self,
        arguments: impl Iterator<Item = OsString>,
        variable: impl FnOnce(&str) -> Option<OsString>,
    ) -> Result<Option<SettingsFile>, SettingsError> {
        let flag = match &self.flag {
            Some(flag) => said(flag, arguments)?.map(|path| (flag, path)),
            None => None,
        };
        let variable = self.variable.as_ref().and_then(|it| Some((it, variable(it)?)));
        let flag = flag.as_ref().map(|(flag, path)| (flag.as_str(), path.as_os_str()));
        let variable = variable.as_ref().map(|(name, path)| (name.as_str(), path.as_os_str()));
        Ok(SettingsFile::choose(flag, variable, self.file.clone()))
    }
}

/// Returns the default endpoints of a registrar.
///
/// # Errors
///
/// The reason why the folder for sockets cannot be used.
pub(crate) fn usual_registrars() -> Result<Vec<Endpoint>, String> {
    let xdg = env::var_os("XDG_RUNTIME_DIR");
    let folder = transport::runtime_dir(xdg.as_deref(), &env::temp_dir())
        .map_err(|error| portal::WithCauses(&error).to_string())?;
    default_registrars(&folder)
        .map_err(|error| format!("the folder for sockets cannot be used: {error}"))
}

/// Listens and dials with the certificate that settings name, from now on or from when its files can
/// be used.
///
/// # Errors
///
/// The fault of a file at present, at the place of its path.
pub(crate) fn follow_certificate(tls: &TlsSettings) -> Result<(), Diagnostics> {
    let folder = env::var_os(TlsPath::CREDENTIALS_VARIABLE);
    let path = |it: &TlsPath| {
        it.path(folder.as_deref()).ok_or_else(|| {
            let message = format!("`{}` is not set", TlsPath::CREDENTIALS);
            let help = "systemd sets it for a service with `LoadCredential=`";
            Diagnostics(vec![it.fault(message, help)])
        })
    };
    let (ca, certificate, key) = (path(&tls.ca)?, path(&tls.certificate)?, path(&tls.key)?);
    transport::follow_tls(TlsFiles { ca, certificate, key }).map_err(|error| {
        let path = match error.file {
            TlsFile::Ca => &tls.ca,
            TlsFile::Certificate => &tls.certificate,
            TlsFile::Key => &tls.key,
        };
        Diagnostics(vec![path.fault(error.to_string(), &error.remedy())])
    })
}

fn file(path: &Path, named_by: NamedBy) -> SettingsFile {
    SettingsFile { path: path.to_owned(), named_by }
}

/// Returns the value of a flag in the arguments.
fn said(
    flag: &str,
    mut arguments: impl Iterator<Item = OsString>,
) -> Result<Option<OsString>, SettingsError> {
    let mut said = None;
    while let Some(argument) = arguments.next() {
        let path = match argument.as_bytes().strip_prefix(flag.as_bytes()) {
            _ if argument == "--" => break,
            Some([]) => arguments.next().unwrap_or_default(),
            Some([b'=', path @ ..]) => OsString::from(OsStr::from_bytes(path)),
            _ => continue,
        };
        if path.is_empty() {
            return Err(SettingsError::NoFile(flag.to_owned()));
        }
        if said.replace(path).is_some() {
            return Err(SettingsError::Twice(flag.to_owned()));
        }
    }
    Ok(said)
}

fn read(file: SettingsFile) -> Result<Settings, SettingsError> {
    let source = match file.read() {
        Ok(source) => source,
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && file.named_by == NamedBy::Nobody =>
        {
            return Ok(Settings::default());
        }
        Err(source) => return Err(SettingsError::Unreadable { file, source }),
    };
    let (settings, warnings) = config::read(&source, &file.path.display().to_string())?;
    for warning in warnings.0 {
        tracing::warn!(target: "callsign", "{warning}");
    }
    Ok(settings)
}

/// Why there are no settings.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{SettingsError, SettingsSource};
///
/// let error = SettingsSource::at("/no/such/market.toml").read().unwrap_err();
/// assert!(matches!(error, SettingsError::Unreadable { .. }));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {file}")]
    Unreadable {
        /// The file, and the origin of its name.
        file: SettingsFile,
        /// Why.
        source: io::Error,
    },
    /// The contents of the file are wrong.
    #[error(transparent)]
    Diagnostics(#[from] Diagnostics),
    /// The flag is the last argument, or names nothing.
    #[error("{0} needs a settings file after it")]
    NoFile(String),
    /// The flag is given twice with different files.
    #[error("{0} is given twice")]
    Twice(String),
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn all() -> SettingsSource {
        SettingsSource::new().flag("--config").env("MARKET").file("market.toml")
    }

    #[test]
    fn the_flag_is_read_and_all_else_is_left_alone() {
        let check = |arguments: &str, expected: Result<Option<&str>, &str>| {
            let arguments = arguments.split(' ').map(OsString::from);
            let said = said("--config", arguments).map_err(|it| it.to_string());
            let expected = expected.map(|it| it.map(OsString::from)).map_err(str::to_owned);
            assert_eq!(said, expected);
        };
        check("--verbose serve", Ok(None));
        check("--verbose --config a.toml serve", Ok(Some("a.toml")));
        check("serve --config=a=b.toml", Ok(Some("a=b.toml")));
        check("--config -- serve", Ok(Some("--")));
        check("--configure --config-dir=/etc", Ok(None));
        check("-- --config a.toml", Ok(None));
        check("serve --config", Err("--config needs a settings file after it"));
        check("serve --config=", Err("--config needs a settings file after it"));
        check("--config a --config=b", Err("--config is given twice"));
        let raw = OsStr::from_bytes(b"--config=\xff.toml").to_owned();
        let path = said("--config", [raw].into_iter()).unwrap().unwrap();
        assert_eq!(path.as_bytes(), b"\xff.toml");
    }

    #[test]
    fn the_first_way_that_says_something_is_followed() {
        let check = |source: SettingsSource, arguments: &str, variable, expected: Option<&str>| {
            let arguments = arguments.split(' ').map(OsString::from);
            let variable = |_: &str| Option::<&str>::map(variable, OsString::from);
            let chosen = source.choose(arguments, variable).unwrap();
            assert_eq!(chosen.map(|it| it.path.display().to_string()).as_deref(), expected);
        };
        check(all(), "--config a", Some("b"), Some("a"));
        check(all(), "serve", Some("b"), Some("b"));
        check(all(), "serve", Some(""), Some("market.toml"));
        check(all(), "serve", None, Some("market.toml"));
        // A source that the program did not choose is ignored.
        check(SettingsSource::new().env("MARKET"), "--config a", None, None);
        check(SettingsSource::new().flag("--config"), "serve", Some("b"), None);
        check(SettingsSource::at("c").flag("--config"), "serve", Some("b"), Some("c"));
        check(SettingsSource::at("c").flag("--config"), "--config a", None, Some("a"));
        check(SettingsSource::new(), "--config a", Some("b"), None);
    }

    #[test]
    fn a_file_that_somebody_has_named_has_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.toml");
        let shown = missing.display();
        let check = |named_by, expected: Option<String>| {
            let settings = read(file(&missing, named_by));
            assert_eq!(settings.err().map(|it| it.to_string()), expected);
        };
        let says = |by: &str| Some(format!("cannot read the settings file `{shown}`{by}"));
        check(NamedBy::Flag("--config".to_owned()), says(", which --config names"));
        check(NamedBy::Variable("MARKET".to_owned()), says(", which MARKET names"));
        check(NamedBy::Program, says(""));
        check(NamedBy::Nobody, None);

        // A file that exists must be readable, whatever named it.
        let folder_itself = read(file(folder.path(), NamedBy::Nobody)).unwrap_err();
        assert!(matches!(folder_itself, SettingsError::Unreadable { .. }), "{folder_itself}");
        let wrong = folder.path().join("wrong.toml");
        fs::write(&wrong, "[network]\nfeed = 7\n").unwrap();
        let error = read(file(&wrong, NamedBy::Nobody)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{}:2:", wrong.display())), "{error}");
        fs::write(&wrong, "[network]\nfeed = \"/unix/@feed\"\n").unwrap();
        let settings = read(file(&wrong, NamedBy::Nobody)).unwrap();
        assert_eq!(settings.network.get("feed").map(<[_]>::len), Some(1));
    }
}
