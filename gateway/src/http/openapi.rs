//! The description of the interface (OpenAPI 3.1), made from the code.

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use utoipa::OpenApi;

use super::{actors, lease, metrics, status, watch};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "callsign",
        description = "Finds actors by name. `docs/http.md` of callsign says more.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        actors::list,
        actors::instances,
        actors::resolve,
        actors::tree,
        status::status,
        status::healthz,
        status::readyz,
        watch::watch,
        lease::put,
        lease::delete,
        metrics::metrics,
    )
)]
struct Description;

/// Returns the description of the interface, as JSON.
pub fn openapi() -> String {
    let mut text = Description::openapi().to_pretty_json().expect("its keys are strings");
    text.push('\n');
    text
}

pub(super) async fn serve() -> Response {
    ([(CONTENT_TYPE, "application/json")], openapi()).into_response()
}
