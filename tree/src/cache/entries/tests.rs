//! The entries by table, and by property against a model of one key.

use proptest::prelude::*;

use super::*;

type Book = Entries<&'static str, u32, &'static str>;

#[derive(Clone, Copy, Debug)]
enum Do {
    /// Opens a key; the given number identifies the notification.
    Ask(u32),
    Entered,
    Failed,
    Abandoned,
    /// Forgets the ticket that was given with that number.
    Forget(usize),
    Left,
    Exited,
    /// Expels a live resource, if it is ended.
    Expel(bool),
}

/// Does one step for the key `k`, and returns its result.
fn act(entries: &mut Book, tickets: &mut Vec<Ticket>, it: Do) -> String {
    match it {
        Do::Ask(number) => match entries.ask(&"k", || number) {
            Answer::Enter => "enter".to_owned(),
            Answer::Join(value) => format!("join {value}"),
            Answer::Wait(ticket) => {
                tickets.push(ticket);
                "wait".to_owned()
            }
        },
        Do::Entered => format!("joined {:?}", entries.entered(&"k", "v")),
        Do::Failed => format!("failed {:?}", entries.failed(&"k")),
        Do::Abandoned => format!("promoted {:?}", entries.abandoned(&"k")),
        Do::Forget(ticket) => format!("waited {}", entries.forget(&"k", tickets[ticket])),
        Do::Left => format!("close {:?}", entries.left(&"k")),
        Do::Exited => format!("promoted {:?}", entries.exited(&"k")),
        Do::Expel(has_ended) => format!("expelled {:?}", entries.expel(&"k", |_| has_ended)),
    }
}

#[test]
fn goes_from_absent_to_live_and_back() {
    use Do::{Abandoned, Ask, Entered, Exited, Expel, Failed, Forget, Left};
    let cases: &[&[(Do, &str)]] = &[
        // Entered once, used by all, closed by the last.
        &[
            (Ask(0), "enter"),
            (Ask(1), "wait"),
            (Ask(2), "wait"),
            (Entered, "joined [1, 2]"),
            (Ask(3), "join v"),
            (Left, "close None"),
            (Left, "close None"),
            (Left, "close None"),
            (Left, "close Some(\"v\")"),
            (Exited, "promoted None"),
            (Ask(4), "enter"),
        ],
        // A caller that comes during the exit waits, and the first of them opens the resource
        // again.
        &[
            (Ask(0), "enter"),
            (Entered, "joined []"),
            (Left, "close Some(\"v\")"),
            (Ask(1), "wait"),
            (Ask(2), "wait"),
            (Exited, "promoted Some(1)"),
            (Ask(3), "wait"),
            (Entered, "joined [2, 3]"),
        ],
        // A failure reaches every caller, and leaves nothing behind.
        &[(Ask(0), "enter"), (Ask(1), "wait"), (Failed, "failed [1]"), (Ask(2), "enter")],
        // An opener that gives up hands over, until nobody is left.
        &[
            (Ask(0), "enter"),
            (Ask(1), "wait"),
            (Ask(2), "wait"),
            (Abandoned, "promoted Some(1)"),
            (Abandoned, "promoted Some(2)"),
            (Abandoned, "promoted None"),
            (Ask(3), "enter"),
        ],
        // An ended resource makes room for another, and keeps its users; nothing else does.
        &[
            (Expel(true), "expelled None"),
            (Ask(0), "enter"),
            (Expel(true), "expelled None"),
            (Entered, "joined []"),
            (Ask(1), "join v"),
            (Expel(false), "expelled None"),
            (Expel(true), "expelled Some((\"v\", 2))"),
            (Ask(2), "enter"),
            (Entered, "joined []"),
            (Left, "close Some(\"v\")"),
            (Expel(true), "expelled None"),
            (Exited, "promoted None"),
        ],
        // A caller that no longer waits is not notified.
        &[
            (Ask(0), "enter"),
            (Ask(1), "wait"),
            (Ask(2), "wait"),
            (Forget(0), "waited true"),
            (Forget(0), "waited false"),
            (Entered, "joined [2]"),
            (Forget(1), "waited false"),
            (Left, "close None"),
            (Left, "close Some(\"v\")"),
            (Ask(3), "wait"),
            (Forget(2), "waited true"),
            (Exited, "promoted None"),
            (Forget(2), "waited false"),
        ],
    ];
    for case in cases {
        let mut entries = Book::default();
        let mut tickets = Vec::new();
        for (at, (it, expected)) in case.iter().enumerate() {
            let came = act(&mut entries, &mut tickets, *it);
            assert_eq!(came, *expected, "step {at} of {case:?}");
        }
    }
}

/// The stage of each caller that has asked for a key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum User {
    Making,
    Waiting(Ticket),
    Using,
}

