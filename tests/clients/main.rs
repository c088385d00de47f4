//! The conformance suite for clients: situations as data ([`situation`]), staged with a real
//! registrar ([`stage`]), and played by every client ([`players`]). One table has the results.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

#[path = "../harness/mod.rs"]
mod harness;
mod players;
mod registrars;
mod situation;
mod stage;

use std::{env, fmt::Write as _, fs, path::PathBuf, thread};

use crate::{harness::Room, players::Player, situation::Situation, stage::play};

#[test]
fn every_client_says_the_same_in_every_situation() {
    let room = Room::new();
    let mut players = Player::available(&room);
    let situations = Situation::all(&read("situations.txt"));
    // Each client has stages of its own: what one reports would change what the next finds.
    let results: Vec<Vec<Vec<Option<String>>>> = thread::scope(|scope| {
        let situations = &situations;
        let played = players.iter_mut().map(|player| {
            scope.spawn(move || situations.iter().map(|it| play(it, player)).collect())
        });
        let played: Vec<_> = played.collect();
        played.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let mut table = HEAD.to_owned();
    for (number, situation) in situations.iter().enumerate() {
        writeln!(table, "\n# {}\n", situation.title).unwrap();
        for (at, question) in situation.questions.iter().enumerate() {
            writeln!(table, "{question}").unwrap();
            let said = results.iter().map(|it| it[number][at].clone());
            for (says, who) in grouped(&players, said) {
                writeln!(table, "  {who:<16}  {says}").unwrap();
            }
        }
    }
    if players.len() > 1 {
        matches_golden(&table);
    } else {
        // Without Python, what is left still has to be what the table says.
        let golden = read("results.txt");
        let is_known = |line: &str| golden.lines().any(|it| it.ends_with(line));
        let said = table.lines().filter_map(|it| it.strip_prefix("  ")?.get(16..));
        assert_eq!(said.filter(|it| !is_known(it)).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

/// Puts clients with the same result together, under one name if all of them agree.
fn grouped(
    players: &[Player],
    results: impl Iterator<Item = Option<String>>,
) -> Vec<(String, String)> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (player, result) in players.iter().zip(results) {
        // Not every client has every question.
        let Some(result) = result else { continue };
        match groups.iter_mut().find(|(says, _)| *says == result) {
            Some((_, who)) => who.push(player.name()),
            None => groups.push((result, vec![player.name()])),
        }
    }
    let named = |who: Vec<&str>| match &who[..] {
        ["rust", "asyncio", "trio", ..] => {
            ["rust, python"].iter().chain(&who[3..]).copied().collect::<Vec<_>>().join(", ")
        }
        others => others.join(", "),
    };
    groups.into_iter().map(|(says, who)| (says, named(who))).collect()
}

/// Compares the table with the recorded one.
#[track_caller]
fn matches_golden(table: &str) {
    if env::var_os("UPDATE_GOLDEN").is_some_and(|it| it == "1") {
        return fs::write(path("results.txt"), table).unwrap();
    }
    let golden = read("results.txt");
    let differs = golden.lines().zip(table.lines()).find(|(one, other)| one != other);
    assert!(
        golden == table,
        "tests/clients/results.txt says otherwise, first at {differs:?}\n\n{table}\nif it is meant \
         to be so: UPDATE_GOLDEN=1 cargo test -p callsign --test clients"
    );
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_default()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/clients").join(name)
}

const HEAD: &str = "\
What the clients say in the situations of situations.txt, as tests/clients finds it: `rust` is the
library, `python` is clients/python on asyncio and on trio, and `lookup.py` is the example that the
document of the protocol is enough for. Those that say the same share a line.
";
