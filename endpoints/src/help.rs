//! Corrections for strings that are not endpoints.

use crate::{
    endpoint::Endpoint,
    error::{ParseEndpointError, ParseEndpointErrorKind as Kind, Quoted},
    meant::{self, EXAMPLE_PORT, Meant},
    slip::{is_of_windows, placeholder},
};

impl ParseEndpointError {
    /// Returns the endpoint that was probably meant, if one can be guessed.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let error = "tcp://10.0.0.7:80".parse::<Endpoint>().unwrap_err();
    /// assert_eq!(error.suggestion(), "/ip4/10.0.0.7/tcp/80".parse().ok());
    /// ```
    pub fn suggestion(&self) -> Option<Endpoint> {
        self.meant().map(|it| it.endpoint).filter(|it| it.nowhere().is_none())
    }

    /// Returns the endpoints that were probably meant if there are several in one string, and
    /// otherwise none.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let error = "a:80,b:81".parse::<Endpoint>().unwrap_err();
    /// assert_eq!(error.several(), ["/dns/a/tcp/80".parse()?, "/dns/b/tcp/81".parse()?]);
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn several(&self) -> Vec<Endpoint> {
        match (self.port, self.kind()) {
            // One is beside a port, and an extra blank is between parts of one.
            (Some(_), _) | (None, Kind::Blank { .. }) => Vec::new(),
            (None, _) => meant::several(self.text()),
        }
    }

    fn meant(&self) -> Option<Meant> {
        match self.kind() {
            Kind::Several => None,
            _ if !self.several().is_empty() => None,
            _ => meant::endpoint(self.text(), self.port),
        }
    }

    /// Returns a correction, if one can be guessed. It is one line. An endpoint in it
    /// is one that can be read.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// let error = "localhost:80".parse::<Endpoint>().unwrap_err();
    /// assert_eq!(error.help().as_deref(), Some("did you mean `/dns/localhost/tcp/80`?"));
    /// ```
    pub fn help(&self) -> Option<String> {
        self.help_for(EXAMPLE_PORT, Some)
    }

    /// Returns a correction for a place that does not accept every endpoint. `fit` turns a
    /// suggestion into one that the place accepts, or returns `None` if there is none.
    /// `example_port` is the port of examples without one.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use callsign::Endpoint;
    ///
    /// // At a place that takes addresses alone, of a service that is at 443 as a rule.
    /// let tcp_alone = |it: Endpoint| it.socket_addr().is_some().then_some(it);
    /// let error = "10.0.0.7".parse::<Endpoint>().unwrap_err();
    /// assert_eq!(error.help_for(443, tcp_alone).as_deref(), Some("add a port: `/ip4/10.0.0.7/tcp/443`"));
    /// ```
    pub fn help_for(
        &self,
        example_port: u16,
        fit: impl FnMut(Endpoint) -> Option<Endpoint>,
    ) -> Option<String> {
        let mut fit = fit;
        // It would end the quotation that it is shown in.
        let is_quotable = |it: &Endpoint| !it.to_string().contains('`');
        let meant = self.meant().map(|it| it.with_example_port(example_port));
        if let Some(meant) = &meant
            && let Some(nowhere) = meant.endpoint.nowhere()
        {
            // With port 0, a port that was not written is left open.
            let endpoint = meant.clone().with_example_port(0).endpoint;
            return Some(format!("{nowhere}; {}", nowhere.help(&endpoint)));
        }
        let meant = meant
            .and_then(|it| Some(Meant { endpoint: fit(it.endpoint)?, ..it }))
            .filter(|it| is_quotable(&it.endpoint));
        if let Some(meant) = meant {
            return Some(self.words(&meant));
        }
        let several: Option<Vec<_>> = self.several().into_iter().map(fit).collect();
        match several.unwrap_or_default() {
            several if !several.is_empty() && several.iter().all(is_quotable) => {
                let written: Vec<_> = several.iter().map(|it| format!("`{it}`")).collect();
                Some(format!("write them separately: {}", written.join(", ")))
            }
            _ => self.rule(),
        }
    }

