//! Repeated looks at silent endpoints, until they answer: a restarting server is suspect for that
//! time.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    jobs::{Check, Why},
    registry::{Claimant, Owner},
};

/// The claims to look at again, and when.
#[derive(Debug, Default)]
pub(crate) struct Relooks {
    /// By the time at which they are due; the number distinguishes those of one instant.
    due: BTreeMap<(Instant, u64), Relook>,
    count: u64,
}

#[derive(Debug)]
struct Relook {
    claimant: Claimant,
    /// The registrant.
    registrant: Owner,
    by: Owner,
    /// The pause before this look.
    pause: Duration,
}

impl Relooks {
    /// Records that a claim was seen to be silent, and the last pause if it was a repeated look.
    /// With too many such claims, it stays as it is until its registrant answers.
    pub(crate) fn note(
        &mut self,
        claimant: Claimant,
        [registrant, by]: [Owner; 2],
        paused: Option<Duration>,
        now: Instant,
    ) {
        let account = registrant.account();
        let of_account = self.due.values().filter(|it| it.registrant.account() == account).count();
        let is_known = self.due.values().any(|it| it.claimant == claimant);
        if is_known || self.due.len() >= RELOOKS_MAX || of_account >= RELOOKS_OF_ACCOUNT_MAX {
            return;
        }
        let pause = paused.map_or(PAUSE_MIN, |it| PAUSE_MAX.min(it * 2));
        self.count += 1;
        self.due.insert((now + pause, self.count), Relook { claimant, registrant, by, pause });
    }

    /// Waits until a claim is due.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Check {
        match self.due.first_key_value() {
            Some(((due, _), _)) => sleep_until(*due).await,
            None => std::future::pending().await,
        }
        let (_, Relook { claimant, by, pause, .. }) = self.due.pop_first().expect("one is due");
        Check { claimant, why: Why::Silent { paused: pause }, by }
    }
}

/// The first pause, and the longest: most servers restart in a second, and waiters for a slower one
/// do not mind another half minute.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The most claims to look at again: a look asks the kernel, in some 20 µs.
const RELOOKS_MAX: usize = 1024;

/// The most of them on one account, so that others have room.
const RELOOKS_OF_ACCOUNT_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use endpoints::Stamped;
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silent_endpoints_are_looked_at_ever_less_often() {
        let mut relooks = Relooks::default();
        let owner = |user| [Owner::User(user), Owner::User(0)];
        let began = Instant::now();
        let mut paused = None;
        let mut at = Vec::new();
        for _ in 0..7 {
            relooks.note(claimant(1), owner(7), paused, Instant::now());
            relooks.note(claimant(1), owner(7), paused, Instant::now());
            let Why::Silent { paused: pause } = relooks.next().await.why else { panic!() };
            paused = Some(pause);
            at.push(began.elapsed().as_secs());
        }
        assert_eq!(at, [1, 3, 7, 15, 31, 61, 91]);
    }

    #[tokio::test]
    async fn an_account_has_its_share_however_many_owners_it_has() {
        let owners: [fn(u16) -> Owner; 3] =
            [|_| Owner::User(7), |it| Owner::Unknown(it.into()), address_of];
        let mut relooks = Relooks::default();
        let mut number = 0;
        let mut note = |relooks: &mut Relooks, owner| {
            number += 1;
            relooks.note(claimant(number), [owner, Owner::User(0)], None, Instant::now());
        };
        for (at, owner) in owners.into_iter().enumerate() {
            for it in 0..=2 * RELOOKS_OF_ACCOUNT_MAX as u16 {
                note(&mut relooks, owner(it));
            }
            assert_eq!(relooks.due.len(), (at + 1) * RELOOKS_OF_ACCOUNT_MAX);
        }
        note(&mut relooks, Owner::User(8));
        assert_eq!(relooks.due.len(), 3 * RELOOKS_OF_ACCOUNT_MAX + 1, "others have room");
    }

    fn address_of(it: u16) -> Owner {
        Owner::Host([0x2001, 0xdb8, 0, 0, 0, 0, 0, it].into())
    }

    fn claimant(number: u128) -> Claimant {
        Claimant {
            uuid: Uuid::from_u128(number),
            epoch: 1,
            stamped: Stamped::bare("/ip4/127.0.0.1/tcp/7".parse().unwrap()),
        }
    }
}
