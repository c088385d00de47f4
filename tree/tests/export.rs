//! Exported functions, called as a user calls them; this crate forbids unsafe code, as a user's
//! may.

#![forbid(unsafe_code)]

extern crate callsign_tree as callsign;

use std::{
    pin::Pin,
    task::{self, Waker},
};

use callsign::{
    CallError, CalleeError, Context, Ended, Never,
    export::{Call, Dialogue, Ends, ExportKind, ITEMS_AHEAD, Incoming, Mismatch, exports, find},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use wire::{ErrorKind, decode_body, encode_body};

#[derive(Clone, Debug, Error, PartialEq, Deserialize, Serialize)]
enum FeedError {
    #[error("no such symbol {0}")]
    Unknown(String),
    #[error("the feed is broken")]
    Broken(#[source] Cause),
    #[error(transparent)]
    Ended(#[from] Ended),
}

#[derive(Clone, Debug, Error, PartialEq, Deserialize, Serialize)]
#[error("the cable is loose")]
struct Cause;

/// Returns the mean of some numbers.
#[callsign::export]
async fn mean(numbers: Vec<f64>) -> Result<f64, FeedError> {
    if numbers.is_empty() {
        return Err(FeedError::Unknown("nothing".to_owned()));
    }
    Ok(numbers.iter().sum::<f64>() / numbers.len() as f64)
}

#[callsign::export]
async fn greet(mut name: String, times: usize) -> String {
    name.push(' ');
    name.repeat(times)
}

#[callsign::export]
async fn nothing() {}

#[callsign::export]
async fn snap() -> Result<(), FeedError> {
    Err(FeedError::Broken(Cause))
}

type Fed<T> = std::result::Result<T, FeedError>;

/// An alias hides the error's type.
mod aliased {
    use super::{Fed as Result, FeedError};

    #[callsign::export]
    pub(super) async fn half(number: u64) -> Result<u64> {
        number.is_multiple_of(2).then_some(number / 2).ok_or(FeedError::Unknown("odd".to_owned()))
    }
}

/// Names in the body are resolved where the function is defined, including its own.
#[callsign::export]
async fn r#loop(depth: u32) -> u32 {
    if depth == 0 { 0 } else { 1 + self::r#loop(depth - 1).run_here().await.unwrap_or(100) }
}

/// An exported function may be inside another function, and sees the items beside it.
#[tokio::test]
async fn an_exported_function_may_stand_within_another() {
    type Pair = (u32, u32);
    fn sum((one, other): Pair) -> u32 {
        one + other
    }

    #[callsign::export]
    async fn within(pair: Pair) -> u32 {
        sum(pair)
    }

    assert_eq!(within((1, 2)).run_here().await.unwrap(), 3);
    assert!(find(within::EXPORT.path).is_some());
}

/// The names that the attribute generates do not collide with those of the body.
mod names {
    use super::{Context, Ended};

    const PATH: u32 = 1;
    const ENTRY: u32 = 2;

    fn run(number: u32) -> u32 {
        number
    }

    #[callsign::export]
    pub(super) async fn kept(incoming: u32) -> u32 {
        run(PATH + ENTRY + incoming)
    }

    #[callsign::export]
    pub(super) async fn shared(it: &mut Context<u32, (), ()>, context: u32) -> Result<u32, Ended> {
        it.started(context).await?;
        Ok(context)
    }
}

#[callsign::export]
#[cfg(any())]
async fn absent() -> Unknown {}

/// Counts up from a number, in steps that the caller sends.
#[callsign::export]
async fn count(context: &mut Context<String, i64, i64>, from: i64) -> Result<u32, FeedError> {
    if from < 0 {
        return Err(FeedError::Unknown(from.to_string()));
    }
    let mut stream = context.started(format!("from {from}")).await?;
    let (mut sum, mut seen) = (from, 0);
    while let Some(step) = stream.recv().await? {
        sum += step;
        seen += 1;
        stream.send(sum).await?;
    }
    Ok(seen)
}

/// Returns without ever starting.
#[callsign::export]
async fn shy(_context: &mut Context<(), (), ()>) {}

/// Sends for as long as somebody reads.
#[callsign::export]
async fn flood(context: &mut Context<(), Never, u64>) -> Result<u64, Ended> {
    let stream = context.started(()).await?;
    let mut sent = 0;
    loop {
        match stream.send(sent).await {
            Ok(()) => sent += 1,
            Err(Ended::ByPeer) => return Ok(sent),
            Err(ended) => return Err(ended),
        }
    }
}

#[tokio::test]
async fn a_call_gives_what_the_function_returns() {
    assert_eq!(mean(vec![1.0, 2.0, 6.0]).run_here().await.unwrap(), 3.0);
    assert_eq!(greet("hey".to_owned(), 2).run_here().await.unwrap(), "hey hey ");
    assert_eq!(aliased::half(8).run_here().await.unwrap(), 4);
    assert_eq!(self::r#loop(3).run_here().await.unwrap(), 3);
    let call: Call<(), Never> = nothing();
    call.run_here().await.unwrap();
    callsign::export::ping().run_here().await.unwrap();
}

#[tokio::test]
async fn a_body_sees_its_own_names() {
    assert_eq!(names::kept(3).run_here().await.unwrap(), 6);
    let (started, result) = names::shared(4).run_here(async |it, _| it).await.unwrap();
    assert_eq!((started, result), (4, 4));
}

#[tokio::test]
async fn the_functions_own_error_arrives_typed() {
    let error = mean(vec![]).run_here().await.unwrap_err();
    assert!(matches!(error, CallError::App(FeedError::Unknown(it)) if it == "nothing"));
    let error = aliased::half(3).run_here().await.unwrap_err();
    assert_eq!(error.to_string(), "no such symbol odd");
}

#[tokio::test]
async fn an_error_tells_its_causes_to_those_who_do_not_know_its_type() {
    let incoming = incoming(snap().body().unwrap(), None);
    let error = (snap::EXPORT.run)(incoming).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    assert_eq!(error.message, "the feed is broken");
    assert_eq!(*error.causes, ["the cable is loose"]);

    let travelled: CalleeError = decode_body(&encode_body(&error)).unwrap();
    assert_eq!(travelled, CalleeError { backtrace: None, ..error });
    let other: CallError<u8> = travelled.clone().into();
    assert!(matches!(other, CallError::Remote(it) if it == travelled));
}

#[tokio::test]
async fn a_callee_of_another_source_is_reported() {
    #[derive(Serialize)]
    struct Other;

    let here = mean::EXPORT;
    let body = encode_body(&(here.fingerprint ^ 1, (Other,)));
    let error = (here.run)(incoming(body.into(), None)).await.unwrap_err();
    let CallError::Mismatch(mismatch) = CallError::<FeedError>::from(error) else {
        panic!("it is a mismatch")
    };
    let expected = Mismatch {
        path: here.path.to_owned(),
        caller: here.fingerprint ^ 1,
        callee: here.fingerprint,
    };
    assert_eq!(mismatch, expected);
    assert!(mismatch.to_string().contains("built from different sources"), "{mismatch}");
}

#[tokio::test]
async fn bytes_that_are_no_arguments_are_refused() {
    let fingerprint = mean::EXPORT.fingerprint;
    let bodies = [
        vec![],
        vec![0xc1],
        encode_body(&fingerprint),
        encode_body(&(fingerprint,)),
        encode_body(&(-1, (vec![1.0],))),
        encode_body(&(fingerprint, "no numbers")),
        encode_body(&(fingerprint, (vec![1.0], 2, 3))),
        // A list that announces more than it has.
        [&encode_body(&(fingerprint, ()))[..10], &[0x91, 0xdd, 0xff, 0xff, 0xff, 0xff]].concat(),
    ];
    for body in bodies {
        let error = (mean::EXPORT.run)(incoming(body.clone().into(), None)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{body:02x?}: {error}");
        assert!(error.message.contains("the arguments of `export::mean`"), "{error}");
    }
}

#[test]
fn the_registry_has_them_by_path_with_their_place() {
    callsign::export::check().unwrap();
    let found = find("export::aliased::half").unwrap();
    assert_eq!(found.fingerprint, aliased::half::EXPORT.fingerprint);
    assert_eq!(found.file, file!());
    assert_eq!(found.kind, ExportKind::Unary);
    assert_eq!(find("export::count").unwrap().kind, ExportKind::Dialogue);
    assert!(find("export::loop").is_some());
    assert!(find("export::absent").is_none());
    assert!(exports().len() >= 9);
}

#[test]
fn every_part_of_a_signature_is_in_the_fingerprint() {
    mod one {
        #[callsign::export]
        pub(super) async fn same(number: u64) -> u64 {
            number
        }
    }
    mod two {
        #[callsign_tree::export(crate = callsign_tree)]
        pub(super) async fn same(number: u64) -> u64 {
            number
        }
    }
    assert_ne!(one::same::EXPORT.fingerprint, two::same::EXPORT.fingerprint);

    let of = |signature| callsign::export::fingerprint("path", signature);
    let same = of("number:u64->u64");
    for other in ["count:u64->u64", "number:u32->u64", "number:u64->u32", "number:u64->"] {
        assert_ne!(of(other), same, "{other}");
    }
    // Caller and callee may be built at different times, so it must not change.
    assert_eq!(same, 0xb656_d0e1_f10e_8084);
}

#[tokio::test]
async fn a_dialogue_starts_streams_and_ends() {
    let call: Dialogue<String, i64, i64, u32, FeedError> = count(10);
    let (sums, seen) = call
        .run_here(async |started, mut stream| {
            assert_eq!(started, "from 10");
            let mut sums = Vec::new();
            for step in [1, 2, 3] {
                stream.send(step).await.unwrap();
                sums.push(stream.recv().await.unwrap().unwrap());
            }
            sums
        })
        .await
        .unwrap();
    assert_eq!((sums, seen), (vec![11, 13, 16], 3));
}

#[tokio::test]
async fn a_dialogue_that_fails_first_fails_with_its_own_error() {
    let error = count(-1).run_here(async |_, _| panic!("it never starts")).await.unwrap_err();
    assert!(matches!(error, CallError::App(FeedError::Unknown(_))), "{error}");
    let error = shy().run_here(async |(), _| panic!("it never starts")).await.unwrap_err();
    assert!(matches!(error, CallError::NeverStarted("export::shy")), "{error}");
}

#[tokio::test]
async fn a_sender_waits_for_the_other_side() {
    let (ends, mut far) = Ends::pair(CancellationToken::new());
    let incoming = incoming(flood().body().unwrap(), Some(ends));
    let mut running = (flood::EXPORT.run)(incoming);
    let mut is_waiting = || {
        let mut context = task::Context::from_waker(Waker::noop());
        Pin::new(&mut running).poll(&mut context).is_pending()
    };
    assert!(is_waiting());
    assert_eq!(far.stream.items.len(), ITEMS_AHEAD);
    assert_eq!(far.stream.items.try_recv().unwrap(), encode_body(&0));
    assert!(is_waiting());
    assert_eq!(far.stream.items.len(), ITEMS_AHEAD);
    drop(far);
    let sent = (ITEMS_AHEAD + 1).to_string();
    let result = running.await.unwrap();
    assert_eq!(decode_body::<u64>(&result).unwrap().to_string(), sent);
}

#[tokio::test]
async fn a_cancelled_dialogue_fails_where_it_waits() {
    let cancelled = CancellationToken::new();
    let (ends, far) = Ends::pair(cancelled.clone());
    let incoming = incoming(flood().body().unwrap(), Some(ends));
    let cancel = async {
        far.started.await.unwrap();
        cancelled.cancel();
    };
    let (result, ()) = tokio::join!((flood::EXPORT.run)(incoming), cancel);
    let error: CallError<Ended> = result.unwrap_err().into();
    assert!(matches!(error, CallError::App(Ended::Cancelled)), "{error}");
}

fn incoming(body: bytes::Bytes, ends: Option<Ends>) -> Incoming {
    Incoming { body, ends }
}
