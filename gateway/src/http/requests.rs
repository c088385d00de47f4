//! The requests that were answered, for metrics.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
};

/// The requests that were answered.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pub(super) total: Family<RequestLabels, Counter>,
    pub(super) duration: Family<RouteLabels, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct RequestLabels {
    route: &'static str,
    code: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct RouteLabels {
    route: &'static str,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self { total: Family::default(), duration: Family::new_with_constructor(histogram) }
    }

    /// Records an answer; of one that waits, or never ends, only its beginning.
    pub(super) fn note(&self, path: &str, code: u16, took: Duration) {
        let route = route_of(path);
        self.total.get_or_create(&RequestLabels { route, code }).inc();
        self.duration.get_or_create(&RouteLabels { route }).observe(took.as_secs_f64());
    }
}

/// From 50 µs to 13 s: an answer takes some 100 µs.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 4.0, 10))
}

/// Returns the route of a path: as many as there are, whatever is asked for.
fn route_of(path: &str) -> &'static str {
    match path {
        "/" => "/",
        "/metrics" => "/metrics",
        "/healthz" => "/healthz",
        "/readyz" => "/readyz",
        "/v1/actors" => "/v1/actors",
        "/v1/tree" => "/v1/tree",
        "/v1/status" => "/v1/status",
        "/v1/watch" => "/v1/watch",
        "/v1/openapi.json" => "/v1/openapi.json",
        path if path.starts_with("/v1/actors/") => "/v1/actors/{name}",
        path if path.starts_with("/v1/resolve/") => "/v1/resolve/{name}",
        path if path.starts_with("/v1/instances/") => "/v1/instances/{uuid}",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_there_are_few_routes() {
        assert_eq!(route_of("/v1/actors/feed"), "/v1/actors/{name}");
        for path in ["/v1/actor", "/nowhere/7", "//"] {
            assert_eq!(route_of(path), "other", "{path}");
        }
    }
}
