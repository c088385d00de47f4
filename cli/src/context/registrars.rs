//! The registrars to ask, and the endpoints of one.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use endpoints::{Endpoint, ParseEndpointError};
use portal::WithCauses;
use uuid::Uuid;

use super::{Context, Environment};
use crate::{failure::Failure, output::notices::warn};

impl Context {
    /// Returns which registrars to ask, in this order.
    pub(crate) fn registrars(&self) -> Result<Vec<Endpoint>, Failure> {
        self.registrars_where(Path::is_dir)
    }

    /// Returns the registrars to ask, in this order, with that of the system if its folder exists.
    pub(super) fn registrars_where(
        &self,
        has_system: fn(&Path) -> bool,
    ) -> Result<Vec<Endpoint>, Failure> {
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

    /// Returns the registrars to ask: callsign's, unless only others are named, and tractor's.
    pub(crate) fn all_registrars(&self) -> Result<(Option<Vec<Endpoint>>, Vec<Endpoint>), Failure> {
        let named = self.named();
        if named.tractor.is_empty() {
            return Ok((Some(self.registrars()?), Vec::new()));
        }
        let tractor = config::registrars(&named.tractor, None, &[], Path::new("/"))?;
        Ok((named.own()?, tractor))
    }

    /// Returns the configured registrars: by flags, or else by the variable.
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
        named.variable = self.environment.registrars();
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

    /// Returns the usual places of a registrar. A client that only looks up can do without the user's
    /// own.
    fn default_registrars(&self, has_system: fn(&Path) -> bool) -> Result<Vec<Endpoint>, Failure> {
        let own = match self.own_registrars() {
            Ok(own) => own.into_iter().next(),
            Err(failure) => {
                let why = WithCauses(failure.error.as_ref());
                warn(self, format_args!("this user's own registrar is not asked: {why}"));
                None
            }
        };
        let folder = self.system_dir().filter(|it| has_system(it));
        let is_for_all = self.is_for_all() && folder.as_ref().is_some_and(|it| it.is_dir());
        let system =
            folder.map(|it| config::system_registrar(&it)).transpose().map_err(no_folder)?;
        Ok(config::usual_registrars(own, system, is_for_all))
    }

    /// Returns the default endpoints of a registrar, and makes the folder for its socket.
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

    /// Returns the place of the system's registrar, if there is one.
    pub(crate) fn system_registrar(&self) -> Option<Endpoint> {
        config::system_registrar(&self.system_dir()?).ok()
    }

    fn system_dir(&self) -> Option<PathBuf> {
        config::system_dir(self.environment.raw(config::SYSTEM_DIR_VARIABLE))
    }

    /// Tells whether programs started here are for the whole system: root has no session of its
    /// own.
    fn is_for_all(&self) -> bool {
        rustix::process::geteuid().is_root() && self.environment.text("XDG_RUNTIME_DIR").is_none()
    }

    /// Returns the places where tractor programs look for a registrar by default, and makes the
    /// folder for its socket.
    pub(crate) fn tractor_registrars(&self) -> Result<Vec<Endpoint>, Failure> {
        let Environment { temp_dir, .. } = &self.environment;
        let xdg_runtime_dir = self.environment.raw("XDG_RUNTIME_DIR");
        gateway::tractor::default_endpoints(xdg_runtime_dir, temp_dir).map_err(|error| {
            Failure::usage(error).context("the folder of tractor's sockets cannot be used")
        })
    }

    /// Returns the files in which a registrar at these endpoints records knowledge for its next
    /// run: registrations of tractor programs, and holders of exclusive names. A registrar that is
    /// found elsewhere after a restart has none.
    pub(crate) fn state_files(&self, endpoints: &[Endpoint]) -> Option<StateFiles> {
        let is_fixed = |it: &&Endpoint| !matches!(it, Endpoint::Tcp(tcp) if tcp.port == 0);
        let mut fixed: Vec<_> = endpoints.iter().filter(is_fixed).collect();
        fixed.sort_by_key(|it| !matches!(it, Endpoint::Unix(_)));
        let which = Uuid::new_v5(&LEDGERS, fixed.first()?.to_string().as_bytes());
        let Environment { temp_dir, .. } = &self.environment;
        let folder = transport::runtime_dir_path(self.environment.raw("XDG_RUNTIME_DIR"), temp_dir);
        // It is made when there is something to write.
        let checked = folder.and_then(|it| match it.symlink_metadata() {
            Ok(_) => transport::private_folder(it),
            Err(_) => Ok(it),
        });
        match checked {
            Ok(folder) => Some(StateFiles {
                tractor: folder.join(format!("tractor-{which}")),
                tokens: folder.join(format!("tokens-{which}")),
            }),
            Err(error) => {
                tracing::warn!(
                    error = %WithCauses(&error),
                    "a restart will forget what tractor programs register, and who has names"
                );
                None
            }
        }
    }
}

/// The files in which a registrar records knowledge for its next run.
#[derive(Debug)]
pub(crate) struct StateFiles {
    pub(crate) tractor: PathBuf,
    pub(crate) tokens: PathBuf,
}

fn no_folder(error: ParseEndpointError) -> Failure {
    Failure::usage(error).context("the folder for sockets cannot be used")
}

/// The configured registrars, as written.
#[derive(Debug, Default)]
struct Named {
    flags: Vec<String>,
    variable: Option<String>,
    /// Those of tractor's, without the prefix.
    tractor: Vec<String>,
}

impl Named {
    /// Returns those of callsign's own, if any are named: then neither the file nor the folder
    /// matters.
    fn own(&self) -> Result<Option<Vec<Endpoint>>, Failure> {
        if self.flags.is_empty() && self.variable.is_none() {
            return Ok(None);
        }
        let variable = self.variable.as_deref();
        Ok(Some(config::registrars(&self.flags, variable, &[], Path::new("/"))?))
    }
}

/// The prefix of the endpoint of a tractor registrar.
pub(crate) const TRACTOR_PREFIX: &str = "tractor+";

/// The name space for the file names: drawn once, at random.
const LEDGERS: Uuid = Uuid::from_u128(0x2f7c_91d4_0b63_4e58_8a1d_c4f7_6e02_935b);
