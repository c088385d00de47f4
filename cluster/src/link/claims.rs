//! What a node takes for itself before it shares: a lease, its name, and a slot of epochs.

use registrar::{RegistryHandle, registry::Stride};
use tokio::time::{Instant, sleep};

use super::{Link, LinkError, snapshot::Snapshot};
use crate::{
    etcd::{Client, Compare, KeyValue, RequestOp, TxnRequest},
    keys::NodeValue,
    names::{self, Names},
};

impl Link {
    /// Keeps the lease that there is, or takes a new one: then everything is written anew.
    pub(super) async fn lease(&mut self, member: usize, client: &Client) -> Result<i64, LinkError> {
        let asked_at = Instant::now();
        if let Some(lease) = self.keeper.lease() {
            if self.keeper.prolong(member, lease).await.map_err(|(_, error)| error)? {
                self.keeper.take(lease, asked_at);
                return Ok(lease);
            }
            self.registry.lose_names();
        }
        self.revision = None;
        let asked_at = Instant::now();
        let lease = client.grant(self.settings.lease).await?;
        self.keeper.take(lease, asked_at);
        Ok(lease)
    }

    /// Finds out which exclusive names are given away, and begins to have them given.
    pub(super) async fn names(&self, client: &Client, lease: i64) -> Result<Names, LinkError> {
        let (client, keys, node) = (client.clone(), self.keys.clone(), self.settings.node.clone());
        let base = names::base(&client, &keys).await?;
        self.registry.set_cluster_number(base);
        let registrar = self.registry.registrar();
        let names = Names { client, keys, node, registrar, lease, base };
        review(names.clone(), self.registry.clone()).await?;
        Ok(names)
    }

    /// Takes the name of this node, from an earlier run too, but from nobody who lives.
    pub(super) async fn claim_name(
        &mut self,
        client: &Client,
        lease: i64,
    ) -> Result<(), LinkError> {
        let key = self.keys.own_node();
        let taken = || LinkError::NameTaken(self.settings.node.clone());
        let mut there = client.get(key.clone()).await?;
        if let Some(other) = there.as_ref().filter(|it| it.lease != lease) {
            let value = NodeValue::decode(&other.value).ok();
            if value.is_some_and(|it| it.registrar != self.registry.registrar()) {
                sleep(self.interval() + self.interval() / 2).await;
                let then = client.get(key.clone()).await?;
                if then.as_ref().is_some_and(|it| it.mod_revision != other.mod_revision) {
                    return Err(taken());
                }
                there = then;
            }
        }
        let revision = there.map_or(0, |it| it.mod_revision);
        // A sign of life, too.
        self.beat += 1;
        let value = self.value(false).encode();
        let txn = TxnRequest {
            compare: vec![Compare::modified(key.clone(), revision)],
            success: vec![RequestOp::put(key, value, lease)],
        };
        if client.txn(txn).await?.0 { Ok(()) } else { Err(taken()) }
    }

    /// Takes a slot of epochs that no other node has. Returns that, and the revision.
    pub(super) async fn claim_slot(
        &mut self,
        client: &Client,
        lease: i64,
    ) -> Result<(u64, i64), LinkError> {
        let own = self.settings.node.as_str().as_bytes();
        loop {
            let taken = Snapshot::new(client, self.keys.slots(), 0).all().await?;
            let number = |it: &KeyValue| self.keys.slot_of(&it.key);
            let mine = taken.iter().find(|it| it.value == own && number(it) == self.slot);
            let mine = mine.or_else(|| taken.iter().find(|it| it.value == own));
            let free = |it: &u64| !taken.iter().any(|taken| number(taken) == Some(*it));
            let slot = mine.and_then(number).or_else(|| (1..Stride::NODES).find(free));
            let slot = slot.ok_or(LinkError::TooManyNodes)?;
            let Some(stride) = Stride::of(slot) else { return Err(LinkError::TooManyNodes) };
            let key = self.keys.slot(slot);
            let revision = mine.map_or(0, |it| it.mod_revision);
            let txn = TxnRequest {
                compare: vec![Compare::modified(key.clone(), revision)],
                success: vec![RequestOp::put(key, own.to_vec(), lease)],
            };
            let (succeeded, revision) = client.txn(txn).await?;
            if succeeded {
                self.registry.set_stride(stride);
                self.slot = Some(slot);
                return Ok((slot, revision));
            }
        }
    }
}

/// Compares the names that are given away with those that instances have here: what nobody has is given
/// back, and who has what another has by now loses it.
pub(super) async fn review(names: Names, registry: RegistryHandle) -> Result<(), LinkError> {
    let mut given = Snapshot::new(&names.client, names.keys.names(), 0);
    while let Some(given) = given.next().await? {
        names.settle(given, &registry).await?;
    }
    Ok(())
}
