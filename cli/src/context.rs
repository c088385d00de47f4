//! What a command has at hand: the environment, the output, the registrars.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fmt::{self, Display},
    fs::DirBuilder,
    io::{self, Stdout, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anstream::{AutoStream, ColorChoice};
use anyhow::anyhow;
use config::{Diagnostics, REGISTRARS_VARIABLE, Settings, SettingsFile};
use discovery::{Client, ClientOptions, Trust};
use endpoints::{Endpoint, ParseEndpointError};
use serde::Serialize;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

use crate::{
    console::Console,
    failure::Failure,
    global::{Color, Global},
    notice::{warn, with_causes},
    output::{
        self,
        diagnostics::{self, DiagnosticJson},
    },
    signals::Signals,
};

/// What a command has at hand.
pub(crate) struct Context {
    /// Whether the output is for programs.
    pub(crate) json: bool,
    /// What was said on the command line for all commands.
    pub(crate) global: Global,
    /// The variables that this program reads.
    pub(crate) environment: Environment,
    /// Standard error, and standard output where nobody is waited for.
    pub(crate) console: Console,
}

impl Context {
    pub(crate) fn new(global: Global, environment: Environment) -> Self {
        let console = Console::new(color(&global), global.json);
        Self { json: global.json, global, environment, console }
    }

    /// Returns standard output. Colours are left out unless it is a terminal.
    pub(crate) fn out(&self) -> AutoStream<Stdout> {
        AutoStream::new(std::io::stdout(), color(&self.global))
    }

    /// Prints a text as it is; a line of it is seen at once.
    pub(crate) fn print(&self, text: impl Display) -> Result<(), Failure> {
        self.console.settle();
        let mut out = self.out();
        write!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::output)
    }

    /// Prints what may be longer than the screen: on a terminal through the user's pager.
    pub(crate) fn print_in_pager(&self, text: String) -> Result<(), Failure> {
        // An interrupt of the terminal is meant for the pager, and so is not to end this program.
        let _signals = Signals::new()?;
        match output::page(&text, &self.environment).map_err(Failure::output)? {
            true => Ok(()),
            false => self.print(text),
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

    /// Prints a line that is not missed if nobody reads it, and waits for nobody.
    pub(crate) fn announce(&self, line: impl Display) {
        self.console.announce(&format!("{line}\n"));
    }

    /// Prints a value as [`announce`](Self::announce) does.
    pub(crate) fn announce_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string(value).map_err(|error| Failure::output(error.into()))?;
        self.announce(json);
        Ok(())
    }

    /// Prints a line as [`print_line`](Self::print_line) does; whoever waits until it is taken can
    /// do something else meanwhile.
    pub(crate) async fn print_patiently(&self, line: impl Display) -> Result<(), Failure> {
        self.console.settle();
        let mut out = tokio::io::stdout();
        let line = format!("{line}\n");
        out.write_all(line.as_bytes()).await.map_err(Failure::output)?;
        out.flush().await.map_err(Failure::output)
    }

    /// Returns how wide a table may be; nothing if it need not fit anywhere. Where standard output
    /// is no terminal, the variable COLUMNS says it.
    pub(crate) fn width(&self) -> Option<u16> {
        output::width(&std::io::stdout())
            .or_else(|| self.environment.text(COLUMNS_VARIABLE)?.parse().ok())
            .filter(|columns| *columns > 0)
    }

    /// Lets this process go by the host id of the settings, if there is one. It is for before
    /// anything is stamped or judged.
    pub(crate) fn take_host_id(&self, settings: &Settings) -> Result<(), Failure> {
        match &settings.host_id {
            Some(host_id) => transport::set_host_id(host_id).map_err(Failure::usage),
            None => Ok(()),
        }
    }

    /// Connects to the registrars.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        self.take_host_id(&self.settings()?)?;
        let registrars = self.registrars()?;
        Ok(Client::connect_with(&registrars, self.client_options()).await?)
    }

    /// Begins to connect to the registrars, which may be there later than this.
    pub(crate) fn open_client(&self) -> Result<Client, Failure> {
        self.take_host_id(&self.settings()?)?;
        // The folder of the system's registrar may be made by that.
        let registrars = self.registrars_where(|_| true)?;
        Ok(Client::open(registrars, self.client_options())?)
    }

    /// Returns how a client of this program behaves.
    pub(crate) fn client_options(&self) -> ClientOptions {
        let patience = self.global.patience;
        ClientOptions { patience, trust: self.trust(), ..ClientOptions::default() }
    }

    /// Tells whether somebody has named the registrars that are asked.
    fn trust(&self) -> Trust {
        let variable = self.environment.text(REGISTRARS_VARIABLE);
        match () {
            () if !self.global.registrar.is_empty() => Trust::Named,
            () if variable.is_some_and(|it| !it.trim().is_empty()) => Trust::Named,
            () if self.settings().is_ok_and(|it| !it.registrar.listen.is_empty()) => {
                Trust::Addresses
            }
            () => Trust::Usual,
        }
    }

    /// Returns which registrars to ask, in this order.
    pub(crate) fn registrars(&self) -> Result<Vec<Endpoint>, Failure> {
        self.registrars_where(Path::is_dir)
    }

    /// Returns which registrars to ask; that of the whole system, if its folder is such.
    fn registrars_where(&self, has_system: fn(&Path) -> bool) -> Result<Vec<Endpoint>, Failure> {
        let named = self.named();
        if let Some(tractor) = named.tractor.first() {
            let error = anyhow!("`{TRACTOR_PREFIX}{tractor}` is a registrar of tractor's");
            return Err(Failure::usage(error).hint("`callsign find` and `callsign ls` ask such"));
        }
        if let Some(registrars) = named.own()? {
            return Ok(registrars);
        }
        let listen = self.settings()?.registrar.listen;
        if listen.is_empty() {
            return self.default_registrars(has_system);
        }
        Ok(config::registrars(&[], None, &listen, Path::new("/"))?)
    }

    /// Returns which registrars to ask: callsign's, unless only others are named, and tractor's.
    pub(crate) fn all_registrars(&self) -> Result<(Option<Vec<Endpoint>>, Vec<Endpoint>), Failure> {
        let named = self.named();
        if named.tractor.is_empty() {
            return Ok((Some(self.registrars()?), Vec::new()));
        }
        let tractor = config::registrars(&named.tractor, None, &[], Path::new("/"))?;
        Ok((named.own()?, tractor))
    }

    /// Returns the registrars that somebody has named: by flags, or else by the variable.
    fn named(&self) -> Named {
        let mut named = Named::default();
        for flag in &self.global.registrar {
            match flag.strip_prefix(TRACTOR_PREFIX) {
                Some(tractor) => named.tractor.push(tractor.to_owned()),
                None => named.flags.push(flag.clone()),
            }
        }
        if !self.global.registrar.is_empty() {
            return named;
        }
        named.variable = self.environment.text(REGISTRARS_VARIABLE);
        if let Some(variable) = named.variable.take_if(|it| it.contains(TRACTOR_PREFIX)) {
            let words = variable.split(|it: char| it == ',' || it.is_whitespace());
            let (tractor, own): (Vec<_>, Vec<_>) =
                words.partition(|it| it.starts_with(TRACTOR_PREFIX));
            let bare = |it: &str| it[TRACTOR_PREFIX.len()..].to_owned();
            named.tractor = tractor.into_iter().map(bare).collect();
            named.variable = Some(own.join(" ")).filter(|it| !it.trim().is_empty());
        }
        named
    }

    /// Returns where a registrar is asked if nothing is said: the user's own, then that of the
    /// whole system, where there is one, then a port, which anybody may have. Who only asks can do
    /// without the first.
    fn default_registrars(&self, has_system: fn(&Path) -> bool) -> Result<Vec<Endpoint>, Failure> {
        let mut registrars = match self.own_registrars() {
            Ok(own) => own,
            Err(failure) => {
                let why = with_causes(failure.error.as_ref());
                warn(self, format_args!("this user's own registrar is not asked: {why}"));
                vec![config::loopback_registrar()]
            }
        };
        if let Some(system) = self.system_dir().filter(|it| has_system(it)) {
            let is_there = system.is_dir();
            let system = config::system_registrar(&system).map_err(no_folder)?;
            match self.is_for_all() && registrars.len() > 1 && is_there {
                true => registrars[0] = system,
                false => registrars.insert(registrars.len() - 1, system),
            }
        }
        Ok(registrars)
    }

    /// Returns where a registrar listens if nothing is said, and makes the folder for its socket.
    /// The one of root is there for the whole system.
    pub(crate) fn default_listen(&self) -> Result<Vec<Endpoint>, Failure> {
        let mut listen = self.own_registrars()?;
        if let Some(system) = self.system_dir().filter(|_| self.is_for_all()) {
            let made = DirBuilder::new().mode(0o755).create(&system);
            if let Err(error) = made
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                warn(self, format_args!("`{}` cannot be made ({error})", system.display()));
                return Ok(listen);
            }
            listen[0] = config::system_registrar(&system).map_err(no_folder)?;
        }
        Ok(listen)
    }

    fn own_registrars(&self) -> Result<Vec<Endpoint>, Failure> {
        config::default_registrars(&self.runtime_dir()?).map_err(no_folder)
    }

    /// Returns where the registrar of the whole system listens, if there is such a place.
    pub(crate) fn system_registrar(&self) -> Option<Endpoint> {
        config::system_registrar(&self.system_dir()?).ok()
    }

    fn system_dir(&self) -> Option<PathBuf> {
        config::system_dir(self.environment.raw(config::SYSTEM_DIR_VARIABLE))
    }

    /// Tells whether what is started here is for the whole system: root has no session of its own.
    fn is_for_all(&self) -> bool {
        rustix::process::geteuid().is_root() && self.environment.text("XDG_RUNTIME_DIR").is_none()
    }

    /// Returns what the settings file says, if there is one.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        Ok(self.settings_and_warnings()?.0)
    }

    /// Returns what the settings file says, if there is one, and what deserves a warning.
    pub(crate) fn settings_and_warnings(&self) -> Result<(Settings, Diagnostics), Failure> {
        self.settings_file().map_or_else(|| Ok(Default::default()), |file| settings_of(&file))
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
        for diagnostic in &diagnostics.0 {
            let text = match self.json {
                true => format!("{}\n", json!({ "warning": DiagnosticJson::from(diagnostic) })),
                false => diagnostics::draw(diagnostic, width) + "\n",
            };
            self.console.say(&text);
        }
    }

    /// Returns the folder for this user's sockets, and makes it if it is not there.
    pub(crate) fn runtime_dir(&self) -> Result<PathBuf, Failure> {
        let Environment { temp_dir, .. } = &self.environment;
        transport::runtime_dir(self.environment.raw("XDG_RUNTIME_DIR"), temp_dir).map_err(|error| {
            Failure::usage(error)
                .hint("or do without it: say where to listen, by `--listen MULTIADDR`")
        })
    }

    /// Tells whether the environment names a folder for this user's sockets that is its own.
    pub(crate) fn has_runtime_dir(&self) -> bool {
        let Environment { temp_dir, .. } = &self.environment;
        transport::runtime_dir_path(self.environment.raw("XDG_RUNTIME_DIR"), temp_dir).is_ok()
    }

    /// Returns where tractor programs look for a registrar if nothing is said, and makes the folder
    /// for its socket.
    pub(crate) fn tractor_registrars(&self) -> Result<Vec<Endpoint>, Failure> {
        let Environment { temp_dir, .. } = &self.environment;
        let xdg_runtime_dir = self.environment.raw("XDG_RUNTIME_DIR");
        gateway::tractor::default_endpoints(xdg_runtime_dir, temp_dir).map_err(|error| {
            Failure::usage(error).context("the folder of tractor's sockets cannot be used")
        })
    }

    /// Returns where a registrar that listens at these endpoints writes down what tractor programs
    /// have registered. There is no such place for one that is found elsewhere after a restart.
    pub(crate) fn tractor_ledger(&self, endpoints: &[Endpoint]) -> Option<PathBuf> {
        let is_fixed = |it: &&Endpoint| !matches!(it, Endpoint::Tcp(tcp) if tcp.port == 0);
        let mut fixed: Vec<_> = endpoints.iter().filter(is_fixed).collect();
        fixed.sort_by_key(|it| !matches!(it, Endpoint::Unix(_)));
        let which = Uuid::new_v5(&LEDGERS, fixed.first()?.to_string().as_bytes());
        let Environment { temp_dir, .. } = &self.environment;
        let folder = transport::runtime_dir_path(self.environment.raw("XDG_RUNTIME_DIR"), temp_dir);
        match folder {
            Ok(folder) => Some(folder.join(format!("tractor-{which}"))),
            Err(error) => {
                tracing::warn!(%error, "a restart will forget what tractor programs register");
                None
            }
        }
    }

    /// Lets what happens inside be told on standard error.
    pub(crate) fn start_logging(&self) -> Result<(), Failure> {
        let by_flag = match self.global.verbose {
            0 => "warn",
            1 => "info",
            2 => "debug",
            _ => "trace",
        };
        let variable = self.environment.text(LOG_VARIABLE).filter(|_| self.global.verbose == 0);
        let filter =
            EnvFilter::try_new(variable.as_deref().unwrap_or(by_flag)).map_err(|error| {
                Failure::usage(error).context(format!("{LOG_VARIABLE} cannot be read"))
            })?;
        self.console.start_logging(filter);
        Ok(())
    }
}

