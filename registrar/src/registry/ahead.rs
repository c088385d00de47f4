//! Memory that look-ups need next.
//!
//! The place of a name, its entry and the bytes of its record are each somewhere else in memory, and the
//! processor waits for each in turn. Where nothing but reading them is done in between, it waits for those
//! of many look-ups together.

use std::hint::black_box;

use smallvec::SmallVec;

use super::{Entry, Key, Registry};

impl Registry {
    /// Tells whether it has so many instances that a processor's caches do not hold them.
    pub(crate) fn is_crowded(&self) -> bool {
        self.by_epoch.len() >= CROWDED
    }

    /// Fetches into the processor's caches what the answers about some names consist of, for the first
    /// [`AHEAD`] of them at once. It changes nothing.
    pub(crate) fn fetch(&self, names: &[&str]) {
        let keys = names.iter().take(AHEAD).filter_map(|name| self.by_name.likely(name));
        let keys: SmallVec<[Key; AHEAD]> = keys.collect();
        let entries = keys.iter().map(|key| &self.entries[*key]);
        let parts: SmallVec<[_; AHEAD]> = entries.map(Entry::parts).collect();
        for part in parts.iter().flatten() {
            part.chunks(CACHE_LINE).for_each(|it| _ = black_box(it[0]));
            _ = black_box(part.last().copied());
        }
    }
}

/// The names for which memory is fetched at once: about as many as a processor can wait for.
pub(crate) const AHEAD: usize = 16;

/// From how many instances on it takes longer to wait for memory than to look ahead.
const CROWDED: usize = 5_000;

const CACHE_LINE: usize = 64;

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use wire::registrar::{Query, Register};

    use super::*;
    use crate::{
        Accounts,
        registry::{Account, Limits, Owner},
    };

    #[test]
    fn a_crowded_registry_knows_where_to_look() {
        let mut registry = Registry::new(Uuid::nil(), Limits::default(), Accounts::unlimited(), 1);
        let session = registry.open_session(Account::User(0));
        for it in 0..CROWDED {
            assert!(!registry.is_crowded());
            let name = format!("feed-{it}").parse().unwrap();
            let register = Register::new(name, Uuid::from_u128(it as u128));
            drop(registry.register(register, Owner::User(0), session, 1).unwrap());
        }
        assert!(registry.is_crowded());
        let name_at = |key| str::from_utf8(registry.entries[key].parts()[0]).unwrap();
        let is_found =
            |name: &str| registry.by_name.likely(name).is_some_and(|it| name_at(it) == name);
        // A place of another name may look the same from outside: with one in 128, by the hash's tag.
        let found = (0..CROWDED).filter(|it| is_found(&format!("feed-{it}"))).count();
        assert!(found > CROWDED * 9 / 10, "{found} of {CROWDED}");
        // Whatever is asked for: a name that nobody has, and more than are looked at.
        registry.fetch(&["feed-1", "nobody"].repeat(AHEAD));
        assert_eq!(registry.records(&Query::of("feed-1"), &Owner::User(0).into()).len(), 1);
    }
}
