//! Metrics, as Prometheus reads them.

use std::{
    fmt, fs,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Extension,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeGaugeValue, EncodeMetric, NoLabelSet,
        prometheus_text::{self, CONTENT_TYPE as PROMETHEUS_TEXT},
    },
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use registrar::{Latencies, RegistryHandle, registry::Totals};
use serde_json::Value;
use tokio::task::yield_now;
use wire::{RemovalReason, registrar::ClusterStatus};

use super::peer::Peer;

/// Metrics of the registrar
///
/// In the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The metrics.", body = String,
               content_type = "text/plain; version=0.0.4")),
)]
pub(super) async fn metrics(Extension(peer): Extension<Arc<Peer>>) -> Response {
    let mut registry = Registry::default();
    let requests = &peer.shared.requests;
    registry.register(
        "callsign_http_requests",
        "Requests that were answered, by route and status",
        requests.total.clone(),
    );
    registry.register_with_unit(
        "callsign_http_request_duration",
        "Time until an answer began, by route",
        Unit::Seconds,
        requests.duration.clone(),
    );
    let handle = peer.session.registry().clone();
    let suspects = suspects(&handle).await;
    registry.register_collector(Box::new(Present { registry: handle, suspects }));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("a string takes it all");
    ([(CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response()
}

/// Counts the suspect instances, and lets others have their turn meanwhile.
async fn suspects(registry: &RegistryHandle) -> u64 {
    let (mut suspects, mut part) = (0, Some(0));
    while let Some(at) = part {
        let (of_part, next) = registry.suspects(at);
        suspects += of_part;
        part = next;
        yield_now().await;
    }
    suspects
}

/// The registrar's present numbers.
#[derive(Debug)]
struct Present {
    registry: RegistryHandle,
    suspects: u64,
}

impl Collector for Present {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let registry = &self.registry;
        let (status, totals) = (registry.status(), registry.totals());
        let (jobs, jobs_max) = registry.jobs();
        let charged = registry.accounts().bytes() as u64;
        let is_settling = u64::from(registry.settling().is_some());
        let instances_max = registry.instances_max() as u64;
        let sessions_max = registry.sessions_max() as u64;
        let gauges = [
            ("callsign_instances", "Registered instances", status.instances),
            ("callsign_instances_limit", "The most instances", instances_max),
            ("callsign_suspects", "Instances with evidence against them", self.suspects),
            ("callsign_sessions", "Connections, those by HTTP included", status.sessions),
            ("callsign_sessions_limit", "The most connections", sessions_max),
            ("callsign_waiters", "Calls that wait for a name", status.waiters),
            ("callsign_watchers", "Watches", status.watchers),
            ("callsign_in_line", "Instances in line for an exclusive name", status.in_line),
            ("callsign_jobs_waiting", "Looks at endpoints and the like that wait", jobs as u64),
            ("callsign_jobs_waiting_limit", "The most jobs that may wait", jobs_max as u64),
            ("callsign_charged_memory_bytes", "Memory that is charged to owners", charged),
            ("callsign_settling", "1 while earlier clients may still return, else 0", is_settling),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, value)?;
        }
        if let Some(cluster) = &status.cluster {
            self::cluster(&mut encoder, cluster)?;
        }
        let counters = [
            ("callsign_registrations", "Instances that were registered", totals.registered),
            ("callsign_replacements", "Registrations in place of earlier ones", totals.replaced),
            ("callsign_renewals", "Renewals of leases", totals.renewed),
            ("callsign_lookups", "Look-ups of a name", totals.looked_up.get()),
            (
                "callsign_suspicions",
                "Times that an instance became suspect",
                totals.suspected.get(),
            ),
            ("callsign_evictions", "Endpoints found dead and removed", totals.evicted.get()),
        ];
        for (name, help, value) in counters {
            let described = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(described)?;
        }
        let (name, help) = ("callsign_lookup_duration", "Time for a look-up, of one in 64");
        histogram(&mut encoder, name, help, registry.look_up_latencies())?;
        let (name, help) =
            ("callsign_registration_duration", "Time for a registration, of one in 8");
        histogram(&mut encoder, name, help, registry.registration_latencies())?;
        let (name, help) = ("callsign_removals", "Instances that are gone, by reason");
        let mut removals = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (reason, count) in Totals::REASONS.iter().zip(totals.removed) {
            let labels = [("reason", word(reason))];
            ConstCounter::new(count).encode(removals.encode_family(&labels)?)?;
        }
        let (name, help) = ("callsign_build_info", "The version; always 1");
        let mut info = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        ConstGauge::new(1_u64).encode(info.encode_family(&labels)?)?;
        process(&mut encoder, Duration::from_millis(status.uptime_ms))
    }
}

/// Writes how the registrar shares with others.
fn cluster(encoder: &mut DescriptorEncoder<'_>, cluster: &ClusterStatus) -> Result<(), fmt::Error> {
    let is_connected = u64::from(cluster.error.is_none());
    let lives = cluster.nodes.iter().filter(|it| it.lives).count() as u64;
    for (name, help, value) in [
        ("callsign_cluster_connected", "1 while it is connected to etcd, else 0", is_connected),
        ("callsign_cluster_nodes", "Other nodes that live", lives),
        ("callsign_cluster_pending_records", "Own records yet to be written", cluster.pending),
        ("callsign_cluster_own_records", "Own records in etcd", cluster.written),
    ] {
        gauge(encoder, name, help, value)?;
    }
    let seconds = |it: u64| it as f64 / 1000.0;
    let (name, help) = ("callsign_cluster_age_seconds", "Age of what is known of other nodes");
    gauge(encoder, name, help, seconds(cluster.age_ms))?;
    if let Some(lag_ms) = cluster.lag_ms {
        let (name, help) = ("callsign_cluster_lag_seconds", "Time that the last beat took");
        gauge(encoder, name, help, seconds(lag_ms))?;
    }
    let (name, help) = ("callsign_cluster_faults", "Values of other nodes that were left out");
    let faults = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(cluster.faulty).encode(faults)?;
    let (name, help) = ("callsign_cluster_records", "Records of other nodes, by node");
    let mut records = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for node in &cluster.nodes {
        let labels = [("node", node.name.as_str())];
        ConstGauge::new(node.records).encode(records.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Returns a reason, as changes have it.
fn word(reason: &RemovalReason) -> String {
    match serde_json::to_value(reason) {
        Ok(Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}

/// Writes the numbers of this process that every program of Prometheus has, as far as they can be
/// read.
fn process(encoder: &mut DescriptorEncoder<'_>, uptime: Duration) -> Result<(), fmt::Error> {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(seconds) = cpu_seconds(&stat) {
        let (name, help) = ("process_cpu_seconds", "Processor time in user and system mode");
        let described = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(seconds).encode(described)?;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = resident_bytes(&status) {
        gauge(encoder, "process_resident_memory_bytes", "Resident memory", bytes)?;
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        gauge(encoder, "process_open_fds", "Open file descriptors", open.count() as u64)?;
    }
    let start = SystemTime::now().checked_sub(uptime);
    let start = start.and_then(|it| it.duration_since(UNIX_EPOCH).ok());
    let (name, help) = ("process_start_time_seconds", "Start of the registrar since 1970");
    gauge(encoder, name, help, start.unwrap_or_default().as_secs_f64())
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: impl EncodeGaugeValue,
) -> Result<(), fmt::Error> {
    let described = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(described)
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    latencies: &Latencies,
) -> Result<(), fmt::Error> {
    let seconds = Some(&Unit::Seconds);
    let mut described = encoder.encode_descriptor(name, help, seconds, MetricType::Histogram)?;
    let buckets: Vec<_> = latencies.buckets().collect();
    let calls = buckets.iter().map(|(_, calls)| calls).sum();
    described.encode_histogram::<NoLabelSet>(latencies.sum(), calls, &buckets, None)
}

/// Reads the processor time of a line of `/proc/<pid>/stat`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The program's name is in parentheses, and may have any characters.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11).map(str::parse::<u64>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    // On Linux, programs see a hundred ticks a second whatever the kernel counts.
    Some((user + system) as f64 / 100.0)
}

/// Reads the resident memory of `/proc/<pid>/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|it| it * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 9 0 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    12 kB\n"), Some(12 * 1024));
        for bad in ["", "7 (a) S 1", "7 (a) S 1 7 7 0 -1 4194304 100 0 0 0 x y"] {
            assert_eq!((cpu_seconds(bad), resident_bytes(bad)), (None, None));
        }
    }
}
