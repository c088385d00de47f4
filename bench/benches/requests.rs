//! An HTTP request by name, through the connector for hyper, against one through a plain connector
//! to the same socket. Both connections are kept, both ends of both are on one thread, and they
//! take turns.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, routing::get};
use callsign_bench::{Server, transports};
use connect::hyper::Connector;
use discovery::{Client, Registration};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{
        self,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use rustix::time::{ClockId, clock_gettime};
use tokio::{net::UnixStream, runtime::Builder, task::JoinSet};
use transport::Listener;

/// The rounds, and the requests of each.
const ROUNDS: usize = 200;
const REQUESTS: u32 = 500;

fn main() {
    // `cargo bench` passes flags that concern criterion alone.
    let folder = tempfile::tempdir().unwrap();
    let [(_, registrar), _] = transports(folder.path());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (server, _clerk) = Server::registrar(&registrar).await;
        let path = folder.path().join("web.sock");
        let place = format!("/unix{}", path.display()).parse().unwrap();
        let listener = Listener::bind(&place).await.unwrap();
        let callsign = Client::connect([&server.endpoint]).await.unwrap();
        let web = Registration::new("web").endpoints(listener.published());
        let _registered = callsign.register(web).await.unwrap();
        let app = Router::new().route("/", get(async || "EURUSD 1.0842 1.0843"));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });

        let named = legacy::Client::builder(TokioExecutor::new()).build(Connector::new(callsign));
        let plain = legacy::Client::builder(TokioExecutor::new()).build(Plain(path));
        let (mut by_name, mut by_path) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            by_path.push(round(&plain).await);
            by_name.push(round(&named).await);
        }
        let (by_name, by_path) = (median(by_name), median(by_path));
        println!(
            "a request: by name {by_name:.2?}, by path {by_path:.2?}; {:.3} x",
            by_name.as_secs_f64() / by_path.as_secs_f64()
        );
    });
}

/// Returns the processor time of a request, which hardly depends on what else the machine does.
async fn round<C>(http: &legacy::Client<C, Empty<&'static [u8]>>) -> Duration
where
    C: legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let start = spent();
    for _ in 0..REQUESTS {
        let request = Request::get("http://web/").body(Empty::new()).unwrap();
        let response = http.request(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 20);
    }
    (spent() - start) / REQUESTS
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn spent() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Connects to a path, whatever the URI names.
#[derive(Clone)]
struct Plain(PathBuf);

impl tower_service::Service<Uri> for Plain {
    type Response = PlainStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<PlainStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move { connect(&path).await })
    }
}

async fn connect(path: &Path) -> io::Result<PlainStream> {
    Ok(PlainStream(TokioIo::new(UnixStream::connect(path).await?)))
}

/// hyper-util knows nothing of Unix sockets.
struct PlainStream(TokioIo<UnixStream>);

impl Connection for PlainStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for PlainStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for PlainStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
