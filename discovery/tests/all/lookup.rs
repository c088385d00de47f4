//! Look-ups at several registrars, some of which are away.

use std::time::Duration;

use crate::support::{Running, Sockets, actor, connect, nowhere, soon};
use callsign_discovery::{
    Client, ClientOptions, ConnectError, LinkError, LookupError, RequestError, Standing,
};
use endpoints::Endpoint;
use portal::{Call, Connected, Options, Replies, Service, accept};
use tokio::task::JoinSet;
use transport::Listener;
use uuid::Uuid;
use wire::{Hello, State};

#[tokio::test]
async fn answers_of_all_registrars_are_merged() {
    let (one, two) = (Running::start().await, Running::start().await);
    let only_one = connect([&one.endpoint]).await;
    let only_two = connect([&two.endpoint]).await;
    let both = connect([&one.endpoint, &two.endpoint]).await;

    let (first, second) = (nowhere("feed", 1), nowhere("feed", 2));
    let first = soon(only_one.register(first)).await.unwrap();
    let second = soon(only_two.register(second)).await.unwrap();
    let third = soon(both.register(nowhere("feed", 3))).await.unwrap();
    let _starting = soon(both.register(nowhere("feed", 4).state(State::Starting))).await.unwrap();
    one.until(|it| it.instances == 3).await;
    two.until(|it| it.instances == 3).await;

    let found = soon(both.query_ready("feed")).await.unwrap();
    let found: Vec<_> = found.records.iter().map(|it| it.uuid).collect();
    assert_eq!(found.len(), 3, "each instance once");
    for kept in [&first, &second, &third] {
        assert!(found.contains(&kept.instance().uuid));
    }
    let newest = soon(both.query_actor("feed")).await.unwrap().unwrap();
    assert_eq!(newest.uuid, found[0]);

    assert_eq!(soon(both.query_all("feed")).await.unwrap().total, 4);
    let listed = soon(both.list("f*")).await.unwrap();
    assert_eq!((listed.records.len(), listed.unanswered.len()), (4, 0));
    assert!(soon(both.list("x*")).await.unwrap().records.is_empty());
    assert!(soon(both.query_actor("broker")).await.unwrap().is_none());
    assert!(matches!(soon(both.query_actor("b*")).await, Err(LookupError::Name(_))));
}

#[tokio::test]
async fn a_list_goes_on_over_its_pages() {
    let one = Running::start().await;
    let client = connect([&one.endpoint]).await;
    let mut kept = Vec::new();
    for number in 1..=600 {
        kept.push(client.register(nowhere("feed", number)).await.unwrap());
    }
    let listed = soon(client.list("*")).await.unwrap();
    assert_eq!((listed.records.len(), listed.total), (600, 600));
    // A query returns one page, and says that there are more.
    let found = soon(client.query_ready("feed")).await.unwrap();
    assert_eq!((found.records.len(), found.total), (256, 600));
}

#[tokio::test]
async fn one_registrar_that_is_down_does_not_matter() {
    let (one, two) = (Running::start().await, Running::start().await);
    let nobody = Endpoint::Memory(700_001);
    let client = connect([&one.endpoint, &nobody, &two.endpoint]).await;
    let _feed = soon(client.register(nowhere("feed", 1))).await.unwrap();
    two.until(|it| it.instances == 1).await;
    one.stop().await;

    let found = soon(client.query_ready("feed")).await.unwrap();
    assert_eq!(found.records.len(), 1);
    let unanswered: Vec<_> = found.unanswered.iter().map(ToString::to_string).collect();
    assert!(unanswered.iter().any(|it| it.starts_with("/memory/700001: connection refused")));

    two.stop().await;
    // No registrar is left that could know, so this is not an absence.
    let error = soon(async {
        loop {
            match client.query_actor("feed").await {
                Ok(found) => assert!(found.is_some()),
                Err(error) => break error,
            }
        }
    })
    .await;
    let text = error.to_string();
    assert!(text.starts_with("no registrar can be reached:\n  /memory/"), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[tokio::test]
async fn connecting_fails_with_the_reasons_when_all_are_down() {
    let sockets = Sockets::new();
    let missing = sockets.endpoint("missing.sock");
    let error = soon(Client::connect([&missing, &Endpoint::Memory(700_003)])).await.unwrap_err();
    let expected = format!(
        "no registrar can be reached:\n  {missing}: there is no such socket file\n  \
         /memory/700003: connection refused: nobody listens there"
    );
    assert_eq!(error.to_string(), expected);

    let error = soon(Client::connect(["127.0.0.1:1616"])).await.unwrap_err();
    assert!(matches!(error, ConnectError::Endpoint(_)), "{error}");
    let error = soon(Client::connect::<&str>([])).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoRegistrar), "{error}");
}

