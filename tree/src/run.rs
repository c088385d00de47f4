//! The entry and the exit of a program that is a tree of actors.

use std::{process::ExitCode, time::Duration};

use tokio::runtime::Builder;

use crate::{
    AnyError, CancelledRoot, Root, RootError, RootOptions, SettingsSource, export,
    outcome::panics,
    parent::backend,
    runtime::{self, say},
    settings::usual_registrars,
};

/// Makes this program one that can start children. It must be the first statement of `main`: in
/// a child it never returns.
///
/// A program that cannot be made one says why on standard error, and exits: it was called too
/// late, or two functions are exported under one path.
///
/// ```no_run,standalone_crate
/// # use callsign_tree as callsign;
/// use callsign::{NurseryError, Root, SettingsSource};
///
/// fn main() -> std::process::ExitCode {
///     callsign::init();
///     callsign::run(SettingsSource::new(), async |root: Root| -> Result<(), NurseryError> {
///         root.nursery(async |_| Ok(())).await
///     })
/// }
/// ```
pub fn init() {
    panics::take_note();
    let is_ready = export::check().map_err(|it| it.to_string()).and_then(|()| {
        process::init_with_forkserver(backend::process::live).map_err(|it| it.to_string())
    });
    if let Err(why) = is_ready {
        say(&why);
        std::process::exit(NOT_READY);
    }
}

/// Runs a program that is a tree of actors: reads its settings, opens the root, runs `main` as it,
/// and returns the exit code when the whole tree has ended.
///
/// SIGINT and SIGTERM end the tree gracefully, and the next of them immediately. The code is 0 if
/// `main` succeeds, 1 if it fails, 2 if the settings are at fault, and 128 plus the signal if one
/// ended it. Errors go to standard error.
///
/// Without settings, the root uses the same registrars as the program `callsign` without them.
///
/// # Panics
///
/// If `main` does.
///
/// ```no_run,standalone_crate
/// # use callsign_tree as callsign;
/// use callsign::{NurseryError, Root, SettingsSource};
///
/// fn main() -> std::process::ExitCode {
///     callsign::init();
///     let settings = SettingsSource::new().flag("--config").file("market.toml");
///     callsign::run(settings, async |root: Root| -> Result<(), NurseryError> {
///         root.nursery(async |_| Ok(())).await
///     })
/// }
/// ```
#[track_caller]
pub fn run<F, R>(source: SettingsSource, main: F) -> ExitCode
where
    F: AsyncFnOnce(Root) -> R,
    R: Termination,
{
    let options = match options(&source) {
        Ok(options) => options,
        Err(why) => {
            say(&why);
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    let runtime = match runtime::build(Builder::new_multi_thread().enable_all(), give_up) {
        Ok(runtime) => runtime,
        Err(error) => give_up(&error),
    };
    let running = options.heed_signals().run(async |root| main(root).await.into_result());
    let outcome = runtime.block_on(running);
    // Work that has not yielded by now is abandoned, and has been reported.
    runtime.shutdown_timeout(SHUTDOWN_WAIT);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match ended_by(&error) {
            Some(signal) => ExitCode::from(128 + signal),
            None => {
                match &error {
                    // With its backtraces.
                    RootError::Nursery(error) => say(&format!("{error:#}")),
                    error => say(&portal::WithCauses(error).to_string()),
                }
                match error {
                    RootError::Certificate(_) => ExitCode::from(BAD_SETTINGS),
                    _ => ExitCode::FAILURE,
                }
            }
        },
    }
}

fn give_up(error: &std::io::Error) -> ! {
    say(&format!("no runtime can be started: {error}"));
    process::exit_now(1)
}

/// Returns the signal that ended the tree, if one did.
fn ended_by(error: &RootError) -> Option<u8> {
    let said = match error {
        RootError::Cancelled(CancelledRoot(reason)) => &*reason.why,
        RootError::Stopped(signal) => signal,
        _ => return None,
    };
    match said {
        "SIGINT" => Some(libc::SIGINT as u8),
        "SIGTERM" => Some(libc::SIGTERM as u8),
        _ => None,
    }
}

/// A type that a program's `main` may return: nothing, or a result with any error.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::Termination;
///
/// assert!(().into_result().is_ok());
/// let failed: Result<(), std::fmt::Error> = Err(std::fmt::Error);
/// assert!(failed.into_result().is_err());
/// ```
pub trait Termination {
    /// Returns it as a result.
    ///
    /// # Errors
    ///
    /// The error of `main`.
    fn into_result(self) -> Result<(), AnyError>;
}

impl Termination for () {
    fn into_result(self) -> Result<(), AnyError> {
        Ok(())
    }
}

impl<E: Into<AnyError>> Termination for Result<(), E> {
    fn into_result(self) -> Result<(), AnyError> {
        self.map_err(Into::into)
    }
}

fn options(source: &SettingsSource) -> Result<RootOptions, String> {
    let mut settings = source.read().map_err(|error| portal::WithCauses(&error).to_string())?;
    if settings.registrar.listen.is_empty() {
        settings.registrar.listen = usual_registrars()?;
    }
    Ok(Root::options().settings(settings))
}

/// The exit code of a program that cannot start children, as BSD's `EX_SOFTWARE`.
const NOT_READY: i32 = 70;

/// The exit code of a program whose settings are at fault.
const BAD_SETTINGS: u8 = 2;

/// The time for blocking work to continue after the whole tree has ended.
const SHUTDOWN_WAIT: Duration = Duration::from_millis(100);
