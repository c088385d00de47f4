//! Actors: all of them, those of a name, their endpoints in order, and their trees.

use std::{convert::Infallible, ops::Deref, sync::Arc, time::Duration, vec};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Path, rejection::PathRejection},
    http::{HeaderValue, Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use endpoints::{Name, NamePattern};
use futures_util::stream;
use registrar::Holding;
use serde::Serialize;
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

use super::{kept::Answer, parameters::Parameters, peer::Peer, problem::Problem, seen::Viewpoint};
use crate::json::{RecordJson, ResolvedJson, Source, SupervisedJson, forest, rows};

/// Which actors.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read by name")]
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
            ("Callsign-Cut-Off-Ms" = Option<u64>, description = "Instances of other nodes may be \
                                                                 missing: for so long the registrar \
                                                                 has heard nothing of its cluster."),
         )),
        (status = 503, description = "The registrar has just started, or is cut off from its cluster, \
                                      and may not know all actors.", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "An error.", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    Extension(peer): Extension<Arc<Peer>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let pattern = read_pattern(parameters.only(&["pattern"])?.get("pattern"))?;
    let page = peer.session.list(&pattern, 0);
    if page.records.is_empty() && page.next.is_none() {
        knows_all(&peer)?;
    }
    tell(peer, pattern, page)
}

/// Answers with the records of a page, and of those after it. What is long is told in slices, so that
/// others get their turn in between, and is read as the peer takes it, so that no more than a page
/// waits for it.
fn tell(peer: Arc<Peer>, pattern: NamePattern, page: Page) -> Result<Response, Problem> {
    let Page { revision, now_ms, next, records } = page;
    if next.is_none() && records.len() <= SLICE {
        let mut body = vec![b'['];
        append(&mut body, &peer, &records, Some(now_ms));
        body.push(b']');
        return Ok(stamped(&peer, revision, respond(&peer, body)?));
    }
    let charge = peer.charge(PAGE_BYTES)?;
    let asker = peer.clone();
    let records = records.into_iter();
    let told = Told::Nothing;
    let listing = Listing { peer, pattern, records, now_ms, next, told, _charge: charge };
    let parts = stream::unfold(listing, |mut listing| async {
        let part = listing.next_part().await?;
        Some((Ok::<_, Infallible>(part), listing))
    });
    Ok(stamped(&asker, revision, json(Body::from_stream(parts))))
}

/// A list that is told in slices.
struct Listing {
    peer: Arc<Peer>,
    pattern: NamePattern,
    /// What is left of the page.
    records: vec::IntoIter<Record>,
    now_ms: u64,
    next: Option<wire::Epoch>,
    told: Told,
    _charge: Holding,
}

/// How much of a list has been told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Nothing,
    Some,
    All,
}

impl Listing {
    async fn next_part(&mut self) -> Option<Bytes> {
        if self.told == Told::All {
            return None;
        }
        yield_now().await;
        while self.records.len() == 0 {
            let Some(after) = self.next else {
                let end: &[u8] = if self.told == Told::Nothing { b"[]" } else { b"]" };
                self.told = Told::All;
                return Some(Bytes::from_static(end));
            };
            let page = self.peer.session.list(&self.pattern, after);
            (self.records, self.now_ms) = (page.records.into_iter(), page.now_ms);
            self.next = page.next;
            yield_now().await;
        }
        let mut part = vec![if self.told == Told::Nothing { b'[' } else { b',' }];
        self.told = Told::Some;
        let slice: Vec<_> = self.records.by_ref().take(SLICE).collect();
        append(&mut part, &self.peer, &slice, Some(self.now_ms));
        Some(part.into())
    }
}

/// Appends records, with commas between them.
fn append(bytes: &mut Vec<u8>, peer: &Peer, records: &[Record], now_ms: Option<u64>) {
    peer.seen(|from| {
        for (at, record) in records.iter().enumerate() {
            if at > 0 {
                bytes.push(b',');
            }
            write(bytes, &from.describe(record, now_ms));
        }
    });
}

