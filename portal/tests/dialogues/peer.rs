//! A peer that sends any frames, and the driver that it talks to.

use bytes::{Bytes, BytesMut};
use callsign_portal::{
    Closed, Connected, Handlers, IncomingCall, NoService, Options, Portal, accept, connect,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinSet,
};
use wire::{Frame, FrameReader, RemoteError, preface};

use crate::soon;

pub(crate) struct Peer {
    pub(crate) io: DuplexStream,
    reader: FrameReader,
    drivers: JoinSet<Closed>,
}

impl Peer {
    /// Makes a peer that calls.
    pub(crate) async fn calling<F, Fut>(handlers: Handlers<F, Fut>) -> Self
    where
        F: Fn(IncomingCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Bytes, RemoteError>> + Send + 'static,
    {
        let (io, far) = greeted().await;
        let Connected { driver, .. } = accept(far, Options::default(), handlers).await.unwrap();
        Self::over(io, driver).await
    }

    /// Makes a peer that is called.
    pub(crate) async fn answering() -> (Self, Portal) {
        let (io, far) = greeted().await;
        let connected = connect(far, Options::default(), NoService).await.unwrap();
        (Self::over(io, connected.driver).await, connected.portal)
    }

    async fn over(
        mut io: DuplexStream,
        driver: impl Future<Output = Closed> + Send + 'static,
    ) -> Self {
        let mut drivers = JoinSet::new();
        drivers.spawn(driver);
        io.read_exact(&mut [0; preface::PREFACE_BYTES]).await.unwrap();
        let mut peer = Self { io, reader: FrameReader::default(), drivers };
        assert!(peer.hear().await.unwrap().starts_with("Hello"));
        peer
    }

    /// Waits until the other side has ended the connection, and checks the reason.
    pub(crate) async fn closed(&mut self, expected: &str) {
        while self.hear().await.is_some() {}
        let closed = soon(self.drivers.join_next()).await.unwrap().unwrap();
        let Closed::Protocol(error) = closed else { panic!("{closed}") };
        assert!(error.to_string().contains(expected), "{error}");
    }

    pub(crate) async fn say(&mut self, frames: &[Frame<'_>]) {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|it| it.encode(&mut bytes).unwrap());
        // The connection may be closed already.
        drop(self.io.write_all(&bytes).await);
    }

    /// Returns the next frame, printed, or `None` at the end of the connection.
    pub(crate) async fn hear(&mut self) -> Option<String> {
        loop {
            if let Some(frame) = self.reader.next().unwrap() {
                return Some(format!("{:?}", Frame::decode(&frame).unwrap()));
            }
            if soon(self.io.read_buf(self.reader.buffer())).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }
}

async fn greeted() -> (DuplexStream, DuplexStream) {
    let (mut io, far) = duplex(64 * 1024);
    let mut bytes = BytesMut::from(&preface::preface()[..]);
    Frame::Hello(Box::default()).encode(&mut bytes).unwrap();
    io.write_all(&bytes).await.unwrap();
    (io, far)
}
