//! From what is written to what is meant.

use std::sync::Arc;

use endpoints::{Endpoint, EndpointTable, HostId, InstanceId, Name, Quoted};

use crate::{
    claims::{self, Claim, REGISTRAR},
    fault::{Fault, Faults, Related, Source},
    names, quotas,
    settings::{
        DRAIN_TIMEOUT, HANDSHAKE_TIMEOUT, HEARTBEAT, HEARTBEAT_MISSES, RegistrarSettings,
        SESSIONS_MAX, SETTLE_TIME, Settings, Tractor,
    },
    shape, syntax,
    values::{self, Use},
    written::{Actor, Switch, Written, WrittenEndpoint, WrittenHost, WrittenRegistrar},
};

/// Reads the text of a settings file. `name` is what the file is called in faults.
///
/// Returns the settings with what deserves a warning.
///
/// # Errors
///
/// [`Faults`] holds everything that is wrong with the file, and the warnings.
pub fn read(source: &str, name: &str) -> Result<(Settings, Faults), Faults> {
    let source = Source::new(name, source);
    let mut mended = syntax::mend(&source);
    let text = Arc::clone(&mended.source);
    let (root, mut faults) = syntax::parse(&text, &mut mended);
    let (written, more) = shape::read(&text, &root);
    faults.extend(more);
    let (settings, more) = Meaning::default().read(&written);
    faults.extend(more);
    mended.restore(&mut faults);
    faults.extend(mended.faults);
    faults.sort_by_key(|it| (it.place.span.start, it.place.span.end));
    Faults(faults).or(settings)
}

#[derive(Default)]
struct Meaning<'a> {
    claims: Vec<Claim<'a>>,
    faults: Vec<Fault>,
}

impl<'a> Meaning<'a> {
    fn read(mut self, written: &'a Written) -> (Settings, Vec<Fault>) {
        let settings = Settings {
            host_id: self.host_id(&written.host),
            registrar: self.registrar(&written.registrar),
            network: self.table("network", &written.network),
            declared: self.table("declared", &written.declared),
            names: names::rules(&written.names, &mut self.faults),
            quotas: quotas::quotas(&written.quotas, &mut self.faults),
        };
        // The one that comes first in the file is the first to claim.
        self.claims.sort_by_key(|it| it.place.span.start);
        self.faults.extend(claims::faults(&self.claims));
        (settings, self.faults)
    }

    fn host_id(&mut self, written: &WrittenHost) -> Option<HostId> {
        let id = written.id.as_ref()?;
        match HostId::new(&id.value) {
            Ok(host_id) => Some(host_id),
            Err(error) => {
                self.faults.push(Fault::error(error.to_string(), id.inside()));
                None
            }
        }
    }

    fn registrar(&mut self, written: &'a WrittenRegistrar) -> RegistrarSettings {
        let mut settings = RegistrarSettings::default();
        if let Some(listen) = &written.listen {
            if let ([], Some(place)) = (&listen.list[..], &listen.place) {
                let fault = Fault::error("the registrar listens nowhere", place.clone());
                let help = "name an endpoint, or leave out `listen` for the usual ones";
                self.faults.push(fault.help(help.to_owned()));
            }
            for endpoint in &listen.list {
                if let Some(endpoint) = self.endpoint("registrar", REGISTRAR, endpoint)
                    && !settings.listen.contains(&endpoint)
                {
                    settings.listen.push(endpoint);
                }
            }
        }
        let faults = &mut self.faults;
        let mode = written.socket_mode.as_ref();
        settings.socket_mode = mode.and_then(|it| values::socket_mode(it, faults));
        let group = written.socket_group.as_ref();
        settings.socket_group = group.and_then(|it| values::socket_group(it, faults));
        if let (Some(text), Some(mode), Some(group)) = (mode, settings.socket_mode, group)
            && mode & 0o020 == 0
        {
            let message = format!("the group may not connect to a socket of mode `{mode:04o}`");
            let help = format!("to let it: `{:04o}`", mode | 0o060);
            let fault = Fault::warning(message, text.inside()).help(help);
            faults.push(fault.related(group.inside(), "the group"));
        }
        let durations = [
            (&written.handshake_timeout, HANDSHAKE_TIMEOUT, &mut settings.handshake_timeout),
            (&written.heartbeat, HEARTBEAT, &mut settings.heartbeat),
            (&written.settle_time, SETTLE_TIME, &mut settings.settle_time),
            (&written.drain_timeout, DRAIN_TIMEOUT, &mut settings.drain_timeout),
        ];
        for (text, limits, setting) in durations {
            let read = text.as_ref().and_then(|it| values::duration(it, &limits, faults));
            *setting = read.unwrap_or(limits.default);
        }
        if let Some(number) = &written.heartbeat_misses {
            let read = values::number(number, &HEARTBEAT_MISSES, faults);
            settings.heartbeat_misses = read.unwrap_or(HEARTBEAT_MISSES.default);
        }
        if let Some(number) = &written.sessions_max {
            let read = values::number(number, &SESSIONS_MAX, faults);
            settings.sessions_max = read.unwrap_or(SESSIONS_MAX.default);
        }
        settings.names =
            written.names.as_ref().and_then(|it| names::names(it, faults)).unwrap_or_default();
        settings.names_place = written.names.as_ref().map(|it| names::place(&it.place));
        settings.tractor = match written.tractor {
            None => Tractor::Local,
            Some(Switch(true)) => Tractor::Everywhere,
            Some(Switch(false)) => Tractor::Nowhere,
        };
        settings
    }

