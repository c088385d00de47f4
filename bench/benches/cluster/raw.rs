//! A bare client of etcd, and what it writes in the place of nodes.

use futures_util::stream;
use http::uri::PathAndQuery;
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use tonic::{
    Request,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use uuid::Uuid;
use wire::{Record, decode_body, encode_body};

use crate::messages::{
    KeyValue, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse, range_end,
};

/// A connection to a member of etcd.
#[derive(Clone)]
pub(crate) struct Raw(Channel);

impl Raw {
    pub(crate) async fn connect(endpoint: &str) -> Self {
        let dialed = Endpoint::from_shared(endpoint.to_owned()).unwrap().tcp_nodelay(true);
        Self(dialed.connect().await.unwrap())
    }

    /// Takes a lease of so many seconds.
    pub(crate) async fn grant(&self, ttl: i64) -> i64 {
        let granted: LeaseGrantResponse =
            self.call("/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest { ttl }).await;
        assert_ne!(granted.id, 0, "{}", granted.error);
        granted.id
    }

    /// Ends a lease, and with it its keys.
    pub(crate) async fn revoke(&self, id: i64) {
        let Done {} = self.call("/etcdserverpb.Lease/LeaseRevoke", Lease { id }).await;
    }

    pub(crate) async fn keep_alive(&self, id: i64) {
        let path = PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
        let mut grpc = self.ready().await;
        let request = Request::new(stream::iter([LeaseKeepAliveRequest { id }]));
        let codec = ProstCodec::<_, LeaseKeepAliveResponse>::default();
        let mut answers = grpc.streaming(request, path, codec).await.unwrap().into_inner();
        assert!(answers.message().await.unwrap().unwrap().ttl > 0, "the lease lives");
    }

    /// Writes some keys in one transaction.
    pub(crate) async fn put_all(&self, success: Vec<RequestOp>) {
        let txn = TxnRequest { compare: Vec::new(), success };
        let TxnResponse { succeeded, .. } = self.call("/etcdserverpb.KV/Txn", txn).await;
        assert!(succeeded);
    }

    /// Writes one key.
    pub(crate) async fn put(&self, key: Vec<u8>, value: Vec<u8>, lease: i64) {
        let put = PutRequest { key, value, lease };
        let Done {} = self.call("/etcdserverpb.KV/Put", put).await;
    }

    /// Returns all keys of a prefix, a page at a time.
    pub(crate) async fn all(&self, prefix: &[u8]) -> Vec<KeyValue> {
        let (mut all, mut key) = (Vec::new(), prefix.to_vec());
        loop {
            let range =
                RangeRequest { key, range_end: range_end(prefix), limit: 1000, revision: 0 };
            let RangeResponse { kvs, more, .. } = self.call("/etcdserverpb.KV/Range", range).await;
            all.extend(kvs);
            if !more {
                return all;
            }
            key = [&all.last().unwrap().key[..], b"\0"].concat();
        }
    }

    /// Returns how many leases there are.
    pub(crate) async fn leases(&self) -> usize {
        let Leases { leases } = self.call("/etcdserverpb.Lease/LeaseLeases", Done {}).await;
        leases.len()
    }

    async fn call<Q, A>(&self, path: &'static str, request: Q) -> A
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let (path, codec) = (PathAndQuery::from_static(path), ProstCodec::<Q, A>::default());
        self.ready().await.unary(Request::new(request), path, codec).await.unwrap().into_inner()
    }

    async fn ready(&self) -> Grpc<Channel> {
        let mut grpc = Grpc::new(self.0.clone()).max_decoding_message_size(64 << 20);
        grpc.ready().await.unwrap();
        grpc
    }
}

/// A message of nothing, or of nothing that matters.
#[derive(Clone, PartialEq, Message)]
struct Done {}

#[derive(Clone, PartialEq, Message)]
struct Leases {
    #[prost(message, repeated, tag = "2")]
    leases: Vec<Lease>,
}

#[derive(Clone, PartialEq, Message)]
struct Lease {
    /// Its number, as requests have it, too.
    #[prost(int64, tag = "1")]
    id: i64,
}

/// What a node says of itself.
#[derive(Serialize)]
pub(crate) struct NodeValue {
    pub(crate) registrar: Uuid,
    pub(crate) secret: ByteArray<32>,
    pub(crate) slot: u64,
    pub(crate) beat: u64,
    pub(crate) whole: bool,
}

impl NodeValue {
    pub(crate) fn put(&self, node: &str, lease: i64) -> RequestOp {
        let key = format!("/callsign/nodes/{node}").into_bytes();
        RequestOp::put(key, encode_body(self), lease)
    }
}

/// Returns what a node has written record by record, as it would stand outside of bundles.
pub(crate) fn apart(written: &[KeyValue]) -> Vec<KeyValue> {
    #[derive(Deserialize)]
    struct Value {
        record: Record,
    }
    let mut all = Vec::new();
    for kv in written {
        let Some(node) = kv.key.split(|it| *it == b'+').next().filter(|it| it.ends_with(b"/"))
        else {
            all.push(kv.clone());
            continue;
        };
        for value in decode_body::<Vec<ByteBuf>>(&kv.value).unwrap() {
            let Value { record } = decode_body(&value).unwrap();
            let key = [node, record.uuid.to_string().as_bytes()].concat();
            all.push(KeyValue { key, value: value.into_vec(), ..KeyValue::default() });
        }
    }
    all
}

#[derive(Serialize)]
struct RecordValue<'a> {
    record: &'a Record,
    has_key: bool,
}

/// Writes a record of a node as nodes do.
pub(crate) fn put_record(node: &str, record: &Record, lease: i64) -> RequestOp {
    let key = format!("/callsign/records/{node}/{}", record.uuid).into_bytes();
    RequestOp::put(key, encode_body(&RecordValue { record, has_key: false }), lease)
}
