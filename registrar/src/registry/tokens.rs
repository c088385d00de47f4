//! By which fencing tokens names are had that one instance has at a time, and who may say that he
//! had one before this registrar began.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use endpoints::{InstanceId, Name};
use uuid::Uuid;
use wire::{Epoch, Proof, ProofSecret, registrar::Register};

use super::{Account, Key, Owner, Registry, lost::Lost, review::Review};

/// What a registrar knows of the run before it: by which tokens names were had, and by what it knows
/// those again who had them.
///
/// ```
/// # use callsign_registrar as callsign;
/// use callsign::registry::Former;
/// use wire::ProofSecret;
///
/// let first = Former { secret: ProofSecret::new([7; 32]), latest: 0, tokens: Vec::new() };
/// assert!(first.tokens.is_empty(), "nobody comes back to a first run");
/// ```
#[derive(Clone, Debug)]
pub struct Former {
    /// What its holders got is made of it.
    pub secret: ProofSecret,
    /// The latest number that it had issued when this was written.
    pub latest: Epoch,
    /// The tokens by which names were had then.
    pub tokens: Vec<u64>,
}

/// What has changed since it was written down last by which tokens names are had.
#[derive(Debug)]
pub(crate) struct TokenChanges {
    pub(crate) secret: ProofSecret,
    /// The latest number that was issued.
    pub(crate) latest: Epoch,
    /// The tokens that were given or taken, with the account of their holder.
    pub(crate) changed: BTreeMap<u64, TokenChange>,
    /// The former tokens by which somebody has come back.
    pub(crate) spent: Vec<u64>,
    /// Whether somebody may still come back by the others.
    pub(crate) is_settling: bool,
}

/// A token that was given or taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TokenChange {
    pub(crate) account: Account,
    pub(crate) is_held: bool,
}

/// The tokens of a registry.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// The secret of all resume tokens. Without it nobody can return.
    secret: Option<ProofSecret>,
    held: BTreeMap<Key, (u64, Account)>,
    /// The tokens of the former run whose holders have not returned.
    former: BTreeSet<u64>,
    /// Later tokens of that run were issued when it wrote nothing any more.
    former_latest: Epoch,
    /// The tokens whose holders have returned.
    spent: BTreeSet<u64>,
    lost: Lost,
    pub(super) review: Review,
    have_changed: bool,
    /// What has changed since that was taken, and the former tokens spent since.
    changed: BTreeMap<u64, TokenChange>,
    spent_since: Vec<u64>,
}

impl Tokens {
    /// Records the token of an instance, if its name is exclusive.
    pub(super) fn note(&mut self, key: Key, token: Option<(u64, Account)>) {
        let before = match token {
            Some(token) => self.held.insert(key, token),
            None => self.held.remove(&key),
        };
        if before == token {
            return;
        }
        self.have_changed = true;
        // Without a secret nobody can come back.
        if self.secret.is_some() {
            for (change, is_held) in [(before, false), (token, true)] {
                let change =
                    change.map(|(token, account)| (token, TokenChange { account, is_held }));
                self.changed.extend(change);
            }
        }
    }

    /// Returns by which token an instance has its name, if that is exclusive.
    pub(super) fn of(&self, key: Key) -> Option<u64> {
        self.held.get(&key).map(|(token, _)| *token)
    }

    /// Returns all instances that have exclusive names.
    pub(super) fn holders(&self) -> Vec<Key> {
        self.held.keys().copied().collect()
    }

    /// Forgets an instance that has its name no more. One that has `lost` it may come back.
    pub(super) fn forget(&mut self, key: Key, name: &Name, lost: bool) {
        self.review.forget(key);
        let Some((token, _)) = self.held.get(&key).copied() else { return };
        self.note(key, None);
        if lost {
            self.lost.insert(name, token);
        }
    }

    /// Takes note that somebody has a name, so that nobody comes back to it.
    pub(super) fn taken(&mut self, name: &Name) {
        self.lost.remove(name);
    }

    /// Records that names may have become exclusive.
    pub(super) fn ruled_anew(&mut self) {
        self.have_changed = true;
    }

    /// Forgets the holders that might have returned.
    pub(super) fn settle(&mut self) {
        self.former = BTreeSet::new();
        self.spent = BTreeSet::new();
    }

