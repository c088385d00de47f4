//! The trees of these tests, each with a root in a process of its own.

use std::{
    env,
    io::{Read, Write},
    process::ExitCode,
};

use callsign::{Actor, AnyError, CallError, Context, Ended, Kind, Nursery, Root, SettingsSource};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

/// The variable that holds a [`Task`].
pub(crate) const TASK: &str = "CALLSIGN_TEST_TASK";

/// The role of a process.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Task {
    pub(crate) root: Option<String>,
    pub(crate) certificate: Option<(String, String)>,
    pub(crate) role: Role,
}

/// The tree of a process. Its settings file says where the registrar is, and its certificate.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Role {
    /// Has an actor of each kind, each at this endpoint, until its standard input ends.
    Market { settings: String, bind: String },
    /// Lets a child that is a process call these actors, and ends.
    Desk { settings: String, names: Vec<String> },
}

/// What came of the calls of an actor.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Called {
    /// The endpoint at which it was reached, and how certain it is that it is the right one.
    pub(crate) reached: (String, String),
    /// What is twice 21.
    pub(crate) doubled: u64,
    /// How many calls of it have been dropped by their callers, it says.
    pub(crate) dropped: u32,
    /// Why it does not end at a stranger's word.
    pub(crate) goes_on: String,
}

/// Plays the role that the environment names.
pub(crate) fn play() -> Option<ExitCode> {
    let task: Task = serde_json::from_str(&env::var(TASK).ok()?).unwrap();
    Some(match task.role {
        Role::Market { settings, bind } => {
            callsign::run(SettingsSource::at(settings), async |root: Root| {
                root.nursery(async |nursery| market(nursery, &bind).await).await
            })
        }
        Role::Desk { settings, names } => {
            callsign::run(SettingsSource::at(settings), async |root: Root| {
                root.nursery(async |nursery| {
                    say(&nursery.spawn("caller").process().run(call_all(names)).await?);
                    Ok(())
                })
                .await
            })
        }
    })
}

/// Writes a line of JSON for the test.
fn say(what: &impl Serialize) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(what).unwrap()).unwrap();
}

async fn market(nursery: &Nursery, bind: &str) -> Result<(), AnyError> {
    let mut names = Vec::new();
    for kind in Kind::ALL {
        let name = format!("feed-{kind}");
        let feed = nursery.spawn(&name).kind(kind).bind(bind);
        feed.expose(&[double::EXPORT, linger::EXPORT, dropped::EXPORT]).await?;
        names.push(name);
    }
    say(&serde_json::json!({ "up": names }));
    let wait = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(wait).await??;
    nursery.cancel();
    Ok(())
}

#[callsign::export]
async fn double(number: u64) -> u64 {
    2 * number
}

/// Begins, and lingers until the caller drops the call.
#[callsign::export]
async fn linger(context: &mut Context<(), (), ()>) -> Result<(), Ended> {
    let _dropped = CountedAtTheEnd;
    drop(context.started(()).await?);
    std::future::pending().await
}

/// Waits until a call of [`linger`] has been dropped.
#[callsign::export]
async fn dropped() -> u32 {
    DROPPED.acquire().await.unwrap().forget();
    1
}

static DROPPED: Semaphore = Semaphore::const_new(0);

struct CountedAtTheEnd;

impl Drop for CountedAtTheEnd {
    fn drop(&mut self) {
        DROPPED.add_permits(1);
    }
}

/// Finds each of some actors, and calls it in every way; the error of each that fails.
#[callsign::export]
async fn call_all(names: Vec<String>) -> Vec<Result<Called, String>> {
    let mut called = Vec::new();
    for name in names {
        called.push(call(&name).await.map_err(|error| error.to_string()));
    }
    called
}

async fn call(name: &str) -> Result<Called, AnyError> {
    let actor = Actor::current().unwrap();
    let feed = actor.wait_for_actor(name).await?;
    let reached = feed.reached().unwrap();
    let reached = (reached.endpoint.to_string(), reached.assurance.to_string());
    // The dialogue is dropped once the other side has begun.
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let lingering = feed.context(linger(), async |(), _stream| {
        begun.send(()).unwrap();
        std::future::pending::<()>().await
    });
    tokio::select! {
        ended = lingering => return Err(format!("it has ended: {ended:?}").into()),
        _ = has_begun => {}
    }
    let dropped: Result<u32, CallError<callsign::Never>> = feed.call(dropped()).await;
    let dropped = dropped?;
    let goes_on = feed.cancel("a stranger says so").await;
    let goes_on = goes_on.map_or_else(|error| error.to_string(), |()| "it ends".to_owned());
    Ok(Called { reached, doubled: feed.call(double(21)).await?, dropped, goes_on })
}
