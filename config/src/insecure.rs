//! TCP beyond the loopback without TLS: where it is written, and where it is allowed.

use endpoints::Endpoint;

use crate::{
    diagnostic::{Diagnostic, Diagnostics, Place},
    source::Source,
    text::Text,
    words,
};

/// The variable of the environment that allows TCP beyond the loopback without TLS, as the flag
/// `--insecure` does.
pub const INSECURE_VARIABLE: &str = "CALLSIGN_INSECURE";

/// Tells whether the variable [`INSECURE_VARIABLE`] allows TCP beyond the loopback without TLS. An
/// empty one is as good as none.
///
/// ```
/// assert!(config::is_insecure(Some("true"))?);
/// assert!(!config::is_insecure(Some(""))?);
/// assert!(config::is_insecure(Some("perhaps")).is_err());
/// # Ok::<(), config::Diagnostics>(())
/// ```
///
/// # Errors
///
/// [`Diagnostics`] of a variable that means neither.
pub fn is_insecure(variable: Option<&str>) -> Result<bool, Diagnostics> {
    let Some(variable) = variable.filter(|it| !it.trim().is_empty()) else { return Ok(false) };
    words::switch(variable).ok_or_else(|| {
        let source = Source::shared(INSECURE_VARIABLE, variable);
        let text = Text::plain(&source, 0..variable.len());
        let message = "it means neither `true` nor `false`";
        let help = format!("write {INSECURE_VARIABLE}=true, or leave it out");
        Diagnostics(vec![Diagnostic::error(message, text.inside()).help(help)])
    })
}

/// An endpoint at which neither a registrar listens nor its clients ask, as the settings are, and its
/// place in the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefusedEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    place: Place,
}

impl RefusedEndpoint {
    /// Takes an endpoint, if it is one.
    pub(crate) fn of(endpoint: &Endpoint, place: Place, has_certificate: bool) -> Option<Self> {
        let is_refused = endpoint.is_exposed() || endpoint.is_tls() && !has_certificate;
        is_refused.then(|| Self { endpoint: endpoint.clone(), place })
    }

    /// Describes the fault, for programs that do not allow it otherwise.
    ///
    /// ```
    /// let text = "[registrar]\nlisten = \"/ip4/192.0.2.7/tcp/1616\"\n";
    /// let (settings, _) = config::read(text, "node.toml")?;
    /// let fault = settings.registrar.refused[0].fault();
    /// assert!(fault.message.contains("beyond the loopback"));
    /// # Ok::<(), config::Diagnostics>(())
    /// ```
    pub fn fault(&self) -> Diagnostic {
        let endpoint = &self.endpoint;
        let (message, help) = if endpoint.is_tls() {
            let message =
                format!("`{endpoint}` needs a certificate, and there is no table `[tls]`");
            (message, "add `[tls]` with `ca`, `certificate` and `key`; `callsign keys` makes them")
        } else {
            let message = format!(
                "`{endpoint}` is beyond the loopback, and has no TLS: a registrar refuses that, and \
                 so do its clients"
            );
            let help = "add `/tls`, and a table `[tls]`; or trust the network: `insecure = true` in \
                        `[registrar]`, or the flag `--insecure`";
            (message, help)
        };
        Diagnostic::error(message, self.place.clone()).help(help.to_owned())
    }
}
