//! Overrides: settings from the environment and the flags.

use std::{fmt::Display, time::Duration};

use endpoints::{Endpoint, EndpointTable};

use crate::{
    claims::{self, Clash, REGISTRAR},
    diagnostic::{Diagnostic, Diagnostics, Severity},
    keys::{
        DRAIN_TIMEOUT, HANDSHAKE_TIMEOUT, HEARTBEAT, HEARTBEAT_MISSES, Limits, SESSIONS_MAX,
        SETTLE_TIME, SOCKET_GROUP, SOCKET_MODE,
    },
    settings::{RegistrarSettings, Settings},
    source::Source,
    text::{Number, Text},
    uses::Use,
    values,
};

/// The source of settings outside the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layer {
    /// Variables of the environment.
    Environment,
    /// Flags of the command line.
    Flags,
}

impl Layer {
    /// Returns what a setting of `[registrar]` is called here: `CALLSIGN_DRAIN_TIMEOUT` or
    /// `--drain-timeout`.
    pub fn name_of(self, key: &str) -> String {
        match self {
            Self::Environment => format!("CALLSIGN_{}", key.to_ascii_uppercase()),
            Self::Flags => format!("--{}", key.replace('_', "-")),
        }
    }
}

/// The settings of one layer, as written. A missing one leaves the file's in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overrides {
    /// The layer.
    pub layer: Layer,
    /// The registrar's endpoints, instead of those of the file.
    pub listen: Vec<String>,
    /// The registrar's endpoints where neither the file nor a layer names any.
    pub usual: Vec<String>,
    /// The mode of the socket files.
    pub socket_mode: Option<String>,
    /// The group that they are given.
    pub socket_group: Option<String>,
    /// The time limit for a handshake.
    pub handshake_timeout: Option<String>,
    /// The interval between heartbeats.
    pub heartbeat: Option<String>,
    /// The number of heartbeats that may be missed.
    pub heartbeat_misses: Option<String>,
    /// The most open sessions.
    pub sessions_max: Option<String>,
    /// The time for clients of the previous registrar to return.
    pub settle_time: Option<String>,
    /// The time for sessions to end.
    pub drain_timeout: Option<String>,
}

impl Overrides {
    /// Says nothing.
    pub fn none(layer: Layer) -> Self {
        Self {
            layer,
            listen: Vec::new(),
            usual: Vec::new(),
            socket_mode: None,
            socket_group: None,
            handshake_timeout: None,
            heartbeat: None,
            heartbeat_misses: None,
            sessions_max: None,
            settle_time: None,
            drain_timeout: None,
        }
    }

