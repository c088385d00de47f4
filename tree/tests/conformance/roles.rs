//! Roots in separate processes, which tests kill.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use discovery::Client;
use rustix::process::{Pid, Signal, kill_process};
use tree::{AnyError, Kind, Nursery, PID_KEY, Root, RootError, SettingsSource};

use crate::exports::{
    block, block_below, grow_idle, hold_up_both, panic_with, quote, wait_for_ever,
};

/// Set in the environment of such a root.
const ROLE: &str = "CONFORMANCE_ROLE";

/// Set in the environment of a root that races for a registrar's place.
pub(crate) const RACER: &str = "CONFORMANCE_RACER";

/// Set in the environment of a root with children that do not react: the kind of the children, the
/// place of the registrar, and a file that blocks them.
pub(crate) const STUBBORN: &str = "CONFORMANCE_STUBBORN";

/// Set in the environment of a root with settings: their path.
pub(crate) const PROGRAM: &str = "CONFORMANCE_PROGRAM";

/// Set in the environment of a root started by `run`, which prints where it listens.
pub(crate) const RUNNER: &str = "CONFORMANCE_RUNNER";

/// The variable in which that root looks for its settings file.
pub(crate) const RUNNER_CONFIG: &str = "CONFORMANCE_CONFIG";

/// Set in the environment of a root with a child that fails: how it fails, the kind of the child,
/// and the place of the registrar.
pub(crate) const FAILING: &str = "CONFORMANCE_FAILING";

/// Set in the environment of a root with a child and a grandchild that are blocked: their kinds,
/// the place of the registrar, and a file.
pub(crate) const STUCK: &str = "CONFORMANCE_STUCK";

/// Plays a role, if this process has one.
pub(crate) fn play() -> Option<ExitCode> {
    if let Some(settings) = std::env::var_os(PROGRAM) {
        return Some(tree::run(SettingsSource::at(settings), fail_at_a_second_root));
    }
    if let Ok(role) = std::env::var(STUCK) {
        return Some(keep_stuck_children(&role));
    }
    if let Ok(role) = std::env::var(STUBBORN) {
        return Some(keep_stubborn_children(&role));
    }
    if std::env::var_os(RUNNER).is_some() {
        let source =
            SettingsSource::new().flag("--config").env(RUNNER_CONFIG).file("callsign.toml");
        return Some(tree::run(source, async |root: Root| println!("{}", root.endpoints()[0])));
    }
    if let Ok(place) = std::env::var(RACER) {
        return Some(race(&place));
    }
    if let Ok(role) = std::env::var(FAILING) {
        return Some(tell_a_backtrace(&role));
    }
    let role = std::env::var(ROLE).ok()?;
    let (kind, registrar) = role.split_once(' ').expect("a role has two parts");
    let kind = kind_of(kind);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let options = Root::options().name("base").registrar(registrar).heed_signals();
    let ended = runtime.block_on(options.run(async |root| {
        root.nursery(async |n| {
            n.spawn("top").kind(kind).grace(GRACE).start(grow_idle(kind, 2, 2)).await?;
            n.spawn("side").kind(kind).grace(GRACE).start(wait_for_ever()).await?;
            // The deepest come last.
            for name in ["leaf-n0-0", "leaf-n0-1", "leaf-n1-0", "leaf-n1-1"] {
                root.wait_for_actor(name).await?;
            }
            println!("ready");
            std::io::stdout().flush()?;
            std::future::pending::<()>().await;
            Ok(())
        })
        .await?;
        Ok(())
    }));
    println!("{}", ended.expect_err("it is ended from without"));
    Some(ExitCode::from(7))
}

/// Opens a root with a child and a grandchild that do not end by themselves, and prints when it was
/// asked to end.
fn keep_stubborn_children(role: &str) -> ExitCode {
    let mut words = role.split(' ');
    let mut next = || words.next().expect("a role has three parts");
    let (kind, registrar, flag) = (kind_of(next()), next(), next());
    keep(registrar, flag, async |n| {
        let below = format!("{flag}-below");
        let spawn = |name| n.spawn(name).kind(kind).grace(LONG_GRACE);
        spawn("stubborn").start(block(flag.to_owned())).await?;
        spawn("between").start(block_below(kind, LONG_GRACE, below)).await?;
        Ok(())
    })
}

/// Opens a root with a child and a grandchild that are blocked, and prints when it was asked to
/// end.
fn keep_stuck_children(role: &str) -> ExitCode {
    let mut words = role.split(' ');
    let mut next = || words.next().expect("a role has four parts");
    let (above, below, registrar, flag) = (kind_of(next()), kind_of(next()), next(), next());
    keep(registrar, flag, async |n| {
        let function = hold_up_both(below, LONG_GRACE, flag.to_owned());
        n.spawn("above").kind(above).grace(LONG_GRACE).start(function).await?;
        Ok(())
    })
}

