//! What a node says to etcd, and hears from it: the few calls that it needs.

mod client;
mod messages;

pub(crate) use client::{Client, Connection, EtcdError, Page, Watching};
pub(crate) use messages::{
    Compare, Event, EventKind, KeyValue, RequestOp, TxnRequest, WatchResponse,
};