    /// Takes what the environment says; `variable` looks a variable up. An empty variable is as
    /// good as none. `CALLSIGN_LISTEN` holds any number of endpoints, with commas or spaces
    /// between them, and so does `CALLSIGN_LISTEN_DEFAULT`, which only counts where the file has
    /// none.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let layer = Layer::Environment;
        let said = |key| variable(&layer.name_of(key)).filter(|it| !it.trim().is_empty());
        Self {
            layer,
            listen: said(LISTEN).into_iter().collect(),
            usual: said(USUAL).into_iter().collect(),
            socket_mode: said(SOCKET_MODE),
            socket_group: said(SOCKET_GROUP),
            handshake_timeout: said(HANDSHAKE_TIMEOUT.key),
            heartbeat: said(HEARTBEAT.key),
            heartbeat_misses: said(HEARTBEAT_MISSES.key),
            sessions_max: said(SESSIONS_MAX.key),
            settle_time: said(SETTLE_TIME.key),
            drain_timeout: said(DRAIN_TIMEOUT.key),
        }
    }

    /// Returns what this layer says of each setting, and whether that hides what the file says of it.
    fn over(
        &self,
        of_file: &RegistrarSettings,
        now: &RegistrarSettings,
    ) -> [(&'static str, Option<&str>, bool); 9] {
        let usual = RegistrarSettings::default();
        macro_rules! row {
            ($key:expr, $field:ident) => {{
                let is_hidden = of_file.$field != usual.$field && of_file.$field != now.$field;
                ($key, self.$field.as_deref(), is_hidden)
            }};
        }
        let is_hidden = !of_file.listen.is_empty() && of_file.listen != now.listen;
        [
            (LISTEN, self.listen.first().map(String::as_str), is_hidden),
            row!(SOCKET_MODE, socket_mode),
            row!(SOCKET_GROUP, socket_group),
            row!(HANDSHAKE_TIMEOUT.key, handshake_timeout),
            row!(HEARTBEAT.key, heartbeat),
            row!(HEARTBEAT_MISSES.key, heartbeat_misses),
            row!(SESSIONS_MAX.key, sessions_max),
            row!(SETTLE_TIME.key, settle_time),
            row!(DRAIN_TIMEOUT.key, drain_timeout),
        ]
    }

    /// Reports what the file says in vain: whoever has written it may not know of a variable that a
    /// unit or an image sets. Flags of `later` layers are known to whoever types them.
    fn hidden(
        &self,
        of_file: &RegistrarSettings,
        now: &RegistrarSettings,
        later: &[Self],
    ) -> Vec<Diagnostic> {
        let is_moot = |key| {
            let mut said = later.iter().flat_map(|it| it.over(of_file, now));
            said.any(|(other, value, _)| other == key && value.is_some())
        };
        let hidden = self.over(of_file, now).into_iter();
        hidden
            .filter(|(key, _, is_hidden)| *is_hidden && !is_moot(*key))
            .filter_map(|(key, value, _)| {
                let text = self.text(key, value?);
                let message = format!("`{key}` of the settings file does not count");
                let help = format!("this variable hides it: unset {}", self.layer.name_of(key));
                Some(Diagnostic::warning(message, text.inside()).help(help))
            })
            .collect()
    }

    fn text(&self, key: &str, value: &str) -> Text {
        let source = Source::shared(&self.layer.name_of(key), value);
        Text::plain(&source, 0..value.len())
    }
}

/// Applies layers to the settings of the file; a later layer overrides an earlier one.
///
/// ```
/// use config::{Layer, Overrides, Settings, overlay};
///
/// let environment = Overrides::from_environment(|variable| {
///     (variable == "CALLSIGN_HEARTBEAT").then(|| "2s".to_owned())
/// });
/// let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
/// let flags = Overrides { listen, ..Overrides::none(Layer::Flags) };
/// let (settings, _) = overlay(Settings::default(), &[environment, flags])?;
/// assert_eq!(settings.registrar.heartbeat.as_secs(), 2);
/// assert_eq!(settings.registrar.listen[0].to_string(), "/ip4/127.0.0.1/tcp/0");
/// # Ok::<(), config::Diagnostics>(())
/// ```
///
/// # Errors
///
/// [`Diagnostics`] with every fault of all layers, each with its variable or flag as the place.
pub fn overlay(
    mut settings: Settings,
    layers: &[Overrides],
) -> Result<(Settings, Diagnostics), Diagnostics> {
    let mut diagnostics = Vec::new();
    let of_file = settings.registrar.clone();
    for (at, layer) in layers.iter().enumerate() {
        let mut reader = Reader { layer, diagnostics: &mut diagnostics };
        let Settings { registrar, network, declared, .. } = &mut settings;
        reader.listen(&mut registrar.listen, &[network, declared]);
        reader.word(
            &layer.socket_mode,
            SOCKET_MODE,
            values::socket_mode,
            &mut registrar.socket_mode,
        );
        reader.word(
            &layer.socket_group,
            SOCKET_GROUP,
            values::socket_group,
            &mut registrar.socket_group,
        );
        reader.duration(
            &layer.handshake_timeout,
            HANDSHAKE_TIMEOUT,
            &mut registrar.handshake_timeout,
        );
        reader.duration(&layer.heartbeat, HEARTBEAT, &mut registrar.heartbeat);
        reader.number(&layer.heartbeat_misses, HEARTBEAT_MISSES, &mut registrar.heartbeat_misses);
        reader.number(&layer.sessions_max, SESSIONS_MAX, &mut registrar.sessions_max);
        reader.duration(&layer.settle_time, SETTLE_TIME, &mut registrar.settle_time);
        reader.duration(&layer.drain_timeout, DRAIN_TIMEOUT, &mut registrar.drain_timeout);
        let is_wrong = diagnostics.iter().any(|it| it.severity == Severity::Error);
        if layer.layer == Layer::Environment && !is_wrong {
            diagnostics.extend(layer.hidden(&of_file, registrar, &layers[at + 1..]));
        }
    }
    Diagnostics(diagnostics).or(settings)
}

