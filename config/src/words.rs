//! Words of which a setting takes one, and the one that was probably meant by another.

use endpoints::names_like;

/// The words that a setting takes.
pub(crate) struct Words {
    pub(crate) known: &'static [&'static str],
    /// What others call them.
    pub(crate) aliases: &'static [(&'static str, &'static str)],
}

impl Words {
    /// Returns the word that was probably meant, if one is nearest.
    pub(crate) fn meant(&self, written: &str) -> Option<&'static str> {
        let small = written.trim().to_lowercase();
        let same = self.known.iter().find(|it| **it == small);
        let alias = || self.aliases.iter().find(|(alias, _)| *alias == small).map(|(_, it)| it);
        if let Some(meant) = same.or_else(alias) {
            return Some(meant);
        }
        match names_like(&small, self.known.iter().copied())[..] {
            [meant] => Some(meant),
            _ => None,
        }
    }
}

/// Reads what stands for `true` or `false`.
pub(crate) fn switch(written: &str) -> Option<bool> {
    SWITCH.meant(written).map(|it| it == "true")
}

const SWITCH: Words = Words {
    known: &["true", "false"],
    aliases: &[
        ("yes", "true"),
        ("on", "true"),
        ("y", "true"),
        ("t", "true"),
        ("1", "true"),
        ("enabled", "true"),
        ("no", "false"),
        ("off", "false"),
        ("n", "false"),
        ("f", "false"),
        ("0", "false"),
        ("disabled", "false"),
        ("none", "false"),
    ],
};
