//! Cases of calls: the results of functions, and the right to call them.

use std::{future::pending, time::Duration};

use tree::{CallError, Exit, RunError};

use super::Done;
use crate::{
    exports::{
        Refusal, ask, ask_twice, be_taken_out, double, listen, panic_with, quote, shy, sums,
        wait_for_ever, who_am_i,
    },
    stage::Stage,
};

pub(crate) async fn a_function_returns(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let answer =
        root.nursery(async |n| Ok(n.spawn("math").kind(kind).run(double(21)).await?)).await?;
    assert_eq!(answer, 42);
    let path = root.nursery(async |n| Ok(n.spawn("me").kind(kind).run(who_am_i()).await?)).await?;
    assert_eq!(path, "/base/me");
    Ok(())
}

pub(crate) async fn a_function_fails_with_its_own_error(stage: Stage) -> Done {
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

pub(crate) async fn a_panic_is_told(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    let outcome = root
        .nursery(async |n| {
            Ok(n.spawn("clumsy").kind(kind).run(panic_with("oh no".to_owned())).await)
        })
        .await?;
    let Err(RunError::Ended { exit: Exit::Panicked(panic), .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(panic.message, "oh no");
    assert!(panic.place.unwrap().contains("exports.rs"));
    Ok(())
}

pub(crate) async fn a_served_function_is_called(stage: Stage) -> Done {
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

/// An actor whose entry others remove learns of it, whatever it runs in.
pub(crate) async fn a_removed_actor_learns_of_it(stage: Stage) -> Done {
    let Stage { kind, root, client, .. } = stage;
    root.nursery(async |n| {
        let server = n.spawn("server").kind(kind).expose(&[be_taken_out::EXPORT]).await?;
        let record = client.query_actor("server").await?.expect("it is registered");
        client.unregister(record.uuid).await?;
        let told = server.call(be_taken_out()).await?;
        assert!(told.ends_with("has taken it out of the registry"), "{told}");
        assert!(client.list("server").await?.records.is_empty(), "it stays out");
        n.cancel();
        Ok(())
    })
    .await?;
    Ok(())
}

pub(crate) async fn functions_that_are_not_exposed_are_refused(stage: Stage) -> Done {
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

pub(crate) async fn a_dialogue_goes_both_ways(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    root.nursery(async |n| {
        let server = n.spawn("server").kind(kind).expose(&[sums::EXPORT]).await?;
        let dialogue = sums("hello".to_owned());
        let (last, count) = server
            .context(dialogue, async |started, mut stream| {
                assert_eq!(started, "hello");
                let mut last = 0;
                // More than are ever in transit.
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

pub(crate) async fn a_dialogue_that_never_starts_says_so(stage: Stage) -> Done {
    let Stage { kind, root, .. } = stage;
    root.nursery(async |n| {
        let server = n.spawn("server").kind(kind).expose(&[shy::EXPORT]).await?;
        let error = server.context(shy(), async |(), _| ()).await.unwrap_err().to_string();
        let shy = shy::EXPORT.path;
        assert_eq!(error, format!("`{shy}` returned without having started a dialogue"));
        Ok(())
    })
    .await?;
    Ok(())
}

pub(crate) async fn siblings_find_each_other(stage: Stage) -> Done {
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

pub(crate) async fn a_look_up_outlives_the_thread_that_made_the_first(stage: Stage) -> Done {
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

pub(crate) async fn a_deadline_ends_a_call(stage: Stage) -> Done {
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

pub(crate) async fn a_deadline_ends_a_dialogue_on_both_sides(stage: Stage) -> Done {
    let Stage { kind, root, folder, .. } = stage;
    let flag = folder.join("ended");
    root.nursery(async |n| {
        let server = n.spawn("server").kind(kind).expose(&[listen::EXPORT, sums::EXPORT]).await?;
        let within = Duration::from_millis(100);
        let call = listen(flag.display().to_string());
        let held = server.context_within(call, within, async |(), _stream| pending::<()>().await);
        let error = held.await.unwrap_err();
        assert!(
            matches!(error, CallError::Transport(portal::CallError::TimedOut(it)) if it == within),
            "{error:?}"
        );
        while !flag.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::fs::remove_file(&flag)?;
        let within = Duration::from_secs(20);
        let call = sums("hello".to_owned());
        let held = server.context_within(call, within, async |greeting, _stream| greeting);
        assert_eq!(held.await?, ("hello".to_owned(), 0));
        Ok(())
    })
    .await?;
    Ok(())
}
