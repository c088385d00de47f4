//! What to do where TLS is what keeps a registrar and its client apart.

use discovery::{LinkError, RegistrarFailure};
use portal::HandshakeError;
use transport::{DialError, TlsError};
use wire::preface::PrefaceError;

/// Returns what to do about the failures in which TLS was wrong, once for each kind.
pub(super) fn hints(failures: &[RegistrarFailure]) -> Vec<&'static str> {
    let mut hints = Vec::new();
    for hint in failures.iter().filter_map(|it| hint(&it.error)) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    hints
}

fn hint(error: &LinkError) -> Option<&'static str> {
    let error = match error {
        LinkError::Dial(DialError::Tls(error)) => error,
        LinkError::Handshake(HandshakeError::Broken(error)) => TlsError::of(error)?,
        LinkError::Handshake(HandshakeError::Preface(PrefaceError::Tls)) => {
            return Some("name it with `/tls` at the end, and a certificate in `[tls]`");
        }
        _ => return None,
    };
    Some(match error {
        TlsError::NoCertificate => NO_CERTIFICATE,
        TlsError::NotTls | TlsError::Ended => "if it listens without TLS, leave out the `/tls`",
        TlsError::OtherAuthority => {
            "if it is the right one, add the authority that signed its certificate to `ca`"
        }
        TlsError::Refused { .. } => {
            "its log says why; a certificate of an authority in its `ca` is accepted"
        }
        TlsError::OtherHost { .. } => {
            "dial it by a name that its certificate has, or give it one for this name: `callsign \
             keys issue DIR NAME --host HOST`"
        }
        TlsError::Expired | TlsError::Unacceptable(_) => {
            "it takes another certificate there: `callsign keys issue`"
        }
        _ => return None,
    })
}

/// What to do without a certificate.
pub(super) const NO_CERTIFICATE: &str = "name one in the table `[tls]` of the settings file, with \
                                         `ca`, `certificate` and `key`; `callsign keys` makes them";

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use super::*;

    #[test]
    fn each_kind_is_said_once() {
        let failure = |error| RegistrarFailure {
            registrar: "/ip4/192.0.2.1/tcp/7/tls".parse().unwrap(),
            error: Arc::new(error),
        };
        let dialed = |error: TlsError| failure(LinkError::Dial(error.into()));
        let refused = io::Error::other(TlsError::Refused { reason: "it has expired" });
        let all = [
            dialed(TlsError::NoCertificate),
            dialed(TlsError::NoCertificate),
            failure(LinkError::Handshake(HandshakeError::Broken(refused))),
            failure(LinkError::Handshake(PrefaceError::Tls.into())),
            failure(LinkError::NotYet),
            dialed(TlsError::OtherVersion),
        ];
        let hints = hints(&all);
        assert_eq!(hints.len(), 3, "{hints:?}");
        assert!(hints[1].contains("its log"), "{hints:?}");
    }
}
