//! Roles of children that have children themselves.

use std::{fs, time::Duration};

use callsign_process::{Child, Ended, Kind, Launch, LaunchError, Signal, WaitError};
use rustix::process::{Pid, Resource, Rlimit};
use tokio::task::JoinSet;

use crate::support::{Played, TEST_TIMEOUT, block_on};

/// The total number of children. With one leaked descriptor for every eighth, the leak would show.
const CROWD: usize = 200;

/// Far longer than a test takes.
const HOUR: Duration = Duration::from_secs(3600);

/// The number of concurrent children.
const AT_ONCE: usize = 8;

/// Starts a child that plays `role`, prints its number and its first line, and waits to be killed.
pub(crate) fn family(kind: Kind, role: &str, tell: impl Fn(&str)) {
    block_on(async {
        // Children that end by themselves get the time to, however slow the machine.
        let ends_by_itself = role.starts_with("farewell") || role == "helper";
        let grace = match role.starts_with("forced") {
            true => HOUR,
            false if ends_by_itself => TEST_TIMEOUT,
            false => Duration::from_millis(100),
        };
        let launch = Launch { kind, grace, ..Launch::exec("grandchild") };
        let mut played = Played::launch(launch, role).await;
        let line = played.hears().await;
        tell(&played.child.pid().to_string());
        tell(&line);
        std::future::pending().await
    })
}

/// Has many children, one after the other and several at once, and looks for leaks.
pub(crate) fn crowd(kind: Kind) -> i32 {
    block_on(async {
        settle().await;
        let before = open_descriptors();
        for _ in 0..CROWD / AT_ONCE {
            let mut children = JoinSet::new();
            for _ in 0..AT_ONCE {
                children.spawn(come_and_go(kind));
            }
            while let Some(done) = children.join_next().await {
                done.unwrap();
            }
        }
        assert_eq!(open_descriptors(), before);
        assert_eq!(children(), Vec::<String>::new());
    });
    0
}

/// Has a child of each kind: the first ones start the threads, and open what stays open.
async fn settle() {
    for kind in [Kind::Exec, Kind::Fork] {
        come_and_go(kind).await;
    }
}

async fn come_and_go(kind: Kind) {
    let played = Played::start(kind, "exit 3").await;
    assert_eq!(played.child.exited().await.unwrap(), Ended::Code(3));
    played.child.output_read().await;
}

/// Drops living children, and launches that are under way.
pub(crate) fn dropped(kind: Kind) -> i32 {
    block_on(async {
        settle().await;
        let before = open_descriptors();
        for _ in 0..20 {
            let mut played = Played::start(kind, "sleep").await;
            assert_eq!(played.hears().await, "ready");
            drop(played);
            let launch = Launch { kind, ..Launch::exec("given-up") };
            drop(tokio::time::timeout(Duration::ZERO, launch.start()).await);
        }
        while !children().is_empty() || open_descriptors() != before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    0
}

/// Starts children with too few descriptors: each attempt yields an error, or a child that ends.
pub(crate) fn starved(kind: Kind) -> i32 {
    block_on(async {
        settle().await;
        let before = open_descriptors();
        let all = rustix::process::getrlimit(Resource::Nofile);
        let mut outcomes = [0, 0];
        for spare in 0..20 {
            let few = Rlimit { current: Some((before.0 + spare) as u64), ..all };
            rustix::process::setrlimit(Resource::Nofile, few).unwrap();
            let launched = start(kind).await;
            rustix::process::setrlimit(Resource::Nofile, all).unwrap();
            match launched {
                Ok(child) => {
                    child.kill(TEST_TIMEOUT).await.unwrap();
                    outcomes[0] += 1;
                }
                Err(LaunchError::NotInitialised | LaunchError::NoForkserver { .. }) => panic!(),
                Err(_) => outcomes[1] += 1,
            }
        }
        assert!(outcomes.iter().all(|count| *count >= 5), "{outcomes:?}");
        while !children().is_empty() || open_descriptors() != before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        come_and_go(kind).await;
    });
    0
}

/// Loses its forkserver while it has a child of it, and again.
pub(crate) fn forsaken() -> i32 {
    block_on(async {
        lose_forkserver().await;
        lose_forkserver().await;
        // A forkserver that has served for a while is restarted without being needed.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let lost = forkserver().unwrap();
        rustix::process::kill_process(Pid::from_raw(lost).unwrap(), Signal::KILL).unwrap();
        while forkserver().is_none_or(|it| it == lost) || zombies() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        come_and_go(Kind::Fork).await;
    });
    0
}

async fn lose_forkserver() {
    {
        let mut played = Played::start(Kind::Fork, "sleep").await;
        assert_eq!(played.hears().await, "ready");
        let forkserver = forkserver().unwrap();
        let pid = Pid::from_raw(forkserver).unwrap();
        let (ended, ()) = tokio::join!(played.child.exited(), async {
            rustix::process::kill_process(pid, Signal::KILL).unwrap();
        });
        assert!(matches!(ended, Err(WaitError::ForkserverGone { .. })), "{ended:?}");
        let again = played.child.exited().await;
        assert!(matches!(again, Err(WaitError::ForkserverGone { .. })), "{again:?}");
        assert_eq!(played.hears().await, "", "the child is gone");

        // There is a new forkserver, and nothing is left of the first.
        come_and_go(Kind::Fork).await;
        come_and_go(Kind::Exec).await;
        assert_ne!(self::forkserver(), Some(forkserver));
        while zombies() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Returns how many children of this process have ended and were not awaited.
fn zombies() -> usize {
    let is_zombie = |pid: &String| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|it| it.starts_with("State:\tZ"))
    };
    all_children("self").iter().filter(|it| is_zombie(it)).count()
}

/// Asks for a fork without a forkserver.
pub(crate) fn bereft() -> i32 {
    let error = block_on(start(Kind::Fork)).unwrap_err();
    assert!(matches!(error, LaunchError::NoForkserver { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("has threads by now"), "{text}");
    0
}

async fn start(kind: Kind) -> Result<Child, LaunchError> {
    Launch { kind, ..Launch::exec("late") }.start().await
}

/// Returns how many descriptors this process and its forkserver have open.
fn open_descriptors() -> (usize, Option<usize>) {
    let count = |pid: &str| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    (count("self"), forkserver().map(|pid| count(&pid.to_string())))
}

/// Returns the number of this process's forkserver.
fn forkserver() -> Option<i32> {
    all_children("self").into_iter().find(|pid| name(pid) == "callsign-fork")?.parse().ok()
}

/// Returns the children of this process and of its forkserver, zombies included.
fn children() -> Vec<String> {
    let forkserver = forkserver().map(|pid| pid.to_string());
    let mut children = all_children("self");
    children.retain(|pid| Some(pid) != forkserver.as_ref());
    children.extend(forkserver.iter().flat_map(|pid| all_children(pid)));
    children
}

fn all_children(pid: &str) -> Vec<String> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        // The children of a thread that ends meanwhile belong to another thread.
        let list = fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        children.extend(list.split_whitespace().map(str::to_owned));
    }
    children
}

fn name(pid: &str) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}
