//! Carrying bytes both ways until the actor has nothing more to say.

use std::{
    cell::Cell,
    io::{self, Read},
    thread,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    sync::mpsc,
};
use transport::TlsError;

use crate::standard::Input;

/// Carries `input` to an actor, and what the actor says to `output`. The end of either closes only
/// that direction; but the end of the actor's output ends both if it `takes_no_more`, which is asked
/// then.
///
/// # Errors
///
/// [`Broken`], with the side that failed. The actor's earlier output is still written. An actor that
/// takes less than all of the input has failed, once it says nothing more. One that
/// ends a connection of TLS without saying so has not failed if the input had ended: many servers,
/// such as nginx, say nothing more to a client that has said goodbye.
pub(super) async fn relay<S: AsyncRead + AsyncWrite>(
    actor: S,
    mut input: mpsc::Receiver<Chunk>,
    mut output: impl AsyncFnMut(Vec<u8>) -> io::Result<()>,
    takes_no_more: impl FnOnce() -> bool,
) -> Result<Ended, Broken> {
    let (has_said_goodbye, is_sending) = (Cell::new(false), Cell::new(false));
    let unread = Cell::new(None);
    let (mut from_actor, mut to_actor) = split(actor);
    let send = async {
        let input = &mut input;
        while let Some(bytes) = input.recv().await {
            match bytes {
                Ok(bytes) => {
                    is_sending.set(true);
                    to_actor.write_all(&bytes).await?;
                    is_sending.set(false);
                }
                Err(error) => unread.set(Some(error)),
            }
        }
        to_actor.shutdown().await?;
        has_said_goodbye.set(true);
        Ok::<_, io::Error>(())
    };
    let receive = async {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let count = match from_actor.read(&mut buffer).await {
                Ok(0) => return Ok(Ended::Said),
                Ok(count) => count,
                Err(error) if has_said_goodbye.get() && is_unsaid(&error) => {
                    return Ok(Ended::Unsaid);
                }
                Err(error) => return Err(Broken::Actor(error)),
            };
            output(buffer[..count].into()).await.map_err(Broken::Output)?;
        }
    };
    let note = |sent| {
        if let Err(error) = sent {
            tracing::debug!(%error, "the actor takes no more input");
        }
    };
    let received = {
        tokio::pin!(send, receive);
        tokio::select! {
            received = &mut receive => {
                if received.is_ok() && !takes_no_more() {
                    note(send.await);
                }
                received
            }
            sent = &mut send => {
                // An actor that reads nothing more may still send.
                note(sent);
                receive.await
            }
        }
    };
    match received {
        Ok(ended) => match unread.into_inner() {
            Some(error) => Err(Broken::Unread(error)),
            None if is_sending.get() || !input.is_empty() => Err(Broken::Input),
            None => Ok(ended),
        },
        Err(broken) => Err(broken),
    }
}

/// A part of the input, or why there is no more.
pub(super) type Chunk = io::Result<Vec<u8>>;

/// How the actor ended a conversation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// It closed its side.
    Said,
    /// Its connection ended: somebody in between may have cut it.
    Unsaid,
}

fn is_unsaid(error: &io::Error) -> bool {
    TlsError::of(error) == Some(&TlsError::Cut)
}

/// The side of a relay that failed.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection to the actor.
    Actor(io::Error),
    /// The input could not be read to its end.
    Unread(io::Error),
    /// The actor ended, and had not taken all of the input.
    Input,
    /// The output.
    Output(io::Error),
}

