//! The HTTP server of a registrar.

use config::HttpSettings;
use gateway::http::{HttpAdapter, HttpError};
use transport::{Access, BindError, Listener};

use super::listed;
use crate::{
    failure::{Exit, Failure},
    hints,
};

/// Binds the HTTP server that the settings ask for.
pub(super) async fn bind(
    given: Vec<Listener>,
    settings: &HttpSettings,
    access: Access,
) -> Result<Option<HttpAdapter>, Failure> {
    if settings.listen.is_empty() {
        return Ok(None);
    }
    let bound = HttpAdapter::bind_beside(given, &settings.listen, Some(access)).await;
    bound.map(Some).map_err(|error| {
        let HttpError::Bind { endpoint, source } = &error else { return Failure::usage(error) };
        let hints = match source {
            // A registrar there would not answer HTTP.
            BindError::InUse { holder } => {
                hints::held(endpoint, holder.as_ref()).into_iter().collect()
            }
            _ => hints::unbound(endpoint, &settings.listen, source),
        };
        let exit = Exit::of_bind(source);
        let hints = hints.into_iter().map(Into::into).collect();
        let failure = Failure { exit, hints, ..Failure::usage(error) };
        listed("http", settings.place.as_deref(), failure)
    })
}
