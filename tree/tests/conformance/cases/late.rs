//! Cases of a parent's reports: children that do not end in time, and their output.

use std::time::Duration;

use tree::{Exit, Kind, Phase, Pressure, process::LINE_BYTES_MAX};

use super::Done;
use crate::{
    exports::{block, block_below, chat, quote_and_block, with_stuck_thread},
    log, roles,
    stage::Stage,
};

pub(crate) async fn a_socket_that_vanished_is_bound_and_registered_again(stage: Stage) -> Done {
    let Stage { kind, root, client, folder, .. } = stage;
    root.nursery(async |n| {
        n.spawn("feed").kind(kind).await?;
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|it| it.to_string_lossy().starts_with("feed-")) {
                std::fs::remove_file(path)?;
            }
        }
        loop {
            let record = client.query_actor("feed").await?.expect("it stays registered");
            let published = &record.endpoints[0];
            if transport::stamp(&published.endpoint).socket == published.stamp.socket {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(client.find_actor("feed").await.is_ok());
        n.cancel();
        Ok(())
    })
    .await?;
    Ok(())
}

pub(crate) async fn a_function_that_never_yields_is_ended_or_given_up(stage: Stage) -> Done {
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
    // Its socket is gone, though a thread still has it.
    let is_left = |it: std::fs::DirEntry| it.file_name().to_string_lossy().contains("stubborn");
    assert!(!std::fs::read_dir(&folder)?.flatten().any(is_left));
    std::fs::remove_file(&flag)?;
    if kind.is_process() {
        outcome?;
        return Ok(());
    }
    let error = outcome.unwrap_err();
    assert!(matches!(error.children[0].exit, Exit::Unreachable { .. }), "{error}");
    threads_ended("stubborn").await;
    Ok(())
}

/// The result of its function is reported, though the actor does not end afterwards; the log says
/// that it was abandoned.
pub(crate) async fn the_result_of_a_function_outlives_an_abandoned_actor(stage: Stage) -> Done {
    let Stage { kind, root, folder, .. } = stage;
    log::take("callsign");
    let flag = folder.join("blocks");
    let stubborn = |symbol: &str| quote_and_block(symbol.to_owned(), flag.display().to_string());
    let grace = Duration::from_millis(200);
    let scope = root.nursery(async |n| {
        let quoted = n.spawn("stubborn").kind(kind).grace(grace).run(stubborn("EURUSD")).await?;
        assert_eq!(quoted, 1.0842);
        n.spawn("stubborn").kind(kind).grace(grace).start(stubborn("XAU")).await?;
        Ok(())
    });
    let error = scope.await.unwrap_err();
    std::fs::remove_file(&flag)?;
    assert_eq!(error.to_string(), "/base/stubborn: failed: no quote for XAU");
    threads_ended("stubborn").await;
    let is_told = |it: &String| it.starts_with("ERROR ") && it.contains("is given up");
    let told = log::take("callsign").iter().filter(|it| is_told(it)).count();
    assert_eq!(told, if kind == Kind::Thread { 2 } else { 0 });
    Ok(())
}

