//! The processor time that a handshake of TLS takes at each side, full and resumed, and what a good
//! client waits beside those that nobody goes on with. For the latter the node is the real binary,
//! `CALLSIGN_NODE` if that is set.
//!
//! In the former, each side has a thread of its own, whose clock counts only what that side does.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "its result is a table")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod beside_tcp;
mod half_open;

use std::{
    path::Path,
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Duration,
};

use callsign_bench::certify;
use endpoints::Endpoint;
use registrar::thread_time;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Builder, Runtime},
};
use transport::{Listener, dial};

const ROUNDS: u32 = 500;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let (endpoint, served) = serve();
    let runtime = runtime();
    println!("{ROUNDS} handshakes each, processor time of a connection at each side");
    for (what, is_full) in [("full", true), ("resumed", false)] {
        // The first one cannot be resumed.
        call(&runtime, &endpoint);
        served.recv().unwrap();
        let (mut client, mut server) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..ROUNDS {
            if is_full {
                certify(folder.path());
            }
            client += call(&runtime, &endpoint);
            server += served.recv().unwrap();
        }
        let [client, server] = [client, server].map(|it| it.as_micros() / u128::from(ROUNDS));
        println!("{what:>8}: client {client} µs, server {server} µs");
    }
    beside_tcp::print(folder.path());
    half_open::print(folder.path());
}

/// Accepts connections on another thread, and reports what each has taken.
fn serve() -> (Endpoint, Receiver<Duration>) {
    let (told, served) = sync_channel(1);
    let (bound, endpoint) = sync_channel(1);
    thread::spawn(move || {
        runtime().block_on(async {
            let endpoint = "/ip4/127.0.0.1/tcp/0/tls".parse().unwrap();
            let listener = Listener::bind(&endpoint).await.unwrap();
            bound.send(listener.bound().clone()).unwrap();
            loop {
                let mut stream = listener.accept().await.unwrap();
                let began = thread_time();
                stream.handshake().await.unwrap();
                stream.write_all(b"!").await.unwrap();
                stream.flush().await.unwrap();
                let took = thread_time() - began;
                drop(stream.read_to_end(&mut Vec::new()).await);
                if told.send(took).is_err() {
                    return;
                }
            }
        });
    });
    (endpoint.recv().unwrap(), served)
}

fn call(runtime: &Runtime, endpoint: &Endpoint) -> Duration {
    runtime.block_on(async {
        let began = thread_time();
        let mut stream = dial(endpoint).await.unwrap();
        // What is needed to resume comes with the first byte.
        assert_eq!(stream.read_u8().await.unwrap(), b'!');
        thread_time() - began
    })
}

/// Returns the settings of a node with the certificate of that folder, and room for many sessions.
fn settings(folder: &Path) -> String {
    let [ca, certificate, key] =
        ["ca.pem", "node.pem", "node.key"].map(|it| folder.join("keys").join(it));
    format!(
        "[tls]\nca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\n\
         [registrar]\nsessions_max = 8192\n"
    )
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
