//! Endpoints that others claim, or that do not answer.

use callsign_registrar::registry::{Claimant, Contested, Event, Owner, Registry};
use endpoints::{KernelId, NamePattern, SocketId, Stamp, Stamped};
use uuid::Uuid;
use wire::registrar::{Change, Register};

use crate::support::{ACCOUNT, NOW, USER, answer, at, read, register, registration, registry};

#[test]
fn an_older_claim_goes_only_when_it_is_found_dead() {
    let here = Stamp { kernel: Some(KernelId(1)), ..Stamp::default() };
    let there = Stamp { kernel: Some(KernelId(2)), ..Stamp::default() };
    let socket = |stamp| vec![Stamped { stamp, ..at("/unix/run/feed.sock") }];
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    let put = |registry: &mut Registry, uuid, stamp, lease_ms| {
        let register =
            Register { endpoints: socket(stamp), lease_ms, ..registration("feed", uuid) };
        let contested = registry.register(register, USER, session, NOW).unwrap().1.contested;
        let claimant = |it: &Contested| registry.claimant(it.uuid, it.epoch, &it.endpoint).unwrap();
        contested.iter().map(claimant).collect::<Vec<_>>()
    };
    assert_eq!(put(&mut registry, 1, here, Some(1000)), []);
    assert_eq!(put(&mut registry, 2, there, None), [], "the same path of another host is another");
    let contested = put(&mut registry, 3, here, None);
    assert_eq!(contested.len(), 1);
    assert_eq!(contested[0].uuid.as_u128(), 1);
    assert_eq!(answer(&registry, "feed", false), [3, 2, 1], "contested, and not yet judged");

    // A claim of an earlier registration is not a claim of a later one.
    let mut earlier = contested[0].clone();
    earlier.epoch -= 1;
    drop(registry.apply(Event::FoundDead(earlier), NOW).unwrap());
    assert_eq!(answer(&registry, "feed", false), [3, 2, 1]);

    drop(registry.apply(Event::FoundDead(contested[0].clone()), NOW).unwrap());
    assert_eq!(answer(&registry, "feed", false), [3, 2]);

    // A session vouches for its instance, whatever happens to the endpoint.
    let contested = put(&mut registry, 4, here, None);
    assert_eq!(contested[0].uuid.as_u128(), 3);
    drop(registry.apply(Event::FoundDead(contested[0].clone()), NOW).unwrap());
    assert_eq!(registry.record(Uuid::from_u128(3)).unwrap().endpoints, []);
}

