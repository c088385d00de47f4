//! The cases.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    path::Path,
    process::Command,
    time::Duration,
};

use endpoints::Endpoint;
use tree::{CallError, Exit, Intensity, NurseryOptions, Restart, RunError};

use crate::{
    exports::{
        Refusal, ask, ask_twice, block, double, exit_with, grow, grow_failing, inherited,
        panic_with, quote, raise, start_helper, sums, wait_for_ever, who_am_i, with_child,
    },
    late::{
        a_dump_tells_what_each_child_is_at, a_process_with_a_stuck_thread_is_ended,
        a_stuck_thread_is_told_by_its_process, what_a_process_writes_is_logged_with_its_name,
    },
    roles,
    stage::{Case, Stage, rounds},
};

/// Lists cases by their names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const ALL: &[(&str, Case)] =
            &[$((stringify!($name), |stage| Box::pin($name(stage)))),*];
    };
}

cases! {
    a_function_returns,
    a_function_fails_with_its_own_error,
    a_panic_is_told,
    a_served_function_is_called,
    what_is_not_exposed_is_refused,
    a_failure_ends_the_scope,
    cancelled_children_are_absorbed,
    a_dialogue_goes_both_ways,
    siblings_find_each_other,
    a_look_up_outlives_the_thread_that_made_the_first,
    a_process_that_exits_is_told_with_its_last_words,
    a_killed_process_is_noticed_at_once,
    a_terminated_process_says_who_asked,
    a_stopped_process_is_ended,
    a_function_that_never_yields_is_ended_or_given_up,
    a_dump_tells_what_each_child_is_at,
    what_a_process_writes_is_logged_with_its_name,
    a_stuck_thread_is_told_by_its_process,
    a_process_with_a_stuck_thread_is_ended,
    a_deep_tree_falls,
    a_broad_tree_falls,
    a_death_at_any_step_of_the_boot_is_told,
    no_error_of_a_cascade_is_lost,
    a_killed_parent_takes_its_children_with_it,
    a_helper_ends_with_the_process_that_started_it,
    a_deadline_ends_a_call,
    a_restart_is_a_new_instance,
    a_dropped_scope_ends_its_children,
    a_child_inherits_three_descriptors,
    a_killed_root_takes_its_tree_with_it,
    a_terminal_interrupts_the_root_alone,
}

pub(crate) type Done = Result<(), tree::AnyError>;

async fn a_function_returns(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let answer =
        root.nursery(async |n| Ok(n.spawn("math").kind(kind).run(double(21)).await?)).await?;
    assert_eq!(answer, 42);
    let path = root.nursery(async |n| Ok(n.spawn("me").kind(kind).run(who_am_i()).await?)).await?;
    assert_eq!(path, "/base/me");
    Ok(())
}

async fn a_function_fails_with_its_own_error(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    root.nursery(async |n| {
        let outcome = n.spawn("pricer").kind(kind).run(quote("XAU".to_owned())).await;
        let Err(RunError::Call(CallError::App(refusal))) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(refusal, Refusal::NoQuote("XAU".to_owned()));
        Ok(())
    })
    .await?;
    Ok(())
}

async fn a_panic_is_told(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let outcome = root
        .nursery(async |n| {
            Ok(n.spawn("clumsy").kind(kind).run(panic_with("oh no".to_owned())).await)
        })
        .await?;
    let Err(RunError::Ended(Exit::Panicked(panic))) = outcome else { panic!("{outcome:?}") };
    assert_eq!(panic.message, "oh no");
    assert!(panic.place.unwrap().contains("exports.rs"));
    Ok(())
}

async fn a_served_function_is_called(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    root.nursery(async |n| {
        let server = n.spawn("server").kind(kind).expose(&[double::EXPORT, quote::EXPORT]).await?;
        assert_eq!(server.path().as_str(), "/base/server");
        assert_eq!(server.call(double(4)).await?, 8);
        let error = server.call(quote("XAU".to_owned())).await.unwrap_err();
        assert!(matches!(error, CallError::App(Refusal::NoQuote(_))), "{error:?}");
        assert_eq!(server.call(quote("EURUSD".to_owned())).await?, 1.0842);
        Ok(())
    })
    .await?;
    Ok(())
}

async fn what_is_not_exposed_is_refused(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    root.nursery(async |n| {
        let server = n.spawn("server").kind(kind).expose(&[quote::EXPORT]).await?;
        let error = server.call(double(4)).await.unwrap_err();
        assert!(matches!(&error, CallError::NotExposed(_)), "{error:?}");
        assert!(error.to_string().contains("is not exposed by /base/server"), "{error}");
        Ok(())
    })
    .await?;
    Ok(())
}

