//! The registrars that the environment of the process names.

use std::{ffi::OsString, path::Path};

use config::{REGISTRARS_VARIABLE, Settings, SettingsFile, TlsPath};
use endpoints::Endpoint;
use rustix::process::geteuid;
use tracing::warn;
use transport::TlsFiles;

use crate::{
    Client, ClientOptions, ConnectError, EnvironmentError, Trust, failure::CONFIG_VARIABLE,
};

impl Client {
    /// Connects to the registrars of the environment, as the commands do, and waits until one of
    /// them answers. It asks
    ///
    /// 1. those in `CALLSIGN_REGISTRAR`, separated by commas or spaces;
    /// 2. else the registrar of the settings file in `CALLSIGN_CONFIG`, at the endpoints in that
    ///    file;
    /// 3. else those at the usual places: this user's folder for sockets, the system's, and port
    ///    1616 of the loopback. They are trusted as [`Trust::Usual`] says.
    ///
    /// The process uses the host id and the certificate (`[tls]`) of the settings file, if there are
    /// such; a certificate that cannot be used is a fault if one of those registrars has TLS, and else
    /// is logged. With `insecure = true` in it, or `CALLSIGN_INSECURE=true`, a registrar beyond the
    /// loopback may be without TLS.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// // The registrars that `callsign` asks by default.
    /// let client = callsign::Client::from_env().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if none answers, or the environment's settings are invalid.
    ///
    /// # Panics
    ///
    /// As [`open`](Self::open).
    pub async fn from_env() -> Result<Self, ConnectError> {
        Self::from_env_with(ClientOptions::default()).await
    }

    /// Connects as [`from_env`](Self::from_env) does, with options, but for their `trust`; either
    /// these or the settings file may be `insecure`.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Client, ClientOptions};
    ///
    /// let options = ClientOptions { agent: "market/1.0".to_owned(), ..ClientOptions::default() };
    /// let client = Client::from_env_with(options).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    ///
    /// # Panics
    ///
    /// As [`open`](Self::open).
    pub async fn from_env_with(options: ClientOptions) -> Result<Self, ConnectError> {
        let (registrars, options) = of_process(Path::is_dir, options)?;
        Self::connect_with(registrars, options).await
    }

    /// Begins to connect to the registrars that [`from_env`](Self::from_env) asks, and does not
    /// wait, as [`open`](Self::open) does: for a program that may start before its registrar.
    ///
    /// ```
    /// # use callsign_discovery as callsign;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Client, ClientOptions};
    ///
    /// let client = Client::open_from_env(ClientOptions::default())?;
    /// // Goes on as soon as there is a registrar that knows a feed.
    /// client.wait_for_actor("feed").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when what the environment says cannot be followed.
    ///
    /// # Panics
    ///
    /// As [`open`](Self::open).
    pub fn open_from_env(options: ClientOptions) -> Result<Self, ConnectError> {
        // The folder of the system's registrar may be made by that.
        let (registrars, options) = of_process(|_| true, options)?;
        Self::open(registrars, options)
    }
}

/// Returns the registrars that the environment of this process names, and the options for them.
fn of_process(
    has_system: fn(&Path) -> bool,
    options: ClientOptions,
) -> Result<(Vec<Endpoint>, ClientOptions), EnvironmentError> {
    let variable = |name: &str| std::env::var_os(name);
    let settings = settings(variable)?;
    if let Some(host_id) = &settings.host_id {
        transport::set_host_id(host_id)?;
    }
    let mut tls_fault = None;
    if let Some(tls) = &settings.tls {
        let folder = variable(TlsPath::CREDENTIALS_VARIABLE);
        // Without that folder the path is as it is written: no such file.
        let path =
            |it: &TlsPath| it.path(folder.as_deref()).unwrap_or_else(|| (&it.written).into());
        let (ca, certificate, key) = (path(&tls.ca), path(&tls.certificate), path(&tls.key));
        tls_fault = transport::follow_tls(TlsFiles { ca, certificate, key }).err();
    }
    let (registrars, trust) = registrars(variable, &settings, &std::env::temp_dir(), has_system)?;
    match tls_fault {
        // Registrars without TLS are reached without a certificate.
        Some(error) if registrars.iter().any(Endpoint::is_tls) => return Err(error.into()),
        Some(error) => warn!(%error, "no TLS until the certificate can be used"),
        None => {}
    }
    let by_variable = text(variable, config::INSECURE_VARIABLE)?;
    let by_variable =
        config::is_insecure(by_variable.as_deref()).map_err(EnvironmentError::Settings)?;
    let insecure = options.insecure || by_variable || settings.registrar.insecure;
    Ok((registrars, ClientOptions { trust, insecure, ..options }))
}

