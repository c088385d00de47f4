//! A connection to one member of etcd. Every call has a time limit: a connection to a member that is
//! gone, or cut off from the others, looks well.

use std::{
    error::Error as _,
    future::{Future, ready},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use http::uri::PathAndQuery;
use prost::Message;
use thiserror::Error;
use tokio::{sync::oneshot, time::timeout};
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tonic_prost::ProstCodec;

use super::messages::{
    AuthenticateRequest, AuthenticateResponse, Header, KeyValue, LeaseGrantRequest,
    LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, RangeRequest, RangeResponse,
    TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest, WatchResponse, range_end,
};
use crate::settings::EtcdUser;

/// How a member of etcd is reached.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) endpoint: String,
    pub(crate) tls: Option<ClientTlsConfig>,
    /// Whether this node has a certificate.
    pub(crate) has_identity: bool,
    pub(crate) user: Option<EtcdUser>,
    /// The time limit of each call.
    pub(crate) limit: Duration,
}

impl Connection {
    /// Returns what may be the matter if etcd accepts a connection, and ends it without a word.
    fn hint(&self) -> &'static str {
        if !self.endpoint.starts_with("https://") {
            "it may want `https://`, or be no etcd"
        } else if self.has_identity {
            "it may not know the authority of this node's certificate"
        } else {
            "it may want a certificate of this node (`certificate` and `key`)"
        }
    }
}

/// A connection to a member of etcd.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
    limit: Duration,
}

/// What etcd sends of the changes of a prefix. It ends at etcd too when it is dropped.
#[derive(Debug)]
pub(crate) struct Watching {
    responses: Streaming<WatchResponse>,
    _asking: Asking,
}

impl Watching {
    /// Returns the next response, or `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn message(&mut self) -> Result<Option<WatchResponse>, Status> {
        self.responses.message().await
    }
}

/// Keeps a stream of requests open until it is dropped. Without that, etcd and this side would hold
/// the stream, and with it the connection, for ever: the end of the answers alone ends neither.
type Asking = oneshot::Sender<()>;

/// Returns a stream of one request, which ends when its other half is dropped.
fn asking<T: Send + 'static>(request: T) -> (Asking, impl Stream<Item = T> + Send + 'static) {
    let (asking, is_over) = oneshot::channel();
    let rest = stream::once(is_over).filter_map(|_| ready(None));
    (asking, stream::iter([request]).chain(rest))
}

