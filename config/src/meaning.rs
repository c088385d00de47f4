//! Converts settings as written into settings as meant.

use std::sync::Arc;

use endpoints::{Endpoint, EndpointTable, HostId, InstanceId, Name, Quoted};

use crate::{
    claims::{self, Claim, HTTP, REGISTRAR},
    cluster,
    diagnostic::{Diagnostic, Diagnostics, Related},
    dns,
    http::{self, HttpSettings},
    insecure::RefusedEndpoint,
    keys::{
        DRAIN_TIMEOUT, HANDSHAKE_TIMEOUT, HEARTBEAT, HEARTBEAT_MISSES, SESSIONS_MAX, SETTLE_TIME,
    },
    names, quotas,
    registrars::is_usual_place,
    settings::{RegistrarSettings, Settings, Tractor},
    shape,
    source::Source,
    syntax, tls,
    uses::Use,
    values,
    written::{Actor, Switch, Written, WrittenEndpoint, WrittenHost, WrittenRegistrar},
};

/// Reads the text of a settings file. `name` is what the file is called in diagnostics.
///
/// Returns the settings with what deserves a warning.
///
/// # Errors
///
/// [`Diagnostics`] holds everything that is wrong with the file, and the warnings.
pub fn read(source: &str, name: &str) -> Result<(Settings, Diagnostics), Diagnostics> {
    let (settings, diagnostics) = read_with(source, name, |_| Vec::new());
    diagnostics.or(settings)
}

/// Checks the text of a settings file, and returns everything that is wrong with it, with the
/// warnings. What only its machine knows, such as its users, `more` finds out: of what could be read,
/// whatever is wrong with the rest.
///
/// ```
/// use config::Diagnostic;
///
/// let more = |settings: config::Settings| {
///     settings.registrar.socket_group.iter().map(|it| it.unknown()).collect()
/// };
/// let text = "[registrar]\nsessions_max = 0\nsocket_group = \"no-such-group\"\n";
/// assert_eq!(config::check(text, "market.toml", more).0.len(), 2);
/// ```
pub fn check(
    source: &str,
    name: &str,
    more: impl FnOnce(Settings) -> Vec<Diagnostic>,
) -> Diagnostics {
    read_with(source, name, |settings| more(settings.clone())).1
}

fn read_with(
    source: &str,
    name: &str,
    more: impl FnOnce(&Settings) -> Vec<Diagnostic>,
) -> (Settings, Diagnostics) {
    let source = Source::shared(name, source);
    let mut mended = syntax::mend(&source);
    let text = Arc::clone(&mended.source);
    let (root, mut diagnostics) = syntax::parse(&text, &mut mended);
    let (written, shaped) = shape::read(&text, &root);
    diagnostics.extend(shaped);
    let (settings, meant) = Meaning::default().read(&written);
    diagnostics.extend(meant);
    diagnostics.extend(more(&settings));
    mended.restore(&mut diagnostics);
    diagnostics.extend(mended.diagnostics);
    diagnostics.sort_by_key(|it| (it.place.span.start, it.place.span.end));
    (settings, Diagnostics(diagnostics))
}

