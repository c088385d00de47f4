//! The files of a program's certificate, as they are meant.

use std::path::PathBuf;

use endpoints::Quoted;

use crate::{
    diagnostic::{Diagnostic, Place},
    text::Text,
    written::WrittenTls,
};

/// The files of a program's certificate. Whether they are there is for the program to find out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsSettings {
    /// The authorities that sign the certificates of peers: a file, or a folder of files.
    pub ca: TlsPath,
    /// The certificate.
    pub certificate: TlsPath,
    /// Its private key.
    pub key: TlsPath,
}

/// A path of `[tls]` or `[cluster]`, which remembers its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsPath {
    /// The path as it is written. It may begin with [`CREDENTIALS`](Self::CREDENTIALS).
    pub written: String,
    place: Place,
}

impl TlsPath {
    /// What stands for the folder of a systemd service's credentials at the beginning of a path.
    pub const CREDENTIALS: &str = "$CREDENTIALS_DIRECTORY";

    /// The variable with that folder, which systemd sets.
    pub const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

    /// Returns the path, with the folder of the service's credentials in its place; `None` if the
    /// path names that folder, and there is none.
    ///
    /// ```
    /// let text = "[tls]\nca = \"ca.pem\"\ncertificate = \"it.pem\"\n\
    ///             key = \"$CREDENTIALS_DIRECTORY/it.key\"\n";
    /// let (settings, _) = config::read(text, "node.toml")?;
    /// let key = settings.tls.ok_or("no table")?.key;
    /// assert_eq!(key.path(Some("/run/credentials/it".as_ref())), Some("/run/credentials/it/it.key".into()));
    /// assert_eq!(key.path(None), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn path(&self, credentials: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
        match self.written.strip_prefix(Self::CREDENTIALS) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                Some(PathBuf::from(credentials?).join(rest.trim_start_matches('/')))
            }
            _ => Some(PathBuf::from(&self.written)),
        }
    }

    pub(crate) fn read(text: &Text, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        if text.value.is_empty() || text.value.contains('\0') {
            let message = format!("{} is not a path", Quoted(&text.value));
            diagnostics.push(Diagnostic::error(message, text.inside()));
            return None;
        }
        Some(Self { written: text.value.clone(), place: text.inside() })
    }

    /// Describes a doubt about the file, at the place of the path.
    pub fn doubt(&self, message: String, help: &str) -> Diagnostic {
        Diagnostic::warning(message, self.place.clone()).help(help.to_owned())
    }

    /// Describes a fault of the file, at the place of the path.
    pub fn fault(&self, message: String, help: &str) -> Diagnostic {
        let diagnostic = Diagnostic::error(message, self.place.clone());
        if help.is_empty() { diagnostic } else { diagnostic.help(help.to_owned()) }
    }
}

/// Reads the table, if there is one: with all of its keys.
pub(crate) fn tls(written: &WrittenTls, diagnostics: &mut Vec<Diagnostic>) -> Option<TlsSettings> {
    let place = written.place.as_ref()?;
    let mut path = |key: &str, text: &Option<Text>| match text {
        None if written.mistyped.contains(&key) => None,
        None => {
            let message = format!("`[tls]` has no `{key}`");
            let help = "it takes `ca`, `certificate` and `key`, as `callsign keys` makes them";
            diagnostics.push(Diagnostic::error(message, place.clone()).help(help.to_owned()));
            None
        }
        Some(text) => TlsPath::read(text, diagnostics),
    };
    let [ca, certificate, key] = [
        path("ca", &written.ca),
        path("certificate", &written.certificate),
        path("key", &written.key),
    ];
    Some(TlsSettings { ca: ca?, certificate: certificate?, key: key? })
}
