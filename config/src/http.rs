//! The HTTP server of a registrar: converts its settings as written into settings as meant.

use endpoints::Endpoint;

use crate::diagnostic::{Diagnostic, Place};

/// The HTTP server of a registrar.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HttpSettings {
    /// The endpoints at which it answers: Unix sockets, ports of the loopback, and ports with TLS; if
    /// empty, there is none.
    pub listen: Vec<Endpoint>,
    /// The place of `listen`, file and line.
    pub place: Option<String>,
}

/// Says that an endpoint needs a certificate, and the file names none.
pub(crate) fn without_certificate(endpoint: &Endpoint, place: Place) -> Diagnostic {
    let message = format!("`{endpoint}` needs a certificate, and there is no table `[tls]`");
    let help = "name `ca`, `certificate` and `key` there, as `callsign keys` makes them";
    Diagnostic::error(message, place).help(help.to_owned())
}

/// Says that HTTP is to be answered where the registrar itself listens, unless it is told otherwise.
pub(crate) fn at_registrar(endpoint: &Endpoint, place: Place) -> Diagnostic {
    let message = format!("`{endpoint}` is where a registrar itself listens by default");
    let other = match endpoint {
        Endpoint::Unix(_) => "`http.sock` beside it",
        _ => "`/ip4/127.0.0.1/tcp/8080`",
    };
    let help = format!(
        "answer HTTP elsewhere, such as at {other}, or say where the registrar listens: \
         `[registrar] listen`"
    );
    Diagnostic::warning(message, place).help(help)
}
