//! No child outlives its parent, however the parent ends, and nothing of the child is left.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use callsign_process::{Ended, Kind, Launch, Signal};
use libtest_mimic::Trial;

use crate::{
    ends::until_stopped,
    support::{Played, Stranger, block_on, of_each_kind},
};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = of_each_kind(&[
        ("grandchildren_end_with_a_killed_child", |kind| Box::pin(killed_in_the_middle(kind))),
        ("a_stopped_grandchild_ends_as_well", |kind| Box::pin(stopped_grandchild(kind))),
        ("a_grandchild_has_its_grace", |kind| Box::pin(has_its_grace(kind))),
        ("a_grandchild_takes_its_helpers_along", |kind| Box::pin(takes_helpers_along(kind))),
        ("the_forced_end_with_their_parent", |kind| Box::pin(forced_to_end(kind))),
        ("a_crowd_leaves_nothing", |kind| Box::pin(plays_well(kind, "crowd"))),
        ("want_of_descriptors_is_an_error", |kind| Box::pin(plays_well(kind, "starved"))),
        ("what_is_dropped_leaves_nothing", |kind| Box::pin(plays_well(kind, "dropped"))),
    ]);
    trials.extend([
        Trial::test("a_killed_root_takes_all_along", || {
            block_on(killed_root(false));
            block_on(killed_root(true));
            Ok(())
        }),
        Trial::test("nobody_survives_a_root_that_is_killed_as_it_launches", || {
            for launches in 1..=20 {
                block_on(killed_as_it_launches(launches));
            }
            Ok(())
        }),
        Trial::test("a_lost_forkserver_is_told_and_begun_anew", || {
            block_on(plays(Kind::Exec, "forsaken", true));
            Ok(())
        }),
        Trial::test("a_fork_of_a_process_with_threads_is_refused", || {
            block_on(plays(Kind::Exec, "bereft", false));
            block_on(plays(Kind::Fork, "bereft", false));
            Ok(())
        }),
    ]);
    trials
}

/// The middle of a family of three is killed.
async fn killed_in_the_middle(kind: Kind) {
    for (grandchild, role) in [("exec", "wait"), ("fork", "wait"), ("exec", "sleep")] {
        let mut middle = family(kind, grandchild, role).await;
        let grandchild = middle.hears_pid().await;
        middle.child.signal(Signal::KILL).unwrap();
        grandchild.ended().await;
        middle.child.exited().await.unwrap();
    }
}

async fn stopped_grandchild(kind: Kind) {
    for grandchild in ["exec", "fork"] {
        let mut middle = family(kind, grandchild, "wait").await;
        let pid = middle.hears().await.parse().unwrap();
        let grandchild = Stranger::open(pid);
        grandchild.signal(Signal::STOP);
        until_stopped(pid).await;
        middle.child.signal(Signal::KILL).unwrap();
        grandchild.ended().await;
    }
}

async fn has_its_grace(kind: Kind) {
    for grandchild in ["exec", "fork"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("farewell");
        let role = format!("farewell {}", path.display());
        let mut middle = family(kind, grandchild, &role).await;
        let grandchild = middle.hears_pid().await;
        middle.child.signal(Signal::KILL).unwrap();
        grandchild.ended().await;
        assert_eq!(std::fs::read_to_string(path).unwrap(), "done");
    }
}

/// A grandchild ends by itself once its parent has gone, and so does its helper.
async fn takes_helpers_along(kind: Kind) {
    for grandchild in ["exec", "fork"] {
        let mut middle = family(kind, grandchild, "helper").await;
        let [grandchild, helper] = [middle.hears_pid().await, middle.hears_pid().await];
        middle.child.signal(Signal::KILL).unwrap();
        grandchild.ended().await;
        helper.ended().await;
    }
}

/// Neither a stopped child nor one with a grace of an hour stops the request on its way down.
async fn forced_to_end(kind: Kind) {
    for grandchild in ["exec", "fork"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heard");
        let role = format!("forced {}", path.display());
        let mut middle = family(kind, grandchild, &role).await;
        let grandchild = middle.hears_pid().await;
        assert_eq!(middle.hears().await, "ready");
        middle.child.signal(Signal::STOP).unwrap();
        until_stopped(middle.child.pid()).await;
        middle.child.force_end();
        while !path.exists() {
            tokio::task::yield_now().await;
        }
        middle.child.signal(Signal::KILL).unwrap();
        grandchild.ended().await;
    }
}

async fn family(kind: Kind, grandchild: &str, role: &str) -> Played {
    let launch = Launch { kind, with_forkserver: true, ..Launch::exec("middle") };
    Played::launch(launch, &format!("family {grandchild} {role}")).await
}

/// A child has children, and checks what they leave behind.
async fn plays_well(kind: Kind, role: &str) {
    for of in ["exec", "fork"] {
        plays(kind, &format!("{role} {of}"), true).await;
    }
}

async fn plays(kind: Kind, role: &str, with_forkserver: bool) {
    let launch = Launch { kind, with_forkserver, ..Launch::exec("parent") };
    let played = Played::launch(launch, role).await;
    let ended = played.child.exited().await.unwrap();
    played.child.output_read().await;
    assert_eq!(ended, Ended::Code(0), "{}", played.child.error_tail());
}

/// A program that nobody watches is killed while it has a tree below it.
async fn killed_root(is_stopped: bool) {
    let mut root = Command::new("/proc/self/exe")
        .arg("--be-a-root")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(root.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    let pids: Vec<i32> = (0..crate::ROOT_TREE).map(|_| line().parse().unwrap()).collect();
    assert_eq!(line(), "ready");
    let tree: Vec<_> = pids.iter().map(|pid| Stranger::open(*pid)).collect();
    if is_stopped {
        for (process, pid) in tree.iter().zip(pids) {
            process.signal(Signal::STOP);
            until_stopped(pid).await;
        }
    }
    root.kill().unwrap();
    for process in tree {
        process.ended().await;
    }
    root.wait().unwrap();
    // Nobody holds its output any more, not even the forkserver.
    assert!(lines.next().is_none());
}

/// At whatever point of its start the child is when its root is killed, it ends.
async fn killed_as_it_launches(launches: usize) {
    let mut root = Command::new("/proc/self/exe")
        .arg("--launch-for-ever")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(root.stdout.take().unwrap()).lines();
    for _ in 0..launches {
        assert_eq!(lines.next().unwrap().unwrap(), "started");
    }
    let session = root.id().to_string();
    assert!(of_session(&session).len() > launches);
    root.kill().unwrap();
    root.wait().unwrap();
    while !of_session(&session).is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Returns the kernel's status of each living process of a session.
fn of_session(session: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let stats = processes.filter_map(|it| {
        // A process that has ended meanwhile has no such file.
        std::fs::read_to_string(it.unwrap().path().join("stat")).ok()
    });
    let is_of_it = |stat: &String| {
        // State, parent, group and session follow a name that may contain any character.
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[0] != "Z" && fields[3] == session
    };
    stats.filter(is_of_it).collect()
}
