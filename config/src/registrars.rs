//! The registrars that a client asks.

use std::{
    ffi::OsStr,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use endpoints::{Endpoint, Host, ParseEndpointError, TcpAddress, UnixAddress};

use crate::{
    diagnostic::{Diagnostic, Diagnostics},
    overrides::items,
    source::Source,
    text::Text,
    uses::{DEFAULT_PORT, Use, seen_from_here},
    values,
};

/// The variable of the environment that names the registrars to ask, with commas or spaces
/// between them.
pub const REGISTRARS_VARIABLE: &str = "CALLSIGN_REGISTRAR";

/// Tells whether the value of [`REGISTRARS_VARIABLE`] names any: a list of nothing is as good as
/// none.
///
/// ```
/// assert!(config::names_registrars("/unix/@market, /unix/@other"));
/// assert!(!config::names_registrars(" , "));
/// ```
pub fn names_registrars(variable: &str) -> bool {
    variable.contains(|it: char| it != ',' && !it.is_whitespace())
}

/// Returns the registrars to ask: those of the flags; else those of the variable
/// [`REGISTRARS_VARIABLE`]; else where the settings file lets the registrar `listen`; else the
/// [usual ones](default_registrars).
///
/// A wildcard address of the file is asked at the loopback.
///
/// # Errors
///
/// [`Diagnostics`] of the flags or the variable, or of a file whose registrar cannot be found
/// because it listens only at ports that the kernel picks.
pub fn registrars(
    flags: &[String],
    variable: Option<&str>,
    listen: &[Endpoint],
    runtime_dir: &Path,
) -> Result<Vec<Endpoint>, Diagnostics> {
    if !flags.is_empty() {
        let text = |flag: &String| Text::plain(&Source::shared("--registrar", flag), 0..flag.len());
        return read(flags.iter().map(text).collect());
    }
    let variable = variable.filter(|it| names_registrars(it));
    if let Some(variable) = variable {
        let source = Source::shared(REGISTRARS_VARIABLE, variable);
        return read(items(&Text::plain(&source, 0..variable.len())));
    }
    if listen.is_empty() {
        return default_registrars(runtime_dir).map_err(|error| {
            let source = Source::shared("runtime directory", error.text());
            let text = Text::plain(&source, 0..source.text.len());
            Diagnostics(vec![Diagnostic::error(error.to_string(), text.part(error.span()))])
        });
    }
    let dialed: Vec<_> = listen.iter().filter_map(seen_from_here).collect();
    if dialed.is_empty() {
        let named: Vec<_> = listen.iter().map(Endpoint::to_string).collect();
        let source = Source::shared("[registrar] listen", &named.join(", "));
        let text = Text::plain(&source, 0..source.text.len());
        let message = "the registrar of the settings file listens only at ports that are not known in advance";
        let help = "say where it is: --registrar <endpoint>".to_owned();
        return Err(Diagnostics(vec![Diagnostic::error(message, text.inside()).help(help)]));
    }
    Ok(dialed)
}

/// Returns the default endpoints of a registrar: a socket in
/// `runtime_dir`, the folder for this user's sockets, and port [`DEFAULT_PORT`] of the loopback.
///
/// # Errors
///
/// [`ParseEndpointError`] when `runtime_dir` is not an absolute, plain path.
pub fn default_registrars(runtime_dir: &Path) -> Result<Vec<Endpoint>, ParseEndpointError> {
    let socket = runtime_dir.join("registrar.sock");
    Ok(vec![Endpoint::from_unix_path(&socket)?, loopback_registrar()])
}

/// Returns where a registrar is asked that may be any user's: port [`DEFAULT_PORT`] of the
/// loopback.
fn loopback_registrar() -> Endpoint {
    let host = Host::Ip4(Ipv4Addr::LOCALHOST);
    Endpoint::Tcp(TcpAddress { host, port: DEFAULT_PORT, tls: false })
}

/// Returns the usual places in the order in which they are asked: the user's own registrar; that of the
/// system, behind it; then a port, which any program may have. What root starts without a session
/// (`is_for_all`) is for the whole system, and asks that instead of a registrar of its own.
///
/// ```
/// # use endpoints::Endpoint;
/// let (own, system): (Endpoint, Endpoint) = ("/unix/@own".parse()?, "/unix/@system".parse()?);
/// let port = "/ip4/127.0.0.1/tcp/1616".parse()?;
/// let usual = config::usual_registrars(Some(own), Some(system.clone()), true);
/// assert_eq!(usual, [system, port]);
/// # Ok::<(), endpoints::ParseEndpointError>(())
/// ```
pub fn usual_registrars(
    own: Option<Endpoint>,
    system: Option<Endpoint>,
    is_for_all: bool,
) -> Vec<Endpoint> {
    let own = own.filter(|_| !is_for_all || system.is_none());
    own.into_iter().chain(system).chain([loopback_registrar()]).collect()
}

/// Tells whether a registrar that is not told where to listen listens at an endpoint: some user's, or
/// that of the system.
pub(crate) fn is_usual_place(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => {
            // The folder is `callsign`, or `callsign-<uid>` in that of temporary files.
            let folder = path.as_path().parent().and_then(|it| it.file_name()?.to_str());
            let uid = folder.and_then(|it| it.strip_prefix("callsign"));
            path.as_path().ends_with("registrar.sock")
                && uid.is_some_and(|it| it.is_empty() || it.starts_with('-'))
        }
        Endpoint::Unix(_) | Endpoint::Memory(_) => false,
        Endpoint::Tcp(_) => endpoint.conflicts_with(&loopback_registrar()),
    }
}

/// Returns the folder of the system's registrar, which root runs and everybody may ask:
/// `/run/callsign`, unless the variable `CALLSIGN_SYSTEM_DIR` has another value. If that is empty,
/// there is none.
pub fn system_dir(variable: Option<&OsStr>) -> Option<PathBuf> {
    let folder = variable.map_or(Path::new(SYSTEM_DIR), Path::new);
    folder.is_absolute().then(|| folder.to_owned())
}

/// Returns where the registrar of the whole system listens, and is asked: a socket in its folder.
///
/// # Errors
///
/// [`ParseEndpointError`] when `system_dir` is not an absolute, plain path.
pub fn system_registrar(system_dir: &Path) -> Result<Endpoint, ParseEndpointError> {
    Endpoint::from_unix_path(&system_dir.join("registrar.sock"))
}

/// Names the folder of the registrar of the whole system.
pub const SYSTEM_DIR_VARIABLE: &str = "CALLSIGN_SYSTEM_DIR";

/// Only root can make it, so everybody trusts the listener there.
const SYSTEM_DIR: &str = "/run/callsign";

/// Reads configured endpoints, which must be dialable.
fn read(texts: Vec<Text>) -> Result<Vec<Endpoint>, Diagnostics> {
    let mut registrars = Vec::new();
    let mut diagnostics = Vec::new();
    for text in texts {
        let Some(endpoint) = values::multiaddr(&text, Use::Dialed, &mut diagnostics) else {
            continue;
        };
        if !registrars.contains(&endpoint) {
            registrars.push(endpoint);
        }
    }
    Diagnostics(diagnostics).or(registrars).map(|(registrars, _)| registrars)
}