/// Returns the settings that an environment names.
fn settings(variable: impl Fn(&str) -> Option<OsString>) -> Result<Settings, EnvironmentError> {
    let named = variable(CONFIG_VARIABLE);
    let named = named.as_deref().map(|path| (CONFIG_VARIABLE, path));
    let Some(file) = SettingsFile::choose(None, named, None) else {
        return Ok(Settings::default());
    };
    let path = file.path.clone();
    let text = file.read().map_err(|source| EnvironmentError::File { path, source })?;
    let read = config::read(&text, &file.path.to_string_lossy());
    Ok(read.map_err(EnvironmentError::Settings)?.0)
}

/// Returns a variable as text. Bytes in place of others would mean another place.
fn text(
    variable: impl Fn(&str) -> Option<OsString>,
    name: &'static str,
) -> Result<Option<String>, EnvironmentError> {
    let text = variable(name).map(OsString::into_string).transpose();
    text.map_err(|value| EnvironmentError::NotUtf8 { variable: name, value })
}

/// Returns the registrars that an environment names, or the default ones; the latter include the
/// system's, if its folder is trusted.
fn registrars(
    variable: impl Fn(&str) -> Option<OsString>,
    settings: &Settings,
    temp_dir: &Path,
    has_system: fn(&Path) -> bool,
) -> Result<(Vec<Endpoint>, Trust), EnvironmentError> {
    let named = text(&variable, REGISTRARS_VARIABLE)?;
    let named = named.filter(|it| config::names_registrars(it));
    let listen = &settings.registrar.listen;
    let is_usual = named.is_none() && listen.is_empty();
    let registrars = if is_usual {
        usual_registrars(&variable, temp_dir, has_system)
    } else {
        config::registrars(&[], named.as_deref(), listen, Path::new("/"))
            .map_err(EnvironmentError::Settings)?
    };
    let trust = match named {
        Some(_) => Trust::Named,
        None if is_usual => Trust::Usual,
        None => Trust::Addresses,
    };
    Ok((registrars, trust))
}

