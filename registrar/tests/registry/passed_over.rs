//! Waiters in line that hang: each is asked for a sign of life when its turn comes, and passed over
//! until it gives one.

use callsign_registrar::registry::{Event, RegistryError, SessionId};

use crate::{
    stage::{OTHER, Stage},
    support::USER,
};

/// A stage with the holder 1, and others in line behind it, each with a session that can be asked.
fn stage<const N: usize>() -> (Stage, [SessionId; N]) {
    let mut stage = Stage::new();
    let mut number = 0;
    let sessions = [(); N].map(|()| {
        number += 1;
        let session = stage.session(USER);
        stage.registry.can_be_asked(session);
        assert_eq!(stage.enter(number, session, USER).unwrap(), number == 1);
        session
    });
    assert!(stage.asked.is_empty());
    (stage, sessions)
}

#[test]
fn the_name_goes_to_the_first_that_gives_a_sign_of_life() {
    let (mut stage, [_, two, three]) = stage();
    let mut tokens = vec![stage.token(1)];
    assert_eq!(stage.unregister(1, USER), []);
    assert_eq!(stage.asked, [two]);
    // Others do not get it meanwhile, and a sign of another is none of its own.
    let early = stage.session(OTHER);
    let denied = stage.ask(crate::support::registration("leader", 9), early, OTHER).unwrap_err();
    assert!(matches!(denied, RegistryError::OthersWait { .. }), "{denied}");
    assert_eq!(stage.apply(Event::SessionAnswers(three)), []);
    assert_eq!(stage.apply(Event::SessionAnswers(two)), [2]);
    tokens.push(stage.token(2));
    assert_eq!(stage.unregister(2, USER), []);
    assert_eq!(stage.asked, [two, three]);
    assert_eq!(stage.apply(Event::SessionAnswers(three)), [3]);
    tokens.push(stage.token(3));
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
    assert_eq!(stage.registry.next_deadline_ms(), None);
}

#[test]
fn a_mute_waiter_is_passed_over_until_it_is_heard() {
    let (mut stage, [_, two, three, four]) = stage();
    // It is known to hang already.
    assert_eq!(stage.apply(Event::SessionSilent(two)), []);
    assert_eq!(stage.unregister(1, USER), []);
    assert_eq!(stage.asked, [three]);
    // Or it is found out when its turn comes, by a clock or by its heartbeat.
    let due_ms = stage.registry.next_deadline_ms().unwrap();
    stage.now_ms = due_ms - 1;
    assert_eq!(stage.apply(Event::Tick), []);
    assert_eq!(stage.asked, [three]);
    stage.now_ms = due_ms;
    assert_eq!(stage.apply(Event::Tick), []);
    assert_eq!(stage.asked, [three, four]);
    assert_eq!(stage.apply(Event::SessionSilent(four)), []);
    assert_eq!((stage.asked.len(), stage.registry.counts().in_line), (2, 3));

    // Nobody in line could have it, so somebody else may.
    let five = stage.session(OTHER);
    stage.registry.can_be_asked(five);
    assert!(stage.ask(crate::support::registration("leader", 5), five, OTHER).unwrap());
    assert_eq!(stage.unregister(5, OTHER), []);
    // All have kept their places, and the first that is heard is asked first.
    assert_eq!(stage.apply(Event::SessionHeard(four)), []);
    assert_eq!(stage.asked, [three, four, four]);
    assert_eq!(stage.apply(Event::SessionAnswers(three)), [3]);
    assert_eq!(stage.apply(Event::SessionAnswers(four)), []);
    assert_eq!(stage.apply(Event::SessionHeard(two)), []);
    assert_eq!(stage.unregister(3, USER), []);
    assert_eq!(stage.asked, [three, four, four, two]);
    assert_eq!(stage.apply(Event::SessionAnswers(two)), [2]);
}

#[test]
fn whoever_leaves_when_its_turn_has_come_gives_the_turn_to_the_next() {
    let (mut stage, [_, two, three, four]) = stage();
    assert_eq!(stage.unregister(1, USER), []);
    assert_eq!(stage.apply(Event::SessionEnded(two)), []);
    assert_eq!(stage.asked, [two, three]);
    assert_eq!(stage.apply(Event::SessionAnswers(two)), []);
    assert_eq!(stage.apply(Event::SessionEnded(three)), []);
    assert_eq!(stage.asked, [two, three, four]);
    assert_eq!(stage.apply(Event::SessionEnded(four)), []);
    assert_eq!((stage.registry.counts().in_line, stage.registry.next_deadline_ms()), (0, None));
}