struct Reader<'a> {
    layer: &'a Overrides,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn listen(&mut self, setting: &mut Vec<Endpoint>, tables: &[&EndpointTable]) {
        let mut listen = Vec::new();
        let Overrides { listen: said, usual, .. } = self.layer;
        let (said, key) = match (&said[..], &setting[..]) {
            ([], []) => (usual, USUAL),
            _ => (said, LISTEN),
        };
        for value in said {
            let text = self.layer.text(key, value);
            let items = match self.layer.layer {
                Layer::Environment => items(&text),
                Layer::Flags => vec![text],
            };
            for item in items {
                let Some(endpoint) = values::multiaddr(&item, Use::Registrar, self.diagnostics)
                else {
                    continue;
                };
                self.diagnostics.extend(rival(&item, &endpoint, tables));
                if !listen.contains(&endpoint) {
                    listen.push(endpoint);
                }
            }
        }
        if !listen.is_empty() {
            *setting = listen;
        }
    }

    fn word<T>(
        &mut self,
        said: &Option<String>,
        key: &str,
        read: impl Fn(&Text, &mut Vec<Diagnostic>) -> Option<T>,
        setting: &mut Option<T>,
    ) {
        let Some(value) = said else { return };
        let meant = read(&self.layer.text(key, value), self.diagnostics);
        *setting = meant.or_else(|| setting.take());
    }

    fn duration(
        &mut self,
        said: &Option<String>,
        limits: Limits<Duration>,
        setting: &mut Duration,
    ) {
        let Some(value) = said else { return };
        let text = self.layer.text(limits.key, value);
        *setting = values::duration(&text, &limits, self.diagnostics).unwrap_or(*setting);
    }

    fn number<T>(&mut self, said: &Option<String>, limits: Limits<T>, setting: &mut T)
    where
        T: Copy + Display + PartialOrd + TryFrom<i64>,
    {
        let Some(value) = said else { return };
        let number = Number::plain(self.layer.text(limits.key, value));
        *setting = values::number(&number, &limits, self.diagnostics).unwrap_or(*setting);
    }
}

/// Reports an actor that has the place where the registrar is to listen.
fn rival(text: &Text, endpoint: &Endpoint, tables: &[&EndpointTable]) -> Option<Diagnostic> {
    let actors = tables.iter().flat_map(|table| table.iter());
    let (name, _) =
        actors.filter(|(name, _)| name.as_str() != REGISTRAR).find(|(_, endpoints)| {
            endpoints.iter().any(|it| claims::clash(it, endpoint) == Some(Clash::Certain))
        })?;
    let message = format!("`{endpoint}` is claimed by the actor `{name}` of the settings file");
    Some(
        Diagnostic::error(message, text.inside())
            .help("let the registrar listen elsewhere".to_owned()),
    )
}

/// Splits a string at commas and white space.
pub(crate) fn items(text: &Text) -> Vec<Text> {
    let mut items = Vec::new();
    let mut at = 0;
    for item in text.value.split(|it: char| it == ',' || it.is_whitespace()) {
        if !item.is_empty() {
            items.push(text.cut(at..at + item.len()));
        }
        // The separator may be a character of several bytes.
        let rest = &text.value[at + item.len()..];
        at += item.len() + rest.chars().next().map_or(0, char::len_utf8);
    }
    items
}

const LISTEN: &str = "listen";

/// What a unit or an image sets, so that a settings file may name other places.
const USUAL: &str = "listen_default";
