//! The state of a registrar.

use endpoints::Endpoint;
use serde::Serialize;
use wire::registrar::Status;

#[cfg(feature = "http")]
use super::schema;

/// The state of a registrar, by its own report.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = Status))]
pub struct StatusJson<'a> {
    #[serde(flatten)]
    #[cfg_attr(feature = "http", schema(value_type = schema::Status))]
    status: &'a Status,
    /// `endpoints` in the spelling of the multiaddr standard.
    endpoints_encoded: Vec<String>,
    /// `published` in the spelling of the multiaddr standard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    published_encoded: Vec<String>,
}

impl<'a> StatusJson<'a> {
    /// Describes it.
    pub fn of(status: &'a Status) -> Self {
        let encoded = |it: &[Endpoint]| it.iter().map(Endpoint::to_encoded).collect();
        Self {
            status,
            endpoints_encoded: encoded(&status.endpoints),
            published_encoded: encoded(&status.published),
        }
    }
}
