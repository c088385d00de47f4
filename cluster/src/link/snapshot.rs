//! What there is in etcd at one revision, page by page: that takes no more memory than one page, whatever
//! somebody has written there.

use tokio::time::Instant;

use super::{Link, LinkError};
use crate::{
    etcd::{Client, Compare, KeyValue, Page, RequestOp, TxnRequest},
    keys::VALUE_BYTES_MAX,
};

/// The keys of a prefix at one revision.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    client: &'a Client,
    prefix: Vec<u8>,
    /// From which key on they have not been read, unless all have.
    from: Option<Vec<u8>>,
    /// The present one until a page has been read.
    revision: i64,
    /// How many keys are asked for at a time.
    limit: i64,
    count: usize,
}

impl<'a> Snapshot<'a> {
    /// Begins to read a prefix at a revision; 0 stands for the present one.
    pub(super) fn new(client: &'a Client, prefix: Vec<u8>, revision: i64) -> Self {
        let from = Some(prefix.clone());
        Self { client, prefix, from, revision, limit: LIMIT_FIRST, count: 0 }
    }

    /// Returns at which revision the keys are so, once a page has been read.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// Tells whether there are more keys than are read.
    pub(super) fn is_cut(&self) -> bool {
        self.from.is_some() && self.count >= KEYS_MAX
    }

    /// Reads the next page; `None` after the last. A value that is too long is empty.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<KeyValue>>, LinkError> {
        if self.count >= KEYS_MAX {
            return Ok(None);
        }
        let Some(from) = self.from.clone() else { return Ok(None) };
        let Page { mut kvs, revision, next } = loop {
            let range = (&self.prefix[..], from.clone());
            match self.client.page(range, self.revision, self.limit).await {
                Ok(page) => break page,
                Err(error) if error.is_too_long() && self.limit > 1 => self.limit /= 8,
                Err(error) if error.is_compacted() => return Err(LinkError::Compacted),
                Err(error) => return Err(error.into()),
            }
            self.limit = self.limit.max(1);
        };
        let bytes: usize = kvs.iter().map(|it| it.key.len() + it.value.len()).sum();
        // etcd counts all keys that are left for each page.
        if bytes < PAGE_BYTES / 4 {
            self.limit = (self.limit * 4).min(LIMIT_MAX);
        }
        kvs.iter_mut().for_each(cut);
        self.count += kvs.len();
        (self.revision, self.from) = (revision, next);
        Ok(Some(kvs))
    }

    /// Reads all of them.
    pub(super) async fn all(mut self) -> Result<Vec<KeyValue>, LinkError> {
        let mut all = Vec::new();
        while let Some(page) = self.next().await? {
            all.extend(page);
        }
        Ok(all)
    }
}

impl Link {
    /// Takes everything that there is in etcd in the place of what was known, and gives signs of life
    /// meanwhile. Returns at which revision it is so.
    pub(super) async fn read_everything(
        &mut self,
        client: &Client,
        lease: i64,
    ) -> Result<i64, LinkError> {
        let mut nodes = Snapshot::new(client, self.keys.nodes(), 0);
        let mut of_nodes = Vec::new();
        while let Some(page) = nodes.next().await? {
            of_nodes.extend(page.into_iter().take(NODES_READ - of_nodes.len().min(NODES_READ)));
        }
        let revision = nodes.revision();
        self.view.begin_anew(&of_nodes, Instant::now());
        let mut records = Snapshot::new(client, self.keys.records(), revision);
        let mut beaten_at = Instant::now();
        while let Some(mut page) = records.next().await? {
            for some in page.chunks_mut(AT_ONCE) {
                let actions = self.view.put_all(some, Instant::now());
                self.act(actions).await;
                if beaten_at.elapsed() > self.interval() {
                    beaten_at = Instant::now();
                    self.give_sign(client, lease).await?;
                }
            }
        }
        if records.is_cut() {
            self.view.faults.note("there are more records than are read", &self.keys.records());
        }
        // At the end, because what a node has not written anew goes once it says that all is there.
        let actions = self.view.put_all(&mut of_nodes, Instant::now());
        self.act(actions).await;
        Ok(revision)
    }

    /// Beats beside what a connection begins with.
    async fn give_sign(&mut self, client: &Client, lease: i64) -> Result<(), LinkError> {
        self.beat += 1;
        let own = self.keys.own_node();
        let txn = TxnRequest {
            compare: vec![Compare::lease(own.clone(), lease)],
            success: vec![RequestOp::put(own, self.value(false).encode(), lease)],
        };
        if client.txn(txn).await?.0 { Ok(()) } else { Err(LinkError::LeaseEnded) }
    }
}

/// Empties a value that is too long.
pub(super) fn cut(kv: &mut KeyValue) {
    if kv.value.len() > VALUE_BYTES_MAX {
        kv.value = Vec::new();
    }
}

/// How many keys are asked for at first: 64 MiB of the longest values are half of that, and usual ones
/// take half a MiB.
const LIMIT_FIRST: i64 = 1000;

/// The most keys of a page.
const LIMIT_MAX: i64 = 16_000;

/// The bytes of a page up to which the next one is as long.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// The most keys that are read: more than a view holds.
const KEYS_MAX: usize = 2_000_000;

/// The most nodes that are looked at: more than a view holds.
const NODES_READ: usize = 4096;

/// How many keys are read before others run: each takes some microseconds.
const AT_ONCE: usize = 64;
