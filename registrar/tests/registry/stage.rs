//! A registry with an exclusive name, for tests of who has it and who waits.

use std::collections::BTreeMap;

use callsign_registrar::{
    Accounts, QuotaRules, Quotas,
    registry::{
        Caller, Entered, Event, Foreign, Former, Grantee, Limits, NameRule, NameRules, Names,
        Outcome, Owner, Registry, RegistryError, SessionId,
    },
};
use endpoints::{InstanceId, Name};
use uuid::Uuid;
use wire::{
    Proof, ProofSecret,
    registrar::{AskLine, Register},
};

use crate::support::{NOW, REGISTRAR, USER, registration};

pub(crate) const OTHER: Owner = Owner::User(1001);

/// A registry with the exclusive name `leader`.
pub(crate) struct Stage {
    pub(crate) registry: Registry,
    pub(crate) accounts: Accounts,
    pub(crate) now_ms: u64,
    /// The sessions that were to be asked for a sign of life.
    pub(crate) asked: Vec<SessionId>,
    calls: u64,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::begun(NOW, Quotas::default())
    }

    pub(crate) fn begun(now_ms: u64, others: Quotas) -> Self {
        let accounts = Accounts::new(QuotaRules { others, ..QuotaRules::default() }, 4096, 0);
        let mut registry = Registry::new(REGISTRAR, Limits::default(), accounts.clone(), now_ms);
        drop(registry.set_rules(rules(Some(vec![Grantee::Any]), true)));
        Self { registry, accounts, now_ms, asked: Vec::new(), calls: 0 }
    }

    /// Begins a first run that records the holders of names.
    pub(crate) fn remembering(now_ms: u64) -> Self {
        let secret = ProofSecret::new(SECRET);
        let mut stage = Self::resuming(now_ms, Former { secret, latest: 0, tokens: Vec::new() });
        stage.registry.settle_until(now_ms);
        stage
    }

    /// Begins a run after this one.
    pub(crate) fn restart(self, now_ms: u64) -> Self {
        Self::resuming(now_ms, self.registry.former(self.now_ms).unwrap())
    }

    pub(crate) fn resuming(now_ms: u64, former: Former) -> Self {
        let mut stage = Self::begun(now_ms, Quotas::default());
        stage.registry.resume(former);
        stage.registry.settle_until(now_ms + 5000);
        stage
    }

    /// Registers an instance under the name, and returns its token and its resume token.
    pub(crate) fn lead(
        &mut self,
        uuid: u128,
        session: SessionId,
        by: Owner,
    ) -> (Option<u64>, Register) {
        self.hold(registration("leader", uuid), session, by)
    }

    pub(crate) fn hold(
        &mut self,
        register: Register,
        session: SessionId,
        by: Owner,
    ) -> (Option<u64>, Register) {
        let (name, uuid) = (register.name.clone(), register.uuid.as_u128());
        let (registered, outcome) =
            self.registry.register(register, by, session, self.now_ms).unwrap();
        drop(self.serve(outcome));
        let token = self.token(uuid);
        assert_eq!((registered.token, registered.resume.is_some()), (token, true));
        let resume = registered.resume;
        (token, Register { token, resume, ..registration(name.as_str(), uuid) })
    }

    pub(crate) fn session(&mut self, owner: Owner) -> SessionId {
        self.registry.open_session(owner.account())
    }

    /// Registers an instance that waits if necessary, and tells whether it has the name
    /// immediately.
    pub(crate) fn enter(
        &mut self,
        uuid: u128,
        session: SessionId,
        by: Owner,
    ) -> Result<bool, RegistryError> {
        self.ask(Register { wait: true, ..registration("leader", uuid) }, session, by)
    }

    pub(crate) fn ask(
        &mut self,
        register: Register,
        session: SessionId,
        by: impl Into<Caller>,
    ) -> Result<bool, RegistryError> {
        self.calls += 2;
        let at = (session, self.calls);
        let (entered, outcome) =
            self.registry.register_or_wait(register, &by.into(), at, self.now_ms)?;
        assert!(outcome.granted.iter().all(|it| it.result.is_err()), "by the way");
        assert_eq!(self.serve(outcome), [], "by the way");
        Ok(matches!(entered, Entered::Registered(_)))
    }

    pub(crate) fn apply(&mut self, event: Event) -> Vec<u128> {
        let outcome = self.registry.apply(event, self.now_ms).unwrap();
        self.serve(outcome)
    }

    /// Serves the waiters, and returns those that were registered, in order.
    pub(crate) fn serve(&mut self, outcome: Outcome) -> Vec<u128> {
        let mut granted = outcome.granted;
        while self.registry.has_deferred() {
            drop(self.registry.do_deferred());
            let served = self.registry.serve_lines(self.now_ms);
            self.asked.extend(served.asked);
            granted.extend(served.granted);
        }
        granted.iter().filter(|it| it.result.is_ok()).map(|it| it.uuid.as_u128()).collect()
    }

    pub(crate) fn unregister(&mut self, uuid: u128, by: Owner) -> Vec<u128> {
        self.apply(Event::Unregister { uuid: Uuid::from_u128(uuid), by })
    }

    pub(crate) fn token(&self, uuid: u128) -> Option<u64> {
        self.registry.record(Uuid::from_u128(uuid))?.token
    }

    /// Returns the number of waiters that the holder's record shows.
    pub(crate) fn waiting(&self, holder: u128) -> u64 {
        self.registry.record(Uuid::from_u128(holder)).unwrap().waiting
    }

    pub(crate) fn ahead(&self, uuid: u128, by: Owner) -> Option<u64> {
        let name = Name::new("leader").unwrap();
        let ask = AskLine { name, uuid: Some(Uuid::from_u128(uuid)) };
        self.registry.line(&ask, &by.into()).0.ahead
    }
}

pub(crate) fn rules(register: Option<Vec<Grantee>>, exclusive: bool) -> NameRules {
    let other = NameRule { pattern: "leader-2".parse().unwrap(), ..leader() };
    let leader = NameRule { register, exclusive, ..leader() };
    NameRules::new(Names::Open, String::new(), vec![leader, other])
}

/// An instance that asks for the name through an adapter.
pub(crate) fn foreign(uuid: u128) -> Foreign {
    let name = Name::new("leader").unwrap();
    Foreign { name, uuid: Uuid::from_u128(uuid), endpoint: None, metadata: BTreeMap::new() }
}

pub(crate) fn leader() -> NameRule {
    NameRule {
        pattern: "leader".parse().unwrap(),
        register: Some(vec![Grantee::Any]),
        find: None,
        exclusive: true,
        instances_max: None,
        place: "market.toml:3".to_owned(),
    }
}

/// Proves with a resume token that an instance had its name.
pub(crate) fn shown(register: &Register, token: u64) -> Proof {
    let instance = InstanceId { name: register.name.clone(), uuid: register.uuid };
    Proof::of_token(&ProofSecret::new(SECRET), &instance, &USER.into(), token)
}

/// The key of the proofs of a registry's holders.
const SECRET: [u8; 32] = [7; 32];
