//! An etcd that wants a certificate of its clients, and to know as whom they come.

use std::{
    net::Ipv4Addr,
    path::Path,
    time::{Duration, SystemTime},
};

use callsign_cluster::{ClusterSettings, EtcdTls, EtcdUser};
use endpoints::{SpiffePath, TrustDomain};
use http::uri::PathAndQuery;
use keys::{Authority, CertifiedHost, Issued, KeyKind};
use prost::Message;
use tempfile::TempDir;
use tokio::{process::Child, time::sleep};
use tonic::{
    Request,
    client::Grpc,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};
use tonic_prost::ProstCodec;

use crate::{
    etcd::{PROGRAM, command, is_there, random},
    node::{Node, register},
};

/// An etcd, and who issues its certificates and those of its clients.
struct Secured {
    folder: TempDir,
    authority: Authority,
    endpoint: String,
    /// The certificate of its administrator.
    root: Issued,
    _etcd: Child,
}

impl Secured {
    async fn start() -> Option<Self> {
        if !is_there() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(&folder.path().join("ca"));
        let host = Ipv4Addr::from(0x7f00_0001 | random());
        let own = issue(&authority, "etcd", &[CertifiedHost::Address(host.into())]);
        let root = issue(&authority, "root", &[]);
        let draw = || transport::draw_port(&[]).unwrap();
        let endpoint = format!("https://{host}:{}", draw());
        let peers = format!("http://{host}:{}", draw());
        let etcd = command(PROGRAM.as_ref(), &folder.path().join("data"), &endpoint)
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}")])
            .arg("--cert-file")
            .arg(&own.certificate)
            .arg("--key-file")
            .arg(&own.key)
            .arg("--client-cert-auth")
            .arg("--trusted-ca-file")
            .arg(authority.certificate())
            .spawn();
        let secured = Self { folder, authority, endpoint, root, _etcd: etcd.unwrap() };
        // A process that starts has nothing to wait for but that.
        while !secured.call("UserAdd", Named::of("root", "secret of root")).await {
            sleep(Duration::from_millis(20)).await;
        }
        let key = b"/callsign/".to_vec();
        let permission = Permission { kind: 2, key, range_end: b"/callsign0".to_vec() };
        assert!(secured.call("RoleAdd", Named::of("root", "")).await);
        assert!(secured.call("UserGrantRole", Named::of("root", "root")).await);
        assert!(secured.call("UserAdd", Named::of("callsign", "secret")).await);
        assert!(secured.call("RoleAdd", Named::of("callsign", "")).await);
        let grant = Grant { role: "callsign".to_owned(), permission: Some(permission) };
        assert!(secured.call("RoleGrantPermission", grant).await);
        assert!(secured.call("UserGrantRole", Named::of("callsign", "callsign")).await);
        assert!(secured.call("AuthEnable", Named::default()).await);
        Some(secured)
    }

    /// Calls what an administrator may.
    async fn call<Q: Message + 'static>(&self, method: &str, request: Q) -> bool {
        let read = |path: &Path| std::fs::read(path).unwrap();
        let identity = Identity::from_pem(read(&self.root.certificate), read(&self.root.key));
        let authority = Certificate::from_pem(read(&self.authority.certificate()));
        let tls = ClientTlsConfig::new().ca_certificate(authority).identity(identity);
        let endpoint = Endpoint::from_shared(self.endpoint.clone()).unwrap();
        let endpoint = endpoint.tls_config(tls).unwrap().timeout(Duration::from_secs(2));
        let Ok(channel) = endpoint.connect().await else { return false };
        let mut grpc = Grpc::new(channel);
        if grpc.ready().await.is_err() {
            return false;
        }
        let path = PathAndQuery::try_from(format!("/etcdserverpb.Auth/{method}")).unwrap();
        let codec = ProstCodec::<Q, Done>::default();
        grpc.unary(Request::new(request), path, codec).await.is_ok()
    }

    /// Returns the settings of a node with a certificate of some authority, in a name.
    fn settings(&self, by: &Authority, name: &str) -> ClusterSettings {
        let issued = issue(by, name, &[]);
        let read = |path: &Path| std::fs::read(path).unwrap();
        let tls = EtcdTls {
            authority: Some(read(&self.authority.certificate())),
            identity: Some((read(&issued.certificate), read(&issued.key))),
        };
        let node = "rome".parse().unwrap();
        ClusterSettings { tls, ..ClusterSettings::new(node, [self.endpoint.clone()]) }
    }
}