#[derive(Default)]
struct Meaning<'a> {
    claims: Vec<Claim<'a>>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Meaning<'a> {
    fn read(mut self, written: &'a Written) -> (Settings, Vec<Diagnostic>) {
        let settings = Settings {
            host_id: self.host_id(&written.host),
            registrar: self.registrar(&written.registrar, written.tls.place.is_some()),
            network: self.table("network", &written.network),
            declared: self.table("declared", &written.declared),
            names: names::rules(&written.names, &mut self.diagnostics),
            quotas: quotas::quotas(&written.quotas, &mut self.diagnostics),
            dns: dns::dns(&written.dns, &mut self.claims, &mut self.diagnostics),
            tls: tls::tls(&written.tls, &mut self.diagnostics),
            http: self.http(written),
            cluster: cluster::cluster(&written.cluster, &mut self.diagnostics),
        };
        // The one that comes first in the file is the first to claim.
        self.claims.sort_by_key(|it| it.place.span.start);
        self.diagnostics.extend(claims::diagnostics(&self.claims));
        (settings, self.diagnostics)
    }

    fn host_id(&mut self, written: &WrittenHost) -> Option<HostId> {
        let id = written.id.as_ref()?;
        match HostId::new(&id.value) {
            Ok(host_id) => Some(host_id),
            Err(error) => {
                self.diagnostics.push(Diagnostic::error(error.to_string(), id.inside()));
                None
            }
        }
    }

    fn registrar(
        &mut self,
        written: &'a WrittenRegistrar,
        has_certificate: bool,
    ) -> RegistrarSettings {
        let mut settings = RegistrarSettings::default();
        if let Some(listen) = &written.listen {
            if let ([], Some(place)) = (&listen.list[..], &listen.place) {
                let diagnostic = Diagnostic::error("the registrar listens nowhere", place.clone());
                let help = "name an endpoint, or leave out `listen` for the usual ones";
                self.diagnostics.push(diagnostic.help(help.to_owned()));
            }
            for written in &listen.list {
                if let Some(endpoint) = self.endpoint("registrar", REGISTRAR, written)
                    && !settings.listen.contains(&endpoint)
                {
                    let place = written.place();
                    let refused = RefusedEndpoint::of(&endpoint, place, has_certificate);
                    settings.refused.extend(refused);
                    settings.listen.push(endpoint);
                }
            }
        }
        let diagnostics = &mut self.diagnostics;
        settings.insecure = written.insecure.is_some_and(|Switch(it)| it);
        let mode = written.socket_mode.as_ref();
        settings.socket_mode = mode.and_then(|it| values::socket_mode(it, diagnostics));
        let group = written.socket_group.as_ref();
        settings.socket_group = group.and_then(|it| values::socket_group(it, diagnostics));
        if let (Some(text), Some(mode), Some(group)) = (mode, settings.socket_mode, group)
            && mode & 0o020 == 0
        {
            let message = format!("the group may not connect to a socket of mode `{mode:04o}`");
            let help = format!("to let it: `{:04o}`", mode | 0o060);
            let diagnostic = Diagnostic::warning(message, text.inside()).help(help);
            diagnostics.push(diagnostic.related(group.inside(), "the group"));
        }
        let durations = [
            (&written.handshake_timeout, HANDSHAKE_TIMEOUT, &mut settings.handshake_timeout),
            (&written.heartbeat, HEARTBEAT, &mut settings.heartbeat),
            (&written.settle_time, SETTLE_TIME, &mut settings.settle_time),
            (&written.drain_timeout, DRAIN_TIMEOUT, &mut settings.drain_timeout),
        ];
        for (text, limits, setting) in durations {
            let read = text.as_ref().and_then(|it| values::duration(it, &limits, diagnostics));
            *setting = read.unwrap_or(limits.default);
        }
        if let Some(number) = &written.heartbeat_misses {
            let read = values::number(number, &HEARTBEAT_MISSES, diagnostics);
            settings.heartbeat_misses = read.unwrap_or(HEARTBEAT_MISSES.default);
        }
        if let Some(number) = &written.sessions_max {
            let read = values::number(number, &SESSIONS_MAX, diagnostics);
            settings.sessions_max = read.unwrap_or(SESSIONS_MAX.default);
        }
        settings.names =
            written.names.as_ref().and_then(|it| names::names(it, diagnostics)).unwrap_or_default();
        settings.names_place = written.names.as_ref().map(|it| names::place(&it.place));
        settings.tractor = match written.tractor {
            None => Tractor::Local,
            Some(Switch(true)) => Tractor::Everywhere,
            Some(Switch(false)) => Tractor::Nowhere,
        };
        settings
    }

    fn http(&mut self, written: &'a Written) -> HttpSettings {
        let is_registrar_at_usual = written.registrar.listen.is_none();
        let has_certificate = written.tls.place.is_some();
        let mut settings = HttpSettings::default();
        let Some(listen) = &written.http.listen else { return settings };
        for written in &listen.list {
            if let Some(endpoint) = self.endpoint("http", HTTP, written)
                && !settings.listen.contains(&endpoint)
            {
                if is_registrar_at_usual && is_usual_place(&endpoint) {
                    self.diagnostics.push(http::at_registrar(&endpoint, written.place()));
                }
                if endpoint.is_tls() && !has_certificate {
                    self.diagnostics.push(http::without_certificate(&endpoint, written.place()));
                }
                settings.listen.push(endpoint);
            }
        }
        settings.place = listen.place.as_ref().map(names::place);
        settings
    }

    fn table(&mut self, table: &'static str, actors: &'a [Actor]) -> EndpointTable {
        let mut endpoints = EndpointTable::default();
        for actor in actors {
            let name = Name::new(&actor.name.value);
            if let Err(error) = &name {
                let diagnostic = Diagnostic::error(error.to_string(), actor.name.place.clone());
                self.diagnostics.push(diagnostic.help(error.help().to_owned()));
            }
            let mut read = Vec::with_capacity(actor.endpoints.list.len());
            for written in &actor.endpoints.list {
                let before = self.diagnostics.len();
                let endpoint = self.endpoint(table, &actor.name.value, written);
                for diagnostic in &mut self.diagnostics[before..] {
                    let place = actor.name.place.clone();
                    diagnostic.related.push(Related { place, label: "of this actor".to_owned() });
                }
                read.extend(endpoint);
            }
            if let ([], Some(place)) = (&actor.endpoints.list[..], &actor.endpoints.place) {
                let message = format!("{} has no endpoint", Quoted(&actor.name.value));
                let help = "say where it listens, or leave it out".to_owned();
                self.diagnostics.push(Diagnostic::warning(message, place.clone()).help(help));
            }
            let count = actor.endpoints.list.len();
            if count > InstanceId::ENDPOINTS_MAX {
                let message = format!("{} has {count} endpoints", Quoted(&actor.name.value));
                let help = format!("an actor has at most {}", InstanceId::ENDPOINTS_MAX);
                self.diagnostics
                    .push(Diagnostic::error(message, actor.name.place.clone()).help(help));
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
        let place = Use::of_table(table);
        let endpoint = values::endpoint(written, place, &mut self.diagnostics)?;
        let place = written.place();
        self.claims.push(Claim { table, actor, endpoint: endpoint.clone(), place });
        Some(endpoint)
    }
}
