//! Cases of deaths from outside: signals, and parents and roots that are killed.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use endpoints::Endpoint;
use rustix::process::Signal;
use tree::{Exit, RunError};

use super::Done;
use crate::{
    exports::{exit_with, inherited, raise, start_helper, with_child},
    roles,
    stage::{Stage, revision},
};

pub(crate) async fn a_child_inherits_three_descriptors(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    let inherited =
        root.nursery(async |n| Ok(n.spawn("child").kind(kind).run(inherited()).await?)).await?;
    // The fourth is the one that `ls` opens for the list.
    assert_eq!(inherited, ["0", "1", "2", "3"]);
    Ok(())
}

pub(crate) async fn a_process_that_exits_is_told_with_its_last_words(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    let outcome = root
        .nursery(async |n| Ok(n.spawn("quitter").kind(kind).run(exit_with(3, 64 * 1024)).await))
        .await?;
    let Err(RunError::Ended { exit: Exit::Exited { code: 3, last_words }, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(last_words.ends_with("eee\nthe end"), "{last_words:?}");
    Ok(())
}

pub(crate) async fn a_killed_process_is_noticed_at_once(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    for signal in [libc::SIGKILL, libc::SIGSEGV] {
        let error = root
            .nursery(async |n| {
                let child = n.spawn("victim").kind(kind).expose(&[raise::EXPORT]).await?;
                let _gone = child.call(raise(signal)).await;
                std::future::pending::<()>().await;
                Ok(())
            })
            .await
            .unwrap_err();
        let [child] = &*error.children else { panic!("{error}") };
        assert!(
            matches!(child.exit, Exit::Signalled { signal: it, .. } if it == signal),
            "{error}"
        );
        assert!(root.find_actor("victim").await?.is_none());
    }
    Ok(())
}

pub(crate) async fn a_terminated_process_says_who_asked(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    let error = root
        .nursery(async |n| {
            let child = n.spawn("victim").kind(kind).expose(&[raise::EXPORT]).await?;
            let _gone = child.call(raise(libc::SIGTERM)).await;
            std::future::pending::<()>().await;
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "/base/victim: cancelled by /base/victim: SIGTERM");
    Ok(())
}

pub(crate) async fn a_stopped_process_is_ended(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    root.nursery(async |n| {
        let child = n
            .spawn("victim")
            .kind(kind)
            .grace(Duration::from_millis(200))
            .expose(&[raise::EXPORT])
            .await?;
        let stopping = child.call(raise(libc::SIGSTOP));
        assert!(tokio::time::timeout(Duration::from_millis(200), stopping).await.is_err());
        n.cancel();
        Ok(())
    })
    .await?;
    Ok(())
}

/// A process is killed during its start, at one moment after the other: either its spawner learns
/// of it, or it was up, and its scope learns of it.
pub(crate) async fn a_death_at_any_step_of_the_boot_is_told(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    for step in 0..12 {
        let before = roles::descendants();
        let killing = async {
            loop {
                let new: Vec<_> = roles::descendants().difference(&before).copied().collect();
                if !new.is_empty() {
                    tokio::time::sleep(Duration::from_micros(400 * step)).await;
                    return roles::kill(&new);
                }
                tokio::task::yield_now().await;
            }
        };
        let scope = root.nursery(async |n| {
            n.spawn("early").kind(kind).await?;
            std::future::pending::<()>().await;
            Ok(())
        });
        let (outcome, ()) = tokio::join!(scope, killing);
        let error = outcome.expect_err("it is killed");
        assert!(error.to_string().contains("SIGKILL"), "{step}: {error}");
    }
    Ok(())
}

/// A child that leads a process group of its own, as every actor does, ends with its parent.
pub(crate) async fn a_killed_parent_takes_its_children_with_it(stage: Stage) -> Done {
    let Stage { kind, root, client, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    let marks = tempfile::tempdir()?;
    let (mut below, mut latest) = (0, 0);
    let error = root
        .nursery(async |n| {
            let path = marks.path().display().to_string();
            let spawn = n.spawn("parent").kind(kind).grace(Duration::from_millis(300));
            spawn.start(with_child(kind, path)).await?;
            let file = marks.path().join("pids");
            let pids = loop {
                match std::fs::read_to_string(&file) {
                    Ok(pids) if !pids.is_empty() => break pids,
                    _ => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            };
            let pids: Vec<u32> = pids.split(' ').map(|it| it.parse().unwrap()).collect();
            below = pids[1];
            assert_eq!(client.list("*").await?.records.len(), 3);
            latest = revision(&client).await;
            roles::kill(&pids[..1]);
            std::future::pending::<()>().await;
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "/base/parent: killed by SIGKILL");
    let names: Vec<_> =
        client.list("*").await?.records.iter().map(|it| it.name.to_string()).collect();
    assert_eq!(names, ["base"], "all of it has left the registry");
    assert_eq!(revision(&client).await, latest + 1, "in one change");
    roles::gone(&[below]).await;
    Ok(())
}

pub(crate) async fn a_helper_ends_with_the_process_that_started_it(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    let helper =
        root.nursery(async |n| Ok(n.spawn("parent").kind(kind).run(start_helper()).await?)).await?;
    roles::gone(&[helper]).await;
    Ok(())
}

pub(crate) async fn a_killed_root_takes_its_tree_with_it(stage: Stage) -> Done {
    let Stage { kind, root, client, folder, .. } = stage;
    let registrar = format!("/unix{}/registrar.sock", folder.display());
    let mut forsaken = Vec::new();
    // The second finds nothing in its way, and removes the old leftovers of the first.
    for _again in 0..2 {
        let program = Command::new("/proc/self/exe");
        let mut played =
            tokio::task::block_in_place(|| roles::Played::start(kind, &registrar, program))?;
        assert!(!forsaken.iter().any(|it: &PathBuf| it.exists()), "{forsaken:?}");
        let pids = roles::processes(&client).await?;
        let others: Vec<_> = pids.into_iter().filter(|it| *it != std::process::id()).collect();
        if kind.is_process() {
            assert_eq!(others.iter().collect::<BTreeSet<_>>().len(), 9, "{others:?}");
        }
        played.child.kill()?;
        played.child.wait()?;
        roles::gone(&others).await;
        forsaken = sockets_of_others(&folder, root.endpoints())?;
        let is_root = |it: &PathBuf| it.to_string_lossy().contains("/base-");
        assert!(!kind.is_process() || forsaken.iter().all(is_root), "{forsaken:?}");
        forsaken.iter().try_for_each(|it| age(it))?;
    }
    forsaken.iter().try_for_each(std::fs::remove_file)?;
    Ok(())
}

pub(crate) async fn a_terminal_interrupts_the_root_alone(stage: Stage) -> Done {
    let Stage { kind, client, folder, .. } = stage;
    let registrar = format!("/unix{}/registrar.sock", folder.display());
    // A shell in between would be interrupted too, and some stay.
    let program = format!("exec '{}'", std::env::current_exe()?.display());
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &program, "/dev/null"]).env("SHELL", "/bin/sh");
    let mut played =
        tokio::task::block_in_place(|| roles::Played::start(kind, &registrar, terminal))?;
    let pids = roles::processes(&client).await?;
    played.child.stdin.take().expect("it is piped").write_all(b"\x03")?;
    let mut said = String::new();
    let status = tokio::task::block_in_place(|| {
        played.output.read_to_string(&mut said)?;
        played.child.wait()
    })?;
    assert!(said.contains("cancelled by /base: SIGINT"), "{said:?}");
    assert_eq!(status.code(), Some(7), "{said:?}");
    let others: Vec<_> = pids.into_iter().filter(|it| *it != std::process::id()).collect();
    roles::gone(&others).await;
    Ok(())
}

/// Returns the socket files in a folder and the locks beside them, except a root's own.
fn sockets_of_others(folder: &Path, own: &[Endpoint]) -> Result<Vec<PathBuf>, tree::AnyError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let text = path.display().to_string();
        let is_own = |it: &Endpoint| text.starts_with(it.to_string().trim_start_matches("/unix"));
        if !text.contains("registrar.sock") && !own.iter().any(is_own) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Makes a file an hour old.
fn age(path: &Path) -> std::io::Result<()> {
    let now = std::time::UNIX_EPOCH.elapsed().expect("it is later than 1970");
    let tv_sec = now.as_secs() as i64 - 3600;
    let at = rustix::fs::Timespec { tv_sec, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: at, last_modification: at };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    Ok(rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags)?)
}

/// A process that has bound a drawn place, and is killed with its parent before it could report
/// that.
pub(crate) async fn a_death_before_anybody_knows_leaves_no_file(stage: Stage) -> Done {
    let Stage { kind, root, client, folder, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    for _attempt in 0..100 {
        let marks = tempfile::tempdir()?;
        let mut is_met = false;
        let scope = root.nursery(async |n| {
            let function = with_child(kind, marks.path().display().to_string());
            n.spawn("parent").kind(kind).start(function).await?;
            let parent = root.children()[0].pid.expect("it is a process");
            stop_when_bound(parent, &folder).await;
            // Its output from before the stop is in transit for a moment.
            tokio::time::sleep(Duration::from_millis(20)).await;
            is_met = client.list("below").await?.records.is_empty();
            if is_met {
                let below: Vec<_> = roles::descendants_of(parent).into_iter().collect();
                roles::kill(&below);
                roles::kill(&[parent]);
                std::future::pending::<()>().await;
            }
            roles::signal(parent, Signal::CONT);
            n.cancel();
            Ok(())
        });
        let outcome = scope.await;
        if is_met {
            let error = outcome.unwrap_err();
            assert_eq!(error.to_string(), "/base/parent: killed by SIGKILL");
            return Ok(());
        }
    }
    Err("it was told of its child each time".into())
}

/// Lets a process continue step by step, and stops it for good once its child has bound a socket.
async fn stop_when_bound(parent: u32, folder: &Path) {
    let is_below = |it: std::fs::DirEntry| {
        let name = it.file_name().to_string_lossy().into_owned();
        name.starts_with("below-") && name.ends_with(".sock")
    };
    let is_bound =
        || std::fs::read_dir(folder).expect("the folder is there").flatten().any(is_below);
    loop {
        roles::signal(parent, Signal::STOP);
        assert!(roles::has_stopped(parent).await, "it waits for ever");
        for _look in 0..20 {
            if is_bound() {
                return;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        roles::signal(parent, Signal::CONT);
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
}