async fn a_failure_ends_the_scope(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let error = root
        .nursery(async |n| {
            n.spawn("idle").kind(kind).await?;
            n.spawn("busy").kind(kind).start(wait_for_ever()).await?;
            n.spawn("pricer").kind(kind).start(quote("XAU".to_owned())).await?;
            std::future::pending::<()>().await;
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "/base/pricer: failed: no quote for XAU");
    Ok(())
}

async fn cancelled_children_are_absorbed(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    root.nursery(async |n| {
        n.spawn("idle").kind(kind).await?;
        n.spawn("busy").kind(kind).start(wait_for_ever()).await?;
        n.cancel();
        Ok(())
    })
    .await?;
    Ok(())
}

async fn a_dialogue_goes_both_ways(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    root.nursery(async |n| {
        let server = n.spawn("server").kind(kind).expose(&[sums::EXPORT]).await?;
        let dialogue = sums("hello".to_owned());
        let (last, count) = server
            .context(dialogue, async |started, mut stream| {
                assert_eq!(started, "hello");
                let mut last = 0;
                // More than are ever on their way.
                for number in 1..=200 {
                    stream.send(number).await.unwrap();
                    last = stream.recv().await.unwrap().unwrap();
                }
                last
            })
            .await?;
        assert_eq!((last, count), (20_100, 200));
        Ok(())
    })
    .await?;
    Ok(())
}

async fn siblings_find_each_other(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    root.nursery(async |n| {
        n.spawn("server").kind(kind).expose(&[double::EXPORT]).await?;
        let answer = n.spawn("asker").kind(kind).run(ask("server".to_owned(), 21)).await?;
        assert_eq!(answer, 42);
        let found = root.find_actor("server").await?.expect("it is ready");
        assert_eq!(found.path().as_str(), "/base/server");
        assert_eq!(found.call(double(4)).await?, 8);
        let reached = found.reached().expect("it was looked up");
        assert_eq!(reached.assurance.to_string(), "proved");
        assert!(root.find_actor("nobody").await?.is_none());
        Ok(())
    })
    .await?;
    Ok(())
}

async fn a_process_that_exits_is_told_with_its_last_words(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    let outcome = root
        .nursery(async |n| Ok(n.spawn("quitter").kind(kind).run(exit_with(3, 64 * 1024)).await))
        .await?;
    let Err(RunError::Ended(Exit::Exited { code: 3, last_words })) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(last_words.ends_with("eee\nthe end"), "{last_words:?}");
    Ok(())
}

async fn a_killed_process_is_noticed_at_once(stage: Stage) -> Done {
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

async fn a_terminated_process_says_who_asked(stage: Stage) -> Done {
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

async fn a_stopped_process_is_ended(stage: Stage) -> Done {
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

async fn a_function_that_never_yields_is_ended_or_given_up(stage: Stage) -> Done {
    let Stage { kind, root, folder, .. } = stage;
    let flag = folder.join("blocks");
    let scope = root.nursery(async |n| {
        n.spawn("stubborn")
            .kind(kind)
            .grace(Duration::from_millis(200))
            .start(block(flag.display().to_string()))
            .await?;
        while !flag.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        n.cancel();
        Ok(())
    });
    let outcome = scope.await;
    std::fs::remove_file(&flag)?;
    if kind.is_process() {
        outcome?;
        return Ok(());
    }
    let error = outcome.unwrap_err();
    assert!(matches!(error.children[0].exit, Exit::Unreachable { .. }), "{error}");
    // Let go, it tidies up after itself.
    let is_left = |it: std::fs::DirEntry| it.file_name().to_string_lossy().contains("stubborn");
    while std::fs::read_dir(&folder)?.flatten().any(is_left) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn a_deep_tree_falls(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let error = root
        .nursery(async |n| {
            n.spawn("top").kind(kind).start(grow(kind, 3, 2)).await?;
            Ok(())
        })
        .await
        .unwrap_err();
    let leaves = error.leaves();
    assert!(!leaves.is_empty(), "{error}");
    for leaf in leaves {
        assert!(leaf.said.starts_with("failed: no quote for leaf-"), "{error}");
    }
    Ok(())
}

async fn a_broad_tree_falls(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let error = root
        .nursery(async |n| {
            n.spawn("top").kind(kind).start(grow(kind, 1, 25)).await?;
            Ok(())
        })
        .await
        .unwrap_err();
    assert!(!error.leaves().is_empty(), "{error}");
    Ok(())
}

async fn a_restart_is_a_new_instance(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let intensity = Intensity { restarts: 2, ..Intensity::default() };
    let options = NurseryOptions { intensity, ..NurseryOptions::default() };
    let error = root
        .nursery_with(options, async |n| {
            n.spawn("pricer")
                .kind(kind)
                .restart(Restart::OnFailure)
                .start(quote("XAU".to_owned()))
                .await?;
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "/base/pricer: failed: no quote for XAU, after 2 restarts");
    Ok(())
}

async fn a_dropped_scope_ends_its_children(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let scope = root.nursery(async |n| {
        n.spawn("idle").kind(kind).await?;
        std::future::pending::<()>().await;
        Ok(())
    });
    assert!(tokio::time::timeout(Duration::from_millis(500), scope).await.is_err());
    // It leaves the registry soon, though nobody waits for the scope any more.
    while root.find_actor("idle").await.is_ok_and(|it| it.is_some()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn a_child_inherits_three_descriptors(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    let inherited =
        root.nursery(async |n| Ok(n.spawn("child").kind(kind).run(inherited()).await?)).await?;
    // What `ls` itself opens to look is the fourth.
    assert_eq!(inherited, ["0", "1", "2", "3"]);
    Ok(())
}

async fn a_killed_root_takes_its_tree_with_it(stage: Stage) -> Done {
    let Stage { kind, root, client, folder, .. } = stage;
    let registrar = format!("/unix{}/registrar.sock", folder.display());
    // The second finds nothing in its way.
    for _again in 0..2 {
        let program = Command::new("/proc/self/exe");
        let mut played =
            tokio::task::block_in_place(|| roles::Played::start(kind, &registrar, program))?;
        let pids = roles::processes(&client).await?;
        let others: Vec<_> = pids.into_iter().filter(|it| *it != std::process::id()).collect();
        if kind.is_process() {
            assert_eq!(others.iter().collect::<BTreeSet<_>>().len(), 9, "{others:?}");
        }
        played.child.kill()?;
        played.child.wait()?;
        roles::gone(&others).await;
    }
    clear(&folder, root.endpoints())?;
    Ok(())
}

async fn a_terminal_interrupts_the_root_alone(stage: Stage) -> Done {
    let Stage { kind, client, folder, .. } = stage;
    let registrar = format!("/unix{}/registrar.sock", folder.display());
    // A shell that stays between would be interrupted too, and some stay.
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

/// Removes the sockets of actors that were killed with their root: nobody is left to do so, and
/// whoever binds them next would.
pub(crate) fn clear(folder: &Path, own: &[Endpoint]) -> Result<(), tree::AnyError> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let text = path.display().to_string();
        let is_own = |it: &Endpoint| text.starts_with(it.to_string().trim_start_matches("/unix"));
        if !text.contains("registrar.sock") && !own.iter().any(is_own) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Trees whose leaves fail at once: depth 3 and breadth 2, and depth 1 and breadth 25. Whoever
/// failed is in the error of the root, and nobody else is.
async fn no_error_of_a_cascade_is_lost(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    for _round in 0..rounds() {
        for (depth, breadth) in [(3, 2), (1, 25)] {
            let folder = tempfile::tempdir()?;
            let path = folder.path().display().to_string();
            let scope = root.nursery(async |n| {
                n.spawn("top").kind(kind).start(grow_failing(kind, depth, breadth, path)).await?;
                let is_up = || marked(folder.path(), "up").len() == breadth.pow(depth) as usize;
                while !is_up() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                std::fs::write(folder.path().join("go"), "")?;
                Ok(())
            });
            let error = scope.await.expect_err("the leaves fail");
            let told: BTreeSet<_> = error.leaves().iter().map(|it| it.actor.to_string()).collect();
            assert!(!told.is_empty());
            assert_eq!(told, marked(folder.path(), "failed"), "{error}");
            assert!(error.leaves().iter().all(|it| it.said.starts_with("failed: no quote for /")));
        }
    }
    Ok(())
}

/// Returns the actors that have marked something in a folder.
fn marked(folder: &Path, mark: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there").flatten();
    let names = entries.map(|it| it.file_name().to_string_lossy().replace('+', "/"));
    names.filter_map(|it| it.strip_prefix(mark).map(str::to_owned)).collect()
}

/// A process that is killed while it begins, at one moment after the other: whoever spawned it is
/// told, or else it was up, and its scope is.
async fn a_death_at_any_step_of_the_boot_is_told(stage: Stage) -> Done {
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
async fn a_killed_parent_takes_its_children_with_it(stage: Stage) -> Done {
    let Stage { kind, root, client, clerk, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    let marks = tempfile::tempdir()?;
    let (mut below, mut revision) = (0, 0);
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
            revision = clerk.status().revision;
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
    assert_eq!(clerk.status().revision, revision + 1, "in one change");
    roles::gone(&[below]).await;
    Ok(())
}

async fn a_helper_ends_with_the_process_that_started_it(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    let helper =
        root.nursery(async |n| Ok(n.spawn("parent").kind(kind).run(start_helper()).await?)).await?;
    roles::gone(&[helper]).await;
    Ok(())
}

async fn a_deadline_ends_a_call(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    root.nursery(async |n| {
        let server =
            n.spawn("server").kind(kind).expose(&[wait_for_ever::EXPORT, double::EXPORT]).await?;
        let within = Duration::from_millis(20);
        let error = server.call_within(wait_for_ever(), within).await.unwrap_err();
        assert!(matches!(error, CallError::Transport(_)), "{error:?}");
        let within = Duration::from_secs(20);
        assert_eq!(server.call_within(double(4), within).await?, 8);
        Ok(())
    })
    .await?;
    Ok(())
}

async fn a_look_up_outlives_the_thread_that_made_the_first(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let sum = root
        .nursery(async |n| {
            n.spawn("server").kind(kind).expose(&[double::EXPORT]).await?;
            Ok(n.spawn("asker").kind(kind).run(ask_twice("server".to_owned())).await?)
        })
        .await?;
    assert_eq!(sum, 2 + 4);
    Ok(())
}