/// Opens a root with children, prints `ready` once there is a flag and one for the level below, and
/// prints when it is asked to end.
fn keep(
    registrar: &str,
    flag: &str,
    spawn: impl AsyncFn(&Nursery) -> Result<(), AnyError>,
) -> ExitCode {
    struct Asked;

    impl Drop for Asked {
        fn drop(&mut self) {
            println!("asked");
        }
    }

    // Two are blocked if the children are tasks.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).enable_all().build().expect("a runtime starts");
    let options = Root::options().name("base").registrar(registrar).heed_signals();
    let dumps = Path::new(flag).parent().expect("a file has a folder");
    let ended = runtime.block_on(options.dumps(dumps).run(async |root| {
        let _asked = Asked;
        root.nursery(async |n| {
            spawn(n).await?;
            let below = format!("{flag}-below");
            while ![flag, &below].iter().all(|it| Path::new(it).exists()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            println!("ready");
            std::future::pending::<()>().await;
            Ok(())
        })
        .await?;
        Ok(())
    }));
    println!("{}", ended.expect_err("it is ended from without"));
    // A task that never yields is still there, and is not waited for.
    runtime.shutdown_background();
    ExitCode::from(7)
}

/// Opens a root whose child fails, and prints the error with its backtrace.
fn tell_a_backtrace(role: &str) -> ExitCode {
    let mut words = role.split(' ');
    let mut next = || words.next().expect("a role has three parts");
    let (how, kind, registrar) = (next(), kind_of(next()), next());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let options = Root::options().name("base").registrar(registrar);
    let ended = runtime.block_on(options.run(async |root| {
        root.nursery(async |n| {
            let child = n.spawn("pricer").kind(kind);
            match how {
                "panics" => child.start(panic_with("no quote".to_owned())).await?,
                _ => child.start(quote("XAU".to_owned())).await?,
            };
            Ok(())
        })
        .await?;
        Ok(())
    }));
    let Err(RootError::Nursery(error)) = ended else { return ExitCode::FAILURE };
    print!("{error:#}");
    ExitCode::SUCCESS
}

fn kind_of(word: &str) -> Kind {
    Kind::ALL.into_iter().find(|it| it.to_string() == word).expect("it is a kind")
}

async fn fail_at_a_second_root(_root: Root) -> Result<(), AnyError> {
    #[derive(Debug, thiserror::Error)]
    #[error("there is no second root")]
    struct NoSecond(#[source] tree::RootError);

    Root::options().run(async |_| Ok(())).await.map_err(|error| NoSecond(error).into())
}

/// Opens a root, prints which role it got, and waits until its standard input ends.
fn race(place: &str) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let ended = runtime.block_on(Root::options().registrar(place).run(async |root| {
        println!("{}", if root.is_registrar() { "registrar" } else { "joined" });
        let waiting = || std::io::stdin().read_line(&mut String::new());
        tokio::task::spawn_blocking(waiting).await??;
        Ok(())
    }));
    if let Err(error) = ended {
        println!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A root in a separate process, ready.
pub(crate) struct Played {
    pub(crate) child: Child,
    pub(crate) output: BufReader<std::process::ChildStdout>,
}

impl Played {
    /// Starts it, with a command whose last argument is this program.
    pub(crate) fn start(
        kind: Kind,
        registrar: &str,
        mut command: Command,
    ) -> Result<Self, AnyError> {
        let mut child = command
            .env(ROLE, format!("{kind} {registrar}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        while line.trim() != "ready" {
            line.clear();
            if output.read_line(&mut line)? == 0 {
                return Err("the root ended before it was ready".into());
            }
        }
        Ok(Self { child, output })
    }
}

/// Returns the processes of all actors that the registrar knows.
pub(crate) async fn processes(client: &Client) -> Result<Vec<u32>, AnyError> {
    let found = client.list("*").await?;
    let pids = found.records.iter().filter_map(|it| it.metadata.get(PID_KEY)?.parse().ok());
    Ok(pids.collect())
}

/// Waits until all of them are gone, or are zombies that wait for an init.
pub(crate) async fn gone(pids: &[u32]) {
    for pid in pids {
        while is_alive(*pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|it| !['Z', 'X'].contains(&it))
}

/// Returns the kernel's letter for the state of a process, if it exists.
fn state(pid: u32) -> Option<char> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|it| it.strip_prefix("State:"))?.trim().chars().next()
}

/// Returns the processes below this one.
pub(crate) fn descendants() -> BTreeSet<u32> {
    descendants_of(std::process::id())
}

/// Returns the processes below one.
pub(crate) fn descendants_of(process: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut to_look = vec![process];
    while let Some(pid) = to_look.pop() {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in list.split_whitespace().filter_map(|it| it.parse().ok()) {
                if found.insert(child) {
                    to_look.push(child);
                }
            }
        }
    }
    found
}

/// Kills processes.
pub(crate) fn kill(pids: &[u32]) {
    pids.iter().for_each(|it| signal(*it, Signal::KILL));
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("it is a process");
    // It may have ended.
    let _gone = kill_process(pid, signal);
}

/// Waits until a process has stopped. Returns false if it has ended.
pub(crate) async fn has_stopped(pid: u32) -> bool {
    loop {
        match state(pid) {
            Some('T') => return true,
            Some('Z' | 'X') | None => return false,
            Some(_) => tokio::task::yield_now().await,
        }
    }
}

/// The grace of the stubborn children: far longer than a test may take.
const LONG_GRACE: Duration = Duration::from_secs(3600);

/// The grace of the children.
const GRACE: Duration = Duration::from_millis(500);
