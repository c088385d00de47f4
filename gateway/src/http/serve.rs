//! A connection, within bounds.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONNECTION, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use registrar::Accepted;
use tokio::time::{Instant, timeout};
use tracing::debug;
use transport::Stream;
use wire::ErrorKind;

use super::{
    actors, host,
    patience::Patient,
    peer::Peer,
    problem::{PROBLEM_JSON, Problem},
    refused::{BUFFER_BYTES, HEADERS_MAX, Worded},
    requests::Route,
    shared::Shared,
    socket::Socket,
};

/// Answers the requests of a connection, one at a time, until its peer has no more or the node stops.
pub(super) async fn serve(accepted: Accepted, shared: Arc<Shared>) {
    let Accepted { stream, session, stop } = accepted;
    let from = *stream.peer();
    let Ok(socket) = Socket::try_from(stream) else {
        return debug!("it is no socket of this host");
    };
    let way = socket.way();
    let router = TowerToHyperService::new(shared.router.clone());
    let peer = Arc::new(Peer { session, from, socket: socket.clone(), shared, stop: stop.clone() });
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let checked = host::check(request.uri(), request.version(), request.headers(), way);
        request.extensions_mut().insert(peer.clone());
        let (router, peer) = (router.clone(), peer.clone());
        // Whoever says a length too may mean other bounds, and the rest be another request to it: the
        // library shows one of the two alone, and after them the connection is over (RFC 9112,
        // section 6.1).
        let is_last = request.headers().contains_key(TRANSFER_ENCODING);
        let (route, began) = (Route::of(request.uri().path()), Instant::now());
        async move {
            let mut response = match checked {
                Ok(()) => match actors::again(&peer, request.method(), request.uri()) {
                    Some(response) => response,
                    None => router.call(request).await.unwrap_or_else(never),
                },
                Err(problem) => problem.into_response(),
            };
            peer.shared.requests.note(route, response.status().as_u16(), began.elapsed());
            let headers = response.headers_mut();
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            if is_last {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let stream = TokioIo::new(Worded::new(Patient::new(socket, WRITE_TIMEOUT)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    builder.header_read_timeout(HEADER_TIMEOUT).max_headers(HEADERS_MAX);
    builder.max_buf_size(BUFFER_BYTES);
    let mut connection = pin!(builder.serve_connection(stream, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match timeout(LAST_ANSWER, connection).await {
                Ok(ended) => ended,
                Err(_) => return debug!("cut in the middle of an answer"),
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ends");
    }
}

/// Says why there is no place for a connection, if that can be written at once.
pub(super) fn turn_away(mut stream: Stream, why: &str) {
    let status = axum::http::StatusCode::SERVICE_UNAVAILABLE;
    let body = Problem::new(status, ErrorKind::LimitReached, why).body();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {PROBLEM_JSON}\r\n\
         content-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let said = stream.write_at_once(&[head.as_bytes(), &body].concat());
    debug!(?said, "turned away");
}

fn never(never: Infallible) -> Response {
    match never {}
}

/// The time for the head of a request to arrive, and for the next one to begin.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The time for which a peer may take nothing of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The time for an answer that is under way when the node stops.
const LAST_ANSWER: Duration = Duration::from_secs(1);