    /// Records that a holder has returned.
    pub(super) fn spend(&mut self, token: u64) {
        if self.former.remove(&token) {
            self.spent_since.push(token);
        } else {
            self.spent.insert(token);
        }
    }

    /// Returns the resume token for a holder's token. It is made of the holder's owner,
    /// so it is useless to others; users that nobody can tell apart get none.
    pub(super) fn shown(
        &self,
        (name, uuid): (&Name, Uuid),
        owner: Owner,
        token: Option<u64>,
    ) -> Option<Proof> {
        if matches!(owner, Owner::Unknown(_)) {
            return None;
        }
        let instance = InstanceId { name: name.clone(), uuid };
        Some(Proof::of_token(self.secret.as_ref()?, &instance, &owner.into(), token?))
    }
}

impl Registry {
    /// Takes over what is known of the run before this one, before anybody is registered. Numbers
    /// count on from the latest of that run, if the clock was set back since.
    pub fn resume(&mut self, former: Former) {
        let Former { secret, latest, tokens } = former;
        let first = self.first_epoch.max(latest.saturating_add(UNWRITTEN_MAX));
        (self.first_epoch, self.next_epoch) = (first, first);
        self.tokens = Tokens {
            secret: Some(secret),
            former: tokens.into_iter().collect(),
            former_latest: latest,
            ..Tokens::default()
        };
    }

    /// Returns what the next run is to know of this one, if there are names that one instance has at
    /// a time.
    pub fn former(&self, now_ms: u64) -> Option<Former> {
        let Tokens { secret, held, former, .. } = &self.tokens;
        if !self.has_tokens() {
            return None;
        }
        // Those of the former run may return to the next one, if this one ends so soon.
        let awaited = former.iter().filter(|_| self.is_settling(now_ms));
        let tokens = held.values().map(|(token, _)| token).chain(awaited).copied().collect();
        Some(Former { secret: secret.clone()?, latest: self.next_epoch, tokens })
    }

    /// Tells whether there are names that one instance has at a time.
    fn has_tokens(&self) -> bool {
        let Tokens { held, former, .. } = &self.tokens;
        !held.is_empty() || !former.is_empty() || self.rules.has_exclusive()
    }

    /// Returns what the next run is to know and has changed since this was called last, if there are
    /// names that one instance has at a time. However many tokens there are, it takes the time of the
    /// changes.
    pub(crate) fn take_token_changes(&mut self, now_ms: u64) -> Option<TokenChanges> {
        let is_settling = self.is_settling(now_ms);
        if !self.has_tokens() && self.tokens.changed.is_empty() {
            return None;
        }
        Some(TokenChanges {
            secret: self.tokens.secret.clone()?,
            latest: self.next_epoch,
            changed: mem::take(&mut self.tokens.changed),
            spent: mem::take(&mut self.tokens.spent_since),
            is_settling,
        })
    }

    /// Tells whether names were taken or let go since this was asked last.
    pub fn take_tokens_changed(&mut self) -> bool {
        mem::take(&mut self.tokens.have_changed)
    }

    /// Returns the token of a returning holder from before this registrar started, if its resume
    /// token is valid: it was issued to this very instance of this owner, and nobody has used it
    /// since.
    pub(super) fn comes_back(&self, register: &Register, owner: Owner) -> Option<u64> {
        let token = register.token.filter(|it| *it <= self.first_epoch)?;
        let Tokens { former, former_latest, spent, .. } = &self.tokens;
        let is_latest = token > *former_latest && !spent.contains(&token);
        if !is_latest && !former.contains(&token) {
            return None;
        }
        self.is_shown(register, owner, token).then_some(token)
    }

    /// Returns by which token somebody had his name whose connection has ended since, if he shows
    /// that, and nobody else has had the name in between.
    pub(super) fn kept_since(&self, register: &Register, owner: Owner) -> Option<u64> {
        let token = register.token?;
        let is_last = self.tokens.lost.token(&register.name) == Some(token);
        (is_last && self.is_shown(register, owner, token)).then_some(token)
    }

    /// Tells whether somebody shows that a token was handed to this very instance of this owner.
    fn is_shown(&self, register: &Register, owner: Owner, token: u64) -> bool {
        let shown = self.tokens.shown((&register.name, register.uuid), owner, Some(token));
        register.resume.is_some() && register.resume == shown
    }
}

/// The most numbers that a run issues after its last record.
const UNWRITTEN_MAX: u64 = 10_000_000;
