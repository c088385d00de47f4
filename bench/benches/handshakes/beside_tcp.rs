//! Look-ups over TLS beside those over plain TCP, in turns: in the processor time of both ends, and as
//! a client waits for a node of its own process.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use callsign_bench::{
    Client, Server, batches, lookups, node_binary, registrations,
    server::{CLIENTS, ServerProcess, free_ports, place},
};
use endpoints::Endpoint;
use registrar::thread_time;

use crate::{runtime, settings};

/// Prints both, one at a time and 64 deep.
pub(crate) fn print(folder: &Path) {
    let runtime = runtime();
    let (mut registrars, mut clients) = (Vec::new(), Vec::new());
    for endpoint in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0/tls"] {
        runtime.block_on(async {
            let (registrar, _) = Server::registrar(&endpoint.parse().unwrap()).await;
            let mut client = Client::greet(&registrar.endpoint).await;
            client.exchange(&registrations(names()), NAMES).await;
            registrars.push(registrar);
            clients.push(client);
        });
    }
    for depth in [1, 64] {
        let (asked, count) = asked(depth);
        let taken = in_turns(&mut clients, |client| {
            let began = thread_time();
            runtime.block_on(ask(client, &asked, depth));
            thread_time() - began
        });
        tell("processor time of both ends", depth, taken.map(|it| it / count));
    }
    assert!(registrars.iter().all(Server::is_running));

    let binary = std::env::var_os("CALLSIGN_NODE").map(PathBuf::from).or_else(node_binary);
    let Some(binary) = binary else { return };
    place(None, CLIENTS);
    let [plain, tls] = free_ports();
    let at = [format!("/ip4/127.0.0.1/tcp/{plain}"), format!("/ip4/127.0.0.1/tcp/{tls}/tls")];
    let args = ["--listen", &at[0], "--listen", &at[1]];
    let _node = ServerProcess::callsign(&binary, &settings(folder), &args);
    let mut clients: Vec<_> = at
        .iter()
        .map(|at| runtime.block_on(Client::greet(&at.parse::<Endpoint>().unwrap())))
        .collect();
    runtime.block_on(clients[0].exchange(&registrations(names()), NAMES));
    for depth in [1, 64] {
        let (asked, count) = asked(depth);
        let taken = in_turns(&mut clients, |client| {
            let began = Instant::now();
            runtime.block_on(ask(client, &asked, depth));
            began.elapsed()
        });
        tell("a client's wait for another process", depth, taken.map(|it| it / count));
    }
}

fn names() -> impl Iterator<Item = String> {
    (0..NAMES).map(|it| format!("feed-{it}"))
}

/// Returns what is asked in one turn, and how many look-ups that is.
fn asked(depth: usize) -> (Vec<BytesMut>, u32) {
    let mut asked = batches(&lookups(names()), depth);
    asked.truncate(NAMES / depth);
    let count = asked.len() * depth;
    (asked, count as u32)
}

async fn ask(client: &mut Client, asked: &[BytesMut], depth: usize) {
    for batch in asked {
        client.exchange(batch, depth).await;
    }
}

/// Lets both ask in turns, and returns the median of each.
fn in_turns(
    clients: &mut [Client],
    mut turn: impl FnMut(&mut Client) -> Duration,
) -> [Duration; 2] {
    let mut taken = [Vec::new(), Vec::new()];
    for round in 0..TURNS + 2 {
        for (client, taken) in clients.iter_mut().zip(&mut taken) {
            let took = turn(client);
            // The first ones warm up.
            if round >= 2 {
                taken.push(took);
            }
        }
    }
    taken.map(|mut it| {
        it.sort();
        it[it.len() / 2]
    })
}

fn tell(what: &str, depth: usize, [plain, tls]: [Duration; 2]) {
    let ratio = tls.as_secs_f64() / plain.as_secs_f64();
    println!("look-ups {depth} deep, {what}: TCP {plain:.2?}, TLS {tls:.2?}, {ratio:.2}x");
}

const NAMES: usize = 1000;

const TURNS: usize = 101;
