//! Returns of instances to names that they had in an earlier run of the registrar.

use callsign_registrar::registry::{Event, Former, Owner, RegistryError};
use endpoints::InstanceId;
use uuid::Uuid;
use wire::{Proof, ProofSecret, registrar::Register};

use crate::{
    stage::{OTHER, Stage},
    support::{NOW, USER, registration},
};

#[test]
fn an_instance_without_a_valid_resume_token_is_a_newcomer() {
    let now_ms = NOW + 10_000;
    let begun = || {
        let mut stage = Stage::remembering(NOW);
        let session = stage.session(USER);
        let (token, back) = stage.lead(1, session, USER);
        (stage.restart(now_ms), token.unwrap(), back)
    };
    let (mut stage, token, back) = begun();
    let session = stage.session(OTHER);
    let mut forged = vec![
        // An instance without a proof, as from before there were resume tokens.
        Register { token: Some(1), resume: None, ..back.clone() },
        Register { resume: None, ..back.clone() },
        // Another token with the proof of this one; a token of this run.
        Register { token: Some(token - 1), ..back.clone() },
        Register { token: Some(now_ms * 1000 + 5), ..back.clone() },
        Register { token: None, ..back.clone() },
        // Another instance, and another name.
        Register { uuid: Uuid::from_u128(9), ..back.clone() },
    ];
    let guessed = ProofSecret::new([8; 32]);
    let instance = InstanceId { name: back.name.clone(), uuid: back.uuid };
    let resume = Some(Proof::of_token(&guessed, &instance, &USER.into(), token));
    forged.push(Register { resume, ..back.clone() });
    for forged in forged {
        for wait in [false, true] {
            let refused = stage.ask(Register { wait, ..forged.clone() }, session, USER);
            if wait {
                assert!(!refused.unwrap(), "{forged:?}");
                continue;
            }
            let error = refused.unwrap_err();
            assert!(matches!(error, RegistryError::Unsettled { .. }), "{error}");
        }
    }
    // Another owner has read all of it; root counts as another owner too.
    let (mut stage, _, _) = begun();
    let session = stage.session(OTHER);
    for by in [OTHER, Owner::User(0), Owner::Unknown(7)] {
        let error = stage.ask(back.clone(), session, by).unwrap_err();
        assert!(matches!(error, RegistryError::Unsettled { .. }), "{error}");
    }
    // In a run without the record of the former one, the instance itself is a newcomer.
    let mut anew = Stage::remembering(now_ms);
    let one = anew.session(USER);
    anew.registry.settle_until(now_ms + 5000);
    anew.registry.resume(Former { secret: guessed, latest: 0, tokens: vec![token] });
    anew.ask(back.clone(), one, USER).unwrap_err();
    let one = stage.session(USER);
    assert!(stage.ask(back, one, USER).unwrap());
}

#[test]
fn a_token_is_good_for_nothing_once_its_holder_has_let_go() {
    let now_ms = NOW + 10_000;
    let mut stage = Stage::remembering(NOW);
    let [one, two] = [0; 2].map(|_| stage.session(USER));
    let (_, former) = stage.lead(1, one, USER);
    drop(stage.apply(Event::SessionEnded(one)));
    let (_, latest) = stage.lead(2, two, USER);
    let mut stage = stage.restart(now_ms);
    let [one, two, three] = [0; 3].map(|_| stage.session(USER));
    stage.ask(former, one, USER).unwrap_err();
    assert!(stage.ask(latest.clone(), two, USER).unwrap());
    // It gives the name up while others may still return, and is a newcomer then too.
    assert_eq!(stage.unregister(2, USER), []);
    let error = stage.ask(latest.clone(), three, USER).unwrap_err();
    assert!(matches!(error, RegistryError::Unsettled { .. }), "{error}");

    // The same holds for tokens issued once nothing could be written any more.
    let mut stage = Stage::remembering(NOW);
    let one = stage.session(USER);
    let written = stage.registry.former(NOW).unwrap();
    let (token, unwritten) = stage.lead(1, one, USER);
    drop(stage.apply(Event::SessionEnded(one)));
    let mut stage = Stage::resuming(NOW, written);
    let two = stage.session(USER);
    assert!(stage.ask(unwritten.clone(), two, USER).unwrap());
    assert_eq!(stage.token(1), token);
    stage.unregister(1, USER);
    stage.ask(unwritten, two, USER).unwrap_err();
}

