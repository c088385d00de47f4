//! Exclusive names in a cluster, which decides as a whole who has one.
//!
//! A claimant of such a name stands in its line, as those that wait do, until the cluster has decided:
//! whoever asks without waiting is refused if another node has given the name away. The registry asks
//! for one claimant of a name at a time, the first in line, and tells when a name is let go.
//!
//! ```text
//!   claimant ──▶ line ──▶ NameRequest::Claim ──▶ the link to the cluster
//!   claimant ◀── line ◀── Decision           ◀──
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use endpoints::Name;
use uuid::Uuid;
use wire::{RemovalReason, callbacks::LostCause};

use super::{Key, Outcome, Owner, Registry, RegistryError};

/// What the link to a cluster is to do about an exclusive name.
///
/// ```
/// # mod callsign {
/// # pub use endpoints::*;
/// # pub mod registrar { pub use callsign_registrar::{*, registry::*}; }
/// # }
/// use callsign::registrar::NameRequest;
///
/// fn name(request: &NameRequest) -> &callsign::Name {
///     match request {
///         NameRequest::Claim { name, .. } | NameRequest::Release { name, .. } => name,
///     }
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NameRequest {
    /// To have it given to an instance.
    Claim {
        /// The name.
        name: Name,
        /// The instance.
        uuid: Uuid,
        /// Whose it is.
        owner: wire::Owner,
    },
    /// To give it back.
    Release {
        /// The name.
        name: Name,
        /// By what it was had.
        token: u64,
    },
}

/// What a cluster says to a claim.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::Decision;
///
/// assert_ne!(Decision::Granted(7), Decision::CutOff("no member answers".to_owned()));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// The name is had by this token, which is higher than all former ones.
    Granted(u64),
    /// An instance of another node has it.
    Taken {
        /// The node.
        node: Name,
        /// The instance.
        uuid: Uuid,
        /// Whose it is.
        owner: wire::Owner,
    },
    /// Nobody can tell, and why.
    CutOff(String),
}

/// What the cluster has decided, and is asked.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    mode: Mode,
    /// For which instance the cluster is asked for a name.
    asked: BTreeMap<Name, Uuid>,
    /// Those of them that were let go elsewhere meanwhile.
    freed: BTreeSet<Name>,
    /// Names that instances have been given and have not taken yet.
    granted: BTreeMap<Name, (Uuid, u64)>,
    requests: VecDeque<NameRequest>,
}

#[derive(Debug, Default)]
enum Mode {
    /// There is no cluster: this registrar decides.
    #[default]
    Alone,
    Open,
    CutOff(String),
}

impl Decisions {
    pub(super) fn are_made_elsewhere(&self) -> bool {
        !matches!(self.mode, Mode::Alone)
    }

    /// Tells the cluster that a name is let go.
    pub(super) fn release(&mut self, name: &Name, token: u64) {
        // What is let go while nobody hears it, the link finds out when it is back.
        if matches!(self.mode, Mode::Open) {
            self.requests.push_back(NameRequest::Release { name: name.clone(), token });
        }
    }

    /// Gives back what was not taken.
    pub(super) fn give_back(&mut self, name: &Name) {
        if let Some((_, token)) = self.granted.remove(name) {
            self.release(name, token);
        }
    }

    /// Gives back what was given to an instance, and not taken.
    pub(super) fn give_back_of(&mut self, name: &Name, uuid: Uuid) {
        if self.granted.get(name).is_some_and(|it| it.0 == uuid) {
            self.give_back(name);
        }
    }

    pub(super) fn can_decide(&self) -> bool {
        matches!(self.mode, Mode::Open)
    }

    /// Tells whether the cluster is asked to give a name to an instance, or has given it.
    pub(super) fn is_deciding(&self, name: &Name, uuid: Uuid) -> bool {
        self.asked.get(name) == Some(&uuid) || self.granted.get(name).is_some_and(|it| it.0 == uuid)
    }

    /// Records that a name has been taken by who was given it.
    pub(super) fn taken(&mut self, name: &Name) {
        self.granted.remove(name);
    }

