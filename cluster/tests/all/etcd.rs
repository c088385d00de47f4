//! An etcd of one member or several, with its data in a temporary folder. Each has an address of the
//! loopback of its own: two that run beside each other with one port would be one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use http::uri::PathAndQuery;
use prost::Message;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};
use tonic::{
    Request,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use crate::relay::Relay;

/// Where a member runs: at which address, and by which program.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) address: Ipv4Addr,
    pub(crate) program: PathBuf,
}

/// An etcd. Dropping it kills its members.
pub(crate) struct Etcd {
    folder: TempDir,
    grounds: Vec<Ground>,
    /// Where relays listen.
    between: Ipv4Addr,
    /// The port for clients and the one for the other members.
    ports: Vec<(u16, u16)>,
    /// Through which the members find each other, if they are far apart.
    pub(crate) relays: Vec<Relay>,
    members: Vec<Option<Child>>,
}

impl Etcd {
    /// Starts so many members and waits until they answer; `None` where there is no etcd.
    pub(crate) async fn start(members: usize) -> Option<Self> {
        Self::start_apart(members, None).await
    }

    /// Starts members between which bytes take some time.
    pub(crate) async fn start_apart(members: usize, delay: Option<Duration>) -> Option<Self> {
        let address = Ipv4Addr::from(0x7f00_0001 | random());
        let ground = Ground { address, program: PROGRAM.into() };
        Self::start_on(vec![ground; members], address, delay).await
    }

    /// Starts a member on each ground, with relays at an address in between if bytes are to take some time.
    pub(crate) async fn start_on(
        grounds: Vec<Ground>,
        between: Ipv4Addr,
        delay: Option<Duration>,
    ) -> Option<Self> {
        if !is_there() {
            return None;
        }
        let members = grounds.len();
        let draw = || transport::draw_port(&[]).unwrap();
        let ports: Vec<_> = (0..members).map(|_| (draw(), draw())).collect();
        let folder = tempfile::tempdir().unwrap();
        let (relays, mut started) = (Vec::new(), Vec::new());
        started.resize_with(members, || None);
        let mut etcd = Self { folder, grounds, between, ports, relays, members: started };
        for member in 0..members {
            if let Some(delay) = delay {
                let to = (etcd.grounds[member].address, etcd.ports[member].1).into();
                etcd.relays.push(Relay::slow(between.into(), to, delay).await);
            }
        }
        for member in 0..members {
            etcd.run(member);
        }
        for member in 0..members {
            etcd.answers(member).await;
        }
        Some(etcd)
    }

