//! A command's context: the environment, the output, the registrars.

mod environment;
mod registrars;
pub(crate) mod tls;

use std::{
    fmt::{self, Display},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use anstream::{AutoStream, ColorChoice};
use config::{Diagnostics, INSECURE_VARIABLE, Settings, SettingsFile, Severity};
use discovery::{Client, ClientOptions, Trust};
use endpoints::Endpoint;
use serde::Serialize;
use serde_json::json;
use tracing_subscriber::EnvFilter;
use transport::RuntimeDirError;

pub(crate) use self::{environment::Environment, registrars::TRACTOR_PREFIX};
use crate::{
    console::Console,
    failure::Failure,
    global::{Color, Global},
    log_filter::{self, LogFilter},
    output::{
        self,
        diagnostics::{self, DiagnosticJson},
    },
    signals::Signals,
    standard::Output,
};

/// A command's context.
pub(crate) struct Context {
    /// Whether the output is for programs.
    pub(crate) json: bool,
    /// The global flags.
    pub(crate) global: Global,
    /// The variables that this program reads.
    pub(crate) environment: Environment,
    /// Standard error, and standard output without waiting.
    pub(crate) console: Console,
    /// Whether it was said that the certificate cannot be used.
    has_warned_of_tls: AtomicBool,
}

impl Context {
    pub(crate) fn new(global: Global, environment: Environment) -> Self {
        let console = Console::new(color(&global), global.json);
        let has_warned_of_tls = AtomicBool::new(false);
        Self { json: global.json, global, environment, console, has_warned_of_tls }
    }

    /// Returns standard output. Colours are left out unless it is a terminal.
    pub(crate) fn out(&self) -> AutoStream<Box<dyn Write>> {
        let choice = output::colored(std::io::stdout(), color(&self.global)).current_choice();
        AutoStream::new(Box::new(Output), choice)
    }

    /// Prints a text as it is; each line appears immediately.
    pub(crate) fn print(&self, text: impl Display) -> Result<(), Failure> {
        self.console.settle();
        stdout_is_there()?;
        let mut out = self.out();
        write!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::output)
    }

    /// Prints a long text, piece by piece.
    pub(crate) fn print_pieces(
        &self,
        mut pieces: impl Iterator<Item = String>,
    ) -> Result<(), Failure> {
        pieces.try_for_each(|it| self.print(it))
    }

    /// Prints text that may be longer than the screen: on a terminal through the user's pager. It is
    /// drawn in pieces that end with a line, and again if need be.
    pub(crate) fn print_in_pager<I: Iterator<Item = String>>(
        &self,
        draw: impl Fn() -> I,
    ) -> Result<(), Failure> {
        // An interrupt of the terminal is meant for the pager, and so is not to end this program.
        let _signals = Signals::new()?;
        if output::page(&draw, &self.environment).map_err(Failure::output)? {
            Ok(())
        } else {
            self.print_pieces(draw())
        }
    }

    /// Prints a line.
    pub(crate) fn print_line(&self, line: impl Display) -> Result<(), Failure> {
        self.print(format_args!("{line}\n"))
    }

    /// Prints a value as one line of JSON.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string(value).map_err(|error| Failure::output(error.into()))?;
        self.print_line(json)
    }

    /// Prints a line that is not missed if nobody reads it, without waiting.
    pub(crate) fn announce(&self, line: impl Display) {
        self.console.announce(&format!("{line}\n"));
    }

    /// Prints a value as [`announce`](Self::announce) does.
    pub(crate) fn announce_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string(value).map_err(|error| Failure::output(error.into()))?;
        self.announce(json);
        Ok(())
    }

    /// Prints a line as [`print_line`](Self::print_line) does, without blocking a caller that waits
    /// until it is taken.
    pub(crate) async fn print_patiently(&self, line: impl Display) -> Result<(), Failure> {
        self.console.settle();
        output::write_patiently(format!("{line}\n").into()).await.map_err(Failure::output)
    }

    /// Returns the width of a table; `None` if it need not fit. If standard output is no terminal,
    /// the variable COLUMNS decides.
    pub(crate) fn width(&self) -> Option<u16> {
        output::width(&std::io::stdout())
            .or_else(|| self.environment.text(COLUMNS_VARIABLE)?.parse().ok())
            .filter(|columns| *columns > 0)
    }

    /// Adopts the host id and the certificate of the settings, if there are such. It has to happen
    /// before anything is stamped, judged, bound or dialed. A certificate that cannot be used is a
    /// failure if one of these endpoints needs it, and otherwise a warning.
    pub(crate) fn take_identity(
        &self,
        settings: &Settings,
        endpoints: &[Endpoint],
    ) -> Result<(), Failure> {
        if let Some(host_id) = &settings.host_id {
            transport::set_host_id(host_id).map_err(Failure::usage)?;
        }
        let Some(tls) = &settings.tls else { return Ok(()) };
        let Err(unusable) = tls::follow(tls, &self.environment) else { return Ok(()) };
        if endpoints.iter().any(Endpoint::is_tls) {
            return Err(unusable.into());
        }
        if !self.has_warned_of_tls.swap(true, Ordering::Relaxed) {
            self.warn_of(unusable);
        }
        Ok(())
    }

    /// Reads the files of the certificate of the settings again, if there is one. Those that cannot
    /// be used are warned of, and the former certificate stays in use. Tells whether they can be used.
    pub(crate) fn renew_certificate(&self, settings: &Settings) -> bool {
        let Some(tls) = &settings.tls else { return true };
        let taken = tls::take(tls, &self.environment);
        taken.map_err(|unusable| self.warn_of(unusable)).is_ok()
    }

    fn warn_of(&self, unusable: tls::Unusable) {
        let Diagnostics(mut faults) = unusable.diagnostics;
        faults.iter_mut().for_each(|it| it.severity = Severity::Warning);
        self.warn(&Diagnostics(faults));
    }

    /// Adopts the certificate of the settings, if there is one.
    pub(crate) fn take_certificate(&self, settings: &Settings) -> Result<(), Failure> {
        match &settings.tls {
            Some(tls) => Ok(tls::take(tls, &self.environment)?),
            None => Ok(()),
        }
    }

    /// Connects to the registrars.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let registrars = self.registrars()?;
        self.take_identity(&self.settings()?, &registrars)?;
        Ok(Client::connect_with(&registrars, self.client_options()).await?)
    }

    /// Begins to connect to the registrars, which may start later than this program.
    pub(crate) fn open_client(&self) -> Result<Client, Failure> {
        // The folder of the system's registrar may be made by that.
        let registrars = self.registrars_where(|_| true)?;
        self.take_identity(&self.settings()?, &registrars)?;
        Ok(Client::open(registrars, self.client_options())?)
    }

    /// Returns the options of this program's client.
    pub(crate) fn client_options(&self) -> ClientOptions {
        let patience = self.global.patience;
        let insecure = self.settings().is_ok_and(|it| self.is_insecure(&it).unwrap_or(false));
        ClientOptions { patience, trust: self.trust(), insecure, ..ClientOptions::default() }
    }

    /// Tells whether TCP beyond the loopback may be without TLS.
    pub(crate) fn is_insecure(&self, settings: &Settings) -> Result<bool, Diagnostics> {
        let variable = self.environment.text(INSECURE_VARIABLE);
        let by_variable = config::is_insecure(variable.as_deref())?;
        Ok(by_variable || self.global.insecure || settings.registrar.insecure)
    }

    /// Tells whether the registrars were configured.
    fn trust(&self) -> Trust {
        let variable = self.environment.registrars();
        match () {
            () if !self.global.registrar.is_empty() => Trust::Named,
            () if variable.is_some() => Trust::Named,
            () if self.settings().is_ok_and(|it| !it.registrar.listen.is_empty()) => {
                Trust::Addresses
            }
            () => Trust::Usual,
        }
    }

    /// Returns the contents of the settings file, if there is one.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        Ok(self.settings_and_warnings()?.0)
    }

    /// Returns the contents of the settings file, if there is one, and its warnings.
    pub(crate) fn settings_and_warnings(&self) -> Result<(Settings, Diagnostics), Failure> {
        let read =
            self.settings_file().map_or_else(|| Ok(Default::default()), |it| settings_of(&it));
        let (settings, warnings) = read?;
        self.is_insecure(&settings)?;
        Ok((settings, warnings))
    }

    /// Returns which settings file is read, if one is.
    pub(crate) fn settings_file(&self) -> Option<SettingsFile> {
        let flag = self.global.config.as_ref().map(|path| ("--config", path.as_os_str()));
        let variable = self.environment.raw(CONFIG_VARIABLE).map(|path| (CONFIG_VARIABLE, path));
        SettingsFile::choose(flag, variable, None)
    }

    /// Prints faults to standard error.
    pub(crate) fn warn(&self, diagnostics: &Diagnostics) {
        let width = output::width(&std::io::stderr());
        if self.json {
            for diagnostic in &diagnostics.0 {
                let object = json!({ "warning": DiagnosticJson::from(diagnostic) });
                self.console.say(&format!("{object}\n"));
            }
            return;
        }
        for drawn in diagnostics::draw_all(&diagnostics.0, width) {
            self.console.say(&(drawn + "\n"));
        }
    }

    /// Returns the folder for this user's sockets, and makes it if it is not there.
    pub(crate) fn runtime_dir(&self) -> Result<PathBuf, Failure> {
        let Environment { temp_dir, .. } = &self.environment;
        transport::runtime_dir(self.environment.raw("XDG_RUNTIME_DIR"), temp_dir).map_err(|error| {
            let failure = match error {
                RuntimeDirError::Accident { .. } => Failure::failed(error),
                _ => Failure::usage(error),
            };
            failure.hint("or do without it: say where to listen, by `--listen ENDPOINT`")
        })
    }

    /// Tells whether the environment names a folder for this user's sockets, owned by the user.
    pub(crate) fn has_runtime_dir(&self) -> bool {
        let Environment { temp_dir, .. } = &self.environment;
        transport::runtime_dir_path(self.environment.raw("XDG_RUNTIME_DIR"), temp_dir).is_ok()
    }

    /// Sends log events to standard error, and returns what the user's filter says in vain.
    pub(crate) fn start_logging(&self) -> Result<Vec<String>, Failure> {
        let by_flag = match self.global.verbose {
            0 => "warn",
            1 => "info",
            2 => "debug",
            _ => "trace",
        };
        let variable = self.environment.text(LOG_VARIABLE).filter(|_| self.global.verbose == 0);
        let asked = variable.as_deref().map(LogFilter::read).unwrap_or_default();
        let by = if asked.known.is_empty() { by_flag } else { &asked.known };
        let filter = EnvFilter::try_new(by).map_err(|error| {
            Failure::usage(error)
                .context(format!("{LOG_VARIABLE} cannot be read"))
                .hint(log_filter::EXPECTED)
        })?;
        self.console.start_logging(filter);
        let in_vain = |it: &String| {
            let said = format!("`{it}` of {LOG_VARIABLE} is no level, and no part of callsign");
            format!("{said}; {}", log_filter::EXPECTED)
        };
        Ok(asked.unknown.iter().map(in_vain).collect())
    }
}

/// Fails if this program was started without a standard output.
fn stdout_is_there() -> Result<(), Failure> {
    transport::stdout_closed().map_or(Ok(()), |error| Err(Failure::output(error)))
}

/// Returns the contents of a settings file, and its warnings.
pub(crate) fn settings_of(file: &SettingsFile) -> Result<(Settings, Diagnostics), Failure> {
    let text = file.read().map_err(|error| {
        let failure = Failure::system(error).context(format!("cannot read {file}"));
        let is_dash = file.path == Path::new("-");
        let of_input = "`-` is the name of a file here; `callsign check -` reads standard input";
        if is_dash { failure.hint(of_input) } else { failure }
    })?;
    Ok(config::read(&text, &file.path.to_string_lossy())?)
}

fn color(global: &Global) -> ColorChoice {
    match global.color {
        Color::Auto => ColorChoice::Auto,
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

const COLUMNS_VARIABLE: &str = "COLUMNS";
/// The variable that names the settings file.
pub(crate) const CONFIG_VARIABLE: &str = "CALLSIGN_CONFIG";
const LOG_VARIABLE: &str = "CALLSIGN_LOG";
