//! The page: one file of HTML, CSS and JavaScript, which asks this server and nobody else.

use axum::{
    http::{
        HeaderName,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY},
    },
    response::{IntoResponse, Response},
};

/// Answers with the page. Its own script and style are told from any others by a number that is
/// drawn for this answer.
pub(super) async fn page() -> Response {
    let nonce = u128::from_ne_bytes(transport::random_bytes());
    let nonce = format!("{nonce:032x}");
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let headers: [(HeaderName, String); 3] = [
        (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (headers, PAGE.replace(NONCE, &nonce)).into_response()
}

const PAGE: &str = include_str!("page.html");

/// What stands for the number in the file.
const NONCE: &str = "NONCE";
