//! The open descriptors of a registrar: what takes how many of those that the process may open, so
//! that no owner's share, and no reserve, is more than there can be.

use config::RegistrarSettings;
use registrar::registry::Limits;
use rustix::process::{Resource, getrlimit};

use crate::{context::Context, output::notices::warn};

/// The most that each takes. All of them together fit in the limit, unless that is very low.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Descriptors {
    /// The limit of the process.
    limit: usize,
    /// The sessions: each holds a socket, and the process at its other end.
    sessions: usize,
    /// The instances of another protocol, of each of which the process is held.
    pub(super) foreign_instances: usize,
    /// The connections to the DNS server.
    pub(super) dns_connections: usize,
}

/// What the settings ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// The listeners, of all protocols.
    pub(super) listeners: usize,
    pub(super) has_tractor: bool,
    pub(super) has_dns: bool,
}

impl Descriptors {
    /// Raises the limit as far as it goes, and divides it.
    pub(super) fn of_process(wanted: Wanted) -> Self {
        if let Err(error) = transport::raise_descriptor_limit() {
            tracing::warn!(%error, "the limit of open descriptors stays as it is");
        }
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit.and_then(|it| it.try_into().ok()).unwrap_or(usize::MAX);
        Self::divide(limit, wanted)
    }

    fn divide(limit: usize, wanted: Wanted) -> Self {
        let part = |is_wanted, most: usize| if is_wanted { most.min(limit / 8) } else { 0 };
        let looks = part(true, LOOKS_MAX);
        let foreign_instances = part(wanted.has_tractor, Limits::default().foreign_instances_max);
        let dns_connections = part(wanted.has_dns, gateway::dns::CONNECTIONS_MAX);
        let own = OWN + 2 * wanted.listeners + looks + foreign_instances + dns_connections;
        let sessions = (limit.saturating_sub(own) / 2).max(1);
        Self { limit, sessions, foreign_instances, dns_connections }
    }

    /// Returns the most sessions: as many as the settings say, or as there can be.
    pub(super) fn sessions_max(&self, settings: &RegistrarSettings) -> usize {
        settings.sessions_max.min(self.sessions)
    }

    /// Warns if there cannot be as many sessions as the settings say.
    pub(super) fn warn(&self, settings: &RegistrarSettings, context: &Context) {
        let Self { limit, sessions, .. } = self;
        let said = settings.sessions_max;
        if *sessions < said {
            warn(
                context,
                format_args!(
                    "at most {sessions} sessions instead of {said} (`sessions_max`): this process \
                     may open {limit} descriptors (`LimitNOFILE=`, `ulimit -n`)"
                ),
            );
        }
    }
}

/// The descriptors of the process itself, beside two for each listener, as measured.
const OWN: usize = 12;

/// Those of looks at endpoints, and of files that are read or written: 64 looks at once have two each.
const LOOKS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_fits_in_the_limit() {
        for limit in [64, 200, 256, 1024, 4096, 65_536, usize::MAX] {
            for (has_tractor, has_dns) in [(false, false), (true, false), (true, true)] {
                let wanted = Wanted { listeners: 3, has_tractor, has_dns };
                let shares = Descriptors::divide(limit, wanted);
                let Descriptors { sessions, foreign_instances, dns_connections, .. } = shares;
                let beside = OWN + 6 + LOOKS_MAX.min(limit / 8);
                let used = beside + 2 * sessions + foreign_instances;
                assert!(used + dns_connections <= limit, "{shares:?}");
                assert_eq!((foreign_instances > 0, dns_connections > 0), (has_tractor, has_dns));
            }
        }
    }

    #[test]
    fn a_low_limit_is_below_the_settings() {
        let wanted = Wanted { listeners: 1, has_tractor: true, has_dns: false };
        let check = |limit, said, expected| {
            let settings = RegistrarSettings { sessions_max: said, ..RegistrarSettings::default() };
            let shares = Descriptors::divide(limit, wanted);
            assert_eq!(shares.sessions_max(&settings), expected, "{limit} {said}");
        };
        check(200, 4096, 68);
        check(1024, 4096, 377);
        check(1024, 100, 100);
        check(65_536, 4096, 4096);
        check(usize::MAX, 1_000_000, 1_000_000);
        // So few still let one in.
        check(14, 4096, 1);
    }
}
