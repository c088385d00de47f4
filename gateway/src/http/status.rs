//! The registrar's own state.

use std::sync::Arc;

use axum::{
    Extension, Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{actors::settled, parameters::Parameters, peer::Peer, problem::Problem};
use crate::json::StatusJson;

/// The registrar
///
/// What `callsign status --json` prints as `status`.
#[utoipa::path(
    get,
    path = "/v1/status",
    responses((status = 200, description = "Its state.", body = StatusJson<'static>)),
)]
pub(super) async fn status(
    Extension(peer): Extension<Arc<Peer>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    let status = peer.session.registry().status();
    Ok(Json(StatusJson::of(&status)).into_response())
}

/// Whether it serves
#[utoipa::path(
    get,
    path = "/healthz",
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain")),
)]
pub(super) async fn healthz() -> (StatusCode, &'static str) {
    (StatusCode::OK, "ok\n")
}

/// Whether it knows all clients again
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "It does.", body = String, content_type = "text/plain"),
        (status = 503, description = "It has just started.", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn readyz(Extension(peer): Extension<Arc<Peer>>) -> Result<&'static str, Problem> {
    settled(&peer).map(|()| "ready\n")
}
