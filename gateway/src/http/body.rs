//! The body of a request, within bounds of length and time.

use std::{pin::pin, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONTENT_ENCODING, CONTENT_LENGTH},
    },
};
use endpoints::Quoted;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::timeout;
use wire::ErrorKind;

use super::problem::Problem;

/// Reads a body. A peer that sends it too slowly, or without an end, is told so, and loses its
/// connection. One that sends somewhat too much reads the answer only after it has sent all, so that
/// the rest is taken and dropped.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|it| *it != "identity") {
        return Err(encoded(encoding));
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    if announced.is_some_and(|it: u64| it > TAKEN_BYTES_MAX as u64) {
        return Err(too_long());
    }
    let whole = async {
        let mut parts = pin!(body.into_data_stream().map_err(|_| cut()));
        let (mut whole, mut length) = (Vec::new(), 0);
        while let Some(part) = parts.next().await {
            let part = part?;
            length += part.len();
            if length <= BODY_BYTES_MAX {
                whole.extend_from_slice(&part);
            } else if length > TAKEN_BYTES_MAX {
                break;
            }
        }
        if length > BODY_BYTES_MAX { Err(too_long()) } else { Ok(whole.into()) }
    };
    timeout(BODY_TIMEOUT, whole).await.unwrap_or_else(|_| Err(too_slow()))
}

fn encoded(encoding: &HeaderValue) -> Problem {
    let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
    let detail = format!("the body has the encoding {}: send it as it is", Quoted(&encoding));
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorKind::Invalid, detail)
}

fn too_long() -> Problem {
    let detail = format!("the body is longer than {} KiB: send less", BODY_BYTES_MAX / 1024);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::Invalid, detail)
}

fn too_slow() -> Problem {
    let detail = format!("the body has not arrived within {BODY_TIMEOUT:?}: send it at once");
    Problem::new(StatusCode::REQUEST_TIMEOUT, ErrorKind::Invalid, detail)
}

fn cut() -> Problem {
    Problem::invalid(
        "the body ends too soon, or its chunks are malformed: send it with its Content-Length",
    )
}

/// The longest body of a request: twice as much as the largest registration takes.
pub(super) const BODY_BYTES_MAX: usize = 128 * 1024;

/// The longest body that is taken to its end, though it is too long.
const TAKEN_BYTES_MAX: usize = 8 * BODY_BYTES_MAX;

/// The time for a body to arrive: as for a head.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_has_bounds() {
        let status = async |length: Option<&str>, body: Body| {
            let mut headers = HeaderMap::new();
            headers.extend(length.map(|it| (CONTENT_LENGTH, it.parse().unwrap())));
            read(&headers, body).await.map(|it| it.len()).map_err(|it| it.status())
        };
        for (encoding, expected) in
            [("gzip", Err(415)), ("GZIP, br", Err(415)), ("identity", Ok(2))]
        {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
            let read = read(&headers, Body::from("{}")).await;
            assert_eq!(read.map(|it| it.len()).map_err(|it| it.status()), expected, "{encoding}");
        }
        let zeroes = |length: usize| Body::from(vec![0; length]);
        assert_eq!(status(None, zeroes(BODY_BYTES_MAX)).await, Ok(BODY_BYTES_MAX));
        assert_eq!(status(None, zeroes(BODY_BYTES_MAX + 1)).await, Err(413));
        assert_eq!(status(Some("1048577"), Body::empty()).await, Err(413));

        let (taken, left) = std::sync::mpsc::channel();
        let parts = stream::iter(0..1000).map(move |part| {
            taken.send(part).unwrap();
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 1000]))
        });
        assert_eq!(status(Some("1000000"), Body::from_stream(parts)).await, Err(413));
        assert_eq!(left.iter().count(), 1000, "it is taken to its end");

        // A byte a second never ends.
        let slow = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        assert_eq!(status(None, Body::from_stream(slow)).await, Err(408));
        let endless =
            stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 999])));
        assert_eq!(status(None, Body::from_stream(endless)).await, Err(413));
        let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("x"))]);
        assert_eq!(status(None, Body::from_stream(broken)).await, Err(400));
    }
}
