//! The tokens of names whose holders have gone without letting go of them.

use std::collections::BTreeMap;

use endpoints::Name;
use foldhash::HashMap;

/// By which token each name was held last, as long as nobody has had it since.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Each with its place in the order of the losses.
    tokens: HashMap<Name, (u64, u64)>,
    order: BTreeMap<u64, Name>,
    counted: u64,
}

impl Lost {
    /// Records a loss. Of too many, the oldest is forgotten.
    pub(super) fn insert(&mut self, name: &Name, token: u64) {
        self.remove(name);
        if self.tokens.len() == LOST_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.tokens.remove(&oldest);
        }
        self.counted += 1;
        self.order.insert(self.counted, name.clone());
        self.tokens.insert(name.clone(), (token, self.counted));
    }

    pub(super) fn remove(&mut self, name: &Name) {
        if let Some((_, at)) = self.tokens.remove(name) {
            self.order.remove(&at);
        }
    }

    pub(super) fn token(&self, name: &Name) -> Option<u64> {
        self.tokens.get(name).map(|it| it.0)
    }
}

/// The most former holders to remember by name: far more lose their connection at a time in no
/// system, and who is forgotten gets a higher token.
const LOST_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Name {
        format!("n{number}").parse().unwrap()
    }

    #[test]
    fn the_oldest_are_forgotten_and_whoever_is_replaced_leaves_nothing() {
        let mut lost = Lost::default();
        for number in 0..LOST_MAX + 10 {
            lost.insert(&name(number), number as u64);
        }
        assert_eq!((lost.token(&name(9)), lost.token(&name(10))), (None, Some(10)));
        lost.remove(&name(10));
        lost.remove(&name(10));
        assert_eq!(lost.token(&name(10)), None);
        // A name that is lost again is among the latest.
        lost.insert(&name(11), 7);
        lost.insert(&name(0), 1);
        lost.insert(&name(1), 2);
        assert_eq!((lost.token(&name(11)), lost.token(&name(12))), (Some(7), None));
        assert_eq!((lost.tokens.len(), lost.order.len()), (LOST_MAX, LOST_MAX));
    }
}
