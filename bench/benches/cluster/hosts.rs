//! A hundred nodes of a thousand instances each, as one more node sees them. Only that one is real: the
//! others are what they would write.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use callsign_bench::{Client, lookups};
use endpoints::{Stamp, Stamped};
use serde_bytes::ByteArray;
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};
use uuid::Uuid;
use wire::{Owner, Record};

use crate::{
    etcd::Etcd,
    load,
    raw::{NodeValue, Raw, put_record},
    stage::Node,
};

const HOSTS: u64 = 100;
const INSTANCES: u64 = 1000;

/// The lease of a node, in seconds, as it is by default, and its beats.
const LEASE: i64 = 3;
const BEAT: Duration = Duration::from_secs(1);

/// How many nodes are started, one after another.
const TURNS: usize = 5;

pub(crate) async fn measure(binary: &Path) {
    let Some(etcd) = Etcd::start(3).await else { return };
    let places = etcd.endpoints();
    let mut hosts = JoinSet::new();
    for number in 1..=HOSTS {
        let etcd = Raw::connect(&places[number as usize % places.len()]).await;
        let lease = etcd.grant(LEASE).await;
        let mut host = Host { number, lease, beat: 0, etcd };
        host.write().await;
        hosts.spawn(async move { host.beat().await });
    }
    let bare = Raw::connect(&places[0]).await;
    let all = HOSTS * INSTANCES;
    let is_full = |it: &wire::registrar::ClusterStatus, instances: u64| {
        it.nodes.iter().map(|it| it.records).sum::<u64>() == all && instances >= all
    };
    for _ in 0..TURNS {
        let began = Instant::now();
        let node = Node::start(binary, "rome", &places).await;
        let at_start = node.server.resident_bytes();
        node.until(is_full).await;
        let (took, leases) = (began.elapsed(), bare.leases().await);
        let names = (0..1000).map(|it| format!("feed-{}-{it}", 1 + it % HOSTS));
        let mut client = Client::greet(&node.endpoint).await;
        client.exchange(&lookups(names), 1000).await;
        let (full, before) = (node.server.resident_bytes(), node.server.processor_time());
        sleep(BEAT * 5).await;
        let busy = (node.server.processor_time() - before).as_secs_f64() / 5.0;
        let later = node.server.resident_bytes();
        println!(
            "hosts: {all} instances of {HOSTS} nodes seen {took:.2?} after the start; memory {:.0} MiB \
             ({:.0} bytes an instance), later {:.0} MiB; {:.1} % of a processor for beats; {leases} \
             leases of {} nodes; load {}",
            mib(full),
            (full - at_start) as f64 / all as f64,
            mib(later),
            busy * 100.0,
            HOSTS + 1,
            load()
        );
    }
    hosts.shutdown().await;
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

/// A node that is not there but for what it writes.
struct Host {
    number: u64,
    lease: i64,
    beat: u64,
    etcd: Raw,
}

impl Host {
    fn name(&self) -> String {
        format!("host-{}", self.number)
    }

    async fn write(&mut self) {
        let name = self.name();
        let records: Vec<_> = (0..INSTANCES).map(|it| self.record(it)).collect();
        for records in records.chunks(120) {
            let puts = records.iter().map(|it| put_record(&name, it, self.lease));
            self.etcd.put_all(puts.collect()).await;
        }
        self.say().await;
    }

    /// Lives on.
    async fn beat(&mut self) {
        let mut due = interval(BEAT);
        loop {
            due.tick().await;
            self.say().await;
            self.etcd.keep_alive(self.lease).await;
        }
    }

    async fn say(&mut self) {
        self.beat += 1;
        let value = NodeValue {
            registrar: Uuid::from_u128(self.number.into()),
            secret: ByteArray::new([self.number as u8; 32]),
            slot: self.number,
            beat: self.beat,
            whole: true,
        };
        self.etcd.put_all(vec![value.put(&self.name(), self.lease)]).await;
    }

    /// An instance as usual actors are.
    fn record(&self, number: u64) -> Record {
        let name = format!("feed-{}-{number}", self.number);
        let here = transport::here();
        let stamp = Stamp { kernel: here.kernel, netns: here.netns, ..Stamp::default() };
        let stamped = |endpoint: String| Stamped { endpoint: endpoint.parse().unwrap(), stamp };
        let socket = format!("/unix/run/market/{name}.sock");
        let port = format!("/ip4/10.0.{}.7/tcp/{}", self.number, 1024 + number);
        let record = Record::new(name.parse().unwrap(), Uuid::new_v4());
        Record {
            // One in 128 is of each node.
            epoch: (1_795_000_000 + number) * 128 + self.number,
            endpoints: vec![stamped(socket), stamped(port)],
            owner: Some(Owner::User(1000)),
            ..record
        }
    }
}
