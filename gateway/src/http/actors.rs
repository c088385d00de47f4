//! Actors: all of them, those of a name, their endpoints in order, and their trees.

use std::{convert::Infallible, mem, ops::Deref, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{
        Path, Query,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::Response,
};
use endpoints::{Name, NamePattern};
use futures_util::stream;
use registrar::Holding;
use serde::{Deserialize, Serialize};
use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};
use utoipa::IntoParams;
use wire::{
    CallId, ErrorKind, Record, State,
    registrar::{Page, Seen},
    supervised::PATH_KEY,
};

use super::{peer::Peer, problem::Problem};
use crate::json::{RecordJson, ResolvedJson, Source, SupervisedJson, forest, rows};

/// Which actors.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParameters {
    /// Only these names: `*` matches any run of characters, `?` any one.
    pattern: Option<String>,
}

/// All actors
///
/// The records that `callsign ls --json` prints, oldest registration first, with their nearness as
/// seen from the registrar. While it has just started, clients of an earlier run may be missing: the
/// header `Callsign-Settling-Ms` says for how long, and that there are none is not said (503).
#[utoipa::path(
    get,
    path = "/v1/actors",
    params(ListParameters),
    responses(
        (status = 200, description = "The instances.", body = Vec<RecordJson<'static>>,
         headers(
            ("Callsign-Revision" = u64, description = "The revision of the registry."),
            ("Callsign-Settling-Ms" = Option<u64>, description = "Further instances may return \
                                                                  within that time."),
         )),
        (status = 503, description = "The registrar has just started, and may not know all actors \
                                      yet.", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "An error.", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    Extension(peer): Extension<Arc<Peer>>,
    parameters: Result<Query<ListParameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(ListParameters { pattern }) = parameters?;
    let pattern = read_pattern(pattern.as_deref())?;
    let Page { revision, now_ms, next, records } = peer.session.list(&pattern, 0);
    let mut part = vec![b'['];
    append(&mut part, &peer, &records, now_ms);
    if next.is_none() {
        if records.is_empty() {
            settled(&peer)?;
        }
        part.push(b']');
        return Ok(stamped(&peer, revision, respond(&peer, part)?));
    }
    // The rest is read as the peer takes it, so that no more than a page waits for it.
    let charge = peer.charge(PAGE_BYTES)?;
    let asker = peer.clone();
    let listing = Listing { peer, pattern, next, part, is_over: false, _charge: charge };
    let parts = stream::unfold(listing, |mut listing| async {
        let part = listing.next_part().await?;
        Some((Ok::<_, Infallible>(part), listing))
    });
    Ok(stamped(&asker, revision, json(Body::from_stream(parts))))
}

/// A list that is told in parts.
struct Listing {
    peer: Arc<Peer>,
    pattern: NamePattern,
    next: Option<wire::Epoch>,
    part: Vec<u8>,
    is_over: bool,
    _charge: Holding,
}

impl Listing {
    async fn next_part(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        if self.part.is_empty() {
            // Others get their turn between the pages.
            yield_now().await;
            let Some(after) = self.next else {
                self.is_over = true;
                return Some(Bytes::from_static(b"]"));
            };
            let Page { now_ms, next, records, .. } = self.peer.session.list(&self.pattern, after);
            self.next = next;
            if !records.is_empty() {
                self.part.push(b',');
            }
            append(&mut self.part, &self.peer, &records, now_ms);
        }
        // An empty part would end the answer.
        if self.part.is_empty() {
            self.part.push(b'\n');
        }
        Some(mem::take(&mut self.part).into())
    }
}

/// Appends records, with commas between them.
fn append(bytes: &mut Vec<u8>, peer: &Peer, records: &[Record], now_ms: u64) {
    peer.seen(|from| {
        for (at, record) in records.iter().enumerate() {
            if at > 0 {
                bytes.push(b',');
            }
            write(bytes, &from.describe(record, Some(now_ms)));
        }
    });
}

/// What is asked of a name.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct InstancesParameters {
    /// Whether starting and draining instances are included.
    #[serde(default)]
    all: bool,
    /// How long to wait, such as `10s`: for the first instance, or with `after` for something new.
    wait: Option<String>,
    /// The revision of an earlier answer, from its header `Callsign-Revision`.
    after: Option<u64>,
}