fn authority(folder: &Path) -> Authority {
    let domain = TrustDomain::new("example.org").unwrap();
    Authority::create(folder, domain, KeyKind::default(), SystemTime::now()).unwrap()
}

fn issue(by: &Authority, name: &str, hosts: &[CertifiedHost]) -> Issued {
    let lifetime = Duration::from_secs(24 * 3600);
    by.issue(SpiffePath::new(name).unwrap(), hosts, lifetime, SystemTime::now()).unwrap()
}

fn user(name: &str, password: &str) -> Option<EtcdUser> {
    Some(EtcdUser { name: name.to_owned(), password: password.to_owned() })
}

#[tokio::test]
async fn a_node_shares_by_its_certificate_or_as_a_user() {
    let Some(etcd) = Secured::start().await else { return };
    let rome = Node::start_with(etcd.settings(&etcd.authority, "callsign")).await;
    let settings = etcd.settings(&etcd.authority, "oslo");
    let oslo = Node::start_with(ClusterSettings {
        node: "oslo".parse().unwrap(),
        user: user("callsign", "secret"),
        ..settings
    })
    .await;
    let (mut at_oslo, mut at_rome) = (oslo.watch(), rome.watch());
    let (here, there) = (rome.client(), oslo.client());
    register(&here, "feed", 1);
    assert_eq!(at_oslo.next().await, "add feed 1 at rome");
    register(&there, "brief", 2);
    assert_eq!(at_rome.next().await, "add feed 1");
    assert_eq!(at_rome.next().await, "add brief 2 at oslo");
}

#[tokio::test]
async fn a_node_that_etcd_refuses_says_why() {
    let Some(etcd) = Secured::start().await else { return };
    let other = authority(&etcd.folder.path().join("other"));
    let good = etcd.settings(&etcd.authority, "rome");
    let check = async |settings: ClusterSettings, expected: &str| {
        let rome = Node::start_with(settings).await;
        rome.until(|it| it.error.as_ref().is_some_and(|it| it.contains(expected))).await;
    };
    let user = |name, password| ClusterSettings { user: user(name, password), ..good.clone() };
    check(user("callsign", "wrong"), "invalid user ID or password").await;
    check(user("nobody", "secret"), "invalid user ID or password").await;
    check(good.clone(), "permission denied").await;
    let theirs = std::fs::read(other.certificate()).unwrap();
    let tls = EtcdTls { authority: Some(theirs), ..good.tls.clone() };
    check(ClusterSettings { tls, ..good.clone() }, "invalid peer certificate").await;
    check(etcd.settings(&other, "callsign"), "not know the authority of this node's").await;
    let tls = EtcdTls { identity: None, ..good.tls.clone() };
    check(ClusterSettings { tls, ..good.clone() }, "may want a certificate of this node").await;
    let endpoints = vec![etcd.endpoint.replace("https", "http")];
    check(ClusterSettings { endpoints, ..good.clone() }, "may want `https://`").await;
}

/// Any answer.
#[derive(Clone, PartialEq, Message)]
struct Done {}

/// A user and a password, or a role.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    other: String,
}

impl Named {
    fn of(name: &str, other: &str) -> Self {
        Self { name: name.to_owned(), other: other.to_owned() }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Grant {
    #[prost(string, tag = "1")]
    role: String,
    #[prost(message, optional, tag = "2")]
    permission: Option<Permission>,
}

#[derive(Clone, PartialEq, Message)]
struct Permission {
    /// 2 is for reading and writing.
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    range_end: Vec<u8>,
}
