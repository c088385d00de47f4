//! Shared by the tests: a node with the adapter, and both ends of tractor's protocol.

use std::{sync::Arc, time::Duration};

use callsign_gateway::tractor::{Scope, TractorAdapter};
use discovery::{Change, Client, Watch};
use endpoints::{Endpoint, UnixAddress};
use registrar::{Node, NodeOptions, ProtocolAdapter, RegistryHandle};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use transport::{Listener, Stream, dial};
use wire::RemovalReason;

/// The time limit for everything that a test waits for.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// A node with the adapter, at a socket and at a port.
pub(crate) struct Registrar {
    pub(crate) folder: TempDir,
    pub(crate) tcp: Endpoint,
    pub(crate) unix: Endpoint,
    pub(crate) registry: RegistryHandle,
    _tasks: JoinSet<()>,
}

impl Registrar {
    pub(crate) async fn start() -> Self {
        Self::settling(Duration::ZERO).await
    }

    /// Starts a node to which the clients of its predecessor may take that long to return.
    pub(crate) async fn settling(settle_time: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let unix = Endpoint::from_unix_path(&folder.path().join("registrar.sock")).unwrap();
        let adapters: Vec<Arc<dyn ProtocolAdapter>> =
            vec![Arc::new(TractorAdapter::new(Scope::Local))];
        let options = NodeOptions { adapters, settle_time, ..NodeOptions::default() };
        let tcp = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
        let node = Node::bind(&[tcp, unix.clone()], options).await.unwrap();
        let (tcp, registry) = (node.endpoints()[0].clone(), node.registry().clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(node.serve(CancellationToken::new()));
        Self { folder, tcp, unix, registry, _tasks: tasks }
    }

    /// Returns a client of callsign's own.
    pub(crate) async fn callsign(&self) -> Client {
        Client::connect([&self.unix]).await.unwrap()
    }

    /// Watches a name over callsign's protocol, after the snapshot.
    pub(crate) async fn watch(&self, name: &str) -> Watch {
        let mut watch = self.callsign().await.watch(name).unwrap();
        while !matches!(watch.next().await, Some(Change::Synced)) {}
        watch
    }

    /// Connects as a tractor program over TCP, and introduces itself.
    pub(crate) async fn visit(&self, name: &str, uuid: &str) -> ForeignSession {
        ForeignSession::greet(&self.tcp, name, uuid).await
    }

    /// Looks a name up as a stranger.
    pub(crate) async fn find(&self, name: &str) -> Value {
        let mut session = self.visit("asker", "asker").await;
        session.returned("find_actor", json!({ "name": name })).await
    }

    /// Returns the names that a stranger gets when it asks for everything, without the registrar
    /// itself.
    pub(crate) async fn registry(&self) -> Value {
        let mut session = self.visit("asker", "asker").await;
        let mut registry = session.returned("get_registry", json!({})).await;
        let own = format!("registrar.{}", self.registry.registrar());
        let addresses = registry.as_object_mut().unwrap().remove(&own);
        assert_eq!(addresses, Some(json!([pair(&self.tcp), pair(&self.unix)])));
        registry
    }

    /// Registers an actor over a connection of its own.
    pub(crate) async fn register(&self, name: &str, uuid: &str, addr: &Value) {
        let mut session = self.visit(name, uuid).await;
        let kwargs = json!({ "uid": [name, uuid], "addr": addr });
        assert_eq!(session.returned("register_actor", kwargs).await, Value::Null);
    }
}

/// One connection of a tractor program.
pub(crate) struct ForeignSession {
    stream: Stream,
    uid: Value,
    calls: u32,
}

impl ForeignSession {
    pub(crate) async fn dial(endpoint: &Endpoint) -> Self {
        Self { stream: dial(endpoint).await.unwrap(), uid: Value::Null, calls: 0 }
    }

    pub(crate) async fn greet(endpoint: &Endpoint, name: &str, uuid: &str) -> Self {
        let mut session = Self::dial(endpoint).await;
        session.uid = json!([name, uuid]);
        session.send(&aid(name, uuid)).await;
        let registrar = session.next().await;
        assert_eq!(registrar["msg_type"], "Aid");
        assert_eq!(registrar["is_registrar"], true);
        session
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_bytes(&frame(message)).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Waits for a message.
    pub(crate) async fn next(&mut self) -> Value {
        self.next_or_end().await.expect("it has ended")
    }

    /// Waits for a message, or for the end of the connection.
    pub(crate) async fn next_or_end(&mut self) -> Option<Value> {
        timeout(LIMIT, read(&mut self.stream)).await.expect("nothing came")
    }

    /// Begins a call of a method of the registrar, and returns its number.
    pub(crate) async fn start(&mut self, func: &str, kwargs: Value) -> String {
        self.calls += 1;
        let cid = format!("call {}", self.calls);
        let start = json!({
            "msg_type": "Start", "cid": cid, "ns": "self", "func": func, "kwargs": kwargs,
            "uid": self.uid, "pld_spec": "typing.Any",
        });
        self.send(&start).await;
        cid
    }

    /// Calls a method of the registrar, and returns its result.
    pub(crate) async fn returned(&mut self, func: &str, kwargs: Value) -> Value {
        let cid = self.start(func, kwargs).await;
        self.acknowledged(&cid).await;
        self.result(&cid).await
    }

    /// Waits until a call has begun.
    pub(crate) async fn acknowledged(&mut self, cid: &str) {
        let ack = json!({ "msg_type": "StartAck", "cid": cid, "functype": "asyncfunc" });
        assert_eq!(self.next().await, ack);
    }

    /// Waits for the result of a call that has begun.
    pub(crate) async fn result(&mut self, cid: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["msg_type"], "Return", "{message}");
        assert_eq!(message["cid"], cid);
        message["pld"].clone()
    }

