//! The cluster of a registrar.

#[cfg(feature = "etcd")]
mod files;

use std::sync::Arc;

use config::ClusterSettings;
use registrar::ProtocolAdapter;

use crate::{context::Context, failure::Failure};

/// Returns what lets the node share with others, if the settings say with whom.
#[cfg(feature = "etcd")]
pub(super) fn adapter(
    settings: Option<&ClusterSettings>,
    context: &Context,
) -> Result<Option<Arc<dyn ProtocolAdapter>>, Failure> {
    let Some(settings) = settings else { return Ok(None) };
    let adapter = files::meant(settings, context)
        .and_then(|meant| cluster::EtcdAdapter::new(meant).map_err(Failure::usage));
    let hint = format!("the cluster is in {}", settings.place);
    adapter.map(|it| Some(Arc::new(it) as _)).map_err(|failure| failure.hint(hint))
}

/// Refuses to be alone where others are counted on.
#[cfg(not(feature = "etcd"))]
pub(super) fn adapter(
    settings: Option<&ClusterSettings>,
    _: &Context,
) -> Result<Option<Arc<dyn ProtocolAdapter>>, Failure> {
    let Some(settings) = settings else { return Ok(None) };
    let error = anyhow::anyhow!("this `callsign` was built without the feature `etcd`");
    let hint = format!(
        "build it with `cargo build --release --features etcd`, or leave out `[cluster]`, {}",
        settings.place
    );
    Err(Failure::usage(error).hint(hint))
}
