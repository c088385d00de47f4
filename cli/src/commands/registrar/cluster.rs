//! The cluster of a registrar.

#[cfg(feature = "etcd")]
mod files;

use std::sync::Arc;

use config::{ClusterSettings, Diagnostics};
#[cfg(feature = "etcd")]
use portal::WithCauses;
use registrar::ProtocolAdapter;

use crate::context::Context;

/// Returns what lets the node share with others, if the settings say with whom.
///
/// # Errors
///
/// [`Diagnostics`], if a file that they name cannot be used.
#[cfg(feature = "etcd")]
pub(crate) fn adapter(
    settings: Option<&ClusterSettings>,
    context: &Context,
) -> Result<Option<Arc<dyn ProtocolAdapter>>, Diagnostics> {
    let Some(settings) = settings else { return Ok(None) };
    let meant = files::meant(settings, context)?;
    let adapter = cluster::EtcdAdapter::new(meant).map_err(|error| {
        let help = "see docs/scale.md for what it takes".to_owned();
        Diagnostics(vec![settings.fault(WithCauses(&error).to_string(), help)])
    });
    Ok(Some(Arc::new(adapter?)))
}

/// Refuses to be alone where others are counted on.
///
/// # Errors
///
/// [`Diagnostics`], if there are such settings.
#[cfg(not(feature = "etcd"))]
pub(crate) fn adapter(
    settings: Option<&ClusterSettings>,
    _: &Context,
) -> Result<Option<Arc<dyn ProtocolAdapter>>, Diagnostics> {
    let Some(settings) = settings else { return Ok(None) };
    let message = "this `callsign` was built without the feature `etcd`".to_owned();
    let help = "build it with `cargo build --release --features etcd`, or leave out `[cluster]`";
    Err(Diagnostics(vec![settings.fault(message, help.to_owned())]))
}