/// What is asked of a name.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read by name")]
pub(super) struct InstancesParameters {
    /// Whether starting and draining instances are included.
    #[param(required = false)]
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
            ("Callsign-Cut-Off-Ms" = Option<u64>, description = "Instances of other nodes may be \
                                                                 missing: for so long the registrar \
                                                                 has heard nothing of its cluster."),
         )),
        (status = 404, description = "No instance of the name is ready.", body = Problem,
         content_type = "application/problem+json"),
        (status = 503, description = "The registrar has just started, or is cut off from its cluster, \
                                      and may not know all actors.", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "An error.", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn instances(
    Extension(peer): Extension<Arc<Peer>>,
    uri: Uri,
    name: Result<Path<String>, PathRejection>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let name = read_name(name)?;
    let parameters = parameters.only(&["all", "wait", "after"])?;
    let all = parameters.truth("all")?;
    let after = parameters.number("after")?;
    let limit = parameters.time("wait", WAIT_MAX)?;
    match limit {
        Some(limit) => wait_for(&peer, &name, all, after, limit).await?,
        None if after.is_some() => {
            let detail =
                "`after` says from when on to wait, so it takes `wait` too, such as `wait=10s`";
            return Err(Problem::invalid(detail));
        }
        None => {}
    }
    let page = query(&peer, &name, all);
    if page.records.is_empty() {
        let response = nobody(&peer, &name).into_response();
        return Ok(stamped(&peer, page.revision, response));
    }
    if limit.is_some() || page.records.len() > SLICE {
        return tell(peer, NamePattern::any(), Page { next: None, ..page });
    }
    let Page { revision, now_ms, records, .. } = page;
    let mut body = vec![b'['];
    append(&mut body, &peer, &records, None);
    body.push(b']');
    let answer = Answer::new(body, revision, records.iter().map(|it| it.since_ms));
    let body = answer.body(now_ms);
    let (caller, registry) = (peer.session.caller(), peer.session.registry());
    peer.shared.kept.keep(&uri, caller, registry, answer);
    Ok(stamped(&peer, revision, respond(&peer, body)?))
}

/// Answers as before, if the same was asked for a moment ago.
pub(super) fn again(peer: &Peer, method: &Method, uri: &Uri) -> Option<Response> {
    if method != Method::GET {
        return None;
    }
    let (caller, registry) = (peer.session.caller(), peer.session.registry());
    let (body, revision) = peer.shared.kept.get(uri, caller, registry)?;
    Some(stamped(peer, revision, json(Body::from(body))))
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
    while after.is_some() || query(peer, name, all).records.iter().all(Record::is_cut_off) {
        tokio::select! {
            () = peer.stop.cancelled() => break,
            () = peer.socket.closed() => break,
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
            ("Callsign-Cut-Off-Ms" = Option<u64>, description = "Instances of other nodes may be \
                                                                 missing: for so long the registrar \
                                                                 has heard nothing of its cluster."),
         )),
        (status = 404, description = "Nobody has the name.", body = Problem,
         content_type = "application/problem+json"),
        (status = 503, description = "The registrar has just started, or is cut off from its cluster, \
                                      and may not know all actors.", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "An error.", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn resolve(
    Extension(peer): Extension<Arc<Peer>>,
    name: Result<Path<String>, PathRejection>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    let name = read_name(name)?;
    let Page { revision, records, .. } = query(&peer, &name, true);
    if records.is_empty() {
        return Err(nobody(&peer, &name));
    }
    // Starting and draining instances are not dialed, only shown.
    let (ready, others): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|it| it.state == State::Ready);
    let endpoints: usize = ready.iter().map(|it| it.endpoints.len()).sum();
    let shared = peer.shared.clone();
    let arrange = move || {
        let here = shared.surroundings.here();
        let surroundings = &shared.surroundings;
        let explanation =
            Viewpoint { here: &here, root: shared.root, surroundings }.explain(&ready);
        let rows = rows(Source::Registrar, &explanation, &ready, &others);
        let mut body = Vec::new();
        write(&mut body, &ResolvedJson::of(name.as_str(), Source::Registrar, &rows));
        body
    };
    let body = if endpoints <= SLICE { arrange() } else { beside(&peer, arrange).await? };
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
            ("Callsign-Cut-Off-Ms" = Option<u64>, description = "Instances of other nodes may be \
                                                                 missing: for so long the registrar \
                                                                 has heard nothing of its cluster."),
         )),
        (status = 503, description = "The registrar has just started, or is cut off from its cluster, \
                                      and may not know all actors.", body = Problem,
         content_type = "application/problem+json"),
        (status = "default", description = "An error.", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn tree(
    Extension(peer): Extension<Arc<Peer>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
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
        knows_all(&peer)?;
    }
    let (revision, now_ms) = clock;
    let is_long = supervised.len() > SLICE;
    let arrange = move || {
        let forest = forest(&supervised);
        let trees: Vec<SupervisedJson<'_>> = forest.iter().map(|it| it.to_json(now_ms)).collect();
        let mut body = Vec::new();
        write(&mut body, &trees);
        body
    };
    let body = if is_long { beside(&peer, arrange).await? } else { arrange() };
    charge.set(0)?;
    Ok(stamped(&peer, revision, respond(&peer, body)?))
}

/// Makes a long answer on a thread beside, so that nobody waits for it: one at a time.
async fn beside(
    peer: &Peer,
    make: impl FnOnce() -> Vec<u8> + Send + 'static,
) -> Result<Vec<u8>, Problem> {
    let _turn = peer.shared.beside.acquire().await;
    transport::beside("answers", make).await.map_err(|error| {
        let detail = format!("the answer cannot be made now: {error}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::LimitReached, detail)
    })
}

fn query(peer: &Peer, name: &Name, all: bool) -> Page {
    if all { peer.session.look_up_all(name) } else { peer.session.look_up(name) }
}

pub(super) fn read_pattern(text: Option<&str>) -> Result<NamePattern, Problem> {
    let Some(text) = text else { return Ok(NamePattern::any()) };
    NamePattern::new(text).map_err(|error| {
        Problem::invalid(format!("the parameter `pattern`: {error}; {}", error.help()))
    })
}

fn read_name(name: Result<Path<String>, PathRejection>) -> Result<Name, Problem> {
    let Path(name) = name?;
    Name::new(&name).map_err(|error| Problem::invalid(format!("{error}; {}", error.help())))
}

/// Says that nobody has a name, or that this is not known yet.
fn nobody(peer: &Peer, name: &Name) -> Problem {
    match knows_all(peer) {
        Err(unknown) => unknown,
        Ok(()) => Problem::not_found(format!("no instance of `{name}` is ready")),
    }
}

/// Says that "there is none" is not known, if that is so.
fn knows_all(peer: &Peer) -> Result<(), Problem> {
    settled(peer)?;
    peer.session.registry().cut_off().map_or(Ok(()), |it| Err(Problem::cut_off(it)))
}

/// Says that the registrar has just started, if that is so.
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
    if let Some(unheard) = peer.session.registry().cut_off() {
        headers.insert(CUT_OFF, settling_ms(unheard).into());
    }
    response
}

/// Returns a time until the registrar is settled, or since it is cut off, as it is told.
pub(super) fn settling_ms(left: Duration) -> u64 {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The header with the revision of the registry to which an answer belongs.
const REVISION: &str = "callsign-revision";

/// The header with the time within which clients of an earlier registrar may return.
const SETTLING: &str = "callsign-settling-ms";

/// The header with the time for which the registrar has heard nothing of its cluster, if it is cut
/// off from it.
const CUT_OFF: &str = "callsign-cut-off-ms";

/// The number of the one watch of a connection.
pub(super) const WATCH: CallId = 1;

/// The longest wait: proxies cut longer ones.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// The most records, or endpoints, of which JSON is made at once: it takes some 0.1 ms.
const SLICE: usize = 32;

/// The bytes of a page of records in JSON, at most: it takes three times as much as on the wire.
const PAGE_BYTES: usize = 1024 * 1024;

/// The answer that is included in the charge of its connection.
const SMALL_BYTES: usize = 4 * 1024;

/// The most actors in trees, and what each takes while they are arranged.
const SUPERVISED_MAX: usize = 16 * 1024;
const SUPERVISED_BYTES: usize = 2 * 1024;