    /// Waits for an error of a call, or of the connection, and returns its type.
    pub(crate) async fn error(&mut self, cid: Option<&str>) -> String {
        let message = self.next().await;
        assert_eq!(message["msg_type"], "Error", "{message}");
        assert_eq!(message["cid"], json!(cid));
        assert_eq!(message.as_object().unwrap().len(), 12, "all fields are sent: {message}");
        message["src_type_str"].as_str().unwrap().to_owned()
    }

    /// Calls a method of the registrar that fails, and returns the type of the error.
    pub(crate) async fn refused(&mut self, func: &str, kwargs: Value) -> String {
        let cid = self.start(func, kwargs).await;
        self.error(Some(&cid)).await
    }

    /// Waits until the registrar ends the connection.
    pub(crate) async fn ends(&mut self) {
        assert_eq!(self.next_or_end().await, None);
    }

    /// Makes a call that always works, which shows that the registrar serves.
    pub(crate) async fn sync(&mut self) {
        let nobody = self.returned("find_actor", json!({ "name": "nobody" })).await;
        assert_eq!(nobody, Value::Null);
    }
}

/// An actor that listens, introduces itself, and exposes one function.
pub(crate) struct Actor {
    pub(crate) addr: Value,
    pub(crate) endpoint: Endpoint,
    /// How many connections only asked who is there.
    probes: watch::Receiver<u32>,
    _serving: JoinSet<()>,
}

impl Actor {
    pub(crate) async fn listen(at: &str, name: &str, uuid: &str) -> Self {
        Self::serve(Listener::bind(&at.parse().unwrap()).await.unwrap(), name, uuid)
    }

    pub(crate) fn serve(listener: Listener, name: &str, uuid: &str) -> Self {
        let endpoint = listener.bound().clone();
        let mut serving = JoinSet::new();
        let own = json!({ "msg_type": "Aid", "name": name, "uuid": uuid, "is_registrar": false });
        let (probed, probes) = watch::channel(0);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let stream = listener.accept().await.unwrap();
                connections.spawn(serve(stream, own.clone(), probed.clone()));
            }
        });
        Self { addr: pair(&endpoint), endpoint, probes, _serving: serving }
    }

    /// Waits until the registrar has looked that often whether it is there.
    pub(crate) async fn was_probed(&mut self, times: u32) {
        let probed = self.probes.wait_for(|it| *it >= times);
        drop(timeout(LIMIT, probed).await.unwrap().unwrap());
    }
}

async fn serve(mut stream: Stream, own: Value, probed: watch::Sender<u32>) {
    // A caller that leaves early does not matter.
    drop(stream.write_all(&frame(&own)).await);
    let Some(aid) = read(&mut stream).await else { return };
    if aid["is_probe"] == true {
        probed.send_modify(|it| *it += 1);
        return;
    }
    while let Some(start) = read(&mut stream).await {
        let cid = &start["cid"];
        let answers = match start["func"].as_str().unwrap() {
            "add" => {
                let sum =
                    start["kwargs"]["a"].as_i64().unwrap() + start["kwargs"]["b"].as_i64().unwrap();
                vec![
                    json!({ "msg_type": "StartAck", "cid": cid, "functype": "asyncfunc" }),
                    json!({ "msg_type": "Return", "cid": cid, "pld": sum }),
                ]
            }
            "ticks" => vec![json!({ "msg_type": "StartAck", "cid": cid, "functype": "asyncgen" })],
            other => vec![json!({
                "msg_type": "Error", "src_uid": ["a", "u"], "src_type_str": "ModuleNotExposed",
                "boxed_type_str": "ModuleNotExposed", "relay_path": [], "message": other,
                "tb_str": "Traceback", "canceller": null, "sender": null, "cid": cid,
                "_bad_msg": null, "_bad_msg_as_dict": null,
            })],
        };
        for answer in &answers {
            drop(stream.write_all(&frame(answer)).await);
        }
    }
}

/// Waits until an instance is gone, and returns the reason.
pub(crate) async fn removed(watch: &mut Watch) -> RemovalReason {
    let removed = async {
        loop {
            if let Some(Change::Remove { reason, .. }) = watch.next().await {
                return reason.unwrap();
            }
        }
    };
    timeout(LIMIT, removed).await.unwrap()
}

/// Returns the address of an endpoint in the original's form.
pub(crate) fn pair(endpoint: &Endpoint) -> Value {
    match endpoint {
        Endpoint::Tcp(tcp) => json!([tcp.host.ip().unwrap().to_string(), tcp.port]),
        Endpoint::Unix(UnixAddress::Path(path)) => {
            let path = path.as_path();
            json!([path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap()])
        }
        other => panic!("{other}"),
    }
}

pub(crate) fn aid(name: &str, uuid: &str) -> Value {
    json!({
        "msg_type": "Aid", "name": name, "uuid": uuid, "pid": 7, "is_registrar": false,
        "is_probe": false,
    })
}

/// Returns a message with its length.
pub(crate) fn frame(message: &Value) -> Vec<u8> {
    let body = rmp_serde::to_vec_named(message).unwrap();
    [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], &body].concat()
}

async fn read(stream: &mut Stream) -> Option<Value> {
    let length = stream.read_u32_le().await.ok()?;
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await.ok()?;
    Some(rmp_serde::from_slice(&body).unwrap())
}
