//! The HTTP server: every program that can make a request finds actors, and people a page.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/actors` | all actors, as `callsign ls --json` prints them |
//! | `GET /v1/actors/feed` | the instances of a name; with `wait`, once there is something new |
//! | `GET /v1/resolve/feed` | the endpoints of a name in the order of dialing |
//! | `GET /v1/tree` | the trees of supervised actors |
//! | `GET /v1/status` | the registrar |
//! | `GET /v1/watch` | changes as they happen, as server-sent events |
//! | `PUT`, `DELETE /v1/instances/<uuid>` | registers an actor for a time, or removes it |
//! | `GET /metrics` | metrics for Prometheus |
//! | `GET /` | a page for people |
//! | `GET /v1/openapi.json` | the description of all this |
//! | `GET /healthz`, `GET /readyz` | whether it serves, and whether it knows all clients again |
//!
//! The kernel tells who asks, or over TLS a certificate, as for the registrar's own protocol, so the
//! same rules of names hold, and a connection counts as a session of its owner. Without TLS it listens
//! at Unix sockets and the loopback alone.
//!
//! | module | its one idea |
//! |---|---|
//! | `adapter` | the server, bound |
//! | `serve` | a connection, within bounds |
//! | `host` | which requests are meant for this server |
//! | `actors`, `status` | answers |
//! | `kept` | answers that are given again |
//! | `watch` | changes as they happen |
//! | `lease` | registrations |
//! | `metrics`, `requests` | metrics, and the answers that they count |
//! | `page` | the page |
//! | `openapi` | the description of the interface |
//! | `seen` | records as seen from the registrar |
//! | `problem`, `refused` | errors; those of heads that cannot be read |
//! | `parameters`, `body`, `fields` | what a request asks for, within bounds and read strictly |
//! | `peer`, `shared` | the one who asks, and what all of them share |
//! | `socket`, `patience` | a connection; peers that read nothing |

mod actors;
mod adapter;
mod body;
mod fields;
mod host;
mod kept;
mod lease;
mod metrics;
mod openapi;
mod page;
mod parameters;
mod patience;
mod peer;
mod problem;
mod refused;
mod requests;
mod seen;
mod serve;
mod shared;
mod socket;
mod status;
mod watch;

pub use adapter::{HttpAdapter, HttpError};
pub use openapi::openapi;
