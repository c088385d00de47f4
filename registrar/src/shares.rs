//! Each owner's share of the jobs: a part of the queue, and a rate, so that no owner keeps the jobs
//! of others from running.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use wire::Quota;

use crate::{accounts::Accounts, registry::Account};

/// The use of the accounts. Clones are handles of the same.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    accounts: Accounts,
    rates: Arc<Mutex<HashMap<Account, Rate>>>,
}

#[derive(Debug)]
struct Rate {
    /// The further jobs that may be requested now, in thousandths.
    allowed: u64,
    /// The time of that.
    at_ms: u64,
}

/// A job that is counted to an account until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Shares,
    account: Account,
}

impl Shares {
    pub(crate) fn new(accounts: Accounts) -> Self {
        Self { accounts, rates: Arc::default() }
    }

    /// Counts one more job to an account, if it may have one.
    pub(crate) fn take(&self, account: Account, now_ms: u64) -> Option<Share> {
        let mut rates = self.rates();
        if rates.len() >= ACCOUNTS_KEPT {
            rates.retain(|_, it| it.allowed_at(now_ms) < BURST);
        }
        let own = rates.entry(account).or_insert(Rate { allowed: BURST, at_ms: now_ms });
        let allowed = own.allowed_at(now_ms);
        if account != Account::Registrar && allowed < ERRAND {
            return None;
        }
        self.accounts.charge(account, &[(Quota::Looks, 1)]).ok()?;
        *own = Rate { allowed: allowed.saturating_sub(ERRAND), at_ms: now_ms };
        Some(Share { shares: self.clone(), account })
    }

    fn rates(&self) -> MutexGuard<'_, HashMap<Account, Rate>> {
        self.rates.lock().expect("nothing panics while it holds the lock")
    }
}

impl Rate {
    fn allowed_at(&self, now_ms: u64) -> u64 {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        BURST.min(self.allowed.saturating_add(passed_ms.saturating_mul(JOBS_A_SECOND)))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.accounts.give_back(self.account, &[(Quota::Looks, 1)]);
    }
}

/// The burst of jobs that an account may request, and the rate for each second: a machine that dies
/// takes some hundred actors with it, which are reported repeatedly; an owner that continues at
/// this rate takes a hundredth of a processor.
const BURST: u64 = 128 * ERRAND;
const JOBS_A_SECOND: u64 = 32;

/// One job, in the thousandths that a millisecond of time adds.
const ERRAND: u64 = 1000;

/// The most accounts whose rate is remembered while they are idle.
const ACCOUNTS_KEPT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quotas::QuotaRules;

    const ONE: Account = Account::User(1000);
    const OTHER: Account = Account::User(1001);

    #[test]
    fn an_account_has_its_share_and_its_rate_and_others_have_theirs() {
        let shares = Shares::new(Accounts::new(QuotaRules::default(), 64, 0));
        let take = |account, count: usize, now_ms| -> Vec<_> {
            (0..count).map_while(|_| shares.take(account, now_ms)).collect()
        };
        assert_eq!(take(ONE, 1000, 0).len(), 128, "what has been run counts to the rate");
        assert_eq!(take(ONE, 1000, 1000).len(), 32);
        assert_eq!(take(OTHER, 1000, 1000).len(), 128);
        let mut waiting = Vec::new();
        for second in 0..20 {
            waiting.extend(take(ONE, 1000, 100_000 + 1000 * second));
        }
        assert_eq!(waiting.len(), 256, "no more wait at once");
        assert_eq!(take(OTHER, 1000, 200_000).len(), 128);
        drop(waiting);
        assert_eq!(take(ONE, 1000, 300_000).len(), 128);
        assert_eq!(take(Account::Registrar, 1000, 300_000).len(), 1000);
    }

    #[test]
    fn idle_owners_are_forgotten() {
        let shares = Shares::new(Accounts::new(QuotaRules::default(), 64, 0));
        for account in 0..2 * ACCOUNTS_KEPT as u32 {
            drop(shares.take(Account::User(account), 100_000 * u64::from(account)));
        }
        assert!(shares.rates().len() <= ACCOUNTS_KEPT);
    }
}
