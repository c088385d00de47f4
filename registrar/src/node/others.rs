//! The turns of others.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use tokio::task::yield_now;

/// Waits until others have had their turn, and the runtime has looked for input.
///
/// Why not just `yield_now`? That is over as soon as its task is polled again, whoever wakes it, such as
/// a [`JoinSet`](tokio::task::JoinSet) that it holds. This waits for what wakes `yield_now` itself.
///
/// # Cancel safety
///
/// Cancel safe.
pub(super) async fn others_ran() {
    let turn = Arc::new(Turn::default());
    let waker = Waker::from(turn.clone());
    _ = pin!(yield_now()).poll(&mut Context::from_waker(&waker));
    poll_fn(|cx| turn.poll(cx)).await;
}

/// The turn of others, and who waits for its end.
#[derive(Debug, Default)]
struct Turn(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_over: bool,
    waits: Option<Waker>,
}

impl Turn {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.is_over {
            return Poll::Ready(());
        }
        state.waits = Some(cx.waker().clone());
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        let mut state = self.state();
        state.is_over = true;
        let waits = state.waits.take();
        drop(state);
        if let Some(waits) = waits {
            waits.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{net::UnixStream, task::JoinSet};

    use super::*;

    /// Completes a future whose task is woken again and again meanwhile.
    async fn disturbed(future: impl Future<Output = ()>) {
        let (mut future, mut wakes) = (pin!(future), 0..10);
        poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            if polled.is_pending() && wakes.next().is_some() {
                cx.waker().wake_by_ref();
            }
            polled
        })
        .await;
    }

    #[tokio::test]
    async fn the_runtime_looks_for_input_before_others_have_run() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async {
            let (near, far) = UnixStream::pair().unwrap();
            far.writable().await.unwrap();
            far.try_write(b"!").unwrap();
            assert!(near.try_read(&mut [0; 1]).is_err(), "nobody has looked yet");
            disturbed(others_ran()).await;
            assert_eq!(near.try_read(&mut [0; 1]).unwrap(), 1);
        });
        tasks.join_next().await.unwrap().unwrap();
    }
}
