//! The cluster of a registrar: converts its settings as written into settings as meant.

use std::time::Duration;

use endpoints::{Endpoint, Name, Quoted};

use crate::{
    diagnostic::{Diagnostic, Place, Severity},
    keys::CLUSTER_LEASE,
    names,
    text::Text,
    tls::TlsPath,
    values,
    written::WrittenCluster,
};

/// With whom a registrar shares what it knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClusterSettings {
    /// Where the members of etcd are, as `http://HOST:PORT` or `https://HOST:PORT`.
    pub endpoints: Vec<String>,
    /// With what every key of the cluster begins.
    pub prefix: String,
    /// What this node is called; nothing stands for the name of its host.
    pub node: Option<Name>,
    /// For how long the others keep the records of a node that is gone.
    pub lease: Duration,
    /// As whom etcd knows this node, and the file of the password.
    pub user: Option<(String, TlsPath)>,
    /// The authority of etcd's certificates.
    pub ca: Option<TlsPath>,
    /// The certificate by which etcd knows this node, and its key.
    pub identity: Option<(TlsPath, TlsPath)>,
    pub(crate) place: Place,
}

impl ClusterSettings {
    /// Returns the place of the table: the file, and the line.
    pub fn place(&self) -> String {
        names::place(&self.place)
    }

    /// Describes a fault, at the place of the table.
    pub fn fault(&self, message: String, help: String) -> Diagnostic {
        Diagnostic::error(message, self.place.clone()).help(help)
    }

    /// Tells whether others say the same, wherever they are written.
    ///
    /// ```
    /// let table = "[cluster]\nengine = \"etcd\"\nendpoints = [\"http://etcd.example:2379\"]\n";
    /// let read = |text: &str| config::read(text, "node.toml").map(|it| it.0.cluster);
    /// let (here, there) = (read(table)?, read(&format!("\n{table}"))?);
    /// assert!(here.zip(there).is_some_and(|(here, there)| here.is_as(&there)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_as(&self, other: &Self) -> bool {
        let said = |it: &Self| {
            let path = |it: &TlsPath| it.written.clone();
            let user = it.user.as_ref().map(|(name, file)| (name.clone(), path(file)));
            let identity = it.identity.as_ref().map(|(one, key)| (path(one), path(key)));
            let etcd = (it.endpoints.clone(), it.prefix.clone(), it.ca.as_ref().map(path));
            (etcd, it.node.clone(), it.lease, user, identity)
        };
        said(self) == said(other)
    }
}

