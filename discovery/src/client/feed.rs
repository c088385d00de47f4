//! One registrar's part of a watch, a step at a time.
//!
//! ```text
//!          ┌──────────────────── Lost ◀───────────────┐
//!          ▼                                          │
//!   until_up ──Up──▶ begin ──Begun──▶ next ──Item──▶ next …
//! ```
//!
//! Each step is a future that owns its state and returns it with the event, so that a watch can be
//! left and resumed at any time.

use std::{sync::Arc, time::Duration};

use endpoints::NamePattern;
use portal::{CallError, Items, Request};
use tokio::time::sleep;
use wire::registrar::{self, Change, Seen, Watching};

use crate::{
    Client, LinkError, RegistrarFailure,
    link::{LinkConnection, LinkState},
};

/// An event of a feed.
#[derive(Debug)]
pub(crate) enum Step {
    /// The registrar can be asked.
    Up(LinkConnection),
    /// The registrar has started the watch.
    Begun { connection: LinkConnection, is_resumed: bool, items: Items<Change> },
    /// The registrar reports a change.
    Item { connection: LinkConnection, change: Box<Change>, items: Items<Change> },
    /// The registrar is away, or refuses to report.
    Lost { after: u64, failure: RegistrarFailure, pause: Duration },
    /// Another feed has the same registrar.
    Standby,
    /// The client is closed.
    Closed,
}

/// Finds the initial state of a registrar.
pub(crate) async fn first(client: Client, index: usize) -> Step {
    let hub = client.hub();
    let link = &hub.links[index];
    let error = match link.settled(hub.options.ask_timeout).await {
        LinkState::Up(connection) => return Step::Up(connection),
        LinkState::Standby { .. } => return Step::Standby,
        LinkState::Dialing => Arc::new(LinkError::NotYet),
        LinkState::Down(error) => error,
    };
    Step::Lost { after: 0, failure: link.failure(error), pause: Duration::ZERO }
}

/// Waits until the registrar can be asked on a later connection than number `after`.
pub(crate) async fn until_up(client: Client, index: usize, after: u64, pause: Duration) -> Step {
    sleep(pause).await;
    match client.hub().links[index].up(after).await {
        Ok(connection) => Step::Up(connection),
        Err(_) => Step::Closed,
    }
}

/// Starts the watch at the registrar.
pub(crate) async fn begin(
    client: Client,
    index: usize,
    connection: LinkConnection,
    pattern: NamePattern,
    seen: Option<Seen>,
) -> Step {
    let hub = client.hub();
    let watch = registrar::Watch { pattern, seen };
    let call = connection
        .portal
        .stream::<Watching, Change>(Request::new(registrar::WATCH, &watch), WINDOW);
    match connection.within(hub.options.ask_timeout, call).await {
        Ok((watching, items)) => Step::Begun { connection, is_resumed: watching.resumed, items },
        Err(error) => lost(&client, index, &connection, error),
    }
}

/// Waits for the next change.
pub(crate) async fn next(
    client: Client,
    index: usize,
    connection: LinkConnection,
    mut items: Items<Change>,
) -> Step {
    let link = &client.hub().links[index];
    loop {
        let next = tokio::select! {
            biased;
            next = items.next() => next,
            // The same connection continues when it is heard again.
            error = link.silent() => {
                let failure = link.failure(error);
                return Step::Lost { after: connection.number - 1, failure, pause: Duration::ZERO };
            }
        };
        return match next {
            Ok(Some(change)) => Step::Item { connection, change: Box::new(change), items },
            Ok(None) => lost(&client, index, &connection, LinkError::Ended),
            // A later version may send items that this one cannot read; only those are lost.
            Err(CallError::Unreadable(error)) => {
                tracing::warn!(%error, "a registrar tells of a change that cannot be read");
                continue;
            }
            Err(error) => lost(&client, index, &connection, error.into()),
        };
    }
}

fn lost(client: &Client, index: usize, connection: &LinkConnection, error: LinkError) -> Step {
    let failure = client.hub().links[index].failure(Arc::new(error));
    // A connection that has ended is followed by another one. A registrar that refused is asked
    // again on the same one, after a while.
    match &*failure.error {
        LinkError::Closed(_) | LinkError::NoAnswer(_) => {
            Step::Lost { after: connection.number, failure, pause: Duration::ZERO }
        }
        _ => Step::Lost { after: connection.number - 1, failure, pause: REFUSED_PAUSE },
    }
}

/// The items in transit: enough to keep the connection busy, and few enough that a watcher that
/// does not read costs little.
const WINDOW: u16 = 128;

/// The pause before a registrar that refused a watch is asked again.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