    /// Suggests a correction, if one can be guessed.
    fn words(&self, meant: &Meant) -> String {
        let endpoint = &meant.endpoint;
        match self.kind() {
            _ if meant.has_example_port => format!("add a port: `{endpoint}`"),
            Kind::MissingHost { protocol: "tcp" } if self.text().starts_with("/tcp") => {
                format!("put a host before it: `{endpoint}`")
            }
            Kind::MissingHost { .. } => format!("TLS comes last: `{endpoint}`"),
            Kind::Blank { .. } => {
                format!("leave it out: `{endpoint}`; write an intended blank as %20")
            }
            Kind::InvalidValue { value, .. } if is_service(self.text(), value) => {
                format!("a port is a number: `{endpoint}`")
            }
            Kind::RelativePath { .. } => format!("the path begins at the root: `{endpoint}`"),
            Kind::TrailingSlash => format!("leave out this slash: `{endpoint}`"),
            Kind::UnknownProtocol { .. } if matches!(endpoint, Endpoint::Unix(_)) => {
                format!("a Unix socket is written `{endpoint}`")
            }
            Kind::Unsupported { .. } | Kind::Trailing { .. }
                if matches!(endpoint, Endpoint::Tcp(_)) =>
            {
                format!("an endpoint is a place, not what is spoken there: `{endpoint}`")
            }
            _ => format!("did you mean `{endpoint}`?"),
        }
    }

    /// Describes the general form.
    fn rule(&self) -> Option<String> {
        let text = self.text();
        if let Some(span) = placeholder(text) {
            let what = Quoted(&text[span]);
            return Some(match what.0 {
                "{port}" => {
                    format!("{what} works in a program's arguments only; write port 0 to draw one")
                }
                _ => format!("{what} is not expanded here: write its value"),
            });
        }
        if is_of_windows(text) {
            return Some(
                "a Unix socket is written with slashes, from the root: `/unix/<path>`".to_owned(),
            );
        }
        let rule = match self.kind() {
            Kind::Empty => EXAMPLES,
            Kind::NoLeadingSlash | Kind::RelativePath { .. }
                if meant::is_relative_path(self.text()) =>
            {
                "write the path of a socket from the root: `/unix/<path>`"
            }
            Kind::NoLeadingSlash if text.to_ascii_lowercase().starts_with("unix:") => {
                "write the path of a socket from the root: `/unix/<path>`"
            }
            Kind::NoLeadingSlash if meant::is_foreign(text) => SUPPORTED,
            Kind::NoLeadingSlash => EXAMPLES,
            Kind::TrailingSlash if self.text() == "/" => EXAMPLES,
            Kind::UnknownProtocol { .. } if self.text().split('/').any(|part| part == "..") => {
                "write the path without `..`, and as `/unix/<path>`"
            }
            Kind::UnknownProtocol { .. } | Kind::Unsupported { .. } => SUPPORTED,
            Kind::MissingHost { protocol: "tls" } => {
                "TLS comes last: `/ip4/127.0.0.1/tcp/5555/tls`"
            }
            Kind::NotPlain { path } if path.split('/').any(|part| part == "..") => {
                "write the path without `..`"
            }
            Kind::PathTooLong { .. } => "put the socket into a nearer folder",
            Kind::FileNameTooLong { .. } => "give the socket a shorter name",
            Kind::InvalidHostName { rule, .. } => rule,
            Kind::InvalidValue { .. } if text.is_empty() && self.port.is_some() => {
                "all addresses of a host are 0.0.0.0, and its own loopback is 127.0.0.1"
            }
            Kind::ProtocolAsHost { .. } => "the host comes first: an IP address or a host name",
            Kind::InvalidValue { value, .. } if is_service(text, value) => {
                "a port is a number, as `/etc/services` has it of a service"
            }
            Kind::Blank { .. } => "leave it out; write an intended blank as %20",
            Kind::Several => "write them separately",
            _ => return None,
        };
        Some(rule.to_owned())
    }
}

/// Tells whether a value is a word in the place of a port, such as the name of a service.
fn is_service(text: &str, value: &str) -> bool {
    value.starts_with(|it: char| it.is_ascii_alphabetic())
        && value.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
        && text.to_ascii_lowercase().contains(&format!("/tcp/{}", value.to_ascii_lowercase()))
}

const EXAMPLES: &str = "an endpoint is a multiaddr, such as `/ip4/127.0.0.1/tcp/5555` \
    or `/unix/run/feed.sock`";

const SUPPORTED: &str = "supported are `/unix/<path>`, `/unix/@<name>`, \
    `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>`, `/ip6zone/<interface>/ip6/<address>/tcp/<port>`, \
    each with TLS as `/tcp/<port>/tls`, and `/memory/<number>`";
