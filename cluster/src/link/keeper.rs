//! What keeps the lease of a node, whatever its connection does meanwhile: a lease that ends takes
//! all records of the node with it, everywhere.
//!
//! ```text
//!   Link ──lease──▶ Keeper ──keep-alive──▶ any member
//!   Link ◀──ended── Keeper ──kept until──▶ names::guard
//! ```
//!
//! A member that follows another one passes a keep-alive on to it by a way of its own, and waits for that
//! in vain while transactions get through. So whichever member answers is good.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::members::{Failed, Members};
use crate::{etcd::Client, names::EARLIER};

/// What keeps a lease.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    members: Members,
    /// How long it lasts.
    time: Duration,
    /// The one by which all keys of this node live, as far as is known.
    lease: watch::Sender<Option<i64>>,
    /// Until when it lives, as far as is known.
    kept_until: watch::Sender<Option<Instant>>,
    /// One that is over, or may have been for a while.
    ended: watch::Sender<Option<i64>>,
}

impl Keeper {
    pub(super) fn new(members: Members, time: Duration) -> Self {
        let (lease, kept_until, ended) = Default::default();
        Self { members, time, lease, kept_until, ended }
    }

    pub(super) fn lease(&self) -> Option<i64> {
        *self.lease.borrow()
    }

    pub(super) fn kept_until(&self) -> watch::Receiver<Option<Instant>> {
        self.kept_until.subscribe()
    }

    /// Begins to keep a lease that was asked for at some time.
    pub(super) fn take(&self, lease: i64, asked_at: Instant) {
        self.ended.send_replace(None);
        self.lease.send_replace(Some(lease));
        self.kept(asked_at);
    }

    /// Waits until a lease is over, or may have been for a while.
    pub(super) async fn ended(&self, lease: i64) {
        let mut ended = self.ended.subscribe();
        let is_it = |it: &Option<i64>| *it == Some(lease);
        drop(ended.wait_for(is_it).await.expect("this holds the sender"));
    }

    /// Prolongs a lease by the first member that answers. `false` if it is over.
    pub(super) async fn prolong(&self, first: usize, lease: i64) -> Result<bool, Failed> {
        let asked = self.members.ask(first, |_, member| async move {
            Client::connect(&member).await?.keep_alive(lease).await
        });
        Ok(asked.await?.1)
    }

    /// Keeps the lease that there is, for as long as it is polled.
    pub(super) async fn run(self) {
        let mut leases = self.lease.subscribe();
        let mut known: Option<(usize, Client)> = None;
        let mut first = 0;
        loop {
            // One that is over, or was for a while, is asked for until the link has another.
            let lease = *leases.borrow_and_update();
            let pause = match lease {
                None => self.time,
                Some(lease) => {
                    let asked_at = Instant::now();
                    let asked = self.members.ask(first, |number, member| {
                        let known = known.clone().filter(|(used, _)| *used == number);
                        async move {
                            let client = match known {
                                Some((_, client)) => client,
                                None => Client::connect(&member).await?,
                            };
                            let is_kept = client.keep_alive(lease).await?;
                            Ok((client, is_kept))
                        }
                    });
                    match asked.await {
                        Ok((number, (client, is_kept))) => {
                            (first, known) = (number, Some((number, client)));
                            self.answered(lease, is_kept, asked_at);
                            self.time / 3
                        }
                        Err((number, _)) => {
                            (first, known) = (number + 1, None);
                            RETRY_AFTER
                        }
                    }
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                changed = leases.changed() => changed.expect("this holds the sender"),
            }
        }
    }

    fn answered(&self, lease: i64, is_kept: bool, asked_at: Instant) {
        if self.lease() != Some(lease) {
            return;
        }
        let is_lapsed = self.kept_until.borrow().is_none_or(|it| it < Instant::now());
        if is_kept {
            self.kept(asked_at);
        }
        if is_lapsed || !is_kept {
            self.ended.send_replace(Some(lease));
        }
    }

    /// Records that the lease has been prolonged, at the earliest when that was asked for.
    fn kept(&self, asked_at: Instant) {
        self.kept_until.send_replace(Some(asked_at + self.time - EARLIER));
    }
}

/// After how long the members are asked again if none has answered.
const RETRY_AFTER: Duration = Duration::from_millis(100);
