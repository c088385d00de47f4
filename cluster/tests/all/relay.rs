//! A relay between a node and a member of etcd.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Passes bytes between a place of its own and a member of etcd, until it is cut.
pub(crate) struct Relay {
    place: SocketAddr,
    passing: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        Self::start_at((to.ip(), 0).into(), to).await
    }

    pub(crate) async fn start_at(place: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(place).await.unwrap();
        let place = listener.local_addr().unwrap();
        let mut passing = JoinSet::new();
        passing.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut here, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut there) = TcpStream::connect(to).await {
                        drop(copy_bidirectional(&mut here, &mut there).await);
                    }
                });
            }
        });
        Self { place, passing }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.place)
    }

    pub(crate) async fn cut(mut self) -> SocketAddr {
        self.passing.shutdown().await;
        self.place
    }
}
