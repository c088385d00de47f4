//! Keys, as a terminal sends them.
//!
//! Why not the parser of `termion`? It panics on a sequence that ends early, which whoever types can
//! send.

use std::{io, thread};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use tokio::sync::mpsc;

/// A key that means something here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    Tab,
    /// The letter with which control was held.
    Control(char),
    Char(char),
}

/// Reads the terminal on a thread of its own, which ends with the process. The channel closes when
/// the terminal is gone.
pub(super) fn read_keys() -> io::Result<mpsc::Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let read = move || {
        let input = io::stdin();
        let mut bytes = [0; CHUNK_BYTES];
        loop {
            match rustix::io::read(&input, &mut bytes) {
                Ok(0) => return,
                Ok(count) if sender.blocking_send(bytes[..count].to_vec()).is_err() => return,
                Ok(_) | Err(Errno::INTR) => {}
                // Another process has made the descriptor non-blocking for all that share it.
                Err(Errno::AGAIN) => {
                    _ = poll(&mut [PollFd::new(&input, PollFlags::IN)], None);
                }
                Err(_) => return,
            }
        }
    };
    thread::Builder::new().name("keys".to_owned()).spawn(read)?;
    Ok(receiver)
}

/// Turns bytes into keys. A sequence may come in parts.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    begun: Vec<u8>,
}

impl Decoder {
    /// Returns the keys that are complete with these bytes.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.begun.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut rest = &self.begun[..];
        while let Some((key, length)) = first(rest) {
            keys.extend(key);
            rest = &rest[length..];
        }
        self.begun = rest.to_vec();
        if self.begun.len() > SEQUENCE_BYTES_MAX {
            self.begun.clear();
        }
        keys
    }

    /// Tells whether a sequence has begun: or it is the key Escape.
    pub(super) fn is_within_a_sequence(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Takes the begun sequence for whole, as nothing followed.
    pub(super) fn end(&mut self) -> Option<Key> {
        let begun = std::mem::take(&mut self.begun);
        (begun == [ESCAPE]).then_some(Key::Escape)
    }
}

/// Returns the first key and its length; no key if it means nothing here, and nothing at all if it
/// is not complete.
fn first(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let key = match *bytes.first()? {
        ESCAPE => return sequence(bytes),
        b'\n' | b'\r' => Key::Enter,
        b'\t' => Key::Tab,
        0x7f | 0x08 => Key::Backspace,
        control @ 1..=26 => Key::Control(char::from(control - 1 + b'a')),
        0..=31 => return Some((None, 1)),
        _ => return character(bytes),
    };
    Some((Some(key), 1))
}

fn sequence(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let kind = *bytes.get(1)?;
    if kind == ESCAPE {
        return Some((Some(Key::Escape), 1));
    }
    if !matches!(kind, b'[' | b'O') {
        // A key with Alt.
        return Some((None, 1 + character(&bytes[1..])?.1));
    }
    let is_last = |it: &u8| (0x40..=0x7e).contains(it);
    let last = bytes[2..].iter().position(is_last)? + 2;
    let key = match (&bytes[2..last], bytes[last]) {
        (_, b'A') => Some(Key::Up),
        (_, b'B') => Some(Key::Down),
        (_, b'H') | (b"1" | b"7", b'~') => Some(Key::Home),
        (_, b'F') | (b"4" | b"8", b'~') => Some(Key::End),
        (b"5", b'~') => Some(Key::PageUp),
        (b"6", b'~') => Some(Key::PageDown),
        (_, b'M') if kind == b'O' => Some(Key::Enter),
        _ => None,
    };
    Some((key, last + 1))
}

fn character(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let whole = bytes.utf8_chunks().next()?;
    if let Some(character) = whole.valid().chars().next() {
        let key = (!character.is_control()).then_some(Key::Char(character));
        return Some((key, character.len_utf8()));
    }
    let broken = whole.invalid().len();
    let may_continue = broken == bytes.len() && broken < 4 && bytes[0] >= 0xc2;
    (!may_continue).then_some((None, broken))
}

const ESCAPE: u8 = 0x1b;

/// The bytes of one read: more than a person types at once, and a part of what is pasted.
const CHUNK_BYTES: usize = 256;

/// The reads that wait to be handled; beyond them they wait in the terminal.
const CHUNKS_MAX: usize = 8;

/// The longest sequence that is waited for: those of keys are shorter.
const SEQUENCE_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_keys() {
        let check = |parts: &[&[u8]], expected: &[Key]| {
            let mut decoder = Decoder::default();
            let mut keys: Vec<_> = parts.iter().flat_map(|it| decoder.read(it)).collect();
            keys.extend(decoder.end());
            assert_eq!(keys, expected, "{parts:?}");
            assert!(!decoder.is_within_a_sequence());
        };
        check(&[b"q"], &[Key::Char('q')]);
        check(&[b"\x1b[A\x1bOB"], &[Key::Up, Key::Down]);
        check(&[b"\x1b", b"[", b"5", b"~x"], &[Key::PageUp, Key::Char('x')]);
        check(&[b"\x1b[1;5A"], &[Key::Up]);
        check(&[b"\x1b[H\x1b[4~\x1b[6~"], &[Key::Home, Key::End, Key::PageDown]);
        check(&[b"\x1b"], &[Key::Escape]);
        check(&[b"\x1b\x1b[A"], &[Key::Escape, Key::Up]);
        check(&[b"\x1bx\x1b[24~\x1b[<0;3;4M"], &[]);
        check(&[b"\r\t\x7f\x0c"], &[Key::Enter, Key::Tab, Key::Backspace, Key::Control('l')]);
        check(&["grö".as_bytes()], &[Key::Char('g'), Key::Char('r'), Key::Char('ö')]);
        check(&[b"\xc3", b"\xb6"], &[Key::Char('ö')]);
        check(&[b"\xff\xc3(\x00\x1f"], &[Key::Char('(')]);
        // Sequences that do not end hold nothing up.
        check(&[b"\x1b["], &[]);
        check(&[b"\x1b[", &[b'1'; 100], b"q"], &[Key::Char('q')]);
    }
}
