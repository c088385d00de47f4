//! Cases of scopes: the fate of all children when one fails, and the reports of it.

use std::{collections::BTreeSet, path::Path, time::Duration};

use tree::{CallError, Intensity, Kind, LookupActorError, NurseryOptions, Restart, RunError};

use super::Done;
use crate::{
    exports::{Failure, Refusal, grow, grow_failing, insist, quote, wait_for_ever},
    stage::{Stage, rounds},
};

pub(crate) async fn a_failure_ends_the_scope(stage: Stage) -> Done {
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

pub(crate) async fn a_body_that_comes_too_late_for_its_scope_adds_no_error(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    // A task is there immediately, and a process is cancelled while it comes up.
    for late in [Kind::Task, Kind::Process] {
        let error = root
            .nursery(async |n| {
                n.spawn("pricer").kind(kind).start(quote("XAU".to_owned())).await?;
                for number in 0.. {
                    n.spawn(format!("late-{number}")).kind(late).await?;
                }
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "/base/pricer: failed: no quote for XAU");
    }
    Ok(())
}

pub(crate) async fn cancelled_children_are_absorbed(stage: Stage) -> Done {
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

pub(crate) async fn a_dropped_scope_ends_its_children(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    {
        let (is_up, up) = tokio::sync::oneshot::channel();
        let scope = root.nursery(async |n| {
            n.spawn("idle").kind(kind).await?;
            is_up.send(()).expect("it is waited for");
            std::future::pending::<()>().await;
            Ok(())
        });
        tokio::select! {
            ended = scope => panic!("{ended:?}"),
            told = up => told?,
        }
    }
    // It leaves the registry soon, though nobody waits for the scope any more.
    loop {
        match root.find_actor("idle").await {
            Ok(None) => return Ok(()),
            // It is about to end.
            Ok(Some(_)) | Err(LookupActorError::NoneAnswered(_)) => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn a_restart_is_a_new_instance(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("instances");
    let intensity = Intensity { restarts: 2, ..Intensity::default() };
    let options = NurseryOptions { intensity, ..NurseryOptions::default() };
    let error = root
        .nursery_with(options, async |n| {
            n.spawn("pricer")
                .kind(kind)
                .restart(Restart::OnFailure)
                .start(insist(file.display().to_string(), 9))
                .await?;
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "/base/pricer: failed: no quote for run 3, after 2 restarts");
    let instances = std::fs::read_to_string(&file)?;
    assert_eq!(instances.lines().collect::<BTreeSet<_>>().len(), 3, "{instances}");
    Ok(())
}

/// The caller of a function gets the result of the run that succeeded, or of the last; each run is
/// another instance.
pub(crate) async fn a_function_is_restarted_until_it_succeeds(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("instances");
    let path = file.display().to_string();
    let intensity = Intensity { restarts: 3, ..Intensity::default() };
    let options = NurseryOptions { intensity, ..NurseryOptions::default() };
    root.nursery_with(options, async |n| {
        let flaky = || n.spawn("flaky").kind(kind).restart(Restart::Always);
        assert_eq!(flaky().run(insist(path.clone(), 3)).await?, 3);
        let instances = std::fs::read_to_string(&file)?;
        assert_eq!(instances.lines().collect::<BTreeSet<_>>().len(), 3, "{instances}");

        std::fs::remove_file(&file)?;
        let outcome = flaky().run(insist(path.clone(), 9)).await;
        let Err(RunError::Call(CallError::App(refusal))) = outcome else { panic!("{outcome:?}") };
        assert_eq!(refusal, Refusal::NoQuote("run 2".to_owned()), "one restart was left");
        Ok(())
    })
    .await?;
    Ok(())
}

/// A scope that is cancelled while a child waits to be restarted does not start it, and the waiting
/// caller gets its exit.
pub(crate) async fn a_caller_learns_that_its_restart_was_cancelled(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("instances");
    let path = file.display().to_string();
    let hour = Duration::from_secs(3600);
    let intensity = Intensity { first: hour, most: hour, ..Intensity::default() };
    let options = NurseryOptions { intensity, ..NurseryOptions::default() };
    root.nursery_with(options, async |n| {
        let flaky = n.spawn("flaky").kind(kind).restart(Restart::OnFailure);
        let mut running = std::pin::pin!(flaky.run(insist(path.clone(), 9)));
        let ended = async {
            while !file.exists() || !n.actor().children().is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            outcome = &mut running => panic!("{outcome:?}"),
            () = ended => n.cancel(),
        }
        let outcome = running.await;
        let Err(RunError::Call(CallError::App(refusal))) = outcome else { panic!("{outcome:?}") };
        assert_eq!(refusal, Refusal::NoQuote("run 1".to_owned()));
        Ok(())
    })
    .await?;
    Ok(())
}

pub(crate) async fn a_failed_bind_names_the_endpoint(stage: Stage) -> Done {
    let Stage { kind, root, folder, .. } = stage;
    let place = format!("/unix{}/feed.sock", folder.display());
    let error = root
        .nursery(async |n| {
            n.spawn("feed").kind(kind).bind(&place).await?;
            n.spawn("other").kind(kind).bind(&place).await?;
            Ok(())
        })
        .await
        .unwrap_err()
        .to_string();
    let begin = "/base: /base/other cannot begin: cannot listen at ";
    assert!(error.starts_with(&format!("{begin}`{place}`: ")), "{error}");
    Ok(())
}

pub(crate) async fn a_deep_tree_falls(stage: Stage) -> Done {
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

pub(crate) async fn a_broad_tree_falls(stage: Stage) -> Done {
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

/// Trees whose leaves fail at once: depth 3 and breadth 2, and depth 1 and breadth 25. The root's
/// error has exactly the leaves that failed.
pub(crate) async fn no_error_of_a_cascade_is_lost(stage: Stage) -> Done {
    fall(stage, Failure::Error, "failed: no quote for /").await
}

pub(crate) async fn no_panic_of_a_cascade_is_lost(stage: Stage) -> Done {
    fall(stage, Failure::Panic, "panicked: no quote for /").await
}

async fn fall(stage: Stage, failure: Failure, said: &str) -> Done {
    let Stage { kind, root, .. } = stage;
    for _round in 0..rounds() {
        for (depth, breadth) in [(3, 2), (1, 25)] {
            let folder = tempfile::tempdir()?;
            let path = folder.path().display().to_string();
            let scope = root.nursery(async |n| {
                let function = grow_failing(kind, depth, breadth, failure, path);
                n.spawn("top").kind(kind).start(function).await?;
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
            assert!(error.leaves().iter().all(|it| it.said.starts_with(said)), "{error}");
            // However many they are, there is room for the rest of their reports.
            let bytes: usize = error.backtraces.iter().map(|it| it.calls.len()).sum();
            assert!(bytes <= wire::BACKTRACE_BYTES_MAX, "{bytes}");
        }
    }
    Ok(())
}

/// Returns the actors that have left their mark in a folder.
fn marked(folder: &Path, mark: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there").flatten();
    let names = entries.map(|it| it.file_name().to_string_lossy().replace('+', "/"));
    names.filter_map(|it| it.strip_prefix(mark).map(str::to_owned)).collect()
}

/// A peer may be of another tree, whose root has the same name as this one.
pub(crate) async fn the_cancellation_of_a_peer_is_not_absorbed(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let opened = root.nursery(async |n| {
        n.spawn("idle").kind(kind).await?;
        let found = root.wait_for_actor("idle").await?;
        found.cancel("enough").await?;
        std::future::pending::<()>().await;
        Ok(())
    });
    let error = opened.await.unwrap_err();
    assert_eq!(error.to_string(), "/base/idle: cancelled by a peer, /base: enough");
    Ok(())
}
