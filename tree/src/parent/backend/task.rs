//! Actors that are tasks of their parent's runtime.

use std::{future::Future, pin::Pin, process};

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

use super::{RawExit, RunningChild};
use crate::{
    Never, Panic,
    actor::LivenessGuard,
    child::{LocalChild, Near},
};

pub(super) fn launch(child: LocalChild) -> (Box<dyn RunningChild>, Near) {
    let mut tasks = JoinSet::new();
    let (liveness, tied) = LivenessGuard::new();
    let (run, near) = child.begin(Some(liveness));
    tasks.spawn(run);
    (Box::new(Task { tasks, tied, joined: None, raw_exit: None }), near)
}

struct Task {
    /// The one task.
    tasks: JoinSet<()>,
    /// Closed when nothing of the actor is at work any more: its functions run in other tasks, and
    /// one that never yields outlives the first.
    tied: mpsc::Receiver<Never>,
    /// The end of the one task.
    joined: Option<RawExit>,
    raw_exit: Option<RawExit>,
}

impl RunningChild for Task {
    fn gone(&mut self) -> Pin<Box<dyn Future<Output = RawExit> + Send + '_>> {
        Box::pin(async {
            if self.raw_exit.is_none() {
                if self.joined.is_none() {
                    self.joined = Some(match self.tasks.join_next().await {
                        Some(Err(error)) => RawExit::from(error),
                        Some(Ok(())) | None => RawExit::Nothing,
                    });
                }
                // Nothing is ever sent.
                let _none = self.tied.recv().await;
                self.raw_exit = self.joined.take();
            }
            self.raw_exit.clone().expect("it was set a moment ago")
        })
    }

    fn terminate(&mut self) -> bool {
        false
    }

    fn kill(&mut self) -> bool {
        self.tasks.abort_all();
        true
    }

    fn pid(&self) -> u32 {
        process::id()
    }
}

impl From<JoinError> for RawExit {
    fn from(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(payload) => Self::Panic(Panic::from_payload(&*payload)),
            // It was removed from its runtime.
            Err(_) => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_kept_when_the_wait_is_dropped_between_its_halves() {
        let mut tasks = JoinSet::new();
        let (liveness, tied) = LivenessGuard::new();
        let panicking = tasks.spawn(async { panic!("the feed broke") });
        let mut task = Task { tasks, tied, joined: None, raw_exit: None };
        while !panicking.is_finished() {
            tokio::task::yield_now().await;
        }
        let polled = task.gone().as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "a function of it is still at work");
        drop(liveness);
        let RawExit::Panic(panic) = task.gone().await else { panic!("it has panicked") };
        assert_eq!(panic.message, "the feed broke");
    }
}
