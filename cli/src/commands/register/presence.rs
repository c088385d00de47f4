//! Keeping a registration in step with what can be seen of the actor.

use std::{convert::Infallible, fmt::Write as _, time::Duration};

use discovery::{Client, Fault, Faults, LinkError, RegisterError, Registered};
use endpoints::{Endpoint, Name, Stamp, Stamped, TcpAddress, UnixAddress};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use transport::{DialError, dial_within, stamp};
use wire::State;

use crate::{
    context::Context,
    notice::{names_registrars, note, warn, with_causes},
    output::brief,
};

/// Keeps a registration in step with the actor, for as long as it is polled: when a socket file
/// appears, or another takes its place, it is stamped anew; and where `awaits_answer`, the actor
/// is ready when one of its endpoints answers.
pub(super) async fn follow(
    registered: &Registered,
    mut awaits_answer: bool,
    client: &Client,
    context: &Context,
) -> Infallible {
    let name = &registered.instance().name;
    let began = Instant::now();
    let mut is_warned = false;
    let mut known = Known::Everywhere;
    let mut pause = PAUSE_MIN;
    loop {
        let endpoints = registered.endpoints();
        let answer = match awaits_answer {
            true => Some(probe(&endpoints).await),
            false => None,
        };
        // Only now, so that what has answered is what is stamped.
        if let Some(restamped) = restamp(&endpoints, stamp) {
            noted(registered.update_endpoints(restamped).await);
        }
        match answer {
            Some(Ok(endpoint)) => {
                awaits_answer = false;
                // Somebody may have drained it before it was ready.
                if registered.state() == State::Starting {
                    noted(registered.set_state(State::Ready).await);
                }
                if is_warned || context.global.verbose > 0 {
                    let took = brief(began.elapsed());
                    note(
                        context,
                        format_args!("`{name}` is ready: {endpoint} answers after {took}"),
                    );
                }
            }
            Some(Err(silent)) if began.elapsed() >= PATIENCE && !is_warned => {
                is_warned = true;
                warn(context, still_silent(name, &silent));
            }
            _ => {}
        }
        known = tell_who_knows(registered, client, known, context);
        sleep(pause).await;
        let is_complete = !awaits_answer && !registered.endpoints().iter().any(lacks_socket);
        pause = if is_complete { PAUSE_CALM } else { PAUSE_MAX.min(pause * 2) };
    }
}

/// Tells whether a socket file was not there when it was stamped.
pub(super) fn lacks_socket(stamped: &Stamped) -> bool {
    is_socket_file(&stamped.endpoint) && stamped.stamp.socket.is_none()
}

/// Dials all endpoints side by side, and returns the first that answers.
///
/// # Errors
///
/// All endpoints, each with the reason, when none answers.
async fn probe(endpoints: &[Stamped]) -> Result<Endpoint, Vec<(Endpoint, DialError)>> {
    let mut dials = JoinSet::new();
    for Stamped { endpoint, .. } in endpoints {
        let endpoint = endpoint.clone();
        dials.spawn(async move {
            let dialed = dial_within(&without_tls(&endpoint), PROBE_TIMEOUT).await;
            (endpoint, dialed)
        });
    }
    let mut silent = Vec::new();
    while let Some(dialed) = dials.join_next().await {
        match dialed.expect("a dial does not panic, and is not aborted while it is waited for") {
            // A queue that is full is somebody's.
            (endpoint, Ok(_) | Err(DialError::Busy)) => return Ok(endpoint),
            (endpoint, Err(error)) => silent.push((endpoint, error)),
        }
    }
    Err(silent)
}

/// Returns the endpoints with the socket files stamped that are there now, if that is news. One
/// that has gone keeps its stamp: nobody else is to be taken for it.
fn restamp(known: &[Stamped], stamp: impl Fn(&Endpoint) -> Stamp) -> Option<Vec<Stamped>> {
    let mut restamped = known.to_vec();
    for stamped in restamped.iter_mut().filter(|it| is_socket_file(&it.endpoint)) {
        let now = stamp(&stamped.endpoint);
        if now.socket.is_some() {
            stamped.stamp = now;
        }
    }
    (restamped != known).then_some(restamped)
}

fn is_socket_file(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Unix(UnixAddress::Path(_)))
}