/// Waits until no thread of a name is left.
async fn threads_ended(name: &str) {
    let is_there = || {
        let threads = std::fs::read_dir("/proc/self/task").expect("it is there").flatten();
        let names = threads.flat_map(|it| std::fs::read_to_string(it.path().join("comm")));
        names.into_iter().any(|it| it.trim_end() == name)
    };
    while is_there() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Two children that do not react: the report about the first late one has both.
pub(crate) async fn a_dump_tells_what_each_child_is_at(stage: Stage) -> Done {
    let Stage { kind, root, folder, dumps, .. } = stage;
    log::take("callsign");
    let flags = ["one", "two"].map(|it| folder.join(it));
    let mut processes = Vec::new();
    let scope = root.nursery(async |n| {
        for (name, flag) in ["slow", "slower"].into_iter().zip(&flags) {
            let spawn = n.spawn(name).kind(kind).grace(Duration::from_millis(200));
            spawn.start(block(flag.display().to_string())).await?;
        }
        while !flags.iter().all(|it| it.exists()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        processes.extend(root.children().iter().filter_map(|it| it.pid));
        n.cancel();
        Ok(())
    });
    // Tasks and threads are abandoned, which is the subject of another case.
    let is_well = scope.await.is_ok();
    for flag in &flags {
        std::fs::remove_file(flag)?;
    }
    assert_eq!(is_well, kind.is_process());
    threads_ended("slow").await;
    threads_ended("slower").await;

    let file = dumps.join(format!("callsign-{}.dump", std::process::id()));
    let written = std::fs::read_to_string(&file)?;
    let logged: Vec<_> = log::take("callsign")
        .into_iter()
        .filter(|it| it.contains("an actor does not end in time"))
        .collect();
    assert!(logged.iter().all(|it| it.starts_with("WARN ")), "{logged:?}");
    assert!(logged.iter().all(|it| it.contains(&*file.to_string_lossy())), "{logged:?}");
    // The file has the last log lines.
    assert!(!written.is_empty() && logged.iter().any(|it| it.contains(&written)), "{written}");
    assert_eq!(processes.len(), 2);
    for (name, pid) in ["slow", "slower"].into_iter().zip(processes) {
        let own = format!("actor=/base/{name} pressure=Asked ");
        let own = logged.iter().find(|it| it.contains(&own)).expect("it was late");
        let row = format!("/base/{name} ({kind}, process {pid}) ");
        let row = own.lines().find_map(|it| it.strip_prefix(&*row)).expect("it is told");
        // A child that has noticed the request says so, if it still can.
        let phases = [Phase::Ending(Pressure::Asked), Phase::AwaitingChildren];
        assert!(phases.iter().any(|it| row.starts_with(&format!("{it}, for "))), "{row}");
    }
    Ok(())
}

pub(crate) async fn the_output_of_a_process_is_logged_with_its_name(stage: Stage) -> Done {
    const BYTES: usize = 64 * 1024;
    let Stage { kind, root, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    log::take("callsign::stdio");
    root.nursery(async |n| Ok(n.spawn("talker").kind(kind).run(chat(BYTES)).await?)).await?;
    let logged = log::take("callsign::stdio");
    let told = |level: &str, stream: &str| -> Vec<_> {
        let (head, tail) = (format!("{level} message="), format!(" actor=talker stream={stream}"));
        logged.iter().filter_map(|it| it.strip_prefix(&*head)?.strip_suffix(&*tail)).collect()
    };
    assert_eq!(told("WARN", "stderr"), ["three"]);
    let mut told = told("INFO", "stdout");
    let cut = told.split_off(2);
    assert_eq!(told, ["one", "two"]);
    assert_eq!(cut.iter().map(|it| it.len()).sum::<usize>(), BYTES);
    assert!(cut.iter().all(|it| it.len() <= LINE_BYTES_MAX), "it comes in pieces");
    Ok(())
}

/// A thread within a process, which cannot be stopped by force: the process ends its scope without
/// it, and reports that.
pub(crate) async fn a_stuck_thread_is_told_by_its_process(stage: Stage) -> Done {
    let Stage { kind, root, folder, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    let flag = folder.join("blocks");
    let before = roles::descendants();
    let error = root
        .nursery(async |n| {
            let function = with_stuck_thread(flag.display().to_string());
            n.spawn("top").kind(kind).start(function).await?;
            Ok(())
        })
        .await
        .unwrap_err();
    let [leaf] = &*error.leaves() else { panic!("{error}") };
    assert_eq!(leaf.actor.as_str(), "/base/top/stuck");
    assert!(leaf.said.contains("cannot be stopped by force"), "{error}");
    // The process has not waited for its thread.
    let left: Vec<_> = roles::descendants().difference(&before).copied().collect();
    roles::gone(&left).await;
    std::fs::remove_file(&flag)?;
    Ok(())
}

/// A thread within a process, with a longer grace than the process itself has.
pub(crate) async fn a_process_with_a_stuck_thread_is_ended(stage: Stage) -> Done {
    let Stage { kind, root, folder, .. } = stage;
    if !kind.is_process() {
        return Ok(());
    }
    let flag = folder.join("blocks");
    let before = roles::descendants();
    let long = Duration::from_secs(3600);
    root.nursery(async |n| {
        let function = block_below(Kind::Thread, long, flag.display().to_string());
        n.spawn("top").kind(kind).grace(Duration::from_millis(200)).start(function).await?;
        while !flag.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        n.cancel();
        Ok(())
    })
    .await?;
    let left: Vec<_> = roles::descendants().difference(&before).copied().collect();
    roles::gone(&left).await;
    std::fs::remove_file(&flag)?;
    Ok(())
}