/// Returns the usual places. A client that only looks up can do without those that cannot be known.
fn usual_registrars(
    variable: impl Fn(&str) -> Option<OsString>,
    temp_dir: &Path,
    has_system: fn(&Path) -> bool,
) -> Vec<Endpoint> {
    let session = variable("XDG_RUNTIME_DIR").filter(|it| !it.is_empty());
    let own = transport::runtime_dir(session.as_deref(), temp_dir)
        .inspect_err(|error| {
            tracing::warn!(target: "callsign", %error, "this user's own registrar is not asked");
        })
        .ok();
    let own = own.and_then(|it| config::default_registrars(&it).ok()?.into_iter().next());
    let system = config::system_dir(variable(config::SYSTEM_DIR_VARIABLE).as_deref());
    let system = system.filter(|it| has_system(it));
    let is_for_all =
        geteuid().is_root() && session.is_none() && system.as_ref().is_some_and(|it| it.is_dir());
    let system = system.and_then(|it| config::system_registrar(&it).ok());
    config::usual_registrars(own, system, is_for_all)
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    };

    use super::*;

    #[test]
    fn the_variable_goes_over_the_file_and_that_over_the_usual_places() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("market.toml");
        std::fs::write(&file, "[registrar]\nlisten = \"/ip4/0.0.0.0/tcp/7616\"\n").unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let broken = folder.path().join("broken.toml");
        std::fs::write(&broken, "[registrar]\nlisten = 7\n").unwrap();
        let check = |variables: &[(&str, &Path)], expected: Result<&[&str], &str>| {
            let of = |name: &str| {
                let (_, value) = variables.iter().find(|(it, _)| *it == name)?;
                Some(value.as_os_str().to_owned())
            };
            let of = |name: &str| match name {
                config::SYSTEM_DIR_VARIABLE => of(name).or(Some(OsString::new())),
                _ => of(name),
            };
            let found =
                settings(of).and_then(|it| registrars(of, &it, folder.path(), Path::is_dir));
            match (found, expected) {
                (Ok((found, _)), Ok(expected)) => {
                    let found: Vec<_> = found.iter().map(Endpoint::to_string).collect();
                    assert_eq!(found, expected);
                }
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                (found, _) => panic!("{variables:?}: {found:?}"),
            }
        };
        let two = Path::new("/unix/@market, /ip4/10.0.0.7/tcp/1616");
        let named: &[&str] = &["/unix/@market", "/ip4/10.0.0.7/tcp/1616"];
        check(&[("CALLSIGN_REGISTRAR", two)], Ok(named));
        check(&[("CALLSIGN_REGISTRAR", two), ("CALLSIGN_CONFIG", &file)], Ok(named));
        check(&[("CALLSIGN_CONFIG", &file)], Ok(&["/ip4/127.0.0.1/tcp/7616"]));
        let socket = format!("/unix{}/callsign/registrar.sock", folder.path().display());
        let usual: &[&str] = &[&socket, "/ip4/127.0.0.1/tcp/1616"];
        let empty = Path::new("");
        let own = ("XDG_RUNTIME_DIR", folder.path());
        check(&[own, ("CALLSIGN_REGISTRAR", empty), ("CALLSIGN_CONFIG", empty)], Ok(usual));
        // As scripts write it whose own variables are empty.
        for blank in [" ", ",", " , ", "\n"] {
            check(&[own, ("CALLSIGN_REGISTRAR", Path::new(blank))], Ok(usual));
        }

        // Without a folder of the user's own, only places that any program may have are left.
        let gone = ("XDG_RUNTIME_DIR", Path::new("/nowhere/at/all"));
        check(&[gone], Ok(&["/ip4/127.0.0.1/tcp/1616"]));
        check(
            &[gone, (config::SYSTEM_DIR_VARIABLE, folder.path())],
            Ok(&[&format!("/unix{}/registrar.sock", folder.path().display()), usual[1]]),
        );
        // What root starts without a session is for the whole system.
        let system = format!("/unix{}/registrar.sock", folder.path().display());
        let user = geteuid();
        let of_user = format!("/unix{}/callsign-{user}/registrar.sock", folder.path().display());
        let all = [&*of_user, &system, usual[1]];
        let found = if user.is_root() { &all[1..] } else { &all };
        check(&[(config::SYSTEM_DIR_VARIABLE, folder.path())], Ok(found));
        check(
            &[("XDG_RUNTIME_DIR", empty), (config::SYSTEM_DIR_VARIABLE, folder.path())],
            Ok(found),
        );
        check(&[(config::SYSTEM_DIR_VARIABLE, &file)], Ok(&[&of_user, usual[1]]));
        // A program that starts before the system's registrar watches its future place.
        let to_come = folder.path().join("system");
        let of = |name: &str| match name {
            config::SYSTEM_DIR_VARIABLE => Some(to_come.clone().into_os_string()),
            "XDG_RUNTIME_DIR" => Some(folder.path().as_os_str().to_owned()),
            _ => None,
        };
        let none = Settings::default();
        let count = |has_system| registrars(of, &none, folder.path(), has_system).unwrap().0.len();
        assert_eq!((count(Path::is_dir), count(|_| true)), (2, 3));

        let broken_path = Path::new(OsStr::from_bytes(b"/unix/tmp/\xff.sock"));
        check(
            &[("CALLSIGN_REGISTRAR", broken_path)],
            Err("CALLSIGN_REGISTRAR is no UTF-8: `/unix/tmp/\\xff.sock`"),
        );
        check(&[("CALLSIGN_REGISTRAR", Path::new("feed"))], Err("no `/` at the beginning"));
        check(&[("CALLSIGN_CONFIG", Path::new("/no/such"))], Err("cannot read the settings file"));
        check(&[("CALLSIGN_CONFIG", &broken)], Err("broken.toml"));
    }
}
