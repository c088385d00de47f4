//! A relay between a node and a member of etcd, or between members: it can be slow, and be cut.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Passes bytes between a place of its own and a member of etcd, until it is cut.
pub(crate) struct Relay {
    place: SocketAddr,
    to: SocketAddr,
    /// How long the bytes take, in each direction.
    delay: Duration,
    /// Whether bytes pass.
    passes: Arc<watch::Sender<bool>>,
    passing: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        Self::start_at((to.ip(), 0).into(), to).await
    }

    pub(crate) async fn start_at(place: SocketAddr, to: SocketAddr) -> Self {
        Self::bind(place, to, Duration::ZERO).await
    }

    /// Starts one through which all bytes take some time.
    pub(crate) async fn slow(at: IpAddr, to: SocketAddr, delay: Duration) -> Self {
        Self::bind((at, 0).into(), to, delay).await
    }

    async fn bind(place: SocketAddr, to: SocketAddr, delay: Duration) -> Self {
        let mut relay = Self {
            place,
            to,
            delay,
            passes: Arc::new(watch::Sender::new(true)),
            passing: JoinSet::new(),
        };
        relay.mend().await;
        relay
    }

    /// Passes again.
    pub(crate) async fn mend(&mut self) {
        let listener = TcpListener::bind(self.place).await.unwrap();
        self.place = listener.local_addr().unwrap();
        let (to, delay, passes) = (self.to, self.delay, self.passes.clone());
        self.passing.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((here, _)) = listener.accept().await {
                let passes = passes.clone();
                connections.spawn(async move {
                    let Ok(there) = TcpStream::connect(to).await else { return };
                    drop((here.set_nodelay(true), there.set_nodelay(true)));
                    let ((from_here, to_here), (from_there, to_there)) =
                        (here.into_split(), there.into_split());
                    tokio::join!(
                        pass(from_here, to_there, delay, &passes),
                        pass(from_there, to_here, delay, &passes)
                    );
                });
            }
        });
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.place)
    }

    /// Takes connections and bytes, and passes nothing on, as a member that is stopped does.
    pub(crate) fn hang(&self) {
        self.passes.send_replace(false);
    }

    /// Ends all connections, and takes no more.
    pub(crate) async fn sever(&mut self) {
        self.passing.shutdown().await;
    }

    pub(crate) async fn cut(mut self) -> SocketAddr {
        self.sever().await;
        self.place
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
    passes: &watch::Sender<bool>,
) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let reading = async move {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            if sender.send((Instant::now() + delay, bytes[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due_at, bytes)) = receiver.recv().await {
            if !delay.is_zero() {
                sleep_until(due_at).await;
            }
            drop(passes.subscribe().wait_for(|it| *it).await);
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        drop(to.shutdown().await);
    };
    tokio::join!(reading, writing);
}
