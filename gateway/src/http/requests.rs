//! The requests that were answered, for metrics.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

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
    /// Those that were answered well, by route: they are not looked up again.
    usual: Arc<[OnceLock<(Counter, Histogram)>; ROUTES.len()]>,
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
        let duration = Family::new_with_constructor(histogram as fn() -> Histogram);
        Self { total: Family::default(), duration, usual: Arc::default() }
    }

    /// Records an answer; of one that waits, or never ends, only its beginning.
    pub(super) fn note(&self, Route(at): Route, code: u16, took: Duration) {
        let route = ROUTES[at];
        let duration = || self.duration.get_or_create_owned(&RouteLabels { route });
        if code == 200 {
            let total = || self.total.get_or_create_owned(&RequestLabels { route, code });
            let (total, duration) = self.usual[at].get_or_init(|| (total(), duration()));
            total.inc();
            duration.observe(took.as_secs_f64());
        } else {
            self.total.get_or_create(&RequestLabels { route, code }).inc();
            duration().observe(took.as_secs_f64());
        }
    }
}

/// From 50 µs to 13 s: an answer takes some 100 µs.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 4.0, 10))
}

/// The route of a path, by its place among all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Route(usize);

impl Route {
    /// Returns the route of a path: as many as there are, whatever is asked for.
    pub(super) fn of(path: &str) -> Self {
        let is_it = |route: &&str| match route.split_once('{') {
            Some((start, _)) => path.starts_with(start),
            None => path == *route,
        };
        Self(ROUTES.iter().position(is_it).unwrap_or(ROUTES.len() - 1))
    }
}

/// The most usual first, and last what stands for all others.
const ROUTES: [&str; 13] = [
    "/v1/actors/{name}",
    "/v1/actors",
    "/v1/resolve/{name}",
    "/v1/instances/{uuid}",
    "/v1/watch",
    "/v1/status",
    "/v1/tree",
    "/v1/openapi.json",
    "/metrics",
    "/healthz",
    "/readyz",
    "/",
    "other",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_there_are_few_routes() {
        let of = |path: &str| ROUTES[Route::of(path).0];
        assert_eq!(of("/v1/actors/feed"), "/v1/actors/{name}");
        assert_eq!(of("/v1/actors"), "/v1/actors");
        for path in ["/v1/actor", "/nowhere/7", "//", "other", ""] {
            assert_eq!(of(path), "other", "{path}");
        }
    }
}