    /// Tells whether an instance may take a name now. If not, the cluster is asked, if it can be.
    pub(super) fn may_take(&mut self, name: &Name, uuid: Uuid, owner: Owner) -> bool {
        match self.mode {
            Mode::Alone => return true,
            Mode::CutOff(_) => return false,
            Mode::Open => {}
        }
        match self.granted.get(name) {
            Some((granted, _)) if *granted == uuid => return true,
            Some(_) => self.give_back(name),
            None => {}
        }
        if !self.asked.contains_key(name) {
            self.asked.insert(name.clone(), uuid);
            let owner = owner.into();
            self.requests.push_back(NameRequest::Claim { name: name.clone(), uuid, owner });
        }
        false
    }
}

impl Registry {
    /// Returns by which token an instance may have an exclusive name that the cluster decides about;
    /// `None` if this registrar decides itself.
    pub(super) fn decided(
        &self,
        is_exclusive: bool,
        (name, uuid): (&Name, Uuid),
        earlier: Option<Key>,
    ) -> Result<Option<u64>, RegistryError> {
        if !is_exclusive {
            return Ok(None);
        }
        let place = || self.rules.of(name.as_str()).map(|it| it.place.clone()).unwrap_or_default();
        // It has the name here already.
        let kept = earlier.filter(|it| !self.entries[*it].is_remote());
        if let Some(token) = kept.and_then(|it| self.tokens.of(it)) {
            return Ok(Some(token).filter(|_| self.decisions.are_made_elsewhere()));
        }
        match &self.decisions.mode {
            Mode::Alone => Ok(None),
            Mode::CutOff(why) => {
                let (name, place, why) = (name.clone(), place(), why.clone());
                Err(RegistryError::CutOff { name, place, why })
            }
            Mode::Open => match self.decisions.granted.get(name) {
                Some((granted, token)) if *granted == uuid => Ok(Some(*token)),
                _ => Err(RegistryError::Undecided { name: name.clone(), place: place() }),
            },
        }
    }

    /// Tells whether a name is exclusive, and a cluster decides who has it.
    pub fn is_decided_elsewhere(&self, name: &Name) -> bool {
        self.decisions.are_made_elsewhere() && self.rules.is_exclusive(name.as_str())
    }

    /// Lets a cluster decide about exclusive names from now on; or says why it cannot at present.
    pub fn let_decide(&mut self, can_decide: Result<(), String>) -> Outcome {
        let mut outcome = Outcome::default();
        match can_decide {
            Ok(()) => {
                self.decisions.mode = Mode::Open;
                self.lines.all_freed();
            }
            Err(why) => {
                let asked = std::mem::take(&mut self.decisions.asked);
                self.decisions =
                    Decisions { mode: Mode::CutOff(why.clone()), ..Default::default() };
                for (name, _) in asked {
                    let why = Decision::CutOff(why.clone());
                    self.refuse_hasty(&name, None, &why, &mut outcome);
                }
            }
        }
        outcome
    }

    /// Takes requests about names, some of them.
    pub(crate) fn take_name_requests(&mut self) -> Vec<NameRequest> {
        let count = self.decisions.requests.len().min(REQUESTS_MAX);
        self.decisions.requests.drain(..count).collect()
    }

    /// Tells whether there are requests about names.
    pub(crate) fn has_name_requests(&self) -> bool {
        !self.decisions.requests.is_empty()
    }

    /// Records what the cluster says to the claim of an instance to a name.
    pub fn decide(&mut self, name: &Name, uuid: Uuid, decision: Decision) -> Outcome {
        let mut outcome = Outcome::default();
        if self.decisions.asked.get(name) != Some(&uuid) {
            if let Decision::Granted(token) = decision {
                self.decisions.release(name, token);
            }
            return outcome;
        }
        self.decisions.asked.remove(name);
        let is_freed = self.decisions.freed.remove(name);
        match decision {
            Decision::Granted(token) => {
                self.decisions.granted.insert(name.clone(), (uuid, token));
                if !self.lines.freed(name) {
                    self.decisions.give_back(name);
                }
                self.refuse_hasty(name, Some(uuid), &decision, &mut outcome);
            }
            _ if is_freed => _ = self.lines.freed(name),
            _ => {
                // One that moves here with the name has come meanwhile, or before its record: its node
                // may have died before that was written.
                if let Decision::Taken { uuid: holder, owner, .. } = &decision
                    && *holder != uuid
                {
                    self.lines.go_first(name, *holder, owner);
                }
                let first = self.lines.next(name).filter(|it| *it != uuid);
                self.refuse_hasty(name, first, &decision, &mut outcome);
                if first.is_some() {
                    self.lines.freed(name);
                }
            }
        }
        outcome
    }

