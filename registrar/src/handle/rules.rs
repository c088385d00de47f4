//! The rules of names, and those whom they find there.

use std::collections::BTreeMap;

use tokio::task::yield_now;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{RegistryHandle, RegistryState, acts::AUDIT};
use crate::{
    jobs::Job,
    registry::{NameRules, Owner},
};

impl RegistryHandle {
    /// Replaces the rules of names. Registered instances stay.
    pub(crate) fn set_rules(&self, rules: NameRules) {
        let mut state = self.state();
        let outcome = state.registry.set_rules(rules);
        self.deliver(&mut state, outcome);
        self.after(state);
        self.0.rules.notify_one();
    }

    /// Tells registrants by which tokens their instances have their names now.
    pub(super) fn tell_tokens(&self, state: &RegistryState, tokens: Vec<(Uuid, Owner)>) {
        let mut told: BTreeMap<_, (Owner, Vec<_>)> = BTreeMap::new();
        for (uuid, owner) in tokens {
            let (registry, by) = (&state.registry, owner);
            let Some((epoch, token, _)) = registry.token_of(uuid) else { continue };
            let name = registry.name(uuid);
            let name = name.map(tracing::field::display);
            match token {
                Some(_) => {
                    info!(target: AUDIT, %by, name, %uuid, epoch, token, "has its name alone")
                }
                None => {
                    info!(target: AUDIT, %by, name, %uuid, epoch, "its name is not exclusive now")
                }
            }
            if let Some(session) = registry.registrant(uuid) {
                told.entry(session).or_insert((owner, Vec::new())).1.push(uuid);
            }
        }
        for (session, (owner, uuids)) in told {
            if !self.send(Job::TellTokens(session, uuids), owner) {
                debug!("too much to tell; the registrants learn of their tokens when they return");
            }
        }
    }

    /// Warns of names that have become exclusive while several instances had them, for as long as it
    /// is polled.
    pub(crate) async fn warn_of_shared_names(&self) {
        loop {
            self.0.rules.notified().await;
            let (mut after, mut left) = (0, WARNINGS_MAX);
            while left > 0
                && let (shared, Some(latest)) = self.read(|it| it.shared_names(after))
            {
                for (name, holders) in shared.into_iter().take(left) {
                    left -= 1;
                    let holders = holders.iter().map(|(uuid, owner)| format!("{uuid} of {owner}"));
                    let holders = holders.collect::<Vec<_>>().join(", ");
                    warn!(
                        target: AUDIT, %name, holders,
                        "several instances have a name that is exclusive now: they stay until they end"
                    );
                }
                after = latest;
                yield_now().await;
            }
        }
    }
}

/// The most warnings after a change of the rules: who has made a mistake sees it by then.
const WARNINGS_MAX: usize = 16;
