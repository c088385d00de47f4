//! Exclusive names, as etcd decides about them: a name is a key that one transaction makes, and that
//! lives by the lease of its node. Its token is the revision of that transaction, counted from a base
//! that a cluster has once for all, so that tokens grow also after etcd has lost everything.

use std::time::{Duration, SystemTime};

use endpoints::Name;
use futures_util::future::join_all;
use registrar::{
    RegistryHandle,
    registry::{Decision, NameRequest},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use uuid::Uuid;
use wire::{decode_body, encode_body};

use crate::{
    etcd::{Client, Compare, EtcdError, KeyValue, RequestOp, TxnRequest},
    keys::{Keys, Place},
};

/// Who has a name.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Holder {
    node: Name,
    registrar: Uuid,
    uuid: Uuid,
    owner: wire::Owner,
}

/// What decides about names over one connection.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) client: Client,
    pub(crate) keys: Keys,
    pub(crate) node: Name,
    pub(crate) registrar: Uuid,
    pub(crate) lease: i64,
    /// What is added to a revision to make a token.
    pub(crate) base: u64,
}

/// What was decided about the claim of an instance to a name.
pub(crate) type Decided = (Name, Uuid, Decision);

impl Names {
    /// Does what is asked about some names.
    pub(crate) async fn decide(
        self,
        requests: Vec<NameRequest>,
    ) -> Result<Vec<Decided>, EtcdError> {
        let decided = join_all(requests.into_iter().map(|it| self.request(it))).await;
        let decided: Result<Vec<_>, _> = decided.into_iter().collect();
        Ok(decided?.into_iter().flatten().collect())
    }

    async fn request(&self, request: NameRequest) -> Result<Option<Decided>, EtcdError> {
        match request {
            NameRequest::Release { name, token } => {
                self.release(&name, token.saturating_sub(self.base) as i64).await?;
                Ok(None)
            }
            NameRequest::Claim { name, uuid, owner } => {
                let decision = self.claim(&name, uuid, owner).await?;
                Ok(Some((name, uuid, decision)))
            }
        }
    }

    async fn claim(
        &self,
        name: &Name,
        uuid: Uuid,
        owner: wire::Owner,
    ) -> Result<Decision, EtcdError> {
        let (node, registrar) = (self.node.clone(), self.registrar);
        let own = Holder { node, registrar, uuid, owner };
        let key = self.keys.name(name);
        // It is free as a rule.
        let mut known = 0;
        for _ in 0..ATTEMPTS {
            let there = Compare::modified(key.clone(), known);
            let lives = Compare::lease(self.keys.own_node(), self.lease);
            let put = RequestOp::put(key.clone(), encode_body(&own), self.lease);
            let txn = TxnRequest { compare: vec![there, lives], success: vec![put] };
            let (succeeded, revision) = self.client.txn(txn).await?;
            if succeeded {
                return Ok(Decision::Granted(self.base + revision as u64));
            }
            let there = self.client.get(key.clone()).await?;
            known = there.as_ref().map_or(0, |it| it.mod_revision);
            let holder = there.and_then(|it| decode_body::<Holder>(&it.value).ok());
            // What this registrar asks for, nobody has here; and an instance that moves keeps its name.
            if let Some(Holder { node, uuid: theirs, owner, registrar }) = holder
                && registrar != own.registrar
                && (theirs, &owner) != (uuid, &own.owner)
            {
                return Ok(Decision::Taken { node, uuid: theirs, owner });
            }
        }
        Ok(Decision::CutOff("the lease of this node has ended".to_owned()))
    }

    /// Gives a name back, unless it has been given again since.
    async fn release(&self, name: &Name, revision: i64) -> Result<(), EtcdError> {
        let key = self.keys.name(name);
        let compare = vec![Compare::modified(key.clone(), revision)];
        self.client.txn(TxnRequest { compare, success: vec![RequestOp::delete(key)] }).await?;
        Ok(())
    }

    /// Compares some names that are given away with those that instances have here.
    pub(crate) async fn settle(
        &self,
        given: Vec<KeyValue>,
        registry: &RegistryHandle,
    ) -> Result<(), EtcdError> {
        for kv in given {
            let Place::ExclusiveName(name) = self.keys.place(&kv.key) else { continue };
            let Ok(holder) = decode_body::<Holder>(&kv.value) else { continue };
            if holder.registrar != self.registrar {
                registry.name_taken(&name, self.base + kv.mod_revision as u64);
            } else if !registry.has_name_by(&name, self.base + kv.mod_revision as u64) {
                self.release(&name, kv.mod_revision).await?;
            }
        }
        Ok(())
    }
}

/// Returns what is added to a revision of this etcd to make a token: microseconds since 1970 when the
/// first node came, of which there are more than revisions.
pub(crate) async fn base(client: &Client, keys: &Keys) -> Result<u64, EtcdError> {
    let key = keys.token_base();
    let read = |it: &KeyValue| std::str::from_utf8(&it.value).ok()?.parse::<u64>().ok();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let own = now.as_micros() as u64;
    let put = RequestOp::put(key.clone(), own.to_string().into_bytes(), 0);
    for _ in 0..ATTEMPTS {
        let there = client.get(key.clone()).await?;
        if let Some(base) = there.as_ref().and_then(read) {
            return Ok(base);
        }
        let compare = vec![Compare::modified(key.clone(), there.map_or(0, |it| it.mod_revision))];
        client.txn(TxnRequest { compare, success: vec![put.clone()] }).await?;
    }
    Err(EtcdError::Answer("it does not keep the base of tokens"))
}

/// Takes all names from their holders here as soon as the lease may have ended, whatever the link does
/// meanwhile: another node may give them away from then on.
pub(crate) async fn guard(
    mut kept_until: watch::Receiver<Option<Instant>>,
    registry: RegistryHandle,
) {
    loop {
        let until = *kept_until.borrow_and_update();
        let ends = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = kept_until.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = ends => {
                registry.let_decide(Err("the lease of this node has ended".to_owned()));
                registry.lose_names();
                if kept_until.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// By how much a node loses its names before its lease can end in etcd: clocks do not run alike.
pub(crate) const EARLIER: Duration = Duration::from_millis(100);

/// The most attempts: each fails only if the key has changed meanwhile.
const ATTEMPTS: usize = 4;
