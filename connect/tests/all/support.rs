//! A registrar, a client, and servers that go by names.

use std::time::Duration;

use axum::{Router, extract::ConnectInfo, http::HeaderMap, routing::get};
use callsign_connect::{
    axum::{Caller, Proving},
    hyper::{Connector, Reached},
};
use discovery::{Change, Client, Registered, Registration, Watch};
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper_util::{client::legacy, rt::TokioExecutor};
use portal::Acceptor;
use registrar::{Node, NodeOptions};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use transport::Listener;

/// A registrar in this process; it ends with this.
pub(crate) struct Registrar {
    pub(crate) client: Client,
    _tasks: JoinSet<()>,
}

impl Registrar {
    pub(crate) async fn start() -> Self {
        let options = NodeOptions { settle_time: Duration::ZERO, ..NodeOptions::default() };
        let node = Node::bind(&["/memory/0".parse().unwrap()], options).await.unwrap();
        let (endpoints, mut tasks) = (node.endpoints(), JoinSet::new());
        tasks.spawn(node.serve(CancellationToken::new()));
        let client = Client::connect(&endpoints).await.unwrap();
        Self { client, _tasks: tasks }
    }
}

/// A server with a name; it dies with this, as by a kill: its connections break.
pub(crate) struct Server {
    pub(crate) registered: Registered,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Serves what [`answer`] says at an endpoint.
    pub(crate) async fn start(client: &Client, name: &str, endpoint: &str) -> Self {
        let listener = Listener::bind(&endpoint.parse().unwrap()).await.unwrap();
        let registration = Registration::new(name).endpoints(listener.published());
        let registered = client.register(registration).await.unwrap();
        let app = app(registered.instance().uuid.to_string());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { registered, _tasks: tasks }
    }

    /// Serves the same, and proves its identity.
    pub(crate) async fn start_proving(client: &Client, name: &str, endpoint: &str) -> Self {
        let listener = Listener::bind(&endpoint.parse().unwrap()).await.unwrap();
        let registration = Registration::new(name).endpoints(listener.published()).proves();
        let registered = client.register(registration).await.unwrap();
        let app = app(registered.instance().uuid.to_string());
        let identity = registered.identity().clone();
        let proving = Proving(Acceptor::new(listener, identity, portal::Options::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(proving, app).await.unwrap() });
        Self { registered, _tasks: tasks }
    }

    pub(crate) fn uuid(&self) -> String {
        self.registered.instance().uuid.to_string()
    }
}

type App = axum::extract::connect_info::IntoMakeServiceWithConnectInfo<Router, Caller>;

/// Answers with the host of the request, the UUID of the instance, and the caller.
fn app(uuid: String) -> App {
    let answer = async move |ConnectInfo(caller): ConnectInfo<Caller>, headers: HeaderMap| {
        let host = headers["host"].to_str().unwrap().to_owned();
        format!("{host} {uuid} {caller}")
    };
    Router::new().route("/", get(answer)).into_make_service_with_connect_info::<Caller>()
}

pub(crate) type Http = legacy::Client<Connector, String>;

pub(crate) fn http(client: &Client) -> Http {
    legacy::Client::builder(TokioExecutor::new()).build(Connector::new(client.clone()))
}

/// Returns the three words of [`app`]'s answer, and whom it reached.
pub(crate) async fn fetch(http: &Http, uri: impl TryInto<Uri>) -> ([String; 3], Reached) {
    let Ok(uri) = uri.try_into() else { panic!("no URI") };
    let response = http.request(Request::get(uri).body(String::new()).unwrap()).await.unwrap();
    let reached = response.extensions().get::<Reached>().unwrap().clone();
    (words(response).await, reached)
}

pub(crate) async fn words<B: BodyExt<Error: std::fmt::Debug>>(
    response: Response<B>,
) -> [String; 3] {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let mut words = text.splitn(3, ' ').map(str::to_owned);
    std::array::from_fn(|_| words.next().unwrap())
}

/// Waits until a registrar has reported that somebody is gone.
pub(crate) async fn gone(watch: &mut Watch) {
    while !matches!(watch.next().await, Some(Change::Remove { .. })) {}
}
