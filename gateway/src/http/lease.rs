//! Registrations that live by a lease: made, renewed and removed.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use endpoints::{Endpoint, Name, Quoted, Stamped};
use serde::Serialize;
use transport::{Peer as TransportPeer, keep_users};
use utoipa::ToSchema;
use uuid::Uuid;
use wire::{ErrorKind, Lifetime, Proof, Record, RemoteError, State, registrar::Register};

use super::{
    body, fields::Fields, parameters::Parameters, peer::Peer, problem::Problem, socket::Way,
};
use crate::{
    json::{LifetimeJson, schema},
    namespaces::is_in_another,
};

/// An actor to register, for as long as it is renewed.
#[derive(Debug, ToSchema)]
pub(super) struct Lease {
    /// The actor's name.
    name: String,
    /// Where it listens: multiaddrs, from 1 to 64.
    #[schema(example = json!(["/ip4/127.0.0.1/tcp/5555"]))]
    endpoints: Vec<String>,
    /// Its metadata; none if absent.
    #[schema(required = false)]
    metadata: BTreeMap<String, String>,
    /// The stage of its life. If it is not said, it stays as it is: `ready` at first, and `draining`
    /// once somebody drains the actor.
    #[schema(value_type = Option<schema::State>)]
    state: Option<State>,
    /// Its time to live without a renewal: from 100 to 86,400,000.
    ttl_ms: u64,
    /// From one that comes back to an exclusive name after a restart of the registrar: the `token` of
    /// an earlier answer.
    token: Option<u64>,
    /// The `resume` of the same answer.
    resume: Option<String>,
}

impl Lease {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let known = ["name", "endpoints", "metadata", "state", "ttl_ms", "token", "resume"];
        let mut fields = Fields::read(body, &known)?;
        let states = "`starting`, `ready` or `draining`";
        let lease = Self {
            name: fields.text("name", "the actor's name, a string")?,
            endpoints: fields.texts(
                "endpoints",
                "an array of multiaddrs, such as [\"/ip4/127.0.0.1/tcp/5555\"]",
            )?,
            metadata: fields.map("metadata", "an object of strings")?,
            state: match fields.optional_text("state", states)?.as_deref() {
                None => None,
                Some("starting") => Some(State::Starting),
                Some("ready") => Some(State::Ready),
                Some("draining") => Some(State::Draining),
                Some(other) => {
                    let detail =
                        format!("the field `state` is {}, and should be {states}", Quoted(other));
                    return Err(Problem::invalid(detail));
                }
            },
            ttl_ms: fields
                .number("ttl_ms", "the time to live in milliseconds, from 100 to 86400000")?,
            token: fields.optional_number("token", "the `token` of an earlier answer, a number")?,
            resume: fields
                .optional_text("resume", "the `resume` of an earlier answer, a string")?,
        };
        if lease.endpoints.is_empty() {
            let detail = "the field `endpoints` is empty, so nobody could reach the actor: write where it \
                          listens, such as [\"/ip4/127.0.0.1/tcp/5555\"]";
            return Err(Problem::invalid(detail));
        }
        Ok(lease)
    }

    /// Returns what shows that the caller had the name before.
    fn proof(&self) -> Result<Option<Proof>, Problem> {
        match (&self.token, &self.resume) {
            (None, None) => Ok(None),
            (Some(_), Some(resume)) => match resume.parse::<Uuid>() {
                Ok(bytes) => Ok(Some(Proof::from(bytes.into_bytes()))),
                Err(_) => Err(Problem::invalid(format!(
                    "the field `resume` is {}, and should be as in an earlier answer",
                    Quoted(resume)
                ))),
            },
            _ => Err(Problem::invalid(
                "`token` and `resume` belong together: send both of an earlier answer, or none",
            )),
        }
    }
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
    /// The fencing token of an exclusive name: what the actor changes should refuse lower ones.
    #[schema(required)]
    token: Option<u64>,
    /// What brings the name back with that token after a restart of the registrar. A renewal does not
    /// repeat it.
    #[schema(required)]
    resume: Option<String>,
}

