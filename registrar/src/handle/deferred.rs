//! The deferred work of the registry, and the memory that is free after it.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::task::yield_now;

use super::RegistryHandle;
use crate::{meter::thread_time, registry::Account};

impl RegistryHandle {
    /// Does deferred work, part by part, for as long as it is polled, and charges it.
    pub(crate) async fn do_deferred(&self, charge: impl Fn(Account, Duration)) {
        self.0.is_attended.store(true, Ordering::Relaxed);
        let _leaves = Attendant(self);
        loop {
            self.0.deferred.notified().await;
            let mut has_more = true;
            while has_more {
                let began = thread_time();
                let account;
                (account, has_more) = self.do_some_deferred();
                if let Some(account) = account {
                    charge(account, thread_time().saturating_sub(began));
                }
                yield_now().await;
            }
        }
    }

    /// Does a part of the deferred work. Returns whose it was, and whether there is more.
    fn do_some_deferred(&self) -> (Option<Account>, bool) {
        let mut state = self.state();
        let account = state.registry.deferred_account();
        let outcome = state.registry.do_deferred();
        self.deliver(&mut state, outcome);
        let has_more = state.registry.has_deferred();
        self.after(state);
        // Before it is too much to do so at once.
        if self.0.accounts.take_has_freed_much(self.now_ms()) {
            transport::release_memory();
        }
        (account, has_more)
    }
}

/// Stands for the task that does deferred work.
struct Attendant<'a>(&'a RegistryHandle);

impl Drop for Attendant<'_> {
    fn drop(&mut self) {
        self.0.0.is_attended.store(false, Ordering::Relaxed);
    }
}