    /// Returns where clients find the members.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        (0..self.ports.len()).map(|it| format!("http://{}", self.place(it))).collect()
    }

    /// Returns where clients find a member.
    pub(crate) fn place(&self, member: usize) -> SocketAddr {
        (self.grounds[member].address, self.ports[member].0).into()
    }

    /// Starts a relay to a member through which bytes take some time.
    pub(crate) async fn slow_relay(&self, member: usize, delay: Duration) -> Relay {
        Relay::slow(self.between.into(), self.place(member), delay).await
    }

    /// Kills a member and waits until it is gone.
    pub(crate) async fn kill(&mut self, member: usize) {
        let mut child = self.members[member].take().expect("it runs");
        child.kill().await.unwrap();
    }

    /// Starts a member again.
    pub(crate) fn run(&mut self, member: usize) {
        let (port, peer) = self.ports[member];
        let at = |member: usize, port| format!("http://{}:{port}", self.grounds[member].address);
        let (clients, peers) = (at(member, port), at(member, peer));
        let found_at = |member: usize| {
            let directly = || at(member, self.ports[member].1);
            self.relays.get(member).map_or_else(directly, Relay::endpoint)
        };
        let found = found_at(member);
        let all: Vec<_> =
            (0..self.ports.len()).map(|it| format!("n{it}={}", found_at(it))).collect();
        let child = command(&self.grounds[member].program, &self.data(member), &clients)
            .args(["--name", &format!("n{member}")])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &found])
            .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
            .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
            .spawn();
        self.members[member] = Some(child.unwrap());
    }

    /// Removes what a member has written.
    pub(crate) fn wipe(&self, member: usize) {
        std::fs::remove_dir_all(self.data(member)).unwrap();
    }

    /// Waits until a member answers questions that all members have to agree on.
    pub(crate) async fn answers(&self, member: usize) {
        while self.revision(member).await.is_none() {
            // A process that starts has nothing to wait for but that.
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns which member leads the others.
    pub(crate) async fn leader(&self) -> usize {
        loop {
            for member in 0..self.ports.len() {
                let path = "/etcdserverpb.Maintenance/Status";
                let status: Option<Status> = self.call(member, path, Range::default()).await;
                let Some(Status { header: Some(header), leader }) = status else { continue };
                if header.member == leader {
                    return member;
                }
            }
        }
    }

    /// Returns the latest revision.
    pub(crate) async fn revision(&self, member: usize) -> Option<i64> {
        let range = Range { key: b"x".to_vec() };
        let answer: Ranged = self.call(member, "/etcdserverpb.KV/Range", range).await?;
        Some(answer.header?.revision)
    }

    /// Waits until the latest revision is a later one.
    pub(crate) async fn passes(&self, revision: i64) {
        self.passes_at(0, revision).await;
    }

    /// Waits until the latest revision that a member knows is a later one.
    pub(crate) async fn passes_at(&self, member: usize, revision: i64) {
        while self.revision(member).await.is_none_or(|it| it <= revision) {
            // Nothing else tells it without a watch, which is what is tested.
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns how many keys of a prefix there are.
    pub(crate) async fn count(&self, prefix: &str) -> i64 {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().unwrap() += 1;
        let count = Counting { key: prefix.as_bytes().to_vec(), end, count_only: true };
        let counted: Option<Counted> = self.call(0, "/etcdserverpb.KV/Range", count).await;
        counted.unwrap().count
    }

    /// Returns the keys of a prefix, and at which revisions they were written last.
    pub(crate) async fn versions(&self, prefix: &str) -> Vec<(Vec<u8>, i64)> {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().unwrap() += 1;
        let count = Counting { key: prefix.as_bytes().to_vec(), end, count_only: false };
        let listed: Option<Listed> = self.call(0, "/etcdserverpb.KV/Range", count).await;
        listed.unwrap().kvs.into_iter().map(|it| (it.key, it.mod_revision)).collect()
    }

    /// Returns how many calls all members have been asked for since they were started.
    pub(crate) async fn calls(&self) -> u64 {
        let mut calls = 0;
        for member in 0..self.ports.len() {
            let mut stream = TcpStream::connect(self.place(member)).await.unwrap();
            let request = "GET /metrics HTTP/1.0\r\n\r\n";
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut metrics = String::new();
            stream.read_to_string(&mut metrics).await.unwrap();
            let started = metrics.lines().filter(|it| it.starts_with("grpc_server_started_total"));
            let counts = started.filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok());
            calls += counts.sum::<f64>() as u64;
        }
        calls
    }

    /// Writes a value.
    pub(crate) async fn put(&self, key: &str, value: &[u8]) {
        let put = Put { key: key.as_bytes().to_vec(), value: value.to_vec() };
        let done: Option<Compacted> = self.call(0, "/etcdserverpb.KV/Put", put).await;
        assert!(done.is_some());
    }

    /// Lets etcd forget what was before the present.
    pub(crate) async fn compact(&self) {
        let revision = self.revision(0).await.unwrap();
        let compact = Compact { revision, physical: true };
        let done: Option<Compacted> = self.call(0, "/etcdserverpb.KV/Compact", compact).await;
        assert!(done.is_some());
    }

    async fn call<Q, A>(&self, member: usize, path: &'static str, request: Q) -> Option<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let endpoint = Endpoint::from_shared(self.endpoints()[member].clone()).unwrap();
        let limit = Duration::from_secs(2);
        let channel: Channel =
            endpoint.connect_timeout(limit).timeout(limit).connect().await.ok()?;
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.ok()?;
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<Q, A>::default();
        Some(grpc.unary(Request::new(request), path, codec).await.ok()?.into_inner())
    }

    fn data(&self, member: usize) -> PathBuf {
        self.folder.path().join(format!("n{member}"))
    }
}

pub(crate) const PROGRAM: &str = "etcd";

/// Tells whether there is an etcd, and says so if not.
pub(crate) fn is_there() -> bool {
    let found = std::process::Command::new(PROGRAM).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: `etcd` cannot be started (on Debian: apt-get install etcd-server)");
    }
    found
}

/// Returns a member of an etcd, to be started, with where its data is and clients find it.
pub(crate) fn command(program: &Path, data: &Path, clients: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(data);
    command.args(["--listen-client-urls", clients, "--advertise-client-urls", clients]);
    command.args(["--logger", "zap", "--log-level", "error"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

/// Returns the middle of an address of the loopback.
pub(crate) fn random() -> u32 {
    (Uuid::new_v4().as_u128() as u32) & 0x00ff_fff0
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Range {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Ranged {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
struct Counting {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    end: Vec<u8>,
    #[prost(bool, tag = "9")]
    count_only: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Listed {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<Version>,
}

#[derive(Clone, PartialEq, Message)]
struct Version {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(int64, tag = "3")]
    mod_revision: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Counted {
    #[prost(int64, tag = "4")]
    count: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Compact {
    #[prost(int64, tag = "1")]
    revision: i64,
    #[prost(bool, tag = "2")]
    physical: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Compacted {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}
