//! The messages between a parent and its child, over their channel.
//!
//! The channel speaks the portal protocol, and either side calls the other:
//!
//! ```text
//!   parent ── actor.run { spec } ──▶ child     it binds, and says where it listens
//!   parent ◀── started, notes ────── child     the last note is how it ended
//!   parent ── tree.keys { keys } ───▶ child    with what it, or one below, proves who it is
//!   parent ── tree.lost { lost } ───▶ child    what it, or one below, has lost of its entry
//!   parent ── actor.cancel { why } ─▶ child
//!   parent ── export.<path> ────────▶ child    calls of exported functions
//!   parent ◀── tree.register ─────── child     for actors further below
//!   parent ◀── tree.unregister ───── child
//!   parent ◀── tree.relocate ─────── child     its socket vanished, and was bound again
//! ```

use std::{collections::BTreeMap, path::PathBuf};

use discovery::Lost;
use endpoints::{Endpoint, Name, Stamped};
use portal::Key;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wire::{InstanceSecret, State};

use crate::{ActorPath, CancelReason, Exit, Kind, child::places::Places, status::Phase};

/// Makes an actor of the process, thread or task at the other end.
pub(crate) const RUN: &str = "actor.run";
/// Asks an actor to end.
pub(crate) const CANCEL: &str = "actor.cancel";
/// Passes the keys of its proof of identity to an actor, or to one below it.
pub(crate) const KEYS: &str = "tree.keys";
/// Reports a loss of an entry to an actor, or to one below it.
pub(crate) const LOST: &str = "tree.lost";
/// Registers an actor further below, or changes its registration.
pub(crate) const REGISTER: &str = "tree.register";
/// Takes actors further below out of the registry.
pub(crate) const UNREGISTER: &str = "tree.unregister";

/// Reports that sockets of an actor were bound again.
pub(crate) const RELOCATE: &str = "tree.relocate";

/// The message with a child's specification.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct SpawnSpec {
    pub(crate) path: ActorPath,
    pub(crate) uuid: Uuid,
    pub(crate) kind: Kind,
    /// The endpoints to bind.
    pub(crate) places: Places,
    /// The exported functions that may be called.
    pub(crate) expose: Vec<String>,
    /// The exported function that it runs; only its parent may call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entry_point: Option<String>,
    /// The registrars.
    pub(crate) registrars: Vec<Endpoint>,
    /// Whether they may be beyond the loopback without TLS.
    #[serde(default)]
    pub(crate) insecure: bool,
    /// The files of the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsPaths>,
    /// The endpoints of the tree's actors, by name.
    pub(crate) table: BTreeMap<Name, Vec<Endpoint>>,
    /// The destination of a dump if an end takes too long.
    pub(crate) dumps: PathBuf,
}

/// The files of a process's certificate.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct TlsPaths {
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Reports the endpoints at which a child listens.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Listening {
    pub(crate) pid: u32,
    pub(crate) endpoints: Vec<Stamped>,
}

/// A note of a child about itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Note {
    /// Its phase.
    Phase(Phase),
    /// Its exit. Nothing follows.
    Exit(Exit),
}

/// Asks an actor to end.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct CancelRequest {
    pub(crate) reason: CancelReason,
    /// Whether the end of everything below it is forced.
    #[serde(default)]
    pub(crate) force: bool,
}

/// Registers an actor, or changes its entry.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct RegisterRequest {
    pub(crate) name: Name,
    pub(crate) uuid: Uuid,
    pub(crate) endpoints: Vec<Stamped>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) state: State,
    /// The secret of the UUID, which the parent has drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<InstanceSecret>,
}

/// Changes the endpoints of an actor.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct RelocateRequest {
    pub(crate) uuid: Uuid,
    pub(crate) endpoints: Vec<Stamped>,
}

/// The keys of an instance's proof of identity.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Keys {
    pub(crate) uuid: Uuid,
    pub(crate) keys: Vec<Key>,
}

/// Tells an instance of the loss of its entry.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Loss {
    pub(crate) uuid: Uuid,
    pub(crate) lost: Lost,
}

/// Takes actors out of the registry.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct UnregisterRequest {
    pub(crate) uuids: Vec<Uuid>,
}
