//! The stage of a case: a registrar, a root in a fresh folder, and afterwards a check for
//! leftovers.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    process,
    time::Duration,
};

use discovery::{Client, Standing};
use libtest_mimic::Failed;
use registrar::{Node, NodeOptions};
use tokio_util::sync::CancellationToken;
use tree::{AnyError, Kind, Root};
use wire::Record;

/// One case.
pub(crate) type Case = fn(Stage) -> Pin<Box<dyn Future<Output = Result<(), AnyError>> + Send>>;

/// The environment of a case.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) kind: Kind,
    pub(crate) root: Root,
    pub(crate) folder: PathBuf,
    pub(crate) dumps: PathBuf,
    pub(crate) client: Client,
}

/// The registrar of a case's root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RegistrarOf {
    Another,
    Itself,
}

/// Plays a case, and checks that nothing is left behind.
pub(crate) fn play(kind: Kind, registrar: RegistrarOf, case: Case) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let dumps = tempfile::tempdir()?;
    let children_before = children()?;
    // Cases block two of them.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    let played = runtime.block_on(async {
        let set = Set { kind, folder: folder.path(), dumps: dumps.path(), case };
        let options = NodeOptions { settle_time: Duration::ZERO, ..NodeOptions::default() };
        match registrar {
            RegistrarOf::Itself => set.play().await,
            RegistrarOf::Another => {
                let node = Node::bind(&[set.place().parse()?], options).await?;
                let (registry, stop) = (node.registry().clone(), CancellationToken::new());
                let playing = async {
                    let played = set.play().await;
                    stop.cancel();
                    played?;
                    match registry.status().instances {
                        0 => Ok(()),
                        left => Err(format!("the registry still has {left}").into()),
                    }
                };
                let (played, ()) = tokio::join!(playing, node.serve(stop.clone()));
                played
            }
        }
    });
    for dump in fs::read_dir(dumps.path())? {
        let path = dump?.path();
        eprintln!("{}:\n{}", path.display(), fs::read_to_string(&path)?);
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    played.map_err(|error| error.to_string())?;

    let left: Vec<_> = children()?.difference(&children_before).copied().collect();
    if !left.is_empty() {
        return Err(format!("children are left behind: {left:?}").into());
    }
    let left: Vec<_> = fs::read_dir(folder.path())?
        .map(|entry| entry.map(|it| it.file_name()))
        .collect::<Result<_, _>>()?;
    if !left.is_empty() {
        return Err(format!("files are left behind: {left:?}").into());
    }
    Ok(())
}

/// The requirements of a case.
struct Set<'a> {
    kind: Kind,
    folder: &'a Path,
    dumps: &'a Path,
    case: Case,
}

impl Set<'_> {
    fn place(&self) -> String {
        format!("/unix{}/registrar.sock", self.folder.display())
    }

    async fn play(&self) -> Result<(), AnyError> {
        // Descriptors that are opened once and stay, such as the signal handler's pipe, are open by
        // now.
        let descriptors = descriptors()?;
        let options = Root::options().name("base").registrar(self.place()).dumps(self.dumps);
        // Nobody was here before, so a "no" need not wait for returning clients.
        let options = options.settle_time(Duration::ZERO);
        let running = options.run(async |root| {
            let client = Client::connect([self.place()]).await?;
            let stage = Stage {
                kind: self.kind,
                root,
                folder: self.folder.to_owned(),
                dumps: self.dumps.to_owned(),
                client: client.clone(),
            };
            let played = (self.case)(stage).await;
            // The remains of a dropped scope, or of a child that failed during its start, disappear
            // a moment later.
            let left =
                nothing_is_left("the registry still has", async || registered(&client).await);
            let left = left.await;
            client.close().await;
            played.and(left)
        });
        match tokio::time::timeout(LIMIT + ROUND_LIMIT * rounds(), running).await {
            Err(_) => return Err("the case did not end".into()),
            Ok(ended) => ended?,
        }
        // Connections that have ended are closed a moment later.
        nothing_is_left("descriptors are left open:", async || descriptors_beyond(&descriptors))
            .await
    }
}

/// Waits until everything is gone that disappears by itself a moment later.
async fn nothing_is_left<T: Debug>(
    what: &str,
    look: impl AsyncFn() -> Result<Vec<T>, AnyError>,
) -> Result<(), AnyError> {
    let goes = async {
        while !look().await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    };
    match tokio::time::timeout(MOMENT_LIMIT, goes).await {
        Ok(gone) => gone,
        Err(_) => Err(format!("{what} {:?}", look().await?).into()),
    }
}

/// Returns what is registered beside the root.
async fn registered(client: &Client) -> Result<Vec<Record>, AnyError> {
    let mut records = client.list("*").await?.records;
    records.retain(|it| it.name.as_str() != "base");
    Ok(records)
}

/// Returns the latest revision of the registry.
pub(crate) async fn revision(client: &Client) -> u64 {
    match client.status().await.remove(0).standing {
        Standing::Up { status, .. } => status.revision,
        standing => panic!("{standing:?}"),
    }
}

/// Returns the children of this process, zombies among them.
fn children() -> Result<BTreeSet<u32>, AnyError> {
    let mut children = BTreeSet::new();
    for task in fs::read_dir("/proc/self/task")? {
        let list = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        children.extend(list.split_whitespace().filter_map(|it| it.parse::<u32>().ok()));
    }
    children.remove(&process::id());
    Ok(children)
}

/// Returns the open descriptors of this process, by their targets.
fn descriptors() -> Result<Vec<String>, AnyError> {
    let mut open = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        // The one for reading the folder is closed by now.
        if let Ok(target) = fs::read_link(entry?.path()) {
            open.push(target.display().to_string());
        }
    }
    open.retain(|it| !it.contains("/proc/"));
    Ok(open)
}

fn descriptors_beyond(before: &[String]) -> Result<Vec<String>, AnyError> {
    let mut open = descriptors()?;
    for known in before {
        if let Some(at) = open.iter().position(|it| it == known) {
            open.swap_remove(at);
        }
    }
    Ok(open)
}

/// Returns the number of rounds of a cascade: few, unless more are asked for.
pub(crate) fn rounds() -> u32 {
    std::env::var("CALLSIGN_SOAK_ROUNDS").ok().and_then(|it| it.parse().ok()).unwrap_or(3)
}

/// The time limit of a round beside that: far more than a busy machine takes.
const ROUND_LIMIT: Duration = Duration::from_secs(10);

/// The time limit of a case, with every wait of a teardown in it.
const LIMIT: Duration = Duration::from_secs(240);

/// The greatest length of a moment on a busy machine.
const MOMENT_LIMIT: Duration = Duration::from_secs(120);