/// A key, with all unfinished callers, and whether it is being closed.
#[derive(Debug, Default)]
struct Model {
    users: Vec<(u32, User)>,
    is_exiting: bool,
}

impl Model {
    fn count(&self, is: impl Fn(&User) -> bool) -> usize {
        self.users.iter().filter(|(_, user)| is(user)).count()
    }

    fn set(&mut self, number: u32, user: User) {
        let entry = self.users.iter_mut().find(|(it, _)| *it == number);
        let entry = entry.expect("only somebody who waits is told");
        assert!(matches!(entry.1, User::Waiting(_)), "told, though not waiting");
        entry.1 = user;
    }

    /// The invariants between any two steps.
    fn check(&self) {
        let making = self.count(|it| *it == User::Making);
        let using = self.count(|it| *it == User::Using);
        let waiting = self.count(|it| matches!(it, User::Waiting(_)));
        assert!(making <= 1, "two make it");
        let states = [making > 0, using > 0, self.is_exiting];
        assert!(states.iter().filter(|it| **it).count() <= 1, "in two states at once");
        assert!(waiting == 0 || making > 0 || self.is_exiting, "somebody waits for nothing");
    }
}

proptest! {
    /// Whatever users of several keys do in whatever order, each key keeps the rules, nobody waits
    /// in vain, and in the end nothing is left.
    #[test]
    fn nobody_waits_in_vain_and_nothing_is_left(
        steps in proptest::collection::vec((0..3_usize, any::<u8>(), any::<u8>()), 0..200),
    ) {
        let mut entries = Entries::<usize, u32, u32>::default();
        let mut models: [Model; 3] = Default::default();
        let mut asked = 0;
        for (key, choice, who) in steps {
            let model = &mut models[key];
            match choice % 8 {
                0..=2 => {
                    asked += 1;
                    ask(&mut entries, key, model, asked);
                }
                3 => expel(&mut entries, key, model),
                choice => go_on(&mut entries, key, model, usize::from(who), choice % 2 == 0),
            }
            models.iter().for_each(Model::check);
        }
        for (key, model) in models.iter_mut().enumerate() {
            while !model.users.is_empty() || model.is_exiting {
                go_on(&mut entries, key, model, 0, false);
                model.check();
            }
        }
        prop_assert!(entries.entries.is_empty());
    }
}

fn ask(entries: &mut Entries<usize, u32, u32>, key: usize, model: &mut Model, number: u32) {
    let is_live = model.count(|it| *it == User::Using) > 0;
    let is_absent = model.users.is_empty() && !model.is_exiting;
    let user = match entries.ask(&key, || number) {
        Answer::Enter => User::Making,
        Answer::Join(_) => User::Using,
        Answer::Wait(ticket) => User::Waiting(ticket),
    };
    assert_eq!(user == User::Making, is_absent);
    assert_eq!(user == User::Using, is_live);
    model.users.push((number, user));
}

/// Expels a live resource. Its users no longer concern the entries.
fn expel(entries: &mut Entries<usize, u32, u32>, key: usize, model: &mut Model) {
    let using = model.count(|it| *it == User::Using);
    let expelled = entries.expel(&key, |_| true);
    assert_eq!(expelled.map_or(0, |(_, users)| users), using);
    model.users.retain(|(_, user)| *user != User::Using);
}

/// Lets one of the users, or the reaper, take the next step; `well` tells which of two.
fn go_on(
    entries: &mut Entries<usize, u32, u32>,
    key: usize,
    model: &mut Model,
    who: usize,
    well: bool,
) {
    if model.is_exiting && (model.users.is_empty() || well) {
        model.is_exiting = false;
        if let Some(number) = entries.exited(&key) {
            model.set(number, User::Making);
        }
        return;
    }
    if model.users.is_empty() {
        return;
    }
    let at = who % model.users.len();
    let (number, user) = model.users[at];
    match user {
        User::Making if well => {
            model.users[at].1 = User::Using;
            for told in entries.entered(&key, number) {
                model.set(told, User::Using);
            }
        }
        User::Making if who.is_multiple_of(2) => {
            model.users.remove(at);
            if let Some(told) = entries.abandoned(&key) {
                model.set(told, User::Making);
            }
        }
        User::Making => {
            model.users.remove(at);
            for told in entries.failed(&key) {
                model.users.retain(|(it, _)| *it != told);
            }
        }
        User::Waiting(ticket) => {
            model.users.remove(at);
            assert!(entries.forget(&key, ticket), "it was told nothing, so it waits");
        }
        User::Using => {
            model.users.remove(at);
            let was_last = model.count(|it| *it == User::Using) == 0;
            assert_eq!(entries.left(&key).is_some(), was_last);
            model.is_exiting = was_last;
        }
    }
}
