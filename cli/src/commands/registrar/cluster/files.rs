//! What the settings of a cluster name, read.

use std::fs;

use cluster::{ClusterSettings as Meant, EtcdTls, EtcdUser};
use config::{ClusterSettings, Diagnostics, TlsPath};
use endpoints::Name;

use crate::context::{Context, tls::service_path};

/// Reads the files that the settings name.
///
/// # Errors
///
/// [`Diagnostics`] with the fault of a file, at the place of its path.
pub(super) fn meant(settings: &ClusterSettings, context: &Context) -> Result<Meant, Diagnostics> {
    let node = match &settings.node {
        Some(node) => node.clone(),
        None => own_name().ok_or_else(|| {
            let message = "the name of this host is no name of a node".to_owned();
            Diagnostics(vec![settings.fault(message, "give it a `node`".to_owned())])
        })?,
    };
    let read = |path: &TlsPath| -> Result<Vec<u8>, Diagnostics> {
        let file = service_path(path, &context.environment)?;
        let fault = |error: std::io::Error| {
            let message = format!("cannot read `{}`: {error}", file.display());
            Diagnostics(vec![path.fault(message, "")])
        };
        fs::read(&file).map_err(fault)
    };
    let user = settings.user.as_ref().map(|(name, file)| {
        let password = read(file)?;
        let password = String::from_utf8_lossy(&password);
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        Ok::<_, Diagnostics>(EtcdUser { name: name.clone(), password })
    });
    let identity = settings.identity.as_ref();
    let identity =
        identity.map(|(certificate, key)| Ok::<_, Diagnostics>((read(certificate)?, read(key)?)));
    Ok(Meant {
        prefix: settings.prefix.clone(),
        lease: settings.lease,
        tls: EtcdTls {
            authority: settings.ca.as_ref().map(read).transpose()?,
            identity: identity.transpose()?,
        },
        user: user.transpose()?,
        ..Meant::new(node, settings.endpoints.iter().cloned())
    })
}

/// Returns the name of this host.
fn own_name() -> Option<Name> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Name::new(name.trim_end()).ok()
}
