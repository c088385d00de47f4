//! The DNS server of a registrar.

use std::io;

use config::DnsSettings;
use gateway::dns::{DnsAdapter, DnsError, DnsSockets};

use super::listed;
use crate::failure::{Exit, Failure};

/// Binds the DNS server that the settings ask for.
pub(super) async fn bind(
    given: DnsSockets,
    settings: &DnsSettings,
) -> Result<Option<DnsAdapter>, Failure> {
    if settings.listen.is_empty() {
        return Ok(None);
    }
    let bound = DnsAdapter::bind_beside(given, &settings.listen, &settings.domain).await;
    bound.map(Some).map_err(|error| {
        let DnsError::Bind { address, source } = &error else { return Failure::usage(error) };
        let port = address.port();
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => {
                format!("`ss -lntup 'sport = :{port}'` shows who has the port; any other serves")
            }
            io::ErrorKind::PermissionDenied => "a port below 1024 takes root, or in its unit both \
                 `AmbientCapabilities=CAP_NET_BIND_SERVICE` and \
                 `CapabilityBoundingSet=CAP_NET_BIND_SERVICE`; port 5300 takes neither"
                .to_owned(),
            io::ErrorKind::AddrNotAvailable => {
                format!("no interface of this host has {}; `ip address` lists theirs", address.ip())
            }
            _ => String::new(),
        };
        let failure = Failure { exit: Exit::of_io(source), ..Failure::usage(error) };
        let failure = if hint.is_empty() { failure } else { failure.hint(hint) };
        listed("dns", settings.place.as_deref(), failure)
    })
}