    /// Refuses those that do not wait in line for a name, apart from one.
    fn refuse_hasty(
        &mut self,
        line: &Name,
        spared: Option<Uuid>,
        why: &Decision,
        outcome: &mut Outcome,
    ) {
        let place = self.rules.of(line.as_str()).map(|it| it.place.clone()).unwrap_or_default();
        let name = line.clone();
        let error = match why {
            Decision::Granted(_) => {
                RegistryError::Exclusive { name, holder: None, uuid: None, node: None, place }
            }
            Decision::Taken { node, uuid, .. } => {
                let (uuid, node) = (Some(*uuid), Some(node.clone()));
                RegistryError::Exclusive { name, holder: None, uuid, node, place }
            }
            Decision::CutOff(why) => RegistryError::CutOff { name, place, why: why.clone() },
        };
        self.leave_hasty(line, spared, &error, outcome);
    }

    /// Records that another node has let a name go.
    pub fn name_freed(&mut self, name: &Name) -> Outcome {
        if self.decisions.asked.contains_key(name) {
            self.decisions.freed.insert(name.clone());
        } else {
            self.lines.freed(name);
        }
        Outcome::default()
    }

    /// Takes a name from its holder here: another node has given it away by a later token.
    pub fn name_taken(&mut self, name: &Name, token: u64) -> Outcome {
        let mut outcome = Outcome::default();
        let holders = self.by_name.get(name.as_str(), &self.entries).into_iter();
        let is_former = |it: &Key| self.tokens.of(*it).is_some_and(|own| own < token);
        let keys: Vec<_> = holders.flat_map(|it| self.holders(it)).filter(is_former).collect();
        self.lose_names_of(&keys, &mut outcome);
        outcome
    }

    /// Takes all exclusive names from their holders here: this node has lost the right to give them.
    pub fn lose_names(&mut self) -> Outcome {
        let (mut outcome, keys) = (Outcome::default(), self.tokens.holders());
        self.lose_names_of(&keys, &mut outcome);
        outcome
    }

    fn lose_names_of(&mut self, keys: &[Key], outcome: &mut Outcome) {
        for key in keys {
            self.lose(*key, LostCause::NameLost, None, None, outcome);
        }
        self.remove_all(keys, RemovalReason::NodeLost, outcome);
    }

    /// Tells whether an instance of this registrar has a name by a token, or is about to take it.
    pub fn has_name_by(&self, name: &Name, token: u64) -> bool {
        if self.decisions.asked.contains_key(name) || self.decisions.granted.contains_key(name) {
            return true;
        }
        let holders = self.by_name.get(name.as_str(), &self.entries).into_iter();
        let mut tokens = holders.flat_map(|it| self.holders(it)).map(|it| self.tokens.of(it));
        tokens.any(|it| it == Some(token))
    }
}

