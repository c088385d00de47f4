//! The settings file: what may be written in it, what it means, and what is wrong with it.
//!
//! The file is TOML with six tables. `[host]` says which host this is, `[registrar]` holds the settings of a registrar node,
//! `[network]` says where each actor listens, and `[declared]` lists actors that never register
//! themselves. `[names]` says whose names are, and `[quotas]` how much one owner may use. It is read in two steps with a type each, what is written and what is meant, so
//! that every fault is found at once and shown at its place.
//!
//! This crate opens no file but by [`SettingsFile::read`], reads no variable of the environment and
//! prints nothing: its caller hands it text and shows the [`Diagnostics`]. It does not know what a
//! registrar does with its settings.
//!
//! - [`read`] turns the text of a file into [`Settings`].
//! - [`Diagnostic`] says what is wrong, where, and what to write instead.
//! - [`SettingsFile`] is the one that is to be read, by a flag, a variable or the program.
//! - [`Overrides`] are what the environment and the flags say over the file; [`overlay`] applies
//!   them.
//! - [`registrars`] tells a client which registrars to ask.
//! - [`schema`] describes the file to editors.
//!
//! From text to settings:
//!
//! | module | its one idea |
//! |---|---|
//! | `file`, `overrides` | which settings file is read; what environment and flags say over it |
//! | `text`, `syntax`, `mend` | text that knows its place; from text to TOML, and past what is no TOML |
//! | `shape`, `written`, `rewritten` | the right tables, keys and types; what has the wrong shape, as it should be |
//! | `values` | single values: from text to an endpoint, a duration, a number |
//! | `meaning`, `settings` | from what is written to what is meant |
//! | `names` | whose names are |
//! | `keys` | the keys of the settings, and between what their values may be |
//! | `quotas` | how much of a registrar one owner may use |
//! | `claims` | who claims which place, and who claims another's |
//! | `registrars` | which registrars a client asks |
//! | `diagnostic` | what is wrong, where it stands, and what to write instead |
//! | `schema` | the file, described to editors |
//!
//! ```text
//! text ── syntax ─▶ TOML ── shape ─▶ Written ── meaning ─▶ Settings
//!         │  ▲               │       (as written)   │     (as meant)
//!         ▼  │               ▼                      ▼
//!        mend └▶ Faults ◀────┴──────────────────────┴─ claims
//! ```
//!
//! ```
//! let source = r#"
//!     [registrar]
//!     listen = "/ip4/0.0.0.0/tcp/1616"
//!     heartbeat = "500ms"
//!
//!     [network]
//!     feed = ["/unix/run/feed.sock", ["0.0.0.0", 5555]]
//! "#;
//! let (settings, warnings) = config::read(source, "market.toml")?;
//! assert_eq!(settings.registrar.heartbeat.as_millis(), 500);
//! assert_eq!(settings.network.get("feed").map(<[_]>::len), Some(2));
//! assert!(warnings.0.is_empty());
//! # Ok::<(), config::Diagnostics>(())
//! ```

#![forbid(unsafe_code)]

mod claims;
mod diagnostic;
mod file;
mod keys;
mod meaning;
mod mend;
mod names;
mod overrides;
mod quotas;
mod registrars;
mod rewritten;
mod schema;
mod settings;
mod shape;
mod syntax;
mod text;
mod values;
mod written;

pub use diagnostic::{Diagnostic, Diagnostics, Place, Related, Severity, Source, line_column};
pub use file::{NamedBy, Said, SettingsFile, read_once};
pub use meaning::read;
pub use names::{Account, Grantee, NameRule, Names};
pub use overrides::{Layer, Overrides, overlay};
pub use quotas::{Quota, QuotaOwner, QuotaSettings, QuotaUser};
pub use registrars::{
    REGISTRARS_VARIABLE, SYSTEM_DIR_VARIABLE, default_registrars, loopback_registrar, registrars,
    system_dir, system_registrar,
};
pub use schema::schema;
pub use settings::{RegistrarSettings, Settings, Tractor};
pub use values::{DEFAULT_PORT, SocketGroup, seen_from_here};