/// Reads the table, if there is one.
pub(crate) fn cluster(
    written: &WrittenCluster,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<ClusterSettings> {
    let place = written.place.as_ref()?;
    let before = diagnostics.len();
    let mut fault = |message: String, at: Place, help: String| {
        diagnostics.push(Diagnostic::error(message, at).help(help));
    };
    match &written.engine {
        Some(engine) if engine.value != ENGINE => {
            let message = format!("{} is not an engine", Quoted(&engine.value));
            fault(message, engine.inside(), format!("write engine = \"{ENGINE}\""));
        }
        Some(_) => {}
        None if written.mistyped.contains(&"engine") => {}
        None => {
            let help = format!("add engine = \"{ENGINE}\"");
            fault("`[cluster]` has no `engine`".to_owned(), place.clone(), help);
        }
    }
    let written_endpoints = written.endpoints.as_deref().unwrap_or_default();
    if written_endpoints.is_empty() && !written.mistyped.contains(&"endpoints") {
        let help = format!("say where etcd is: endpoints = [\"{EXAMPLE}\"]");
        fault("`[cluster]` has no `endpoints`".to_owned(), place.clone(), help);
    }
    let mut endpoints = Vec::new();
    for text in written_endpoints {
        match url(&text.value) {
            Some(url) if endpoints.contains(&url) => {}
            Some(url) => endpoints.push(url),
            None => {
                let meant = meant(&text.value).unwrap_or_else(|| EXAMPLE.to_owned());
                let message = format!("{} is not where etcd can be", Quoted(&text.value));
                fault(message, text.inside(), format!("write `{meant}`"));
            }
        }
    }
    let prefix = written.prefix.as_ref().filter(|text| {
        let is_good = (1..=PREFIX_BYTES_MAX).contains(&text.value.len());
        if !is_good {
            let message = "the prefix is empty, or too long".to_owned();
            let help = format!("1 to {PREFIX_BYTES_MAX} bytes, such as `{PREFIX}`");
            fault(message, text.inside(), help);
        }
        is_good
    });
    let node = written.node.as_ref().and_then(|text| match Name::new(&text.value) {
        Ok(node) => Some(node),
        Err(error) => {
            fault(error.to_string(), text.inside(), error.help().to_owned());
            None
        }
    });
    let has_tls = endpoints.iter().any(|it| it.starts_with("https://"));
    if has_tls && written.ca.is_none() {
        let message = "`https` without `ca`: nothing tells etcd from another".to_owned();
        let help = "name the certificate of its authority: ca = \"/etc/callsign/etcd-ca.pem\"";
        fault(message, place.clone(), help.to_owned());
    }
    for (one, other, [key, missing]) in [
        (&written.certificate, &written.key, ["certificate", "key"]),
        (&written.key, &written.certificate, ["key", "certificate"]),
        (&written.user, &written.password_file, ["user", "password_file"]),
        (&written.password_file, &written.user, ["password_file", "user"]),
    ] {
        if let (Some(text), None) = (one, other) {
            let message = format!("`{key}` without `{missing}`");
            fault(message, text.inside(), format!("add `{missing}`, or leave out both"));
        }
    }
    let mut path = |text: &Option<Text>| TlsPath::read(text.as_ref()?, diagnostics);
    let ca = path(&written.ca);
    let identity = path(&written.certificate).zip(path(&written.key));
    let user = written.user.as_ref().map(|it| it.value.clone()).zip(path(&written.password_file));
    if let (false, Some((_, file))) = (has_tls, &user) {
        let message = "the password of etcd goes over the network as it is".to_owned();
        let help = "ask etcd over `https`";
        diagnostics.push(file.doubt(message, help));
    }
    let lease = written.lease.as_ref();
    let lease = lease.and_then(|it| values::duration(it, &CLUSTER_LEASE, diagnostics));
    // What is made of faulty ones has other faults, which are none of the writer's.
    if diagnostics[before..].iter().any(|it| it.severity == Severity::Error) {
        return None;
    }
    Some(ClusterSettings {
        endpoints,
        prefix: prefix.map_or_else(|| PREFIX.to_owned(), |it| it.value.clone()),
        node,
        lease: lease.unwrap_or(CLUSTER_LEASE.default),
        user,
        ca,
        identity,
        place: place.clone(),
    })
}

/// Reads where a member of etcd is, without a slash at the end.
fn url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':')?;
    let is_bare = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | '_');
    let is_host = match host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(is_bare),
    };
    let is_port = port.bytes().all(|it| it.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_url = matches!(scheme, "http" | "https") && is_host && is_port;
    is_url.then(|| format!("{scheme}://{rest}"))
}

/// Returns what was probably meant.
fn meant(text: &str) -> Option<String> {
    let text = text.trim();
    if let Ok(Endpoint::Tcp(tcp)) = text.parse::<Endpoint>() {
        let scheme = if tcp.tls { "https" } else { "http" };
        let ip = tcp.host.ip()?;
        let place = std::net::SocketAddr::new(ip, tcp.port);
        return Some(format!("{scheme}://{place}"));
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let scheme = if scheme == "https" { scheme } else { "http" };
    let (rest, _path) = rest.split_once('/').unwrap_or((rest, ""));
    let as_it_is = format!("{scheme}://{rest}");
    let with_port = format!("{scheme}://{rest}:{PORT}");
    url(&as_it_is).or_else(|| url(&with_port))
}

/// The only engine.
const ENGINE: &str = "etcd";

const EXAMPLE: &str = "http://127.0.0.1:2379";

/// The port at which etcd answers its clients.
const PORT: u16 = 2379;

/// The usual prefix, and the longest: it is in every key.
const PREFIX: &str = "/callsign/";
const PREFIX_BYTES_MAX: usize = 256;
