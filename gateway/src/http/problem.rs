//! Errors, as problem details (RFC 9457).

use std::time::Duration;

use axum::{
    body::Body,
    extract::rejection::PathRejection,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use registrar::Exceeded;
use serde::Serialize;
use utoipa::ToSchema;
use wire::{ErrorKind, RemoteError};

/// An error: RFC 9457 describes its fields, except `kind`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the status says what it is.
    #[serde(rename = "type")]
    about: &'static str,
    /// The status, in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What is wrong, for people.
    detail: String,
    /// What is wrong, in a word for programs: `not-found`, `invalid`, `denied`, `limit-reached`,
    /// `quota-exceeded`, `unsettled`, `undecided`, and the like.
    kind: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: ErrorKind, detail: impl ToString) -> Self {
        Self {
            about: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.to_string(),
            kind: kind.to_string(),
        }
    }

    /// Says that the request is wrong.
    pub(super) fn invalid(detail: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorKind::Invalid, detail)
    }

    /// Says that the caller may not do this.
    pub(super) fn denied(detail: impl ToString) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorKind::Denied, detail)
    }

    /// Says that something does not exist.
    pub(super) fn not_found(detail: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorKind::NotFound, detail)
    }

    /// Says that something cannot be asked for by this method.
    pub(super) fn not_allowed() -> Self {
        let detail = "this cannot be done here: see /v1/openapi.json";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::NoSuchMethod, detail)
    }

    /// Says that the registrar has just started, and cannot say "no" yet.
    pub(super) fn unsettled() -> Self {
        let detail = "the registrar has just started, and may not know all actors yet";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unsettled, detail)
    }

    /// Says that the registrar is cut off from its cluster, and cannot say "no".
    pub(super) fn cut_off(unheard: Duration) -> Self {
        let detail = format!(
            "the registrar is cut off from its cluster for {} s: another node may have what it does \
             not know",
            unheard.as_secs()
        );
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Undecided, detail)
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    #[cfg(test)]
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Puts other words in place of some of what it says.
    pub(super) fn reword(&mut self, from: &str, to: &str) {
        self.detail = self.detail.replace(from, to);
    }

    pub(super) fn body(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<RemoteError> for Problem {
    fn from(error: RemoteError) -> Self {
        let status = match error.kind {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Invalid | ErrorKind::Mismatch => StatusCode::BAD_REQUEST,
            ErrorKind::Denied => StatusCode::FORBIDDEN,
            ErrorKind::LimitReached | ErrorKind::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Unsettled | ErrorKind::Undecided | ErrorKind::ShuttingDown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.kind.clone(), error)
    }
}

impl From<Exceeded> for Problem {
    fn from(exceeded: Exceeded) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorKind::QuotaExceeded, exceeded)
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Self::invalid(
            "the path is no UTF-8 once its `%` are resolved: write the name's bytes as UTF-8",
        )
    }
}

/// The type of problem details.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
