//! The settings file: its syntax, its meaning, and its diagnostics.
//!
//! The file is TOML with nine tables. `[host]` identifies the host, `[registrar]` configures a
//! registrar node, `[network]` lists the endpoints of each actor, and `[declared]` the actors that
//! never register themselves. `[names]` has the rules of names, `[quotas]` the limits of each
//! owner, `[dns]` the DNS server, `[http]` the HTTP server, `[cluster]` the other registrars, and `[tls]` the files of this program's
//! certificate. Reading has two steps with a type each, settings as written and as meant, so that all
//! faults are found together, each with its place.
//!
//! This crate opens no file except by [`SettingsFile::read`], reads no environment variable and
//! prints nothing: its caller passes in text and shows the [`Diagnostics`]. It does not know how a
//! registrar uses its settings.
//!
//! - [`read`] turns the text of a file into [`Settings`].
//! - [`Diagnostic`] is a fault, its place, and its remedy.
//! - [`SettingsFile`] is the file to read, chosen by a flag, a variable or the program.
//! - [`Overrides`] are the values from the environment and the flags; [`overlay`] applies them over
//!   the file.
//! - [`registrars`] returns the registrars that a client asks.
//! - [`schema`] describes the file to editors.
//!
//! From text to settings:
//!
//! | module | its one idea |
//! |---|---|
//! | `file`, `overrides` | the choice of the settings file; the environment and the flags, which override it |
//! | `text`, `syntax`, `mend` | text that knows its place; text to TOML, and repair of broken TOML |
//! | `shape`, `written`, `rewritten` | correct tables, keys and types; corrections of wrong shapes |
//! | `source` | the texts that settings are read from, and the lines and columns of their bytes |
//! | `durations` | durations as people write them |
//! | `words` | words of which a setting takes one, and what was meant by others |
//! | `values`, `uses` | single values: text to an endpoint, a duration, a number; the endpoints that a setting accepts |
//! | `meaning`, `settings` | settings as written to settings as meant |
//! | `names` | the rules of names |
//! | `keys` | the keys of the settings, and the bounds of their values |
//! | `tls` | the files of a program's certificate |
//! | `quotas` | the limits of an owner's use of a registrar |
//! | `cluster` | with whom a registrar shares |
//! | `dns` | the DNS server of a registrar |
//! | `http` | the HTTP server of a registrar |
//! | `insecure` | TCP beyond the loopback without TLS |
//! | `claims` | claims of actors to endpoints, and conflicts between them |
//! | `registrars` | the registrars that a client asks |
//! | `diagnostic` | the fault of a setting, its place, and its remedy |
//! | `schema` | the JSON schema of the file |
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
mod cluster;
mod diagnostic;
mod dns;
mod durations;
mod file;
mod http;
mod insecure;
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
mod source;
mod syntax;
mod text;
mod tls;
mod uses;
mod values;
mod words;
mod written;

pub use cluster::ClusterSettings;
pub use diagnostic::{Diagnostic, Diagnostics, Place, Related, Severity};
pub use dns::DnsSettings;
pub use durations::{DurationFault, duration};
pub use file::{NamedBy, Said, SettingsFile, read_once};
pub use http::HttpSettings;
pub use insecure::{INSECURE_VARIABLE, RefusedEndpoint, is_insecure};
pub use meaning::{check, read};
pub use names::{Account, Grantee, NameRule, Names};
pub use overrides::{Layer, Overrides, overlay};
pub use quotas::{Quota, QuotaOwner, QuotaSettings, QuotaUser};
pub use registrars::{
    REGISTRARS_VARIABLE, SYSTEM_DIR_VARIABLE, default_registrars, names_registrars, registrars,
    system_dir, system_registrar, usual_registrars,
};
pub use schema::schema;
pub use settings::{RegistrarSettings, Settings, Tractor};
pub use source::Source;
pub use tls::{TlsPath, TlsSettings};
pub use uses::{DEFAULT_PORT, seen_from_here};
pub use values::SocketGroup;