/// Registers an actor for a time, or renews that
///
/// The caller draws the UUID, and repeats the same request before the time is over: an unchanged one
/// renews the lease, and another one replaces the registration. It works over Unix sockets, where the
/// kernel tells who the caller is, and over TLS, where a certificate does: that one owns the
/// registration.
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
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    check_may_write(&peer)?;
    let uuid = read_uuid(uuid)?;
    parameters.only(&[])?;
    let lease = Lease::read(&body::read(&headers, body).await?)?;
    let resume = lease.proof()?;
    let name = Name::new(&lease.name)
        .map_err(|it| Problem::invalid(format!("the field `name`: {it}; {}", it.help())))?;
    let read = |(at, text): (usize, &String)| {
        text.parse::<Endpoint>()
            .map_err(|it| Problem::invalid(format!("the field `endpoints[{at}]`: {it}")))
    };
    let endpoints: Vec<_> =
        lease.endpoints.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    let record = peer.session.record(uuid);
    let former = record.as_ref().map(|it| it.endpoints.clone()).unwrap_or_default();
    let endpoints = stamped(&peer, endpoints, &former).await?;
    let Lease { metadata, ttl_ms, token, .. } = lease;
    let former = record.as_ref().filter(|it| it.name == name).map(|it| it.state);
    let state = lease.state.or(former).unwrap_or(State::Ready);
    let is_unchanged = |it: &Record| {
        it.name == name
            && it.endpoints == endpoints
            && it.metadata == metadata
            && it.state == state
            && it.lifetime == Lifetime::Lease { ttl_ms }
    };
    let known = record.filter(is_unchanged);
    let renewed = known.is_some() && peer.session.renew(uuid).is_ok();
    let (token, resume) = if renewed {
        (known.and_then(|it| it.token), None)
    } else {
        let register = Register {
            endpoints: endpoints.clone(),
            metadata,
            state,
            token,
            resume,
            ..Register::new(name.clone(), uuid)
        };
        let registered = peer.session.register_lease(ttl_ms, register).await.map_err(refused)?;
        (registered.token, registered.resume)
    };
    let registered = Registered {
        name: name.as_str(),
        uuid,
        renewed,
        lifetime: LifetimeJson::Lease,
        ttl_ms,
        state,
        endpoints: endpoints.iter().map(|it| &it.endpoint).collect(),
        endpoints_encoded: endpoints.iter().map(|it| it.endpoint.to_encoded()).collect(),
        token,
        resume: resume.map(|it| Uuid::from_bytes(it.to_bytes()).simple().to_string()),
    };
    let status = if renewed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(registered)).into_response())
}

/// Says in words of HTTP why a registration is refused: nobody waits in line by a request.
fn refused(error: RemoteError) -> Problem {
    let mut problem = Problem::from(error);
    for (of_commands, of_http) in ADVICE {
        problem.reword(of_commands, of_http);
    }
    problem
}

/// What the registrar advises to a command, and the same for HTTP.
const ADVICE: [(&str, &str); 3] = [
    ("wait in line for it (`--wait`)", "repeat the request until it is free"),
    ("wait too (`--wait`)", "repeat the request until it is free"),
    ("ask again then, or wait in line (`--wait`)", "repeat the request then"),
];

/// Removes a registration
///
/// Its owner and root may, over Unix sockets and over TLS.
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
    parameters: Parameters,
) -> Result<StatusCode, Problem> {
    check_may_write(&peer)?;
    parameters.only(&[])?;
    peer.session.unregister(read_uuid(uuid)?)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Checks that the caller is known again at its next connection, and that no page of a browser can
/// ask in its name.
fn check_may_write(peer: &Peer) -> Result<(), Problem> {
    use registrar::registry::Owner;

    match (peer.way(), peer.session.caller().owner) {
        (Way::Port, _) => {
            Err(Problem::denied("changes are made over a Unix socket or over TLS only"))
        }
        (Way::Tls, Owner::Certified(_)) => Ok(()),
        (Way::Tls, _) => {
            let detail = "changes take a certificate with a name, and yours names nobody: it needs \
                          a SPIFFE ID and no other URI, or a DNS name";
            Err(Problem::denied(detail))
        }
        (Way::Unix, Owner::Unknown(_)) => {
            let detail = "the registrar's kernel does not identify you, so nobody could renew it";
            Err(Problem::denied(detail))
        }
        (Way::Unix, _) => Ok(()),
    }
}

fn read_uuid(uuid: Result<Path<String>, PathRejection>) -> Result<Uuid, Problem> {
    let Path(text) = uuid?;
    text.parse().map_err(|_| {
        Problem::invalid(format!(
            "{} is no UUID: draw one for each run, as `uuidgen` does",
            Quoted(&text)
        ))
    })
}

/// Stamps endpoints of the caller by what is visible from here, unless it runs elsewhere: there the
/// same path or address means another place. Paths are looked at beside, because a file system may
/// hang.
///
/// Whoever listened when the instance was registered is meant for as long as it lives.
async fn stamped(
    peer: &Peer,
    endpoints: Vec<Endpoint>,
    former: &[Stamped],
) -> Result<Vec<Stamped>, Problem> {
    let (pid, uid) = match peer.from {
        TransportPeer::Unix { pid, uid, .. } => (pid, uid),
        _ => (None, None),
    };
    let former = former.to_vec();
    let look = move || {
        let mut stamped: Vec<_> = endpoints.into_iter().map(|it| stamp(pid, it)).collect();
        transport::stamp_users(&mut stamped, uid);
        keep_users(&mut stamped, &former);
        stamped
    };
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
