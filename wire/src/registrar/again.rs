//! Registrations that repeat a record, recognised without being read.

use uuid::Uuid;

use crate::{canonical::Rest, folded::piece};

/// A registration of which only the instance has been read.
///
/// Programs register again when nothing has changed. Such a registration is written as the record is
/// that an earlier one of the same bytes was made into: so its bytes are compared, and its endpoints
/// are neither parsed nor checked another time.
#[derive(Clone, Copy, Debug)]
pub struct UnreadRegister<'a> {
    /// The actor's name, as it is written.
    pub name: &'a str,
    /// The identity of its run.
    pub uuid: Uuid,
    /// How many fields it has in all.
    fields: usize,
    /// All after its UUID.
    rest: &'a [u8],
}

impl<'a> UnreadRegister<'a> {
    /// Reads which instance is registered, if that is written just as
    /// [`encode_body`](crate::encode_body) writes it.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        let fields = rest.fixed_map()?;
        rest.skip(b"\xa4name")?;
        let name = rest.text()?;
        let uuid = rest.uuid()?;
        Some(Self { name, uuid, fields, rest: rest.0 })
    }

    /// Writes the time of a registration into the values of a folded record, if the registration says
    /// nothing of its instance but what that record says, and asks for nothing else. Otherwise, or if
    /// that cannot be told at a glance, it returns `false` and writes nothing.
    ///
    /// The record has to be that of the same instance and name, which the caller compares.
    pub fn renews(&self, form: &[u8], values: &mut [u8], since_ms: u64) -> bool {
        // Numbers of fewer bytes are written in fewer.
        let is_long = since_ms > u64::from(u32::MAX);
        match self.time_in(form, values).filter(|_| is_long) {
            Some(at) => {
                values[at..at + 8].copy_from_slice(&since_ms.to_be_bytes());
                true
            }
            None => false,
        }
    }

    /// Compares a registration with a folded record, and returns where in its values the time of
    /// registration is.
    fn time_in(&self, form: &[u8], values: &[u8]) -> Option<usize> {
        let mut rest = Rest(self.rest);
        let (count, mut form) = form.split_first()?;
        let mut left = values;
        let before_state = loop {
            if form.is_empty() {
                return None;
            }
            let common = piece(&mut form);
            // No text contains these bytes: they are not in UTF-8.
            match common.strip_suffix(STATE_TO_TIME) {
                Some(before) => break before,
                None => rest.skip_all(common)?,
            }
            rest.skip_all(piece(&mut left))?;
        };
        rest.skip_all(before_state)?;
        // A record without metadata lacks the field.
        let has_none = rest.skip(b"\xa8metadata\x80").is_some();
        rest.skip(STATE)?;
        let time = piece(&mut left);
        let mut last = Rest(piece(&mut form));
        let proves = last.skip(PROVES).is_some();
        last.owner()?;
        // Nothing else follows: it is not suspect, nobody waits for its name, and no node is named.
        let is_usual = time.len() == 9 && time[0] == 0xcf && left.is_empty() && form.is_empty();
        let usual_fields = 0x80 | (8 + u8::from(proves) + u8::from(!has_none));
        let is_usual = is_usual && last.0.is_empty() && *count == usual_fields;
        let mut fields = 5;
        if proves {
            rest.skip(PROVES)?;
            fields += 1;
        }
        // These two concern instances that are gone, or another owner's.
        if rest.has(b"\xa5again", &mut fields) {
            rest.number()?;
        }
        if rest.has(b"\xa6secret", &mut fields) {
            rest.binary::<16>()?;
        }
        let is_whole = fields == self.fields && rest.0.is_empty();
        (is_usual && is_whole).then(|| values.len() - 8)
    }
}

/// What is written from the state of a record to the time of its registration, and how a registration
/// begins that.
const STATE_TO_TIME: &[u8] = b"\xa5state\xa5ready\xa8lifetime\xa7session\xa8since_ms";
const STATE: &[u8; 12] = b"\xa5state\xa5ready";

const PROVES: &[u8; 8] = b"\xa6proves\xc3";

