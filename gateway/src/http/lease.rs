//! Registrations that live by a lease: made, renewed and removed.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{
        Path,
        rejection::{BytesRejection, PathRejection},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
};
use endpoints::{Endpoint, Name, Stamped};
use serde::{Deserialize, Serialize};
use transport::Peer as TransportPeer;
use utoipa::ToSchema;
use uuid::Uuid;
use wire::{ErrorKind, Lifetime, Record, State, registrar::Register};

use super::{peer::Peer, problem::Problem};
use crate::{
    json::{LifetimeJson, schema},
    namespaces::is_in_another,
};

/// An actor to register, for as long as it is renewed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Lease {
    /// The actor's name.
    name: String,
    /// Where it listens: multiaddrs, at most 64.
    #[schema(example = json!(["/ip4/127.0.0.1/tcp/5555"]))]
    endpoints: Vec<String>,
    /// Its metadata.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// The stage of its life. If it is not said, it stays as it is: `ready` at first, and `draining`
    /// once somebody drains the actor.
    #[schema(value_type = Option<schema::State>)]
    state: Option<State>,
    /// Its time to live without a renewal: from 100 to 86,400,000.
    ttl_ms: u64,
}

/// A registered actor.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Registered<'a> {
    /// The actor's name.
    name: &'a str,
    /// The instance.
    uuid: Uuid,
    /// Whether this renewed an earlier lease instead of registering a new instance.
    renewed: bool,
    lifetime: LifetimeJson,
    /// Its time to live without a renewal.
    ttl_ms: u64,
    /// The stage of its life.
    #[schema(value_type = schema::State)]
    state: State,
    /// Its endpoints.
    #[schema(value_type = Vec<String>)]
    endpoints: Vec<&'a Endpoint>,
    /// The same in the spelling of the multiaddr standard.
    endpoints_encoded: Vec<String>,
}

/// Registers an actor for a time, or renews that
///
/// The caller draws the UUID, and repeats the same request before the time is over: an unchanged one
/// renews the lease, and another one replaces the registration. It works over Unix sockets only,
/// where the kernel tells who the caller is: that user owns the registration.
#[utoipa::path(
    put,
    path = "/v1/instances/{uuid}",
    params(("uuid" = Uuid, Path, description = "The instance, a new UUID for each run.")),
    request_body = Lease,
    responses(
        (status = 200, description = "The lease is renewed.", body = Registered<'static>),
        (status = 201, description = "The actor is registered.", body = Registered<'static>),
        (status = "default", description = "An error.", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn put(
    Extension(peer): Extension<Arc<Peer>>,
    uuid: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    check_may_write(&peer)?;
    let uuid = read_uuid(uuid)?;
    let lease: Lease = serde_json::from_slice(&body?).map_err(Problem::invalid)?;
    let invalid = |error: &dyn std::fmt::Display, help: &str| {
        Problem::invalid(if help.is_empty() {
            error.to_string()
        } else {
            format!("{error}; {help}")
        })
    };
    let name = Name::new(&lease.name).map_err(|it| invalid(&it, it.help()))?;
    let read = |text: &String| text.parse::<Endpoint>().map_err(|it| invalid(&it, ""));
    let endpoints: Vec<_> = lease.endpoints.iter().map(read).collect::<Result<_, _>>()?;
    let endpoints = stamped(&peer, endpoints).await?;
    let Lease { metadata, ttl_ms, .. } = lease;
    let record = peer.session.record(uuid);
    let former = record.as_ref().filter(|it| it.name == name).map(|it| it.state);
    let state = lease.state.or(former).unwrap_or(State::Ready);
    let is_unchanged = |it: &Record| {
        it.name == name
            && it.endpoints == endpoints
            && it.metadata == metadata
            && it.state == state
            && it.lifetime == Lifetime::Lease { ttl_ms }
    };
    let is_known = record.as_ref().is_some_and(is_unchanged);
    let renewed = is_known && peer.session.renew(uuid).is_ok();
    if !renewed {
        let register = Register {
            endpoints: endpoints.clone(),
            metadata,
            state,
            ..Register::new(name.clone(), uuid)
        };
        peer.session.register_lease(ttl_ms, register)?;
    }
    let registered = Registered {
        name: name.as_str(),
        uuid,
        renewed,
        lifetime: LifetimeJson::Lease,
        ttl_ms,
        state,
        endpoints: endpoints.iter().map(|it| &it.endpoint).collect(),
        endpoints_encoded: endpoints.iter().map(|it| it.endpoint.to_encoded()).collect(),
    };
    let status = if renewed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(registered)).into_response())
}

/// Removes a registration
///
/// Its owner and root may, over Unix sockets only.
#[utoipa::path(
    delete,
    path = "/v1/instances/{uuid}",
    params(("uuid" = Uuid, Path, description = "The instance.")),
    responses(
        (status = 204, description = "It is removed."),
        (status = "default", description = "An error.", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    Extension(peer): Extension<Arc<Peer>>,
    uuid: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    check_may_write(&peer)?;
    peer.session.unregister(read_uuid(uuid)?)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Checks that the caller is known again at its next connection, and that no page of a browser can
/// ask in its name.
fn check_may_write(peer: &Peer) -> Result<(), Problem> {
    use registrar::registry::Owner;

    if !peer.is_unix() {
        return Err(Problem::denied("changes are made over a Unix socket only"));
    }
    match peer.session.caller().owner {
        Owner::Unknown(_) => {
            let detail = "the registrar's kernel does not identify you, so nobody could renew it";
            Err(Problem::denied(detail))
        }
        _ => Ok(()),
    }
}

fn read_uuid(uuid: Result<Path<String>, PathRejection>) -> Result<Uuid, Problem> {
    let Path(text) = uuid?;
    text.parse().map_err(|_| Problem::invalid(format!("`{text}` is no UUID")))
}

/// Stamps endpoints of the caller by what is visible from here, unless it runs elsewhere: there the
/// same path or address means another place. Paths are looked at beside, because a file system may
/// hang.
async fn stamped(peer: &Peer, endpoints: Vec<Endpoint>) -> Result<Vec<Stamped>, Problem> {
    let pid = match peer.from {
        TransportPeer::Unix { pid, .. } => pid,
        _ => None,
    };
    let look = move || endpoints.into_iter().map(|it| stamp(pid, it)).collect();
    transport::beside("looks", look).await.map_err(|error| {
        let detail = format!("the endpoints cannot be looked at: {error}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::LimitReached, detail)
    })
}

fn stamp(pid: Option<i32>, endpoint: Endpoint) -> Stamped {
    let namespace = if matches!(endpoint, Endpoint::Unix(_)) { "mnt" } else { "net" };
    match pid {
        Some(pid) if !is_in_another(namespace, pid) => {
            Stamped { stamp: transport::stamp(&endpoint), endpoint }
        }
        _ => Stamped::bare(endpoint),
    }
}