/// Returns what a settings file says, and what deserves a warning.
pub(crate) fn settings_of(file: &SettingsFile) -> Result<(Settings, Diagnostics), Failure> {
    let text = file
        .read()
        .map_err(|error| Failure::system(error).context(format!("cannot read {file}")))?;
    Ok(config::read(&text, &file.path.to_string_lossy())?)
}

fn no_folder(error: ParseEndpointError) -> Failure {
    Failure::usage(error).context("the folder for sockets cannot be used")
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

/// The registrars that somebody has named, as they were written.
#[derive(Debug, Default)]
struct Named {
    flags: Vec<String>,
    variable: Option<String>,
    /// Those of tractor's, without what tells that.
    tractor: Vec<String>,
}

impl Named {
    /// Returns those of callsign's own, if any are named: neither the file nor the folder matters
    /// then.
    fn own(&self) -> Result<Option<Vec<Endpoint>>, Failure> {
        if self.flags.is_empty() && self.variable.is_none() {
            return Ok(None);
        }
        let variable = self.variable.as_deref();
        Ok(Some(config::registrars(&self.flags, variable, &[], Path::new("/"))?))
    }
}

/// What stands before the endpoint of a registrar of tractor's.
pub(crate) const TRACTOR_PREFIX: &str = "tractor+";

/// The name space of what a registrar writes down: drawn once, at random.
const LEDGERS: Uuid = Uuid::from_u128(0x2f7c_91d4_0b63_4e58_8a1d_c4f7_6e02_935b);

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

    /// Returns a variable as text, unless it is not set or empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.raw(name).filter(|it| !it.is_empty()).map(|it| it.to_string_lossy().into_owned())
    }
}

const COLUMNS_VARIABLE: &str = "COLUMNS";
/// The variable that names the settings file.
pub(crate) const CONFIG_VARIABLE: &str = "CALLSIGN_CONFIG";
const LOG_VARIABLE: &str = "CALLSIGN_LOG";