/// Reads standard input on a separate thread, until it ends or is no longer wanted.
///
/// A read that waits for a terminal cannot be cancelled, and a runtime would wait for it when it
/// shuts down. This thread is left alone instead, and ends with the process.
pub(super) fn standard_input() -> io::Result<mpsc::Receiver<Chunk>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let read = move || {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            match Input.read(&mut chunk) {
                Ok(0) => return,
                Ok(count) => chunk.truncate(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    drop(sender.blocking_send(Err(error)));
                    return;
                }
            }
            if sender.blocking_send(Ok(chunk)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("input".to_owned()).spawn(read)?;
    Ok(receiver)
}

/// The bytes of one read: the capacity of a kernel pipe.
const CHUNK_BYTES: usize = 64 * 1024;

/// The chunks of input that are read ahead of the actor: one in transit, and one ready to follow.
const CHUNKS_AHEAD: usize = 2;

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll, ready},
    };

    use tokio::io::{ReadBuf, duplex};

    use super::*;

    /// Bytes of all values, more than fits any buffer.
    fn plenty() -> Vec<u8> {
        (0..1_000_000_u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn input(
        chunks: impl IntoIterator<Item = Vec<u8>>,
    ) -> (mpsc::Sender<Chunk>, mpsc::Receiver<Chunk>) {
        let chunks: Vec<_> = chunks.into_iter().map(Ok).collect();
        let (sender, receiver) = mpsc::channel(chunks.len().max(1));
        for chunk in chunks {
            sender.try_send(chunk).unwrap();
        }
        (sender, receiver)
    }

    #[tokio::test]
    async fn the_end_of_the_input_is_passed_on_and_the_answer_still_comes() {
        let (near, mut far) = duplex(1000);
        let (sender, receiver) = input(plenty().chunks(70_000).map(<[u8]>::to_vec));
        drop(sender);
        // The actor answers only after it has read everything.
        let actor = async move {
            let mut heard = Vec::new();
            far.read_to_end(&mut heard).await.unwrap();
            far.write_all(&heard).await.unwrap();
        };
        let mut output = Vec::new();
        let heard = async |bytes: Vec<u8>| {
            output.extend(bytes);
            Ok(())
        };
        let (relayed, ()) = tokio::join!(relay(near, receiver, heard, || true), actor);
        relayed.unwrap();
        assert_eq!(output, plenty());
    }

    #[tokio::test]
    async fn it_ends_with_the_actor_though_the_input_goes_on() {
        let (near, mut far) = duplex(1000);
        let (_sender, receiver) = input([]);
        let actor = async move {
            far.write_all(b"bye").await.unwrap();
            drop(far);
        };
        let mut output = Vec::new();
        let heard = async |bytes: Vec<u8>| {
            output.extend(bytes);
            Ok(())
        };
        let (relayed, ()) = tokio::join!(relay(near, receiver, heard, || true), actor);
        relayed.unwrap();
        assert_eq!(output, b"bye");
    }

    #[tokio::test]
    async fn input_that_an_actor_does_not_take_is_not_lost_in_silence() {
        for chunks in [vec![plenty()], vec![b"first".to_vec(), plenty()]] {
            let (near, mut far) = duplex(1000);
            let (_sender, receiver) = input(chunks);
            let actor = async move {
                far.read_exact(&mut [0; 5]).await.unwrap();
                far.write_all(b"enough").await.unwrap();
            };
            let mut output = Vec::new();
            let heard = async |bytes: Vec<u8>| {
                output.extend(bytes);
                Ok(())
            };
            let (relayed, ()) = tokio::join!(relay(near, receiver, heard, || true), actor);
            assert!(matches!(relayed, Err(Broken::Input)), "{relayed:?}");
            assert_eq!(output, b"enough");
        }
    }

    /// A server that has said all that it has to say, and takes an upload yet.
    #[tokio::test]
    async fn an_actor_that_says_no_more_gets_the_rest_of_the_input() {
        let (near, far) = duplex(1000);
        let (mut heard_there, mut said_there) = split(far);
        let (sender, receiver) = mpsc::channel(1);
        let actor = async move {
            said_there.write_all(b"go on").await.unwrap();
            said_there.shutdown().await.unwrap();
            for chunk in plenty().chunks(70_000) {
                sender.send(Ok(chunk.to_vec())).await.unwrap();
            }
            drop(sender);
            said_there
        };
        let read = async move {
            let mut heard = Vec::new();
            heard_there.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let relayed = relay(near, receiver, async |_| Ok(()), || false);
        let (relayed, _open, heard) = tokio::join!(relayed, actor, read);
        assert_eq!(relayed.unwrap(), Ended::Said);
        assert_eq!(heard, plenty());
    }

    #[tokio::test]
    async fn input_that_cannot_be_read_is_no_end_of_it() {
        let (near, mut far) = duplex(1000);
        let (sender, receiver) = mpsc::channel(2);
        sender.try_send(Ok(b"first".to_vec())).unwrap();
        sender.try_send(Err(io::ErrorKind::IsADirectory.into())).unwrap();
        drop(sender);
        let actor = async move {
            let mut heard = Vec::new();
            far.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"first");
        };
        let (relayed, ()) = tokio::join!(relay(near, receiver, async |_| Ok(()), || true), actor);
        assert!(matches!(relayed, Err(Broken::Unread(_))), "{relayed:?}");
    }

    #[tokio::test]
    async fn an_output_that_is_gone_ends_it() {
        let (near, mut far) = duplex(1000);
        let (_sender, receiver) = input([]);
        let gone = async |_| Err(io::ErrorKind::BrokenPipe.into());
        far.write_all(b"hello").await.unwrap();
        let error = relay(near, receiver, gone, || true).await.unwrap_err();
        assert!(matches!(error, Broken::Output(_)), "{error:?}");
    }

    /// A server that ends a connection of TLS without saying so, as nginx does, after its answer.
    struct Terse(tokio::io::DuplexStream);

    impl AsyncRead for Terse {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
            if buffer.filled().len() == before {
                let cut = io::Error::new(io::ErrorKind::UnexpectedEof, TlsError::Cut);
                return Poll::Ready(Err(cut));
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Terse {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    #[tokio::test]
    async fn after_a_goodbye_an_end_of_tls_that_nobody_says_is_one() {
        for has_input_ended in [true, false] {
            let (near, mut far) = duplex(1000);
            let (sender, receiver) = input([b"GET /".to_vec()]);
            let sender = (!has_input_ended).then_some(sender);
            let actor = async move {
                let mut heard = vec![0; 5];
                far.read_exact(&mut heard).await.unwrap();
                if has_input_ended {
                    far.read_to_end(&mut heard).await.unwrap();
                }
                far.write_all(b"hi").await.unwrap();
            };
            let mut output = Vec::new();
            let heard = async |bytes: Vec<u8>| {
                output.extend(bytes);
                Ok(())
            };
            let (relayed, ()) = tokio::join!(relay(Terse(near), receiver, heard, || true), actor);
            assert_eq!(output, b"hi");
            match relayed {
                Ok(ended) => assert!(has_input_ended && ended == Ended::Unsaid, "{ended:?}"),
                Err(error) => assert!(!has_input_ended, "{error:?}"),
            }
            drop(sender);
        }
    }
}