#[cfg(test)]
mod tests {
    use endpoints::{KernelId, ProcessId, SocketId, Stamp, Stamped};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        FoldedRecord, Folding, InstanceSecret, Lifetime, Owner, Record, State, Suspicion,
        encode_body, registrar::Register,
    };

    const TEXTS: [&str; 4] =
        ["/unix/run/market/feed.sock", "/ip4/10.1.2.3/tcp/5555", "/unix/@feed", "/memory/7"];
    const NOW: u64 = 1_795_000_000_000;

    fn registration(count: usize, number: u64, metadata: usize, parts: [bool; 4]) -> Register {
        let [socket, proves, again, secret] = parts;
        let socket = socket.then_some(SocketId { dev: 23, ino: number, born_ns: Some(number) });
        let (kernel, process) = (Some(KernelId(number)), Some(ProcessId(7)));
        let stamp = Stamp { kernel, process, socket, ..Stamp::default() };
        let stamped = |it: &&str| Stamped { endpoint: it.parse().unwrap(), stamp };
        Register {
            endpoints: TEXTS[..count].iter().map(stamped).collect(),
            metadata: (0..metadata).map(|it| (format!("k{it}"), "v".repeat(90 * it))).collect(),
            proves,
            again: again.then_some(number),
            secret: secret.then(|| InstanceSecret::new([9; 16])),
            ..Register::new("feed.eurusd".parse().unwrap(), Uuid::from_u128(number.into()))
        }
    }

    fn record(register: &Register) -> Record {
        Record {
            epoch: 1 << 50,
            endpoints: register.endpoints.clone(),
            metadata: register.metadata.clone(),
            state: register.state,
            lifetime: Lifetime::Session,
            since_ms: NOW,
            proves: register.proves,
            owner: Some(Owner::User(1000)),
            ..Record::new(register.name.clone(), register.uuid)
        }
    }

    /// Returns the record that a registration makes of another by renewing it, if it does.
    fn renewed(bytes: &[u8], record: &Record) -> Option<Record> {
        let is_of_it =
            |it: &UnreadRegister<'_>| (it.name, it.uuid) == (record.name.as_str(), record.uuid);
        let unread = UnreadRegister::of(bytes).filter(is_of_it)?;
        let (uuid, epoch) = (unread.uuid, record.epoch);
        let mut folding = Folding::default();
        let (form, values) = folding.fold(record);
        let (before, mut values) = (values, values.to_vec());
        if !unread.renews(form, &mut values, NOW + 1) {
            assert_eq!(values, before);
            return None;
        }
        let folded = FoldedRecord { name: unread.name, uuid, epoch, form, values: &values };
        Some(folded.to_record())
    }

    proptest! {
        #[test]
        fn only_a_registration_that_says_the_same_renews_a_record(
            count in 0..4_usize,
            number in any::<u64>(),
            metadata in 0..4_usize,
            parts in any::<[bool; 4]>(),
            spoilt in any::<(bool, u16, u8)>(),
            others in any::<[bool; 4]>(),
        ) {
            let one = registration(count, number, metadata, parts);
            let mut bytes = encode_body(&one);
            let kept = record(&one);
            prop_assert_eq!(renewed(&bytes, &kept), Some(Record { since_ms: NOW + 1, ..kept.clone() }));
            for end in 0..bytes.len() {
                prop_assert_eq!(renewed(&bytes[..end], &kept), None);
            }
            let other = record(&registration(count, number, metadata, others));
            let is_same = Record { epoch: 0, ..other.clone() } == Record { epoch: 0, ..kept.clone() };
            prop_assert_eq!(renewed(&bytes, &other).is_some(), is_same);
            if let (true, at, byte) = spoilt {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            // Whatever renews it can be read, and says what the record says.
            if let Some(renewed) = renewed(&bytes, &kept) {
                let read = Register::decode(&bytes).unwrap();
                prop_assert_eq!(Record { epoch: kept.epoch, since_ms: NOW + 1, ..record(&read) }, renewed);
            }
        }
    }

    #[test]
    fn whatever_is_not_usual_renews_nothing() {
        let usual = registration(2, 7, 1, [true; 4]);
        let kept = record(&usual);
        assert!(renewed(&encode_body(&usual), &kept).is_some());
        for unusual in [
            Register { lease_ms: Some(5000), ..usual.clone() },
            Register { wait: true, ..usual.clone() },
            Register { token: Some(7), ..usual.clone() },
            Register { state: State::Draining, ..usual.clone() },
            Register { proves: false, ..usual.clone() },
            Register { metadata: Default::default(), ..usual.clone() },
            Register { endpoints: usual.endpoints[..1].to_vec(), ..usual.clone() },
        ] {
            assert_eq!(renewed(&encode_body(&unusual), &kept), None, "{unusual:?}");
        }
        let suspicion = Suspicion { reports: 1, since_ms: 7, silent: false, cut_off: false };
        for other in [
            Record { suspicion: Some(suspicion), ..kept.clone() },
            Record { lifetime: Lifetime::Declared, ..kept.clone() },
            Record { state: State::Starting, ..kept.clone() },
            Record { token: Some(7), ..kept.clone() },
            Record { waiting: 2, ..kept.clone() },
            Record { proves: false, ..kept.clone() },
            Record { since_ms: 7, ..kept.clone() },
        ] {
            assert_eq!(renewed(&encode_body(&usual), &other), None, "{other:?}");
        }
        // A record without a form of its own is not looked into.
        let mut folding = Folding::default();
        let (form, values) = folding.fold_whole(&kept);
        let (form, mut values) = (form.to_vec(), values.to_vec());
        let bytes = encode_body(&usual);
        assert!(!UnreadRegister::of(&bytes).unwrap().renews(&form, &mut values, NOW));
    }
}