/// The most requests to take at a time: a link has so many under way.
const REQUESTS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use wire::{
        ProofSecret, Record,
        registrar::{AskLine, Register},
    };

    use super::*;
    use crate::{
        Accounts,
        registry::{
            Account, Entered, Event, HomeNode, Limits, NameRule, NameRules, Names, Remote,
            SessionId,
        },
    };

    const NOW: u64 = 1_795_000_000_000;
    const USER: Owner = Owner::User(1000);

    /// A registry of a cluster that decides about the name `leader`.
    struct Stage {
        registry: Registry,
        session: SessionId,
        calls: u64,
    }

    impl Stage {
        fn new() -> Self {
            let (registrar, accounts) = (Uuid::from_u128(1616), Accounts::unlimited());
            let mut registry = Registry::new(registrar, Limits::default(), accounts, NOW);
            let rule = NameRule {
                pattern: "leader".parse().unwrap(),
                register: None,
                find: None,
                exclusive: true,
                instances_max: None,
                place: "line 3".to_owned(),
            };
            drop(registry.set_rules(NameRules::new(Names::Open, String::new(), vec![rule])));
            drop(registry.let_decide(Ok(())));
            let session = registry.open_session(Account::User(1000));
            Self { registry, session, calls: 0 }
        }

        /// Asks for the name, to have it or to wait for it.
        fn ask(&mut self, uuid: u128, wait: bool) {
            self.register(Register { wait, ..Register::new(leader(), Uuid::from_u128(uuid)) });
        }

        /// Asks for the name with which an instance comes from another node.
        fn move_here(&mut self, uuid: u128) {
            let register = Register::new(leader(), Uuid::from_u128(uuid));
            self.register(Register { token: Some(3), ..register });
        }

        fn register(&mut self, register: Register) {
            self.calls += 2;
            let at = (self.session, self.calls);
            let entered = self.registry.register_or_wait(register, &USER.into(), at, NOW).unwrap();
            assert!(matches!(entered.0, Entered::InLine));
            assert_eq!(self.serve(entered.1), []);
        }

        /// Answers the claim of an instance, and returns who got the name and who was refused.
        fn decide(&mut self, uuid: u128, decision: Decision) -> Vec<(u128, bool)> {
            let requests = self.registry.take_name_requests();
            let claims = |it: &NameRequest| matches!(it, NameRequest::Claim { uuid: it, .. } if it.as_u128() == uuid);
            assert!(requests.iter().any(claims), "{requests:?}");
            let outcome = self.registry.decide(&leader(), Uuid::from_u128(uuid), decision);
            self.serve(outcome)
        }

        fn serve(&mut self, outcome: Outcome) -> Vec<(u128, bool)> {
            let mut granted = outcome.granted;
            while self.registry.has_deferred() {
                drop(self.registry.do_deferred());
                granted.extend(self.registry.serve_lines(NOW).granted);
            }
            granted.iter().map(|it| (it.uuid.as_u128(), it.result.is_ok())).collect()
        }
    }

    fn leader() -> Name {
        "leader".parse().unwrap()
    }

    fn taken(uuid: u128, owner: Owner) -> Decision {
        let (node, uuid) = ("rome".parse().unwrap(), Uuid::from_u128(uuid));
        Decision::Taken { node, uuid, owner: owner.into() }
    }

    #[test]
    fn an_instance_keeps_its_name_where_no_record_of_it_is_known_yet() {
        let mut stage = Stage::new();
        stage.ask(2, true);
        stage.move_here(1);
        assert_eq!(stage.decide(2, taken(1, USER)), []);
        assert_eq!(stage.decide(1, Decision::Granted(7)), [(1, true)]);
        assert_eq!(stage.registry.record(Uuid::from_u128(1)).unwrap().token, Some(7));
    }

    /// Its record at the former node, which is gone, says that it has the name until that node's lease ends.
    #[test]
    fn an_instance_that_has_waited_and_moves_takes_its_name_at_once() {
        let mut stage = Stage::new();
        let (name, registrar) = ("rome".parse::<Name>().unwrap(), Uuid::from_u128(7));
        let secret = ProofSecret::new([7; 32]);
        assert!(stage.registry.know_node(HomeNode { name: name.clone(), registrar, secret }));
        let record = Record::new(leader(), Uuid::from_u128(1));
        let record = Record { node: Some(name), token: Some(3), epoch: 3, ..record };
        let record = Record { owner: Some(USER.into()), ..record };
        drop(stage.registry.enter_remote(Remote { record, has_key: false }, NOW).unwrap());
        // It has to give a sign of life first.
        stage.registry.can_be_asked(stage.session);
        stage.ask(1, true);
        assert_eq!(stage.decide(1, Decision::Granted(7)), []);
        let answers = stage.registry.apply(Event::SessionAnswers(stage.session), NOW).unwrap();
        assert_eq!(stage.serve(answers), [(1, true)]);
        let moved = stage.registry.record(Uuid::from_u128(1)).unwrap();
        assert_eq!((moved.token, moved.node), (Some(7), None));
    }

    #[test]
    fn the_latest_to_have_had_a_name_goes_first() {
        let mut stage = Stage::new();
        stage.ask(3, true);
        stage.move_here(1);
        assert_eq!(stage.decide(3, taken(1, USER)), []);
        // While it is asked for, another has got the name at its node, and comes with it.
        stage.move_here(2);
        assert_eq!(stage.decide(1, taken(2, USER)), [(1, false)]);
        assert_eq!(stage.decide(2, Decision::Granted(7)), [(2, true)]);
        assert_eq!(stage.registry.lines.len(), 1);
    }

    #[test]
    fn nobody_goes_first_by_the_number_of_anothers_instance() {
        let mut stage = Stage::new();
        stage.ask(2, true);
        stage.move_here(1);
        assert_eq!(stage.decide(2, taken(1, Owner::User(0))), [(1, false)]);
        stage.move_here(1);
        drop(stage.registry.name_freed(&leader()));
        assert_eq!(stage.serve(Outcome::default()), []);
        assert_eq!(stage.decide(2, Decision::Granted(7)), [(1, false), (2, true)]);
    }

    #[test]
    fn who_had_the_name_once_waits_for_nobody() {
        let mut stage = Stage::new();
        stage.ask(3, true);
        stage.move_here(1);
        assert_eq!(stage.decide(3, taken(5, USER)), [(1, false)]);
        stage.move_here(1);
        stage.ask(2, true);
        drop(stage.registry.name_freed(&leader()));
        assert_eq!(stage.serve(Outcome::default()), []);
        assert_eq!(stage.decide(3, Decision::Granted(7)), [(1, false), (3, true)]);
        assert_eq!(stage.registry.lines.len(), 1);
    }

    /// Whoever moves here is told by that whether somebody else has its name by now.
    #[test]
    fn nobody_waits_while_the_cluster_decides() {
        let mut stage = Stage::new();
        let ahead = |stage: &Stage, uuid: u128| {
            let ask = AskLine { name: leader(), uuid: Some(Uuid::from_u128(uuid)) };
            stage.registry.line(&ask, &USER.into()).0.ahead
        };
        stage.ask(1, true);
        stage.ask(2, true);
        assert_eq!((ahead(&stage, 1), ahead(&stage, 2)), (None, Some(1)));
        assert_eq!(stage.decide(1, taken(5, USER)), []);
        assert_eq!((ahead(&stage, 1), ahead(&stage, 2)), (Some(0), Some(1)));
        let freed = stage.registry.name_freed(&leader());
        assert_eq!(stage.serve(freed), []);
        assert_eq!(ahead(&stage, 1), None);
        let cut = stage.registry.let_decide(Err("no member answers".to_owned()));
        assert_eq!(stage.serve(cut), []);
        assert_eq!(ahead(&stage, 1), Some(0), "nobody knows who has it");
    }

    #[test]
    fn a_name_that_nobody_is_there_to_take_is_given_back() {
        let check = |leaves: fn(&mut Stage)| {
            let mut stage = Stage::new();
            // One that has to give a sign of life first.
            stage.registry.can_be_asked(stage.session);
            stage.ask(1, true);
            assert_eq!(stage.decide(1, Decision::Granted(7)), []);
            assert!(stage.registry.has_name_by(&leader(), 7), "it is about to take it");
            leaves(&mut stage);
            let outcome = Outcome::default();
            assert_eq!(stage.serve(outcome), []);
            let released = NameRequest::Release { name: leader(), token: 7 };
            assert_eq!(stage.registry.take_name_requests(), [released]);
            assert!(!stage.registry.has_name_by(&leader(), 7));
        };
        check(|it| drop(it.registry.leave_line(it.session, it.calls)));
        check(|it| {
            let ended = it.registry.apply(Event::SessionEnded(it.session), NOW);
            drop(ended.unwrap());
        });
        check(|it| {
            drop(it.registry.apply(Event::SessionSilent(it.session), NOW).unwrap());
        });
    }
}