/// Why a call to etcd has failed.
#[derive(Debug, Error)]
pub(crate) enum EtcdError {
    #[error("cannot connect")]
    Connect(#[source] tonic::transport::Error),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("{call} failed: {}{}", .status.message(), remedy(.status.message()))]
    Call { call: &'static str, status: Status },
    #[error("it ended the connection at once: {hint}")]
    Ended { hint: &'static str },
    #[error("{0}")]
    Answer(&'static str),
}

impl EtcdError {
    /// Tells whether what was asked for is no longer in etcd's history.
    pub(crate) fn is_compacted(&self) -> bool {
        self.is_out_of_range_by("compacted")
    }

    /// Tells whether an answer was longer than any that is read.
    pub(crate) fn is_too_long(&self) -> bool {
        self.is_out_of_range_by("length too large")
    }

    fn is_out_of_range_by(&self, words: &str) -> bool {
        let is_it = |it: &Status| it.code() == Code::OutOfRange && it.message().contains(words);
        matches!(self, Self::Call { status, .. } if is_it(status))
    }
}

impl Client {
    /// Connects to a member, and says who asks.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn connect(to: &Connection) -> Result<Self, EtcdError> {
        let Connection { endpoint, tls, user, limit, .. } = to;
        let mut dialed = Endpoint::from_shared(endpoint.clone())
            .map_err(EtcdError::Connect)?
            .connect_timeout(*limit)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(*limit)
            .keep_alive_while_idle(true);
        if let Some(tls) = tls {
            dialed = dialed.tls_config(tls.clone()).map_err(EtcdError::Connect)?;
        }
        let channel = in_time(*limit, dialed.connect()).await?.map_err(EtcdError::Connect)?;
        let mut client = Self { channel, token: None, limit: *limit };
        if let Some(EtcdUser { name, password }) = user {
            let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
            let path = "/etcdserverpb.Auth/Authenticate";
            let AuthenticateResponse { token } = client.call("authenticate", path, request).await?;
            let token = token.parse();
            client.token = Some(token.map_err(|_| EtcdError::Answer("its token is no text"))?);
        }
        Ok(client)
    }

    /// Asks a first question, the answer to which is no matter. A server that refuses this side's
    /// certificate says nothing, and ends the connection.
    pub(crate) async fn greet(&self, to: &Connection, key: Vec<u8>) -> Result<(), EtcdError> {
        match self.get(key).await {
            // What comes from etcd has no cause on this side.
            Err(EtcdError::Call { status, .. }) if status.source().is_some() => {
                Err(EtcdError::Ended { hint: to.hint() })
            }
            answer => answer.map(drop),
        }
    }

    /// Returns so many of the keys of a prefix from one of them on, at a revision, or the present one.
    pub(crate) async fn page(
        &self,
        (prefix, from): (&[u8], Vec<u8>),
        revision: i64,
        limit: i64,
    ) -> Result<Page, EtcdError> {
        let request = RangeRequest { key: from, range_end: range_end(prefix), limit, revision };
        let RangeResponse { header, mut kvs, more } =
            self.call("range", "/etcdserverpb.KV/Range", request).await?;
        let Header { revision: now, .. } = header.ok_or(NO_HEADER)?;
        let revision = if revision == 0 { now } else { revision };
        kvs.truncate(limit as usize);
        let after = |it: &KeyValue| [&it.key[..], b"\0"].concat();
        let next = kvs.last().filter(|_| more).map(after);
        Ok(Page { kvs, revision, next })
    }

    /// Returns a key, if it is there.
    pub(crate) async fn get(&self, key: Vec<u8>) -> Result<Option<KeyValue>, EtcdError> {
        let request = RangeRequest { key, range_end: Vec::new(), limit: 1, revision: 0 };
        let response: RangeResponse = self.call("range", "/etcdserverpb.KV/Range", request).await?;
        Ok(response.kvs.into_iter().next())
    }

    /// Makes all changes of a transaction if all of its conditions hold. Tells whether they did, and
    /// the revision.
    pub(crate) async fn txn(&self, txn: TxnRequest) -> Result<(bool, i64), EtcdError> {
        let TxnResponse { header, succeeded } =
            self.call("txn", "/etcdserverpb.KV/Txn", txn).await?;
        Ok((succeeded, header.ok_or(NO_HEADER)?.revision))
    }

    /// Takes a lease.
    pub(crate) async fn grant(&self, lease: Duration) -> Result<i64, EtcdError> {
        let ttl = lease.as_secs().max(1) as i64;
        let path = "/etcdserverpb.Lease/LeaseGrant";
        let granted = self.call("lease grant", path, LeaseGrantRequest { ttl }).await?;
        let LeaseGrantResponse { id, error, .. } = granted;
        if id == 0 || !error.is_empty() {
            return Err(EtcdError::Answer("it grants no lease"));
        }
        Ok(id)
    }

    /// Prolongs a lease. `false` if it has ended.
    pub(crate) async fn keep_alive(&self, id: i64) -> Result<bool, EtcdError> {
        let path = PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
        let (_asking, requests) = asking(LeaseKeepAliveRequest { id });
        let asked = async {
            let mut grpc = self.ready().await?;
            let codec = ProstCodec::<_, LeaseKeepAliveResponse>::default();
            let streamed = grpc.streaming(self.request(requests), path, codec).await?;
            streamed.into_inner().message().await
        };
        let answer = in_time(self.limit, asked).await?;
        let answer = answer.map_err(|status| EtcdError::Call { call: "keep-alive", status })?;
        Ok(answer.is_some_and(|it| it.ttl > 0))
    }

    /// Begins to watch a prefix from a revision on.
    pub(crate) async fn watch(&self, prefix: &[u8], from: i64) -> Result<Watching, EtcdError> {
        let create = WatchCreateRequest {
            key: prefix.to_vec(),
            range_end: range_end(prefix),
            start_revision: from,
            fragment: true,
        };
        let (asking, requests) = asking(WatchRequest { create: Some(create) });
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let begun = async {
            let mut request = self.request(requests);
            // A member that is cut off from the others ends the watch, and does not fall silent.
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
            let mut grpc = self.ready().await?;
            grpc.streaming(request, path, ProstCodec::default()).await
        };
        let watching = in_time(self.limit, begun).await?;
        let watching = watching.map_err(|status| EtcdError::Call { call: "watch", status })?;
        Ok(Watching { responses: watching.into_inner(), _asking: asking })
    }

    async fn call<Q, A>(
        &self,
        call: &'static str,
        path: &'static str,
        request: Q,
    ) -> Result<A, EtcdError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path = PathAndQuery::from_static(path);
        let called = async {
            let mut grpc = self.ready().await?;
            grpc.unary(self.request(request), path, ProstCodec::<Q, A>::default()).await
        };
        let answer = in_time(self.limit, called).await?;
        Ok(answer.map_err(|status| EtcdError::Call { call, status })?.into_inner())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }
}

/// Some keys in order.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) kvs: Vec<KeyValue>,
    /// At which revision they are so.
    pub(crate) revision: i64,
    /// From which key on there are more, if there are.
    pub(crate) next: Option<Vec<u8>>,
}

/// Returns what helps against what etcd says, if that is more than its own words tell.
fn remedy(message: &str) -> &'static str {
    let remedies = [
        (
            "database space exceeded",
            " (its quota is used up, and it writes nothing: compact and defragment it, then \
             `etcdctl alarm disarm`)",
        ),
        ("user name is empty", " (it wants a `user` of this node, with a `password_file`)"),
        ("permission denied", " (its user has to read and write all keys of the `prefix`)"),
        ("not supported for learner", " (that member only learns yet: name one that votes)"),
    ];
    remedies.iter().find(|(says, _)| message.contains(says)).map_or("", |(_, remedy)| remedy)
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, EtcdError> {
    timeout(limit, work).await.map_err(|_| EtcdError::Silent(limit))
}

/// How often a connection without traffic is looked at: etcd ends one that is pinged more often than
/// every 5 s, unless told otherwise. What is awaited has a limit of its own.
const PING_INTERVAL: Duration = Duration::from_secs(10);

const NO_HEADER: EtcdError = EtcdError::Answer("its answer has no header");

/// The longest message: etcd takes none longer than 1.5 MiB, and a page of long records is longer.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
