//! The return of registrations that a registrar has found dead, once their sockets can be reached again.
//!
//! A folder may be away for a moment, and an interface may be down. Who is looked for just then is found
//! dead, though it lives. Its client asks the kernel from then on, and registers it again as soon as
//! that has its socket in its place: nobody else can know.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use endpoints::{Endpoint, Stamped};
use tokio::time::{Instant, sleep_until};
use transport::{Listening, listening_at_each};
use uuid::Uuid;

use super::{Hub, desired::Entry};

/// Brings registrations back, until the client is closed.
pub(crate) async fn bring_back(hub: Arc<Hub>) {
    let mut returns = Returns::default();
    loop {
        let look_at = returns.0.values().filter_map(|it| it.look_at).min();
        let look = async {
            match look_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = hub.closing.cancelled() => return,
            () = hub.desired.found_dead() => returns.note(&hub, Instant::now()),
            () = look => returns.look(&hub, Instant::now()),
        }
    }
}

/// The registrations that were found dead.
#[derive(Debug, Default)]
struct Returns(BTreeMap<Uuid, Return>);

#[derive(Debug)]
struct Return {
    /// Which of its losses this is about.
    loss: u64,
    /// When its places are looked at next, while it is lost.
    look_at: Option<Instant>,
    /// The pause before it is registered again, which grows with each time that it is found dead
    /// soon after.
    pause: Duration,
    /// When it was registered again.
    returned_at: Option<Instant>,
}

impl Returns {
    /// Takes note of those that are lost.
    fn note(&mut self, hub: &Hub, now: Instant) {
        let lost = hub.desired.all_found_dead();
        self.0.retain(|uuid, _| hub.desired.find(*uuid).is_some());
        for entry in lost {
            let loss = entry.count_of_losses();
            let fresh = || Return { loss: 0, look_at: None, pause: PAUSE_MIN, returned_at: None };
            let its = self.0.entry(entry.uuid).or_insert_with(fresh);
            // It is looked at, or on its way back: another one is lost.
            if its.loss == loss {
                continue;
            }
            its.loss = loss;
            if let Some(returned_at) = its.returned_at.take() {
                let has_stayed = now.saturating_duration_since(returned_at) > CALM;
                its.pause = if has_stayed { PAUSE_MIN } else { PAUSE_MAX.min(its.pause * 2) };
            }
            its.look_at = Some(now + its.pause);
        }
    }

    /// Registers again those whose places are theirs.
    fn look(&mut self, hub: &Hub, now: Instant) {
        for (uuid, its) in &mut self.0 {
            if its.look_at.is_none_or(|at| at > now) {
                continue;
            }
            its.look_at = None;
            let Some(entry) = hub.desired.find(*uuid).filter(|it| it.is_found_dead()) else {
                continue;
            };
            if is_there(&entry) {
                tracing::info!(target: "callsign", name = %entry.name, %uuid, "it is there again");
                its.returned_at = Some(now);
                hub.desired.change(&entry, |_| {});
            } else {
                its.look_at = Some(now + LOOK_EVERY);
            }
        }
    }
}

/// Tells whether the kernel has a socket of this registration at a place that it has lost.
fn is_there(entry: &Entry) -> bool {
    let lost = entry.lost_endpoint();
    let (_, register) = entry.wanted();
    let is_lost = |it: &Stamped| lost.as_ref().is_none_or(|lost| it.endpoint == *lost);
    let stamped: Vec<_> = register.endpoints.into_iter().filter(is_lost).collect();
    let places: Vec<Endpoint> = stamped.iter().map(|it| it.endpoint.clone()).collect();
    let listening = listening_at_each(&places);
    stamped.iter().zip(listening).any(|(stamped, listening)| match listening {
        Listening::Sockets(sockets) if stamped.endpoint.is_socket_file() => {
            sockets.iter().any(|it| it.is_that_of(&stamped.stamp))
        }
        Listening::Sockets(_) => true,
        Listening::Nobody(_) | Listening::Unknown => false,
    })
}

/// How often the places of what is lost are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The shortest pause before a registration is made again, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// After how long a registration that stays is there for good.
const CALM: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use wire::{
        callbacks::{self, LostCause},
        registrar::Register,
    };

    use super::*;
    use crate::{ClientOptions, Lost};

    /// A listener, and its registration at no registrar.
    fn served(hub: &Hub) -> (std::net::TcpListener, Arc<Entry>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::from(listener.local_addr().unwrap());
        let endpoints = vec![Stamped { stamp: transport::stamp(&endpoint), endpoint }];
        let wanted = Register::new("feed".parse().unwrap(), Uuid::new_v4());
        let entry = hub.desired.put(Register { endpoints, ..wanted }, Default::default());
        (listener, entry)
    }

    fn lose(hub: &Hub, entry: &Arc<Entry>) {
        let cause = LostCause::FoundDead;
        let said = callbacks::Lost { uuid: entry.uuid, epoch: 1, cause, endpoint: None, by: None };
        hub.desired.lose(entry, Lost::told_by("/unix/@registrar".parse().unwrap(), said));
    }

    #[tokio::test]
    async fn anothers_loss_delays_none_that_is_on_its_way_back() {
        let hub = Hub::new(Vec::new(), ClientOptions::default());
        let (_one, first) = served(&hub);
        let (_other, second) = served(&hub);
        let mut returns = Returns::default();
        let mut now = Instant::now();
        lose(&hub, &first);
        returns.note(&hub, now);
        now += PAUSE_MIN;
        returns.look(&hub, now);
        // The registrar has yet to answer.
        assert!(first.is_found_dead() && returns.0[&first.uuid].look_at.is_none());
        lose(&hub, &second);
        returns.note(&hub, now);
        assert_eq!(returns.0[&first.uuid].pause, PAUSE_MIN);
        assert_eq!(returns.0[&first.uuid].look_at, None);
        assert_eq!(returns.0[&second.uuid].look_at, Some(now + PAUSE_MIN));
        // Its own is told from that, before and after an answer.
        lose(&hub, &first);
        returns.note(&hub, now);
        assert_eq!(returns.0[&first.uuid].look_at, Some(now + 2 * PAUSE_MIN));
    }
}
