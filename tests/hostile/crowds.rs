//! Strangers in numbers, and slow strangers.

use bytes::BytesMut;
use wire::{Frame, preface::preface};

use crate::{
    endure,
    harness::{Peer, register, registration, rounds},
};

#[test]
fn many_come_and_go() {
    endure(|_, endpoint| {
        for _ in 0..rounds(1000) {
            drop(Peer::dial(endpoint));
        }
    });
}

#[test]
fn a_thousand_greet_and_go() {
    endure(|_, endpoint| {
        for _ in 0..1_000 {
            drop(Peer::greet(endpoint));
        }
    });
}

/// Each sends a byte of its conversation, then the next does, and so on.
#[test]
fn two_hundred_speak_a_byte_at_a_time() {
    let mut words = BytesMut::from(&preface()[..]);
    Frame::Hello(Box::default()).encode(&mut words).unwrap();
    // Its first call is never complete.
    words.extend_from_slice(&1_000_u32.to_le_bytes());
    words.extend_from_slice(&[0x81; 500]);
    endure(|_, endpoint| {
        let mut good = Peer::greet(endpoint);
        let mut strangers: Vec<_> = (0..200).map(|_| Some(Peer::dial(endpoint))).collect();
        for (at, byte) in words.iter().enumerate() {
            for (number, stranger) in strangers.iter_mut().enumerate() {
                // Half of them stop in the middle of the hello, and are not waited for.
                let has_more = number % 2 == 0 || at < preface().len() + 7;
                if has_more
                    && let Some(peer) = stranger
                    && peer.try_send_bytes(&[*byte]).is_err()
                {
                    *stranger = None;
                }
            }
            good.sync();
        }
        for (number, stranger) in strangers.into_iter().enumerate() {
            if number % 2 == 1
                && let Some(stranger) = stranger
            {
                stranger.closes();
            }
        }
    });
}

#[test]
fn half_a_frame_and_silence_costs_one_connection() {
    endure(|_, endpoint| {
        let mut strangers: Vec<_> = (0..50).map(|_| Peer::greet(endpoint)).collect();
        for stranger in &mut strangers {
            // The frames announce 16 MiB, and memory grows only with the bytes that arrive. It is one
            // write, because the node may close at the announcement.
            stranger.send_bytes(&[&(16_u32 << 20).to_le_bytes()[..], &[0xc0; 1000]].concat());
        }
        Peer::greet(endpoint).sync();
    });
}

/// The entries of a registrant that leaves go with it, however many there are.
#[test]
fn twenty_thousand_names_go_with_their_session() {
    endure(|_, endpoint| {
        let mut registrant = Peer::greet(endpoint);
        for batch in 0..20 {
            for number in 0..1000 {
                let (method, body) =
                    register(&registration(&format!("many-{batch}-{number}"), vec![]));
                registrant.begin(method, &body);
            }
            for _ in 0..1000 {
                registrant.answer().1.unwrap();
            }
        }
    });
}