    fn table(&mut self, table: &'static str, actors: &'a [Actor]) -> EndpointTable {
        let mut endpoints = EndpointTable::default();
        for actor in actors {
            let name = Name::new(&actor.name.value);
            if let Err(error) = &name {
                let fault = Fault::error(error.to_string(), actor.name.place.clone());
                self.faults.push(fault.help(error.help().to_owned()));
            }
            let mut read = Vec::with_capacity(actor.endpoints.list.len());
            for written in &actor.endpoints.list {
                let before = self.faults.len();
                let endpoint = self.endpoint(table, &actor.name.value, written);
                for fault in &mut self.faults[before..] {
                    let place = actor.name.place.clone();
                    fault.related.push(Related { place, label: "of this actor".to_owned() });
                }
                read.extend(endpoint);
            }
            let count = actor.endpoints.list.len();
            if count > InstanceId::ENDPOINTS_MAX {
                let message = format!("{} has {count} endpoints", Quoted(&actor.name.value));
                let help = format!("an actor has at most {}", InstanceId::ENDPOINTS_MAX);
                self.faults.push(Fault::error(message, actor.name.place.clone()).help(help));
            }
            if let Ok(name) = name {
                endpoints.insert(name, read);
            }
        }
        endpoints
    }

    /// Reads an endpoint of an actor, and notes the claim.
    fn endpoint(
        &mut self,
        table: &'static str,
        actor: &'a str,
        written: &WrittenEndpoint,
    ) -> Option<Endpoint> {
        let place = match table {
            "registrar" => Use::Registrar,
            "declared" => Use::Declared,
            _ => Use::Actor,
        };
        let endpoint = values::endpoint(written, place, &mut self.faults)?;
        if table == "declared"
            && let Some((message, help)) = undeclarable(&endpoint)
        {
            self.faults.push(Fault::error(message, written.place()).help(help));
        }
        let place = written.place();
        self.claims.push(Claim { table, actor, endpoint: endpoint.clone(), place });
        Some(endpoint)
    }
}

/// Says why nobody could dial an endpoint that is published as it stands, and what to write.
fn undeclarable(endpoint: &Endpoint) -> Option<(String, String)> {
    match endpoint {
        Endpoint::Memory(_) => Some((
            format!("`{endpoint}` is known only within one process"),
            "declare an endpoint that other processes can dial".to_owned(),
        )),
        Endpoint::Tcp(tcp) if tcp.host.is_wildcard() => Some((
            format!("`{endpoint}` can be bound, but not dialed"),
            "write the address at which callers find the actor".to_owned(),
        )),
        Endpoint::Tcp(tcp) if tcp.port == 0 => Some((
            format!("`{endpoint}` has no port that could be dialed"),
            "write the port at which callers find the actor".to_owned(),
        )),
        _ => None,
    }
}
