//! The forms of records: what many of them have in common, kept once.

use std::{hash::BuildHasher, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use wire::{Folding, Record, registrar::UnreadRegister};

/// A record, but for its name, its UUID and its epoch: in the form in which it is copied into
/// answers.
#[derive(Clone, Debug)]
pub(super) struct KeptRecord {
    form: Arc<Form>,
    /// What is its own.
    pub(super) values: Box<[u8]>,
}

/// What records have in common.
#[derive(Debug, Eq, PartialEq)]
struct Form(Box<[u8]>);

/// The forms of all records.
#[derive(Debug, Default)]
pub(super) struct Forms {
    folding: Folding,
    table: HashTable<Arc<Form>>,
    hasher: RandomState,
    /// That of the latest record: the next has the same, usually.
    latest: Option<Arc<Form>>,
    /// How many records had none since those were dropped that no record has any more.
    missed: usize,
}

impl KeptRecord {
    pub(super) fn form(&self) -> &[u8] {
        &self.form.0
    }

    /// Puts the time of a registration into it, if that says nothing else that is new.
    pub(super) fn renew(&mut self, register: &UnreadRegister<'_>, now_ms: u64) -> bool {
        register.renews(&self.form.0, &mut self.values, now_ms)
    }

    /// Returns its bytes, with what it shares with others.
    pub(super) fn len(&self) -> usize {
        self.form.0.len() + self.values.len()
    }
}

impl Forms {
    /// Folds a record into its form, or into one that any may have if there is no room for its own.
    pub(super) fn keep(&mut self, record: &Record) -> KeptRecord {
        let Self { folding, table, hasher, latest, missed } = self;
        let (bytes, values) = folding.fold(record);
        if let Some(form) = latest.as_ref().filter(|it| *it.0 == *bytes) {
            return KeptRecord { form: form.clone(), values: values.into() };
        }
        let known = table.find(hasher.hash_one(bytes), |it| *it.0 == *bytes);
        let has_room = bytes.len() <= FORM_BYTES_MAX && table.len() < FORMS_MAX;
        if known.is_some() || has_room {
            let form = known.cloned().unwrap_or_else(|| enter(table, hasher, bytes));
            *latest = Some(form.clone());
            return KeptRecord { form, values: values.into() };
        }
        *missed += 1;
        if *missed == FORMS_MAX {
            *missed = 0;
            table.retain(|it| Arc::strong_count(it) > 1);
        }
        let (bytes, values) = folding.fold_whole(record);
        KeptRecord { form: enter(table, hasher, bytes), values: values.into() }
    }

    /// Drops the forms that no record has any more.
    pub(super) fn shrink(&mut self) {
        let Self { table, hasher, latest, .. } = self;
        *latest = None;
        table.retain(|it| Arc::strong_count(it) > 1);
        table.shrink_to_fit(|it| hasher.hash_one(&it.0));
    }
}

/// Enters a form, unless it is there.
fn enter(table: &mut HashTable<Arc<Form>>, hasher: &RandomState, bytes: &[u8]) -> Arc<Form> {
    let hash = |it: &Arc<Form>| hasher.hash_one(&*it.0);
    let entry = table.entry(hasher.hash_one(bytes), |it| *it.0 == *bytes, hash);
    entry.or_insert_with(|| Arc::new(Form(bytes.into()))).get().clone()
}

/// The most forms, besides those that any record may have. Each program has one or a few.
const FORMS_MAX: usize = 1024;

/// The most bytes of a form: a longer one has much that no other has, and all forms together take no
/// more than a megabyte.
const FORM_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use wire::{FoldedRecord, Owner};

    use super::*;

    fn record(user: u32) -> Record {
        Record {
            owner: Some(Owner::User(user)),
            ..Record::new("feed".parse().unwrap(), Uuid::nil())
        }
    }

    fn check(kept: &KeptRecord, record: &Record) {
        let (form, values) = (kept.form(), &kept.values[..]);
        let folded = FoldedRecord { name: "feed", uuid: Uuid::nil(), epoch: 0, form, values };
        assert_eq!(folded.to_record(), *record);
    }

    #[test]
    fn records_share_their_forms_and_some_have_none_of_their_own() {
        let mut forms = Forms::default();
        let (one, other) = (forms.keep(&record(1)), forms.keep(&record(1)));
        assert!(Arc::ptr_eq(&one.form, &other.form));
        check(&one, &record(1));

        let all: Vec<_> = (2..FORMS_MAX as u32 + 100).map(|it| forms.keep(&record(it))).collect();
        for (kept, user) in all.iter().zip(2..) {
            check(kept, &record(user));
        }
        assert_eq!(forms.table.len(), FORMS_MAX + 1);
        assert!(Arc::ptr_eq(&forms.keep(&record(1)).form, &one.form));

        // They are forgotten with their records, after a while or when a crowd has left.
        drop(all);
        for user in 0..FORMS_MAX as u32 {
            check(&forms.keep(&record(10_000 + user)), &record(10_000 + user));
        }
        assert!(forms.table.len() < FORMS_MAX);
        forms.shrink();
        assert_eq!(forms.table.len(), 1);
    }

    #[test]
    fn a_long_form_is_not_shared() {
        let mut forms = Forms::default();
        let key = "k".repeat(2 * FORM_BYTES_MAX);
        let long = Record { metadata: [(key, "v".to_owned())].into(), ..record(1) };
        let kept = forms.keep(&long);
        check(&kept, &long);
        assert!(kept.form().len() < 8 && kept.len() > 2 * FORM_BYTES_MAX);
    }
}
