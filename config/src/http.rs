//! The HTTP server of a registrar: converts its settings as written into settings as meant.

use endpoints::Endpoint;

/// The HTTP server of a registrar.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HttpSettings {
    /// The endpoints at which it answers: Unix sockets, and ports of the loopback; if empty, there is
    /// none.
    pub listen: Vec<Endpoint>,
    /// The place of `listen`, file and line.
    pub place: Option<String>,
}
