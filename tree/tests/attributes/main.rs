//! The code that the attributes write, and the errors for code that they cannot take.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may")]

mod refusals;

/// The function that `#[main]` calls. It records the call.
mod stand_in {
    use std::{cell::RefCell, process::ExitCode};

    pub(crate) use callsign_tree::SettingsSource;

    thread_local! {
        static CALLED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
        static SOURCE: RefCell<Option<SettingsSource>> = const { RefCell::new(None) };
    }

    pub(crate) struct Root;

    pub(crate) fn init() {
        note("init");
    }

    pub(crate) fn run<E>(
        source: SettingsSource,
        body: impl AsyncFnOnce(Root) -> Result<(), E>,
    ) -> ExitCode {
        SOURCE.set(Some(source));
        note("run");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("no driver is asked for, so nothing can be missing");
        match runtime.block_on(body(Root)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    }

    pub(crate) fn note(what: &str) {
        CALLED.with_borrow_mut(|it| it.push(what.to_owned()));
    }

    /// Returns the settings with which it ran.
    pub(crate) fn source() -> SettingsSource {
        SOURCE.take().expect("it ran")
    }

    pub(crate) fn called() -> Vec<String> {
        CALLED.take()
    }
}

mod with_settings {
    use std::process::ExitCode;

    use super::stand_in::{Root, SettingsSource, called, note, source};

    #[callsign_tree::main(crate = super::stand_in, config = "callsign.toml")]
    async fn main(_root: Root) -> Result<(), std::io::Error> {
        note("main");
        Err(std::io::ErrorKind::NotFound.into())
    }

    #[test]
    fn main_initializes_and_then_runs_with_its_settings() {
        assert_eq!(main(), ExitCode::FAILURE);
        assert_eq!(called(), ["init", "run", "main"]);
        assert_eq!(source(), SettingsSource::at("callsign.toml"));
    }
}

mod with_ways_to_settings {
    use std::process::ExitCode;

    use super::stand_in::{Root, SettingsSource, source};

    const FLAG: &str = "--config";

    #[callsign_tree::main(
        crate = super::stand_in,
        config(env = "MARKET_CONFIG", flag = FLAG, file = concat!("market", ".toml")),
    )]
    async fn main(_root: Root) -> Result<(), std::fmt::Error> {
        Ok(())
    }

    #[test]
    fn main_runs_with_the_ways_that_are_chosen() {
        assert_eq!(main(), ExitCode::SUCCESS);
        let chosen = SettingsSource::new().flag(FLAG).env("MARKET_CONFIG").file("market.toml");
        assert_eq!(source(), chosen);
    }
}

mod without_settings {
    use std::process::ExitCode;

    use super::stand_in::{Root, SettingsSource, called, source};

    #[callsign_tree::main(crate = super::stand_in)]
    async fn main(Root: Root) -> Result<(), std::fmt::Error> {
        Ok(())
    }

    #[test]
    fn main_runs_without_settings_too() {
        assert_eq!(main(), ExitCode::SUCCESS);
        assert_eq!(called(), ["init", "run"]);
        assert_eq!(source(), SettingsSource::new());
    }
}
