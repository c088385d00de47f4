//! A list of keys that is nearly always one key long.

use super::Key;

/// A list of keys. One of a single key takes no memory of its own.
#[derive(Debug, Default)]
pub(super) enum Keys {
    #[default]
    None,
    One([Key; 1]),
    Many(Vec<Key>),
}

impl Keys {
    pub(super) fn as_slice(&self) -> &[Key] {
        match self {
            Self::None => &[],
            Self::One(key) => key,
            Self::Many(keys) => keys,
        }
    }

    pub(super) fn push(&mut self, key: Key) {
        match self {
            Self::None => *self = Self::One([key]),
            Self::One([first]) => *self = Self::Many(vec![*first, key]),
            Self::Many(keys) => keys.push(key),
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        match self {
            Self::One([only]) if *only == key => *self = Self::None,
            Self::Many(keys) => {
                keys.retain(|it| *it != key);
                if let [only] = keys[..] {
                    *self = Self::One([only]);
                }
            }
            Self::None | Self::One(_) => {}
        }
    }
}
