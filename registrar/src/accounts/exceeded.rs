//! The answer to an owner that would use more than its quota.

use thiserror::Error;
use wire::{ErrorKind, Quota, QuotaExceeded, RemoteError};

use crate::registry::Account;

/// Says that an account would use more than it may.
///
/// ```
/// # mod callsign { pub use {endpoints::*, wire::*};
/// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::Quota;
/// use callsign::registrar::{Account, Accounts, QuotaRules, Quotas};
///
/// let others = Quotas { watches: 10, ..Quotas::default() };
/// let accounts = Accounts::new(QuotaRules { others, ..QuotaRules::default() }, 4096, 0);
/// let exceeded = accounts.charge(Account::User(1000), &[(Quota::Watches, 11)]).unwrap_err();
/// assert_eq!((exceeded.quota, exceeded.limit), (Quota::Watches, 10));
/// ```
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{}", self.text())]
pub struct Exceeded {
    /// The quota.
    pub quota: Quota,
    /// Its owner.
    pub account: Account,
    /// The present use.
    pub used: usize,
    /// The additional amount.
    pub asked: usize,
    /// The limit.
    pub limit: usize,
}

impl Exceeded {
    fn text(&self) -> String {
        let Self { quota, account, used, asked, limit } = self;
        let (amount, remedy) = match quota {
            Quota::Bytes => {
                let kib = |it: usize| it.div_ceil(1024);
                let amount = format!(
                    "{account} holds {} of {} KiB here, and asks for {} more",
                    kib(*used),
                    limit / 1024,
                    kib(*asked),
                );
                (amount, "read the answers, register less")
            }
            Quota::Sessions => {
                (count(account, ["session", "sessions"], *used, *limit), "close some")
            }
            Quota::Instances => {
                (count(account, ["instance", "instances"], *used, *limit), "take some out")
            }
            Quota::Waits => {
                (count(account, ["waiting call", "waiting calls"], *used, *limit), "cancel some")
            }
            Quota::Watches => (count(account, ["watch", "watches"], *used, *limit), "cancel some"),
            Quota::Cpu => {
                let amount =
                    format!("{account} has used {used}% of a processor here, of at most {limit}%");
                (amount, "connect less often")
            }
            quota => (count(account, [quota.name(); 2], *used, *limit), "wait"),
        };
        let bound = match quota {
            Quota::Sessions => " (no owner has more than half of `sessions_max`)",
            _ => "",
        };
        format!("{amount}: {remedy}, or raise `{quota}` in the registrar's [quotas]{bound}")
    }
}

fn count(account: &Account, [one, many]: [&str; 2], used: usize, limit: usize) -> String {
    let what = if used == 1 { one } else { many };
    format!("{account} has {used} {what} here, of at most {limit}")
}

impl From<Exceeded> for QuotaExceeded {
    fn from(Exceeded { quota, account, used, asked, limit }: Exceeded) -> Self {
        let [used, asked, limit] = [used, asked, limit].map(|it| it as u64);
        Self { quota, owner: account.into(), used, asked, limit }
    }
}

impl From<&Exceeded> for RemoteError {
    fn from(exceeded: &Exceeded) -> Self {
        let payload = QuotaExceeded::from(*exceeded);
        Self::new(ErrorKind::QuotaExceeded, exceeded.to_string())
            .with_payload(QuotaExceeded::TYPE_NAME, &payload)
    }
}