#[tokio::test]
async fn two_addresses_of_one_registrar_are_one_link() {
    let sockets = Sockets::new();
    let endpoints = [sockets.endpoint("registrar.sock"), Endpoint::Memory(700_002)];
    let registrar = Running::at(&endpoints).await;
    let client = connect(&endpoints).await;
    let _feed = soon(client.register(nowhere("feed", 1))).await.unwrap();

    let status = soon(client.status()).await;
    let [first, second] = &*status else { panic!("{status:?}") };
    assert!(matches!(&first.standing, Standing::Up { status, .. } if status.instances == 1));
    assert!(matches!(&second.standing, Standing::SameAs(it) if *it == endpoints[0]));
    registrar.until(|it| it.sessions == 1).await;
    assert_eq!(soon(client.query_ready("feed")).await.unwrap().records.len(), 1);

    // The other address takes over when the first is gone for good.
    registrar.stop().await;
    let registrar = Running::at(&endpoints[1..]).await;
    registrar.until(|it| it.instances == 1).await;
    let status = soon(client.status()).await;
    assert!(matches!(&status[1].standing, Standing::Up { .. }), "{status:?}");
}

/// Introduces itself as it is told to, and never answers.
struct Mute;

impl Service for Mute {
    fn call(&mut self, _: Call<'_>, _: &mut Replies) {}
}

/// Accepts connections while it is polled.
async fn serve_mutely(listener: Listener, hello: Hello) {
    let mut drivers = JoinSet::new();
    while let Ok(stream) = listener.accept().await {
        let options = Options { hello: hello.clone(), ..Options::default() };
        if let Ok(Connected { driver, .. }) = accept(stream, options, Mute).await {
            drivers.spawn(driver);
        }
    }
}

#[tokio::test]
async fn something_else_that_listens_there_is_no_registrar() {
    let listener = Listener::bind(&Endpoint::Memory(0)).await.unwrap();
    let endpoint = listener.bound().clone();
    let mut tasks = JoinSet::new();
    let hello = Hello { agent: "pricer/2".to_owned(), ..Hello::default() };
    tasks.spawn(serve_mutely(listener, hello));
    let error = soon(Client::connect([&endpoint])).await.unwrap_err();
    let expected = format!(
        "no registrar can be reached:\n  {endpoint}: the listener there is not a registrar: \
         pricer/2"
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_registrar_that_does_not_answer_counts_as_down_and_is_dialed_anew() {
    let listener = Listener::bind(&Endpoint::Memory(0)).await.unwrap();
    let mute = listener.bound().clone();
    let mut tasks = JoinSet::new();
    let hello = Hello { registrar: Some(Uuid::new_v4()), ..Hello::default() };
    tasks.spawn(serve_mutely(listener, hello));
    let well = Running::start().await;
    let client = Client::connect([&mute, &well.endpoint]).await.unwrap();

    let began = tokio::time::Instant::now();
    let found = client.query_ready("feed").await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    let [failure] = &*found.unanswered else { panic!("{:?}", found.unanswered) };
    assert!(matches!(*failure.error, LinkError::NoAnswer(_)), "{failure}");
    assert_eq!(failure.to_string(), format!("{mute}: no answer within 2s"));

    drop(client);
    let client = Client::connect([&mute]).await.unwrap();
    let error = client.unregister(Uuid::new_v4()).await.unwrap_err();
    assert!(matches!(error, RequestError::Unreachable(_)), "{error}");
    // The link is up again, so the look-up has something to wait for.
    while client.connected().await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn links_end_with_the_last_clone_or_when_closed() {
    let registrar = Running::start().await;
    let client = connect([&registrar.endpoint]).await;
    let clone = client.clone();
    drop(client);
    assert!(soon(clone.query_actor("feed")).await.unwrap().is_none());
    drop(clone);
    registrar.until(|it| it.sessions == 0).await;

    let client = Client::open([&registrar.endpoint], ClientOptions::default()).unwrap();
    soon(client.connected()).await.unwrap();
    let clone = client.clone();
    let mut watch = clone.watch("*").unwrap();
    let kept = soon(clone.register(actor("feed").await.1)).await.unwrap();
    soon(client.close()).await;
    registrar.until(|it| it.sessions == 0 && it.instances == 0).await;
    let error = soon(clone.query_actor("feed")).await.unwrap_err();
    assert!(error.to_string().ends_with(": this client is closed"), "{error}");
    let error = soon(clone.wait_for_actor("feed")).await.unwrap_err();
    assert!(error.to_string().ends_with(": this client is closed"), "{error}");
    soon(async { while watch.next().await.is_some() {} }).await;
    soon(kept.unregister()).await;
}
