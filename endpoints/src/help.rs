//! Corrections for strings that are not endpoints.

use crate::{
    endpoint::Endpoint,
    error::{ParseEndpointError, ParseEndpointErrorKind as Kind},
    meant::{self, EXAMPLE_PORT, Meant},
};

impl ParseEndpointError {
    /// Returns the endpoint that was probably meant, where that can be guessed.
    ///
    /// ```
    /// use endpoints::Endpoint;
    ///
    /// let error = "tcp://10.0.0.7:80".parse::<Endpoint>().unwrap_err();
    /// assert_eq!(error.suggestion(), "/ip4/10.0.0.7/tcp/80".parse().ok());
    /// ```
    pub fn suggestion(&self) -> Option<Endpoint> {
        meant::endpoint(self.text(), self.port).map(|it| it.endpoint)
    }

    /// Returns what to write instead, where that can be guessed. It is one line. An endpoint in it
    /// is one that can be read.
    ///
    /// ```
    /// use endpoints::Endpoint;
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
    /// use endpoints::Endpoint;
    ///
    /// // At a place that takes addresses alone, of a service that is at 443 as a rule.
    /// let tcp_alone = |it: Endpoint| it.socket_addr().is_some().then_some(it);
    /// let error = "10.0.0.7".parse::<Endpoint>().unwrap_err();
    /// assert_eq!(error.help_for(443, tcp_alone).as_deref(), Some("add a port: `/ip4/10.0.0.7/tcp/443`"));
    /// ```
    pub fn help_for(
        &self,
        example_port: u16,
        fit: impl FnOnce(Endpoint) -> Option<Endpoint>,
    ) -> Option<String> {
        let meant = meant::endpoint(self.text(), self.port)
            .map(|it| it.with_example_port(example_port))
            .and_then(|it| Some(Meant { endpoint: fit(it.endpoint)?, ..it }))
            // It would end the quotation that it is shown in.
            .filter(|it| !it.endpoint.to_string().contains('`'));
        match meant {
            Some(meant) => Some(self.words(&meant)),
            None => self.rule().map(str::to_owned),
        }
    }

    /// Says what to write, where that can be guessed.
    fn words(&self, meant: &Meant) -> String {
        let endpoint = &meant.endpoint;
        match self.kind() {
            _ if meant.has_example_port => format!("add a port: `{endpoint}`"),
            Kind::MissingHost { protocol: "tcp" } if self.text().starts_with("/tcp") => {
                format!("put a host before it: `{endpoint}`")
            }
            Kind::MissingHost { .. } => format!("TLS stands last: `{endpoint}`"),
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

    /// Says how it is written in general.
    fn rule(&self) -> Option<&'static str> {
        match self.kind() {
            Kind::Empty => Some(EXAMPLES),
            Kind::NoLeadingSlash | Kind::RelativePath { .. }
                if meant::is_relative_path(self.text()) =>
            {
                Some("write the path of a socket from the root: `/unix/<path>`")
            }
            Kind::NoLeadingSlash => Some(EXAMPLES),
            Kind::TrailingSlash if self.text() == "/" => Some(EXAMPLES),
            Kind::UnknownProtocol { .. } if self.text().split('/').any(|part| part == "..") => {
                Some("write the path without `..`, and as `/unix/<path>`")
            }
            Kind::UnknownProtocol { .. } | Kind::Unsupported { .. } => Some(SUPPORTED),
            Kind::MissingHost { protocol: "tls" } => {
                Some("TLS stands last: `/ip4/127.0.0.1/tcp/5555/tls`")
            }
            Kind::NotPlain { path } if path.split('/').any(|part| part == "..") => {
                Some("write the path without `..`")
            }
            Kind::PathTooLong { .. } => Some("put the socket into a nearer folder"),
            Kind::FileNameTooLong { .. } => Some("give the socket a shorter name"),
            _ => None,
        }
    }
}

const EXAMPLES: &str = "an endpoint is a multiaddr, such as `/ip4/127.0.0.1/tcp/5555` \
    or `/unix/run/feed.sock`";

const SUPPORTED: &str = "supported are `/unix/<path>`, `/unix/@<name>`, \
    `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>`, `/ip6zone/<interface>/ip6/<address>/tcp/<port>`, \
    each with TLS as `/tcp/<port>/tls`, and `/memory/<number>`";
