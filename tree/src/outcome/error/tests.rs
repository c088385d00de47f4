use std::io;

use super::*;
use crate::Panic;

fn path(text: &str) -> ActorPath {
    ActorPath::try_from(text.to_owned()).unwrap()
}

fn error(body: Option<BodyError>, children: Vec<ChildError>) -> NurseryError {
    NurseryError::new(path("/base"), "src/main.rs:7:10".to_owned(), body, children)
}

fn child(actor: &str, exit: Exit) -> ChildError {
    ChildError { actor: path(actor), kind: Kind::Process, exit, restarts: 0 }
}

fn killed() -> Exit {
    Exit::Signalled { signal: 9, last_words: String::new() }
}

#[test]
fn a_single_error_is_one_line() {
    let single = error(None, vec![child("/base/feed", killed())]);
    assert_eq!(single.to_string(), "/base/feed: killed by SIGKILL");

    let io = io::Error::new(io::ErrorKind::NotFound, "no such feed");
    let body = error(Some(BodyError::new(io.into())), Vec::new());
    assert_eq!(body.to_string(), "/base: no such feed");
    let source = body.body.as_ref().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::NotFound);

    let outer = error(Some(BodyError::new(body.into())), Vec::new());
    assert_eq!(outer.to_string(), "/base: no such feed", "scopes within scopes say it once");
}

#[test]
fn several_errors_are_a_tree() {
    let words = Exit::Exited { code: 2, last_words: "one\ntwo".to_owned() };
    let inner = error(None, vec![child("/base/a", killed()), child("/base/b", words)]);
    let body = BodyError::new(inner.into());
    let outer = error(Some(body), vec![child("/base/c", killed())]);
    assert_eq!(
        outer.to_string(),
        "\
2 errors in a scope of /base, opened at src/main.rs:7:10
├─ /base/c: killed by SIGKILL
└─ 2 errors in a scope of /base, opened at src/main.rs:7:10
   ├─ /base/a: killed by SIGKILL
   └─ /base/b: exited with code 2; its last words: one
      two"
    );
    let leaves: Vec<_> = outer.leaves().into_iter().map(|it| it.actor.to_string()).collect();
    assert_eq!(leaves, ["/base/c", "/base/a", "/base/b"]);
}

fn failed(calls: &str) -> Exit {
    let backtrace = Some(CalleeBacktrace::from_text(calls.to_owned()));
    let error = CalleeError::new(wire::ErrorKind::Failed, "no quote");
    Exit::Failed(CalleeError { backtrace, ..error })
}

#[test]
fn backtraces_are_printed_once_and_only_when_asked() {
    let panic = Panic {
        message: "oh no".to_owned(),
        place: None,
        backtrace: Some(CalleeBacktrace::from_text("0: desk::run\n".to_owned())),
    };
    let children = vec![
        child("/base/desk/a", failed("0: feed::quote\n")),
        child("/base/desk/b", failed("0: feed::quote\n")),
        child("/base/desk/c", Exit::Panicked(panic)),
        child("/base/desk/d", killed()),
    ];
    let desk = NurseryError { actor: path("/base/desk"), ..error(None, children) };
    // It goes up the tree within a function's error.
    let relayed = CalleeError::failed(&desk);
    assert_eq!(relayed.backtrace, None, "it began further down");
    let children = vec![child("/base/desk", Exit::Failed(relayed))];
    let outer = error(None, children);
    let below = outer.children[0].exit.nested().unwrap();
    assert_eq!(*below.backtraces, [], "they are with the outermost alone");

    let tree = outer.to_string();
    assert!(!tree.contains("feed::quote"), "{tree}");
    let backtraces = "

backtrace of /base/desk/a, and of 1 more:
0: feed::quote

backtrace of /base/desk/c:
0: desk::run";
    assert_eq!(format!("{outer:#}"), format!("{tree}{backtraces}"));
    let again = error(Some(BodyError::new(outer.into())), Vec::new()).collapsed();
    assert_eq!(format!("{again:#}"), format!("{tree}{backtraces}"));
}

#[test]
fn details_beside_the_texts_of_errors_are_dropped_if_too_long() {
    let huge = |at: usize| {
        let error = CalleeError::new(wire::ErrorKind::Failed, format!("no quote {at}"));
        let payload = Some(vec![0; wire::PAYLOAD_BYTES_MAX / 2].into());
        child(&format!("/base/desk/n{at}"), Exit::Failed(CalleeError { payload, ..error }))
    };
    let check = |error: &NurseryError, fits: bool| {
        let travelled = wire::RemoteError::from(CalleeError::failed(error));
        let arrived = NurseryError::within(&travelled.into()).unwrap();
        assert_eq!(arrived.leaves(), error.leaves());
        let Exit::Failed(first) = &arrived.children[0].exit else { panic!("{arrived}") };
        assert_eq!(first.payload.is_some(), fits);
    };
    check(&error(None, vec![huge(0)]), true);
    let desk = error(None, (0..5).map(huge).collect());
    check(&desk, false);
    // The same holds further up.
    let relayed = |it| child("/base/desk", Exit::Failed(CalleeError::failed(it)));
    check(&error(None, vec![huge(7), relayed(&desk), huge(8)]), false);
}

#[test]
fn backtraces_have_a_bound_together() {
    let long = |at: usize| format!("{at:0>width$}", width = BACKTRACE_BYTES_MAX / 4);
    let children = (0..40).map(|at| child(&format!("/base/n{at}"), failed(&long(at))));
    let mut first = error(None, children.collect());
    let bytes = |it: &NurseryError| it.backtraces.iter().map(|it| it.calls.len()).sum::<usize>();
    assert_eq!(bytes(&first), BACKTRACE_BYTES_MAX);

    first.absorb(error(None, vec![child("/base/m0", failed(&long(0)))]));
    first.absorb(error(None, vec![child("/base/m1", failed(&long(50)))]));
    assert_eq!((first.leaves().len(), bytes(&first)), (42, BACKTRACE_BYTES_MAX));
    assert_eq!(first.backtraces[0].actors, [path("/base/n0"), path("/base/m0")]);
}
