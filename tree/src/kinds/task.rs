//! Actors that are tasks of their parent's runtime.

use std::{future::Future, pin::Pin, process};

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

use super::{Channel, Launched, Remains, Vessel};
use crate::{Never, Panic, actor::Tether, child::Newborn};

pub(super) fn launch(newborn: Newborn) -> Launched {
    let mut tasks = JoinSet::new();
    let (tether, tied) = Tether::new();
    let (run, near) = newborn.begin(tether);
    tasks.spawn(run);
    let vessel = Box::new(Task { tasks, tied, joined: None, remains: None });
    Launched { vessel, channel: Channel::Within(near) }
}

struct Task {
    /// The one task.
    tasks: JoinSet<()>,
    /// Closed when nothing of the actor is at work any more: its functions run in other tasks,
    /// and one that does not yield outlives the first.
    tied: mpsc::Receiver<Never>,
    /// What the one task left, from when it has ended.
    joined: Option<Remains>,
    remains: Option<Remains>,
}

impl Vessel for Task {
    fn gone(&mut self) -> Pin<Box<dyn Future<Output = Remains> + Send + '_>> {
        Box::pin(async {
            if self.remains.is_none() {
                if self.joined.is_none() {
                    self.joined = Some(match self.tasks.join_next().await {
                        Some(Err(error)) => Remains::from(error),
                        Some(Ok(())) | None => Remains::Nothing,
                    });
                }
                // Nothing is ever sent.
                let _none = self.tied.recv().await;
                self.remains = self.joined.take();
            }
            self.remains.clone().expect("it was set a moment ago")
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

impl From<JoinError> for Remains {
    fn from(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(payload) => Self::Panic(Panic::from_payload(&*payload)),
            // It was taken off its runtime.
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
        let (tether, tied) = Tether::new();
        let panicking = tasks.spawn(async { panic!("the feed broke") });
        let mut task = Task { tasks, tied, joined: None, remains: None };
        while !panicking.is_finished() {
            tokio::task::yield_now().await;
        }
        let polled = task.gone().as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "a function of it is still at work");
        drop(tether);
        let Remains::Panic(panic) = task.gone().await else { panic!("it has panicked") };
        assert_eq!(panic.message, "the feed broke");
    }
}