#[test]
fn holders_yet_to_return_may_return_to_the_next_run() {
    let mut stage = Stage::remembering(NOW);
    let [one, two] = [0; 2].map(|_| stage.session(USER));
    let (_, back) = stage.lead(1, one, USER);
    let (_, spare) = stage.hold(registration("leader-2", 2), two, USER);
    let mut stage = stage.restart(NOW + 1000);
    let two = stage.session(USER);
    assert!(stage.ask(spare, two, USER).unwrap());
    let mut stage = stage.restart(NOW + 2000);
    let one = stage.session(USER);
    assert!(stage.ask(back.clone(), one, USER).unwrap());
    // An instance that did not return in time is forgotten.
    let mut stage = stage.restart(NOW + 3000);
    stage.now_ms = NOW + 8000;
    assert!(stage.registry.former(stage.now_ms).unwrap().tokens.is_empty());
}

#[test]
fn a_token_stays_as_long_as_its_holder_and_grows_with_every_other() {
    let mut stage = Stage::remembering(NOW);
    let one = stage.session(USER);
    let (first, mut back) = stage.lead(1, one, USER);
    // However often the registrar begins again.
    for now_ms in [NOW + 1000, NOW + 2000, NOW + 2000, NOW] {
        stage = stage.restart(now_ms);
        let one = stage.session(USER);
        let (token, again) = stage.hold(back, one, USER);
        assert_eq!(token, first);
        back = again;
    }
    let mut stage = stage.restart(NOW + 3000);
    stage.now_ms = NOW + 8000;
    assert_eq!(stage.apply(Event::Tick), []);
    // Whoever has the name after that has a higher one, and also he himself once another had it.
    let [one, two] = [0; 2].map(|_| stage.session(USER));
    let (second, _) = stage.lead(2, two, USER);
    assert!(second > first);
    assert_eq!(stage.unregister(2, USER), []);
    let (third, _) = stage.hold(back, one, USER);
    assert!(third > second);
}

#[test]
fn a_holder_that_has_lost_its_connection_keeps_its_token_unless_another_had_the_name() {
    let mut stage = Stage::remembering(NOW);
    let one = stage.session(USER);
    let (first, back) = stage.lead(1, one, USER);
    assert_eq!(stage.apply(Event::SessionEnded(one)), []);
    // Nobody else has it by that token.
    let guessed = ProofSecret::new([8; 32]);
    let instance = InstanceId { name: back.name.clone(), uuid: back.uuid };
    let resume = Some(Proof::of_token(&guessed, &instance, &USER.into(), first.unwrap()));
    let mut tokens = vec![first];
    for (forged, by) in [
        (Register { resume, ..back.clone() }, USER),
        (Register { resume: None, ..back.clone() }, USER),
        (Register { uuid: Uuid::from_u128(9), ..back.clone() }, USER),
        (back.clone(), OTHER),
    ] {
        let mut stage = Stage::remembering(NOW);
        let one = stage.session(by);
        let (token, kept) = stage.lead(1, one, USER);
        assert_eq!((token, kept.resume), (first, back.resume));
        stage.apply(Event::SessionEnded(one));
        let again = stage.session(by);
        assert!(stage.hold(forged, again, by).0 > first);
    }
    let two = stage.session(USER);
    let (token, back) = stage.hold(back, two, USER);
    assert_eq!(token, first);
    assert_eq!(stage.apply(Event::SessionEnded(two)), []);
    let three = stage.session(USER);
    tokens.push(stage.lead(2, three, USER).0);
    assert_eq!(stage.apply(Event::SessionEnded(three)), []);
    let four = stage.session(USER);
    tokens.push(stage.hold(back, four, USER).0);
    // Who has let go of it begins anew.
    let (_, let_go) = stage.lead(1, four, USER);
    assert_eq!(stage.unregister(1, USER), []);
    tokens.push(stage.hold(let_go, four, USER).0);
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
}

/// All users without a number are one and the same to the next run.
#[test]
fn a_holder_that_is_not_told_from_others_gets_no_resume() {
    let mut stage = Stage::remembering(NOW);
    let (one, other) = (Owner::Unknown(1), Owner::Unknown(2));
    let session = stage.session(one);
    let register = registration("leader", 1);
    let (registered, _) = stage.registry.register(register, one, session, NOW).unwrap();
    assert_eq!((registered.token.is_some(), registered.resume), (true, None));

    // Nor is one taken that an earlier version gave.
    let mut stage = stage.restart(NOW + 10_000);
    let session = stage.session(one);
    let instance = InstanceId { name: "leader".parse().unwrap(), uuid: Uuid::from_u128(1) };
    let made = |token| Proof::of_token(&ProofSecret::new([7; 32]), &instance, &one.into(), token);
    let token = registered.token;
    let back = Register { token, resume: token.map(made), ..registration("leader", 1) };
    for by in [one, other] {
        let error = stage.ask(back.clone(), session, by).unwrap_err();
        assert!(matches!(error, RegistryError::Unsettled { .. }), "{error}");
    }
}