#[test]
fn the_other_claims_to_a_place_are_known() {
    let mut registry = registry();
    let (session, other) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
    let mut put = |uuid, places: &[&str], session| {
        let endpoints = places.iter().map(|it| at(it)).collect();
        let register = Register { endpoints, ..registration("feed", uuid) };
        let (registered, _) = registry.register(register, USER, session, NOW).unwrap();
        registered.epoch
    };
    let first = put(1, &["/ip4/127.0.0.1/tcp/7", "/unix/@feed"], session);
    put(2, &["/unix/@feed"], session);
    put(3, &["/ip4/127.0.0.1/tcp/8", "/unix/@feed"], other);
    put(4, &["/ip4/127.0.0.1/tcp/7"], session);
    let rivals = |registry: &Registry, place: &str, epoch| {
        let claimant = Claimant { uuid: Uuid::from_u128(1), epoch, stamped: at(place) };
        let rivals = registry.rivals(&claimant);
        assert!(rivals.iter().all(|it| it.stamped == at(place)));
        rivals.iter().map(|it| it.uuid.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(rivals(&registry, "/unix/@feed", first), [3, 2]);
    assert_eq!(rivals(&registry, "/ip4/127.0.0.1/tcp/7", first), [4]);
    assert_eq!(rivals(&registry, "/ip4/127.0.0.1/tcp/8", first), [], "it claims no such place");
    assert_eq!(rivals(&registry, "/unix/@feed", first + 1), [], "an earlier registration");
    drop(registry.apply(Event::SessionEnded(other), NOW).unwrap());
    assert_eq!(rivals(&registry, "/unix/@feed", first), [2]);
}

#[test]
fn claims_of_another_owner_are_no_evidence() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    let place = vec![at("/ip4/127.0.0.1/tcp/7")];
    let mut contested = |name: &str, uuid, by: Owner| {
        let register = Register {
            endpoints: place.clone(),
            lease_ms: Some(60_000),
            ..registration(name, uuid)
        };
        let (_, outcome) = registry.register(register, by, session, NOW).unwrap();
        outcome.contested.iter().map(|it| it.uuid.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(contested("feed", 1, USER), []);
    for (uuid, stranger) in
        [(2, Owner::User(1001)), (3, Owner::Unknown(7)), (4, Owner::Host([10, 0, 0, 9].into()))]
    {
        assert_eq!(contested(&format!("other-{uuid}"), uuid, stranger), [], "{stranger}");
    }
    assert_eq!(contested("web", 5, USER), [1]);
    assert_eq!(contested("relay", 6, Owner::User(0)).len(), 4, "as many as are looked into");
}

#[test]
fn endpoints_beyond_judgement_are_suspect_until_seen_alive() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    let uuid = Uuid::from_u128(1);
    let (registered, _) = registry.register(registration("feed", 1), USER, session, NOW).unwrap();
    let endpoint = registration("feed", 1).endpoints[0].endpoint.clone();
    let claimant = registry.claimant(uuid, registered.epoch, &endpoint).unwrap();
    for now in [NOW + 1, NOW + 2] {
        drop(registry.apply(Event::Suspect(claimant.clone()), now).unwrap());
    }
    let suspicion = registry.record(uuid).unwrap().suspicion.unwrap();
    assert_eq!((suspicion.reports, suspicion.since_ms), (2, NOW + 1));
    drop(registry.apply(Event::FoundAlive(claimant.clone()), NOW + 3).unwrap());
    assert_eq!(registry.record(uuid).unwrap().suspicion, None);

    // Its session lives, so it may listen again at any moment.
    drop(registry.apply(Event::FoundSilent(claimant), NOW + 4).unwrap());
    let record = registry.record(uuid).unwrap();
    assert_eq!((record.endpoints.len(), record.suspicion.map(|it| it.reports)), (1, Some(1)));
}

#[test]
fn entries_of_a_silent_session_are_marked_and_cleared_in_one_change_each() {
    let mut registry = registry();
    let (session, other) = (registry.open_session(ACCOUNT), registry.open_session(ACCOUNT));
    for uuid in [1, 2, 3] {
        drop(register(&mut registry, "feed", uuid, session));
    }
    drop(register(&mut registry, "feed", 4, other));
    let leased = Register { lease_ms: Some(1000), ..registration("feed", 5) };
    drop(registry.register(leased, USER, session, NOW).unwrap());
    registry.watch(other, 0, NamePattern::new("*").unwrap(), None).unwrap();
    registry.credit(other, 0, 100);
    drop(read(&mut registry, other));
    let suspicion = |registry: &Registry, uuid: u128| {
        let suspicion = registry.record(Uuid::from_u128(uuid)).unwrap().suspicion;
        suspicion.map(|it| (it.reports, it.since_ms - NOW, it.silent))
    };

    // One of them was reported before.
    let record = registry.record(Uuid::from_u128(2)).unwrap();
    let claimant =
        registry.claimant(record.uuid, record.epoch, &record.endpoints[0].endpoint).unwrap();
    drop(registry.apply(Event::Suspect(claimant.clone()), NOW + 1).unwrap());
    drop(read(&mut registry, other));

    let revisions = |registry: &mut Registry| -> Vec<_> {
        let changes = read(registry, other);
        let revision = |it: &Change| match it {
            Change::Update { record, revision } => (record.uuid.as_u128(), *revision),
            other => panic!("{other:?}"),
        };
        changes.iter().map(revision).collect()
    };
    drop(registry.apply(Event::SessionSilent(session), NOW + 2).unwrap());
    let revision = registry.revision();
    assert_eq!(revisions(&mut registry), [(1, revision), (2, revision), (3, revision)]);
    assert_eq!(suspicion(&registry, 1), Some((0, 2, true)));
    assert_eq!(suspicion(&registry, 2), Some((1, 1, true)));
    assert_eq!([4, 5].map(|it| suspicion(&registry, it)), [None, None], "others keep these");

    // A second notice changes nothing.
    drop(registry.apply(Event::SessionSilent(session), NOW + 3).unwrap());
    assert_eq!(registry.revision(), revision);

    // The kernel accepts connections for a stopped process: an endpoint that answers may still be
    // silent.
    drop(registry.apply(Event::FoundAlive(claimant), NOW + 4).unwrap());
    assert_eq!(suspicion(&registry, 2), Some((0, 1, true)));
    drop(read(&mut registry, other));

    drop(registry.apply(Event::SessionHeard(session), NOW + 5).unwrap());
    let revision = registry.revision();
    assert_eq!(revisions(&mut registry), [(1, revision), (2, revision), (3, revision)]);
    assert_eq!([1, 2, 3].map(|it| suspicion(&registry, it)), [None; 3]);
}

#[test]
fn a_lease_goes_with_its_last_endpoint_that_is_found_silent() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    let id = |ino| SocketId { dev: 1, ino, born_ns: None };
    let socket = |ino| Stamp { socket: Some(id(ino)), ..Stamp::default() };
    let at_path = |path, ino| Stamped { stamp: socket(ino), ..at(path) };
    let endpoints = vec![at_path("/unix/run/a.sock", 1), at_path("/unix/run/b.sock", 2)];
    let leased =
        Register { lease_ms: Some(1000), endpoints: endpoints.clone(), ..registration("clock", 1) };
    let (registered, _) = registry.register(leased, USER, session, NOW).unwrap();
    for (left, stamped) in [(1, &endpoints[0]), (0, &endpoints[1])] {
        let claimant =
            registry.claimant(Uuid::from_u128(1), registered.epoch, &stamped.endpoint).unwrap();
        drop(registry.apply(Event::FoundSilent(claimant), NOW).unwrap());
        let record = registry.record(Uuid::from_u128(1));
        assert_eq!(record.map_or(0, |it| it.endpoints.len()), left);
    }
    assert_eq!(registry.counts().instances, 0);
}

#[test]
fn a_lease_at_a_place_that_may_be_listened_at_again_is_suspect_until_it_answers() {
    for (number, endpoint) in ["/ip4/10.0.0.7/tcp/1", "/unix/@clock"].into_iter().enumerate() {
        let mut registry = registry();
        let session = registry.open_session(ACCOUNT);
        let uuid = Uuid::from_u128(1 + number as u128);
        let leased = Register {
            lease_ms: Some(1000),
            endpoints: vec![at(endpoint)],
            ..registration("clock", uuid.as_u128())
        };
        let (registered, _) = registry.register(leased, USER, session, NOW).unwrap();
        let place = endpoint.parse().unwrap();
        let claimant = registry.claimant(uuid, registered.epoch, &place).unwrap();
        let reports = |registry: &Registry| {
            registry.record(uuid).unwrap().suspicion.map_or(0, |it| it.reports)
        };
        drop(registry.apply(Event::FoundSilent(claimant.clone()), NOW).unwrap());
        assert_eq!(reports(&registry), 1);
        // A renewal has a suspect instance looked at, and no other.
        let renew = |registry: &mut Registry| {
            registry.apply(Event::Renew { uuid, by: USER }, NOW).unwrap().renewed
        };
        assert_eq!(renew(&mut registry), [(claimant.clone(), USER)]);
        assert_eq!(reports(&registry), 1);
        drop(registry.apply(Event::FoundAlive(claimant), NOW).unwrap());
        assert_eq!((reports(&registry), renew(&mut registry)), (0, vec![]));
    }
}

#[test]
fn one_owner_is_told_which_names_a_place_has_already() {
    let mut registry = registry();
    let session = registry.open_session(ACCOUNT);
    let places = vec![at("/ip4/127.0.0.1/tcp/7"), at("/unix/@relay")];
    let mut also = |name: &str, uuid, endpoints: &[Stamped], by: Owner| {
        let register = Register { endpoints: endpoints.to_vec(), ..registration(name, uuid) };
        let (registered, _) = registry.register(register, by, session, NOW).unwrap();
        registered.also.iter().map(|it| it.name.to_string()).collect::<Vec<_>>()
    };
    let nobody: [&str; 0] = [];
    assert_eq!(also("feed", 1, &places, USER), nobody);
    assert_eq!(also("feed", 1, &places, USER), nobody, "it is no alias of itself");
    assert_eq!(also("relay", 2, &places, USER), ["feed"], "once, though two places are the same");
    assert_eq!(also("third", 3, &places[1..], USER), ["relay", "feed"]);
    assert_eq!(also("other", 4, &[at("/ip4/127.0.0.1/tcp/8")], USER), nobody);
    // The entries of other owners are not revealed.
    assert_eq!(also("web", 5, &places, Owner::User(1001)), nobody);
    assert_eq!(also("root", 6, &places, Owner::User(0)), nobody);
}
