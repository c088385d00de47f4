//! The programs that are on stage.

use std::{
    fmt::Display,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use discovery::Registration;
use endpoints::Endpoint;
use portal::{Acceptor, Options};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::timeout,
};
use transport::{BindOptions, Listener, Published, Stream};

use crate::{
    context::Context,
    failure::{Exit, Failure},
    signals::Signals,
};

/// The program to play.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum Role {
    /// Sends each caller the time. It does not know of registrars.
    Clock,
    /// Sends each caller a price; it registers itself, and proves its identity.
    Feed,
    /// Answers HTTP requests, where there is no Python to do so.
    Web,
}

/// Listens and answers until a signal ends it.
pub(super) async fn run(role: Role, at: &[Endpoint], context: &Context) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let listeners = Listener::bind_all(at, BindOptions::default()).await;
    let listeners = listeners.map_err(Failure::usage)?;
    // It is registered once it listens, and for as long as this process lives.
    let registered = match role {
        Role::Feed => {
            let endpoints: Published = listeners.iter().map(Listener::published).collect();
            let registration = Registration::new("feed").endpoints(endpoints).proves();
            let client = context.client().await?;
            Some(client.register(registration).await?)
        }
        Role::Clock | Role::Web => None,
    };
    let mut serving = JoinSet::new();
    for listener in listeners {
        match &registered {
            Some(registered) => {
                let identity = registered.identity().clone();
                let acceptor = Acceptor::new(listener, identity, Options::default());
                serving.spawn(receive(role, acceptor));
            }
            None => {
                serving.spawn(serve(role, listener));
            }
        }
    }
    tokio::select! {
        _ = signals.next() => {}
        Some(_) = serving.join_next() => {}
    }
    Ok(Exit::Done)
}

async fn serve(role: Role, listener: Listener) {
    for number in 1_u32.. {
        let Ok(stream) = listener.accept().await else { return };
        // A caller that went away, or never sends anything, is no reason to end.
        let _answered = timeout(PATIENCE, answer(role, stream, number)).await;
    }
}

/// Answers each caller after the proof of identity.
async fn receive(role: Role, mut acceptor: Acceptor) {
    for number in 1_u32.. {
        let stream = acceptor.accept().await.into_stream();
        let _answered = timeout(PATIENCE, answer(role, stream, number)).await;
    }
}

async fn answer(role: Role, mut stream: Stream, number: u32) -> std::io::Result<()> {
    let text = match role {
        Role::Clock => line(humantime::format_rfc3339_millis(SystemTime::now().max(UNIX_EPOCH))),
        Role::Feed => {
            line(format_args!("tick {number}: EUR/USD {:.4}", 1.0871 + 0.0001 * f64::from(number)))
        }
        Role::Web => {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
                request.push(stream.read_u8().await?);
            }
            let page = super::script::PAGE;
            let length = page.len();
            format!(
                "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}"
            )
        }
    };
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

fn line(text: impl Display) -> String {
    format!("{text}\n")
}

/// The time limit for a caller. Nobody types into these programs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest request that is read; the rest of a longer one is ignored.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
