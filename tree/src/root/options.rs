//! The options of a root.

use std::{path::PathBuf, time::Duration};

use config::{RegistrarSettings, Settings, TlsSettings};
use discovery::IntoEndpoint;
use endpoints::{Endpoint, EndpointTable, ParseEndpointError};

use crate::{Export, scope::spawn::note};

/// The options of the root of a process.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::Root;
///
/// let options = Root::options()
///     .name("market")
///     .registrar("/ip4/127.0.0.1/tcp/1616")
///     .bind("/unix/@market")
///     .heed_signals();
/// # drop(options);
/// ```
#[derive(Debug)]
#[must_use = "there is no root until it runs"]
pub struct RootOptions {
    pub(super) name: String,
    pub(super) registrars: Vec<Endpoint>,
    pub(super) bind: Vec<Endpoint>,
    pub(super) table: EndpointTable,
    pub(super) declared: EndpointTable,
    pub(super) settle_time: Duration,
    pub(super) insecure: bool,
    /// The files of the certificate.
    pub(super) tls: Option<TlsSettings>,
    pub(super) expose: Vec<String>,
    pub(super) ensures_registrar: bool,
    pub(super) heeds_signals: bool,
    pub(super) dumps: Option<PathBuf>,
    pub(super) fault: Option<ParseEndpointError>,
}

impl Default for RootOptions {
    fn default() -> Self {
        Self {
            name: registrar::registry::UNNAMED_ROOT.to_owned(),
            registrars: Vec::new(),
            bind: Vec::new(),
            table: EndpointTable::default(),
            declared: EndpointTable::default(),
            settle_time: RegistrarSettings::default().settle_time,
            insecure: false,
            tls: None,
            expose: Vec::new(),
            ensures_registrar: false,
            heeds_signals: false,
            dumps: None,
            fault: None,
        }
    }
}

impl RootOptions {
    /// Names the root; without it, it is called `root`.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use callsign::Root;
    /// // Its actors are found as `market.feed`, and so on.
    /// let options = Root::options().name("market");
    /// # drop(options);
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Takes from a settings file where registrars are, where actors listen, and with which
    /// certificate.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{Root, SettingsSource};
    ///
    /// let settings = SettingsSource::new().file("market.toml").read()?;
    /// let options = Root::options().settings(settings);
    /// # drop(options);
    /// # Ok::<(), callsign::SettingsError>(())
    /// ```
    pub fn settings(mut self, settings: Settings) -> Self {
        self.registrars.extend(settings.registrar.listen);
        self.table = settings.network;
        self.declared = settings.declared;
        self.settle_time = settings.registrar.settle_time;
        self.insecure |= settings.registrar.insecure;
        self.tls = settings.tls;
        self
    }

    /// Sets the address of a registrar, or the endpoint at which this root becomes one if there is
    /// none.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use callsign::Root;
    /// let options = Root::options().registrar("/unix/run/market/registrar.sock");
    /// # drop(options);
    /// ```
    pub fn registrar(mut self, endpoint: impl IntoEndpoint) -> Self {
        note(endpoint, &mut self.registrars, &mut self.fault);
        self
    }

    /// Lets a registrar be beyond the loopback without TLS: then whoever can read the network reads
    /// everything, and changes what it likes.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use callsign::Root;
    /// let options = Root::options().registrar("/ip4/10.0.0.1/tcp/1616").insecure();
    /// # drop(options);
    /// ```
    pub fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// Adds an endpoint of the root, besides those that the endpoint table gives its name. A
    /// repeated one is bound once.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use callsign::Root;
    /// let options = Root::options().bind("/unix/run/market.sock").bind("/ip4/0.0.0.0/tcp/0");
    /// # drop(options);
    /// ```
    pub fn bind(mut self, endpoint: impl IntoEndpoint) -> Self {
        note(endpoint, &mut self.bind, &mut self.fault);
        self
    }

    /// Says where actors of the tree listen, by name.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use callsign::Root;
    /// # use endpoints::EndpointTable;
    /// let mut table = EndpointTable::default();
    /// table.insert("feed".parse()?, ["/unix/@feed".parse()?]);
    /// let options = Root::options().table(table);
    /// # drop(options);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn table(mut self, table: EndpointTable) -> Self {
        self.table = table;
        self
    }

    /// Exposes functions of the root to all that find it.
    ///
    /// ```standalone_crate
    /// # extern crate callsign_tree as callsign;
    /// use callsign::Root;
    ///
    /// #[callsign::export]
    /// async fn version() -> String {
    ///     "1.0".to_owned()
    /// }
    ///
    /// # fn main() {
    /// let options = Root::options().name("market").expose(&[version::EXPORT]);
    /// # drop(options);
    /// # }
    /// ```
    pub fn expose(mut self, exports: &[Export]) -> Self {
        self.expose.extend(exports.iter().map(|it| it.path.to_owned()));
        self
    }

    /// Sets the time for clients of the previous registrar to return, if this root becomes the
    /// registrar: until then look-ups of unknown names wait. The default is 5 s, or zero if only
    /// the tree itself uses that registrar.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use callsign::Root;
    /// use std::time::Duration;
    ///
    /// // Nobody was here before who may come back.
    /// let options = Root::options().settle_time(Duration::ZERO);
    /// # drop(options);
    /// ```
    pub fn settle_time(mut self, settle_time: Duration) -> Self {
        self.settle_time = settle_time;
        self
    }

    /// Insists on becoming the registrar.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use callsign::Root;
    /// // Fails to open where a registrar is already.
    /// let options = Root::options().registrar("/unix/@market").ensure_registrar();
    /// # drop(options);
    /// ```
    pub fn ensure_registrar(mut self) -> Self {
        self.ensures_registrar = true;
        self
    }

    /// Makes SIGINT and SIGTERM end the tree gracefully, and the next of them immediately.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use callsign::Root;
    /// let options = Root::options().name("market").heed_signals();
    /// # drop(options);
    /// ```
    pub fn heed_signals(mut self) -> Self {
        self.heeds_signals = true;
        self
    }

    /// Says in which folder a dump is written when an actor does not end in time. Without it,
    /// that is the folder for this user's sockets below `/tmp`.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use callsign::Root;
    /// let options = Root::options().dumps("/var/tmp/market");
    /// # drop(options);
    /// ```
    pub fn dumps(mut self, folder: impl Into<PathBuf>) -> Self {
        self.dumps = Some(folder.into());
        self
    }
}
