//! The answer to a head that cannot be read.
//!
//! The library answers such a head itself, by a status alone, before any request is known. A peer that
//! reads problem details everywhere else finds them here as well.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::ErrorKind;

use super::problem::{PROBLEM_JSON, Problem};

/// A connection on which what the library says of a head is put into words.
pub(super) struct Worded<S> {
    stream: S,
    /// The words that are being written, and how many of the library's bytes they stand for.
    words: Option<(Vec<u8>, usize)>,
}

impl<S> Worded<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, words: None }
    }
}

impl<S: AsyncWrite + Unpin> Worded<S> {
    /// Writes the words for these bytes, if they are the library's answer.
    fn write_words(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.words.is_none() {
            self.words = Some((words_for(bytes)?, bytes.len()));
        }
        let (words, stands_for) = self.words.as_mut()?;
        while !words.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, words) {
                Poll::Ready(Ok(0)) => {
                    return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(written)) => drop(words.drain(..written)),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        let stands_for = *stands_for;
        self.words = None;
        Some(Poll::Ready(Ok(stands_for)))
    }
}

/// Returns the whole answer in place of the library's, which has a head alone, without the header that
/// every answer of this server has.
fn words_for(bytes: &[u8]) -> Option<Vec<u8>> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 4")?;
    let head = str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let is_ours = head.lines().any(|it| it.to_ascii_lowercase().starts_with("cache-control:"));
    if is_ours || head.contains("\r\n\r\n") {
        return None;
    }
    let status = 400 + str::from_utf8(rest.get(..2)?).ok()?.parse::<u16>().ok()?;
    let status = StatusCode::from_u16(status).ok()?;
    let kib = BUFFER_BYTES / 1024;
    let detail = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => format!(
            "the head of the request has more than {HEADERS_MAX} lines, or is longer than {kib} KiB: \
             send less"
        ),
        StatusCode::URI_TOO_LONG => "the target of the request is too long".to_owned(),
        _ => "the head of the request is malformed, or not of HTTP/1.1: its first line, a header, or \
              what says how long its body is (RFC 9112)"
            .to_owned(),
    };
    let body = Problem::new(status, ErrorKind::Invalid, detail).body();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n",
        body.len()
    );
    Some([head.into_bytes(), body].concat())
}

impl<S: AsyncRead + Unpin> AsyncRead for Worded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Worded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.write_words(cx, bytes) {
            Some(written) => written,
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = parts.iter().find(|it| !it.is_empty());
        match first.and_then(|it| self.write_words(cx, it)) {
            Some(written) => written,
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The most header lines of a request: browsers send some twenty.
pub(super) const HEADERS_MAX: usize = 64;

/// The longest head of a request, and what may wait to be written beside a body's part.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn only_what_the_library_says_alone_gets_words() {
        let check = async |answer: &str, expected: Option<&str>| {
            // It is taken in small parts.
            let (near, mut far) = tokio::io::duplex(16);
            let written = async {
                let mut worded = Worded::new(near);
                worded.write_all(answer.as_bytes()).await.unwrap();
                drop(worded);
            };
            let read = async {
                let mut text = String::new();
                far.read_to_string(&mut text).await.unwrap();
                text
            };
            let ((), text) = tokio::join!(written, read);
            match expected {
                Some(words) => {
                    assert!(text.contains(words) && text.contains(PROBLEM_JSON), "{text}");
                    let (head, body) = text.split_once("\r\n\r\n").unwrap();
                    assert!(head.contains(&format!("content-length: {}", body.len())), "{text}");
                }
                None => assert_eq!(text, answer),
            }
        };
        let bare = |status: &str| {
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        };
        check(&bare("400 Bad Request"), Some("malformed")).await;
        check(&bare("431 Request Header Fields Too Large"), Some("more than 64 lines")).await;
        check(&bare("204 No Content"), None).await;
        check("HTTP/1.1 404 Not Found\r\ncache-control: no-store\r\n\r\n", None).await;
        check("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}", None).await;
    }
}
