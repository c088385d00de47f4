//! Changes as they happen, as server-sent events.
//!
//! What is told again after an interruption may be told twice: an event's id stands for the moment
//! before it, because others may have happened at the same moment.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::Response,
};
use futures_util::stream;
use registrar::Holding;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use wire::{
    RemovalReason,
    registrar::{Change, Seen},
};

use super::{
    actors::{WATCH, Watched, read_pattern},
    parameters::Parameters,
    peer::Peer,
    problem::Problem,
};
use crate::json::RecordJson;

/// What is watched.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read by name")]
pub(super) struct WatchParameters {
    /// Only these names: `*` matches any run of characters, `?` any one.
    pattern: Option<String>,
}

/// Changes of actors as they happen
///
/// The data of each event is a line of `callsign watch --json`. First comes `reset`: what was told
/// before holds until `synced`, and what follows replaces it then. An `add` comes for each actor that
/// is there, then `synced`; from then on `add`, `update` and `remove` as they happen. A registrar that
/// has just started says `synced` once clients of an earlier run have had the time to return. `reset`
/// comes again to a reader that was too slow. A reader that reconnects with `Last-Event-ID` gets what
/// it missed, and perhaps its last event again; if that is no longer known, it begins with `reset`.
#[utoipa::path(
    get,
    path = "/v1/watch",
    params(
        WatchParameters,
        ("Last-Event-ID" = Option<String>, Header, description = "The last id that was read."),
    ),
    responses(
        (status = 200, description = "The events, without an end.", body = ChangeJson<'static>,
         content_type = "text/event-stream"),
        (status = "default", description = "An error.", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn watch(
    Extension(peer): Extension<Arc<Peer>>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let pattern = read_pattern(parameters.only(&["pattern"])?.get("pattern"))?;
    let seen = headers.get("last-event-id").and_then(read_id);
    let charge = peer.charge(PART_BYTES)?;
    let has_resumed = peer.session.watch(WATCH, pattern, seen)?;
    let registrar = peer.session.registry().registrar();
    let watch =
        Events { watched: Watched(peer), registrar, told: has_resumed.into(), _charge: charge };
    let first = Bytes::from_static(b"retry: 1000\n\n");
    let parts = stream::unfold((watch, Some(first)), |(mut watch, first)| async {
        let part = match first {
            Some(first) => first,
            None => watch.next().await?,
        };
        Some((Ok::<_, Infallible>(part), (watch, None)))
    });
    let mut response = Response::new(Body::from_stream(parts));
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        // A proxy such as nginx passes each event on at once, instead of when its buffer is full.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// A watch whose changes become events.
struct Events {
    watched: Watched<Arc<Peer>>,
    registrar: Uuid,
    told: Told,
    _charge: Holding,
}

/// How much of what was there has been told.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// A part: the rest cannot be told later.
    Part,
    /// What a registrar knew that has just started: others may return, until `synced` is said.
    Known {
        /// The last that has been told.
        revision: u64,
        /// The one at which others had had their time; `None` before that.
        until: Option<u64>,
    },
    /// All of it, so that the changes after it can be told later.
    All,
}

impl From<bool> for Told {
    fn from(is_all: bool) -> Self {
        if is_all { Self::All } else { Self::Part }
    }
}

impl Events {
    /// Waits for the next changes, and writes them. `None` if the node stops, or the peer is gone.
    async fn next(&mut self) -> Option<Bytes> {
        let peer = self.watched.0.clone();
        let registry = peer.session.registry();
        let mut part = Vec::new();
        while part.is_empty() {
            let limit = match &mut self.told {
                Told::Known { until, .. } => match registry.settling() {
                    Some(left) => left.min(SIGN_OF_LIFE) + Duration::from_millis(1),
                    None => {
                        until.get_or_insert_with(|| registry.revision());
                        Duration::ZERO
                    }
                },
                _ => SIGN_OF_LIFE,
            };
            let changes = tokio::select! {
                () = peer.stop.cancelled() => return None,
                () = peer.socket.closed() => return None,
                changes = timeout(limit, peer.session.changes()) => changes,
            };
            let is_all_read = changes.is_err();
            peer.seen(|from| {
                for change in changes.iter().flatten() {
                    self.write(&mut part, change, |record| from.describe(record, None));
                }
            });
            match self.told {
                // All that came back in time has been told.
                Told::Known { revision, until: Some(until) }
                    if is_all_read || revision >= until =>
                {
                    self.told = Told::All;
                    self.append(&mut part, "synced", Some(revision), &ChangeJson::Synced);
                }
                // A comment, so that both ends learn whether the other is there.
                _ if is_all_read => part.extend_from_slice(b":\n\n"),
                _ => {}
            }
        }
        Some(part.into())
    }

    fn write<'a>(
        &mut self,
        part: &mut Vec<u8>,
        change: &'a Change,
        describe: impl Fn(&'a wire::Record) -> RecordJson<'a>,
    ) {
        let before = |revision: &u64| Some(revision.saturating_sub(1));
        let (event, id, change) = match change {
            // What was known is void, and the rest of this snapshot cannot be told later.
            Change::Reset => {
                self.told = Told::Part;
                ("reset", None, ChangeJson::Reset)
            }
            // It is said once all have had the time to return.
            Change::Synced { revision } => {
                self.told = Told::Known { revision: *revision, until: None };
                return;
            }
            Change::Add { record, revision } => {
                ("add", before(revision), ChangeJson::Add { record: Box::new(describe(record)) })
            }
            Change::Update { record, revision } => {
                let record = Box::new(describe(record));
                ("update", before(revision), ChangeJson::Update { record })
            }
            Change::Remove { instance, reason, revision, .. } => {
                let (name, uuid) = (instance.name.as_str(), instance.uuid);
                ("remove", before(revision), ChangeJson::Remove { name, uuid, reason: *reason })
            }
        };
        if let (Told::Known { revision, .. }, Some(id)) = (&mut self.told, id) {
            *revision = id.max(*revision);
        }
        self.append(part, event, id, &change);
    }

    /// Appends an event.
    fn append(&self, part: &mut Vec<u8>, event: &str, id: Option<u64>, change: &ChangeJson<'_>) {
        let id = match id.filter(|_| matches!(self.told, Told::All)) {
            Some(revision) => format!("{}.{revision}", self.registrar),
            None => String::new(),
        };
        part.extend_from_slice(format!("event: {event}\nid: {id}\ndata: ").as_bytes());
        serde_json::to_writer(&mut *part, change).expect("its keys are strings");
        part.extend_from_slice(b"\n\n");
    }
}

/// A change, as a watcher is told it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Change)]
#[serde(rename_all = "kebab-case", tag = "change")]
enum ChangeJson<'a> {
    /// Everything that was told is void once `synced` comes: what follows replaces it.
    Reset,
    /// An instance is there.
    Add {
        #[serde(flatten)]
        record: Box<RecordJson<'a>>,
    },
    /// Something about an instance is different.
    Update {
        #[serde(flatten)]
        record: Box<RecordJson<'a>>,
    },
    /// An instance is gone.
    Remove {
        /// Its name.
        name: &'a str,
        /// The instance.
        uuid: Uuid,
        /// Why: `unregistered`, `session-ended`, `lease-expired`, `found-dead`, `process-ended`, `node-lost`.
        #[schema(value_type = String)]
        reason: RemovalReason,
    },
    /// All instances have been told, and a registrar that has just started knows all clients again.
    Synced,
}

/// Reads the id of an event. One that is none is as good as none.
fn read_id(id: &HeaderValue) -> Option<Seen> {
    let (registrar, revision) = id.to_str().ok()?.split_once('.')?;
    Some(Seen { registrar: registrar.parse().ok()?, revision: revision.parse().ok()? })
}

/// The time after which a comment is sent if nothing happens: proxies and browsers wait longer.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// The bytes of changes that may wait to be written: those that are read together, in JSON.
const PART_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_a_registrar_and_a_moment() {
        let registrar = Uuid::from_u128(7);
        let read = |text: &str| read_id(&HeaderValue::from_str(text).unwrap());
        let seen = Seen { registrar, revision: 12 };
        assert_eq!(read(&format!("{registrar}.12")), Some(seen));
        for bad in ["", ".", "12", "x.12", &format!("{registrar}."), &format!("{registrar}.-1")] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