/// Returns the port below TLS: that it can be connected to is all that is to be known.
fn without_tls(endpoint: &Endpoint) -> Endpoint {
    match endpoint {
        Endpoint::Tcp(tcp) => Endpoint::Tcp(TcpAddress { tls: false, ..tcp.clone() }),
        other => other.clone(),
    }
}

/// Which registrars have a registration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Known {
    Everywhere,
    NotEverywhere,
    Nowhere,
}

/// Says when registrars are lost or back, and returns which are there now. Of the usual ones, one
/// is enough: nobody has said that the others exist.
fn tell_who_knows(
    registered: &Registered,
    client: &Client,
    before: Known,
    context: &Context,
) -> Known {
    let name = &registered.instance().name;
    let is_lost = |it: &Fault| !matches!(*it.error, LinkError::NotYet);
    let lost: Vec<_> = registered.missing().into_iter().filter(is_lost).collect();
    let known = match lost.len() {
        0 => Known::Everywhere,
        count if count == client.registrars().count() => Known::Nowhere,
        _ if !names_registrars(context) => Known::Everywhere,
        _ => Known::NotEverywhere,
    };
    let faults = Faults(lost);
    match (before, known) {
        _ if before == known => {}
        (_, Known::Nowhere) => {
            warn(
                context,
                format_args!("no registrar answers; `{name}` cannot be found:\n{faults}"),
            );
        }
        (Known::Nowhere, _) => note(context, format_args!("`{name}` is registered again")),
        (_, Known::NotEverywhere) => {
            warn(context, format_args!("not every registrar knows `{name}`:\n{faults}"));
        }
        (_, Known::Everywhere) => note(context, format_args!("every registrar knows `{name}`")),
    }
    known
}

/// Registrars that are away catch up by themselves.
fn noted(changed: Result<(), RegisterError>) {
    if let Err(error) = changed {
        tracing::debug!(error = with_causes(&error), "a change is not noted yet");
    }
}

fn still_silent(name: &Name, silent: &[(Endpoint, DialError)]) -> String {
    let patience = PATIENCE.as_secs();
    let mut text = format!("nothing answers yet, {patience}s after the start of `{name}`:");
    for (endpoint, error) in silent {
        _ = write!(text, "\n  {endpoint}: {}", with_causes(error));
    }
    text
}

/// The first pause between two looks: a program that starts fast is ready some 10 ms after.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// The longest pause while something is awaited: a person does not notice it.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// The pause when all is there: a socket that is bound anew while the program runs is rare, and a
/// look costs a few microseconds.
const PAUSE_CALM: Duration = Duration::from_secs(1);

/// How long one endpoint may take to answer: many times what any on this host needs.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// After how long somebody is likely to wonder why nothing happens.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use endpoints::SocketId;

    use super::*;

    #[test]
    fn socket_files_are_stamped_as_they_come_and_change() {
        let socket = |ino| Stamp {
            socket: Some(SocketId { dev: 1, ino, born_ns: None }),
            ..Stamp::default()
        };
        let absent = Stamp::default();
        let check = |endpoint: &str, before: Stamp, now: Stamp, expected: Option<Stamp>| {
            let known = [Stamped { endpoint: endpoint.parse().unwrap(), stamp: before }];
            let restamped = restamp(&known, |_| now);
            assert_eq!(restamped.map(|it| it[0].stamp), expected, "{endpoint}");
        };
        check("/unix/run/x", absent, absent, None);
        check("/unix/run/x", absent, socket(1), Some(socket(1)));
        check("/unix/run/x", socket(1), socket(1), None);
        check("/unix/run/x", socket(1), socket(2), Some(socket(2)));
        check("/unix/run/x", socket(1), absent, None);
        check("/unix/@x", absent, socket(1), None);
        check("/ip4/127.0.0.1/tcp/7", absent, socket(1), None);
    }

    #[tokio::test]
    async fn one_endpoint_that_answers_is_enough() {
        let any_port = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
        let listener = transport::Listener::bind(&any_port).await.unwrap();
        let open = Stamped::bare(listener.bound().clone());
        let closed = Stamped::bare("/unix/nowhere/x.sock".parse().unwrap());
        let answered = probe(&[closed.clone(), open.clone()]).await;
        assert_eq!(answered.unwrap(), open.endpoint);
        let silent = probe(std::slice::from_ref(&closed)).await.unwrap_err();
        assert!(matches!(&silent[..], [(_, DialError::Missing)]), "{silent:?}");
    }
}