/// The instances of a name
///
/// The records that `callsign find --all --json` prints. With `wait` the answer comes once there is
/// an instance, or with `after` once something about the name has changed since that revision; in
/// any case when the time is over.
#[utoipa::path(
    get,
    path = "/v1/actors/{name}",
    params(("name" = String, Path, description = "The whole name."), InstancesParameters),
    responses(
        (status = 200, description = "The instances, newest first.",
         body = Vec<RecordJson<'static>>,
         headers(
            ("Callsign-Revision" = u64, description = "The revision of the registry."),
            ("Callsign-Settling-Ms" = Option<u64>, description = "Further instances may return \
                                                                  within that time."),
         )),
        (status = 404, description = "No instance of the name is ready.", body = Problem,
         content_type = "application/problem+json"),
        (status = 503, description = "The registrar has just started, and may not know all actors \
                                      yet.", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "An error.", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn instances(
    Extension(peer): Extension<Arc<Peer>>,
    name: Result<Path<String>, PathRejection>,
    parameters: Result<Query<InstancesParameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let name = read_name(name)?;
    let Query(InstancesParameters { all, wait, after }) = parameters?;
    if let Some(wait) = wait {
        let limit = humantime::parse_duration(&wait).ok().filter(|it| *it <= WAIT_MAX);
        let limit = limit.ok_or_else(|| {
            Problem::invalid(format!("`wait` is a time of at most 10min, such as `10s`: `{wait}`"))
        })?;
        wait_for(&peer, &name, all, after, limit).await?;
    }
    let page = query(&peer, &name, all);
    let mut part = vec![b'['];
    append(&mut part, &peer, &page.records, page.now_ms);
    part.push(b']');
    let response = if page.records.is_empty() {
        axum::response::IntoResponse::into_response(nobody(&peer, &name))
    } else {
        respond(&peer, part)?
    };
    Ok(stamped(&peer, page.revision, response))
}

/// Waits until a name has an instance, or something about it has changed after a revision.
async fn wait_for(
    peer: &Peer,
    name: &Name,
    all: bool,
    after: Option<u64>,
    limit: Duration,
) -> Result<(), Problem> {
    let deadline = Instant::now() + limit;
    let pattern = NamePattern::new(name.as_str()).map_err(|it| Problem::invalid(it.to_string()))?;
    let registrar = peer.session.registry().registrar();
    let seen = after.map(|revision| Seen { registrar, revision });
    let has_resumed = peer.session.watch(WATCH, pattern, seen)?;
    let _watched = Watched(peer);
    if after.is_some() && !has_resumed {
        // What has changed meanwhile is no longer known, so it may be anything.
        return Ok(());
    }
    while after.is_some() || query(peer, name, all).records.is_empty() {
        tokio::select! {
            () = peer.stop.cancelled() => break,
            changes = timeout_at(deadline, peer.session.changes()) => {
                if changes.is_err() || after.is_some() {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// The watch of a connection, until it is dropped.
pub(super) struct Watched<P: Deref<Target = Peer>>(pub(super) P);

impl<P: Deref<Target = Peer>> Drop for Watched<P> {
    fn drop(&mut self) {
        self.0.session.cancel(WATCH);
    }
}

/// The endpoints of a name, in the order of dialing
///
/// What `callsign resolve --explain --json` prints, as seen from the registrar.
#[utoipa::path(
    get,
    path = "/v1/resolve/{name}",
    params(("name" = String, Path, description = "The whole name.")),
    responses(
        (status = 200, description = "The endpoints; those that are left out come last.",
         body = ResolvedJson<'static>,
         headers(
            ("Callsign-Revision" = u64, description = "The revision of the registry."),
            ("Callsign-Settling-Ms" = Option<u64>, description = "Further instances may return \
                                                                  within that time."),
         )),
        (status = 404, description = "Nobody has the name.", body = Problem,
         content_type = "application/problem+json"),
        (status = 503, description = "The registrar has just started, and may not know all actors \
                                      yet.", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "An error.", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn resolve(
    Extension(peer): Extension<Arc<Peer>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let name = read_name(name)?;
    let Page { revision, records, .. } = query(&peer, &name, true);
    if records.is_empty() {
        return Err(nobody(&peer, &name));
    }
    // Starting and draining instances are not dialed, only shown.
    let (ready, others): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|it| it.state == State::Ready);
    let explanation = peer.seen(|from| from.explain(&ready));
    let rows = rows(Source::Registrar, &explanation, &ready, &others);
    let mut body = Vec::new();
    write(&mut body, &ResolvedJson::of(name.as_str(), Source::Registrar, &rows));
    Ok(stamped(&peer, revision, respond(&peer, body)?))
}

/// The trees of supervised actors
///
/// What `callsign tree --json` prints.
#[utoipa::path(
    get,
    path = "/v1/tree",
    responses(
        (status = 200, description = "The roots, each with its descendants.",
         body = Vec<SupervisedJson<'static>>,
         headers(
            ("Callsign-Revision" = u64, description = "The revision of the registry."),
            ("Callsign-Settling-Ms" = Option<u64>, description = "Further instances may return \
                                                                  within that time."),
         )),
        (status = 503, description = "The registrar has just started, and may not know all actors \
                                      yet.", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "An error.", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn tree(Extension(peer): Extension<Arc<Peer>>) -> Result<Response, Problem> {
    let (mut supervised, mut after, mut clock) = (Vec::new(), Some(0), (0, 0));
    let mut charge = peer.session.holding();
    while let Some(epoch) = after {
        let page = peer.session.page(epoch);
        clock = (page.revision, page.now_ms);
        after = page.next;
        supervised.extend(page.records.into_iter().filter(|it| it.metadata.contains_key(PATH_KEY)));
        if supervised.len() > SUPERVISED_MAX {
            let detail = format!(
                "there are more than {SUPERVISED_MAX} supervised actors: read `/v1/actors`, which \
                 has their `tree.parent` in the metadata"
            );
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Err(Problem::new(status, ErrorKind::LimitReached, detail));
        }
        charge.set(supervised.len() * SUPERVISED_BYTES)?;
        yield_now().await;
    }
    if supervised.is_empty() {
        settled(&peer)?;
    }
    let (revision, now_ms) = clock;
    let forest = forest(&supervised);
    let trees: Vec<SupervisedJson<'_>> = forest.iter().map(|it| it.to_json(now_ms)).collect();
    let mut body = Vec::new();
    write(&mut body, &trees);
    charge.set(0)?;
    Ok(stamped(&peer, revision, respond(&peer, body)?))
}

fn query(peer: &Peer, name: &Name, all: bool) -> Page {
    if all { peer.session.look_up_all(name) } else { peer.session.look_up(name) }
}

pub(super) fn read_pattern(text: Option<&str>) -> Result<NamePattern, Problem> {
    let Some(text) = text else { return Ok(NamePattern::any()) };
    NamePattern::new(text)
        .map_err(|error| Problem::invalid(format!("`pattern`: {error}; {}", error.help())))
}

fn read_name(name: Result<Path<String>, PathRejection>) -> Result<Name, Problem> {
    let Path(name) = name?;
    Name::new(&name).map_err(|error| Problem::invalid(format!("{error}; {}", error.help())))
}

/// Says that nobody has a name, or that this is not known yet.
fn nobody(peer: &Peer, name: &Name) -> Problem {
    match settled(peer) {
        Err(unsettled) => unsettled,
        Ok(()) => Problem::not_found(format!("no instance of `{name}` is ready")),
    }
}

/// Says that "there is none" is not known yet, if that is so.
pub(super) fn settled(peer: &Peer) -> Result<(), Problem> {
    match peer.session.registry().settling() {
        None => Ok(()),
        Some(_) => Err(Problem::unsettled()),
    }
}

fn write(bytes: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(bytes, value).expect("these are maps with keys that are strings");
}

/// Answers with a whole body, charged to the owner of the connection until it is written.
fn respond(peer: &Peer, body: Vec<u8>) -> Result<Response, Problem> {
    if body.len() <= SMALL_BYTES {
        return Ok(json(Body::from(body)));
    }
    let length = body.len();
    let charge = peer.charge(length)?;
    let part = stream::unfold((Some(body), charge), |(body, charge)| async {
        Some((Ok::<_, Infallible>(Bytes::from(body?)), (None, charge)))
    });
    let mut response = json(Body::from_stream(part));
    response.headers_mut().insert(axum::http::header::CONTENT_LENGTH, length.into());
    Ok(response)
}

fn json(body: Body) -> Response {
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Adds to an answer which revision of the registry it tells, and whether more may return soon.
fn stamped(peer: &Peer, revision: u64, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(REVISION, revision.into());
    if let Some(left) = peer.session.registry().settling() {
        headers.insert(SETTLING, settling_ms(left).into());
    }
    response
}

/// Returns a time until the registrar is settled, as it is told.
pub(super) fn settling_ms(left: Duration) -> u64 {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The header with the revision of the registry to which an answer belongs.
const REVISION: &str = "callsign-revision";

/// The header with the time within which clients of an earlier registrar may return.
const SETTLING: &str = "callsign-settling-ms";

/// The number of the one watch of a connection.
pub(super) const WATCH: CallId = 1;

/// The longest wait: proxies cut longer ones.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// The bytes of a page of records in JSON, at most: it takes three times as much as on the wire.
const PAGE_BYTES: usize = 1024 * 1024;

/// The answer that is included in the charge of its connection.
const SMALL_BYTES: usize = 4 * 1024;

/// The most actors in trees, and what each takes while they are arranged.
const SUPERVISED_MAX: usize = 16 * 1024;
const SUPERVISED_BYTES: usize = 2 * 1024;
