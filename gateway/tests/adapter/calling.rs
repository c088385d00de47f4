//! The opposite direction: callsign asks a registrar of tractor's, and calls its actors.

use callsign_gateway::tractor::{CallError, TractorSource, call};
use discovery::Resolve;
use serde_json::json;
use tokio::time::timeout;
use transport::Listener;

use crate::support::{Actor, LIMIT, Registrar};

#[tokio::test]
async fn an_exposed_function_is_called() {
    let actor = Actor::listen("/ip4/127.0.0.1/tcp/0", "a", "u").await;
    let sum: i64 = call(&actor.endpoint, "sums", "add", &json!({ "a": 2, "b": 3 })).await.unwrap();
    assert_eq!(sum, 5);

    let add = |kwargs| {
        let endpoint = actor.endpoint.clone();
        async move { call::<String>(&endpoint, "sums", "add", &kwargs).await.unwrap_err() }
    };
    assert!(matches!(add(json!([2, 3])).await, CallError::NoMap));
    assert!(matches!(add(json!({ "a": 2, "b": 3 })).await, CallError::Result(_)));
}

#[tokio::test]
async fn failed_calls_have_reasons() {
    let actor = Actor::listen("/ip4/127.0.0.1/tcp/0", "a", "u").await;
    let called = |func: &'static str| {
        let endpoint = actor.endpoint.clone();
        async move { call::<()>(&endpoint, "sums", func, &json!({})).await.unwrap_err() }
    };
    match called("hidden").await {
        CallError::Raised { kind, message, traceback } => {
            assert_eq!((kind.as_str(), message.as_str()), ("ModuleNotExposed", "hidden"));
            assert_eq!(traceback, "Traceback");
        }
        other => panic!("{other:?}"),
    }
    assert!(
        matches!(called("ticks").await, CallError::NotAFunction { functype } if functype == "asyncgen")
    );
    let nowhere = "/unix/run/callsign-nobody-is-here.sock".parse().unwrap();
    let error = call::<()>(&nowhere, "sums", "add", &json!({})).await.unwrap_err();
    assert!(matches!(error, CallError::Dial(_)), "{error:?}");
}

#[tokio::test]
async fn a_program_that_goes_away_is_an_error() {
    let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).await.unwrap();
    let endpoint = listener.bound().clone();
    let closing = async { drop(listener.accept().await.unwrap()) };
    let nothing = json!({});
    let calling = call::<()>(&endpoint, "sums", "add", &nothing);
    let (called, ()) = timeout(LIMIT, async { tokio::join!(calling, closing) }).await.unwrap();
    assert!(matches!(called, Err(CallError::Broken(_))), "{called:?}");
}

#[tokio::test]
async fn actors_of_a_tractor_registrar_are_resolved() {
    let registrar = Registrar::start().await;
    let uuid = "6f1b9a0e-0d0c-4e0e-8f5e-000000000001";
    let actor = Actor::listen("/ip4/127.0.0.1/tcp/0", "a.b", uuid).await;
    registrar.register("a.b", "old", &json!(["127.0.0.1", 7])).await;
    registrar.register("a.b", uuid, &actor.addr).await;
    registrar.register("other", "u", &json!(["10.0.0.9", 7])).await;

    let source = TractorSource::new(registrar.tcp.clone());
    let records = source.resolve(&"a.b".parse().unwrap()).await.unwrap();
    assert_eq!(records.len(), 2);
    let it = records.iter().find(|it| it.uuid.to_string() == uuid).unwrap();
    assert_eq!(it.endpoints[0].endpoint, actor.endpoint);
    assert_eq!(it.endpoints[0].stamp, transport::stamp(&actor.endpoint));
    let listed = source.list().await.unwrap();
    let names: Vec<_> = listed.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["registrar", "other", "a.b", "a.b"]);
    assert!(source.resolve(&"nobody".parse().unwrap()).await.unwrap().is_empty());
}
