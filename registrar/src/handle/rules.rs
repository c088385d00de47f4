//! The rules of names, and those whom they find there.

use tokio::task::yield_now;
use tracing::warn;

use super::{RegistryHandle, acts::AUDIT};
use crate::registry::NameRules;

impl RegistryHandle {
    /// Replaces the rules of names. Registered instances stay.
    pub(crate) fn set_rules(&self, rules: NameRules) {
        let mut state = self.state();
        let outcome = state.registry.set_rules(rules);
        self.deliver(&mut state, outcome);
        self.after(state);
        self.0.rules.notify_one();
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
