//! Random calls within all bounds, by several users together, and calm users beside them.
//!
//! `CALLSIGN_SEED` replays one seed, and `CALLSIGN_SOAK_ROUNDS` as many seeds as that.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    panic::{catch_unwind, resume_unwind},
    sync::mpsc::{Receiver, channel, sync_channel},
    thread,
};

use rustix::{
    process::{Gid, Uid, geteuid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use uuid::Uuid;

use crate::{
    calm,
    harness::{Counts, Node, Room},
    stranger::Stranger,
};

#[test]
fn calm_users_are_served_whatever_strangers_compose_within_the_bounds() {
    if !geteuid().is_root() {
        eprintln!("skipped: it takes root to be other users");
        return;
    }
    let number = |variable| env::var(variable).ok().and_then(|it| it.parse::<u64>().ok());
    let seeds: Vec<_> = match (number("CALLSIGN_SEED"), number("CALLSIGN_SOAK_ROUNDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(rounds)) => (0..rounds).collect(),
        (None, None) => SEEDS.to_vec(),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(|| play(seed)) {
            eprintln!("play it again with CALLSIGN_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

fn play(seed: u64) {
    let room = Room::new();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let listen = [&*room.abstract_unix("r"), "/ip4/127.0.0.1/tcp/0"];
    let settings = room.write("callsign.toml", RULES);
    let node = Node::start_with(&room, &listen, &["--heartbeat", "1m", "--config", &settings]);
    let before_kib = node.resident_kib();
    let endpoints = node.endpoints();
    let status = node.callsign(&["status", "--json"]).succeeds().json();
    let registrar: Uuid = status[0]["status"]["registrar"].as_str().unwrap().parse().unwrap();

    thread::scope(|scope| {
        let mut calm = Vec::new();
        for (at, endpoint) in endpoints.iter().enumerate() {
            let place = room.abstract_unix(&format!("calm-{at}"));
            let ((is_there, uuids), (stop, is_over)) = (channel(), channel());
            let serving = scope.spawn(move || {
                become_user(CALM);
                calm::be_served(endpoint, &place, &is_there, &is_over);
            });
            let uuid: Uuid = uuids.recv().expect("a calm user is served");
            calm.push((uuid, stop, serving));
        }
        let victims: Vec<_> = calm.iter().map(|(uuid, ..)| *uuid).collect();
        let (step, steps) = sync_channel(0);
        for (at, user) in STRANGERS.into_iter().enumerate() {
            let (endpoint, step) = (&endpoints[at % endpoints.len()], step.clone());
            let victims = victims.clone();
            let chance = Chance(seed.wrapping_mul(STRANGERS.len() as u64) + at as u64);
            scope.spawn(move || {
                become_user(user);
                let mut stranger = Stranger::new(chance, endpoint, user, registrar, victims);
                for _ in 0..STEPS {
                    stranger.take_a_step();
                    step.send(()).expect("the node is weighed until all strangers are done");
                }
            });
        }
        drop(step);
        weigh(&node, &steps);

        // The strangers' entries go with them; calm users are still served.
        let kept = calm.len() as u64;
        node.comes_to(Counts { instances: kept, sessions: kept, waiters: 0, watchers: kept });
        for (_, stop, serving) in calm {
            stop.send(()).expect("it is served until it is told to stop");
            serving.join().expect("a calm user was served");
        }
    });
    node.comes_to(Counts { instances: 0, sessions: 0, waiters: 0, watchers: 0 });
    let after_kib = node.resident_kib();
    assert!(
        after_kib < before_kib + 2 * crate::KEPT_KIB_MAX,
        "{before_kib} KiB were resident before, and {after_kib} KiB are after"
    );
    node.stop().succeeds();
}

/// Weighs the node after each step of each stranger, which waits for it.
fn weigh(node: &Node<'_>, steps: &Receiver<()>) {
    for () in steps {
        let resident_kib = node.resident_kib();
        assert!(resident_kib < RESIDENT_KIB_MAX, "{resident_kib} KiB are resident");
    }
}

/// Makes this thread another user's, so that its connections belong to that user.
pub(crate) fn become_user(user: u32) {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
    set_thread_groups(&[]).unwrap();
    set_thread_res_gid(group, group, group).unwrap();
    set_thread_res_uid(user, user, user).unwrap();
}

/// Numbers at random, the same for the same seed (SplitMix64).
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Returns true with a probability of one in so many.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Names that one has at a time, some of them for anybody: the strangers meet there.
const RULES: &str = "\
[names]
feed-6 = { exclusive = true }
feed-7 = { register = [\"any\"], exclusive = true }
crowd = { register = [\"any\"] }
";

const SEEDS: [u64; 3] = [1616, 4711, 20_261_129];

const CALM: u32 = 4710;
const STRANGERS: [u32; 4] = [4711, 4711, 4712, 4713];

/// The number of each stranger's actions; half of them are some hundred calls.
const STEPS: usize = 40;

/// The node's memory, whatever strangers do.
const RESIDENT_KIB_MAX: u64 = 256 * 1024;
