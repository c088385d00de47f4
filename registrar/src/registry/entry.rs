//! The registry's entry of an instance.

use std::cell::Cell;

use endpoints::{Endpoint, InstanceId, Name};
use smallvec::SmallVec;
use uuid::Uuid;
use wire::{Epoch, FoldedRecord, Lifetime, Record, State, registrar::UnreadRegister};

use super::{
    Owner, SessionId,
    forms::{Forms, KeptRecord},
    names::Ruled,
};

/// Which node keeps an entry: this one, if it is the default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Home(pub(super) u16);

/// The registry's entry of an instance: its record in a form from which an answer is made by copying
/// bytes, and the facts that are needed without decoding.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) uuid: Uuid,
    pub(super) epoch: Epoch,
    pub(super) state: State,
    pub(super) lifetime: Lifetime,
    /// Whether it proves its identity, and has the key to do so.
    pub(super) has_key: bool,
    /// Whether it listens with TLS.
    pub(super) has_tls: bool,
    /// Whether there is evidence against it.
    pub(super) is_suspect: bool,
    /// Whether this node is cut off from the one that keeps it.
    is_cut_off: bool,
    /// The bytes charged to its owner's account.
    pub(super) charged: u32,
    /// Which node of the cluster keeps it.
    pub(super) home: Home,
    /// Whether it is gone, but not yet removed.
    pub(super) is_gone: bool,
    /// Whether another entry has its name or one of its places, or has had it since it was registered.
    pub(super) shares: Cell<bool>,
    record: KeptRecord,
    /// Whether its record as it is was kept [unfolded](super::unfolded).
    pub(super) is_unfolded: Cell<bool>,
    /// By which numbers the places are kept that it claims, so that they are found again without
    /// its record.
    pub(super) claimed: SmallVec<[u64; 2]>,
    pub(super) registrant: Registrant,
    /// When its lease runs out; or, if the registrar has dismissed the session that kept it, until
    /// when its registrant should be back.
    pub(super) lease_until_ms: Option<u64>,
    /// The rule that applies to its name.
    pub(super) ruled: Cell<Ruled>,
}

/// The registrant of an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Registrant {
    pub(super) owner: Owner,
    /// Its session; that may have ended since, unless it keeps the instance. `None` for declared
    /// entries, and for those of a dismissed session.
    pub(super) session: Option<SessionId>,
}

impl Entry {
    /// The bytes of a claim to a place, as measured.
    pub(super) const CLAIM_BYTES: usize = 96;

    pub(super) fn new(
        record: &Record,
        registrant: Registrant,
        now_ms: u64,
        forms: &mut Forms,
    ) -> Self {
        let lease_until_ms = record.lifetime.ttl_ms().map(|it| now_ms + it);
        let kept = forms.keep(record);
        let Record { name, uuid, epoch, state, lifetime, .. } = record;
        Self {
            name: name.clone(),
            uuid: *uuid,
            epoch: *epoch,
            state: *state,
            lifetime: *lifetime,
            has_key: record.proves,
            has_tls: has_tls(record),
            is_suspect: record.suspicion.is_some(),
            is_cut_off: record.is_cut_off(),
            charged: 0,
            home: Home::default(),
            is_gone: false,
            shares: Cell::new(false),
            record: kept,
            is_unfolded: Cell::new(false),
            claimed: SmallVec::new(),
            registrant,
            lease_until_ms,
            ruled: Cell::default(),
        }
    }

    /// Replaces its record by another of the same instance.
    pub(super) fn store(&mut self, record: &Record, forms: &mut Forms) {
        self.state = record.state;
        self.has_tls = has_tls(record);
        self.is_suspect = record.suspicion.is_some();
        self.is_cut_off = record.is_cut_off();
        self.record = forms.keep(record);
        self.is_unfolded.set(false);
    }

    /// Puts the time of a registration into its record, if that says nothing else that is new.
    pub(super) fn renew(&mut self, register: &UnreadRegister<'_>, now_ms: u64) -> bool {
        self.is_unfolded.set(false);
        self.record.renew(register, now_ms)
    }

    pub(super) fn folded(&self) -> FoldedRecord<'_> {
        FoldedRecord {
            name: self.name.as_str(),
            uuid: self.uuid,
            epoch: self.epoch,
            form: self.record.form(),
            values: &self.record.values,
        }
    }

    /// Returns the bytes that its record consists of, but for those that others have too.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        [self.name.as_str().as_bytes(), &self.record.values]
    }

    pub(super) fn record(&self) -> Record {
        self.folded().to_record()
    }

    /// Returns how long its record is in an answer, at the most.
    pub(super) fn answer_bytes(&self) -> usize {
        HEAD_BYTES + self.name.as_str().len() + self.record.len()
    }

    /// Returns whose it is, as its record tells.
    pub(super) fn owner_told(&self) -> wire::Owner {
        self.registrant.owner.into()
    }

    pub(super) fn instance(&self) -> InstanceId {
        InstanceId { name: self.name.clone(), uuid: self.uuid }
    }

    /// Returns how many bytes of memory it takes in all, with its places in the indexes.
    pub(super) fn held_bytes(&self) -> usize {
        HELD_BYTES
            + self.name.as_str().len()
            + self.record.len()
            + self.claimed.len() * Self::CLAIM_BYTES
    }

    /// Returns the session that keeps it; leases and declared entries have none.
    pub(super) fn keeper(&self) -> Option<SessionId> {
        self.registrant.session.filter(|_| self.lifetime == Lifetime::Session)
    }

    /// Tells whether another node of the cluster keeps it.
    pub(super) fn is_remote(&self) -> bool {
        self.home != Home::default()
    }

    /// Returns how many steps it takes to read all of it and to change it in every index.
    pub(super) fn chore_steps(&self) -> usize {
        DEFERRED_STEPS + self.record.len() / DEFERRED_BYTES_A_STEP
    }

    /// Tells whether it answers waiters: its actor is ready, has said so itself, and is known by now.
    pub(super) fn is_present(&self) -> bool {
        self.state == State::Ready && self.lifetime != Lifetime::Declared && !self.is_cut_off
    }
}

fn has_tls(record: &Record) -> bool {
    record.endpoints.iter().any(|it| matches!(&it.endpoint, Endpoint::Tcp(tcp) if tcp.tls))
}

/// The steps of changing a short entry in every index, and the bytes for each further step of
/// reading one.
const DEFERRED_STEPS: usize = 40;
const DEFERRED_BYTES_A_STEP: usize = 8;

/// The bytes of a record's beginning, besides its name.
const HEAD_BYTES: usize = 48;

/// The bytes of an entry besides its strings and its claims, as measured: its share of the indexes
/// when they have just grown, and the allocator's overhead for each piece.
const HELD_BYTES: usize = 640;
