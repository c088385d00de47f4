//! The members of etcd: which one answers.
//!
//! One that hangs, or has lost the others, looks well until a call to it has reached its limit. To wait
//! for that at one after another would take longer than a lease. So the next one is asked soon
//! after the one before, beside it, and the first that answers is taken.

use std::{future::Future, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::sleep;
use tonic::transport::ClientTlsConfig;

use crate::{
    ClusterSettings,
    etcd::{Client, Connection, EtcdError},
};

/// The members of etcd, each with a number.
#[derive(Clone, Debug)]
pub(super) struct Members(Vec<Connection>);

/// A failure, and the number of the member.
pub(super) type Failed = (usize, EtcdError);

impl Members {
    pub(super) fn new(settings: &ClusterSettings, tls: Option<&ClientTlsConfig>) -> Self {
        let limit = CALL_LIMIT.min(settings.lease / 3);
        let member = |endpoint: &String| Connection {
            endpoint: endpoint.clone(),
            tls: tls.cloned(),
            has_identity: settings.tls.identity.is_some(),
            user: settings.user.clone(),
            limit,
        };
        Self(settings.endpoints.iter().map(member).collect())
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn endpoint(&self, number: usize) -> &str {
        &self.0[number].endpoint
    }

    /// Connects to one that answers a question about which all have to agree.
    pub(super) async fn reach(
        &self,
        first: usize,
        key: Vec<u8>,
    ) -> Result<(usize, Client), Failed> {
        self.ask(first, |_, member| {
            let key = key.clone();
            async move {
                let client = Client::connect(&member).await?;
                client.greet(&member, key).await?;
                Ok(client)
            }
        })
        .await
    }

    /// Asks one after another, from `first` on, until one has answered, which is returned with its answer;
    /// or else, the last one that has failed.
    pub(super) async fn ask<T, F>(
        &self,
        first: usize,
        ask: impl Fn(usize, Connection) -> F,
    ) -> Result<(usize, T), Failed>
    where
        F: Future<Output = Result<T, EtcdError>>,
    {
        let numbers = (0..self.count()).map(|it| (first + it) % self.count());
        let asks: Vec<_> = numbers
            .map(|number| {
                let asked = ask(number, self.0[number].clone());
                async move {
                    match asked.await {
                        Ok(answer) => Ok((number, answer)),
                        Err(error) => Err((number, error)),
                    }
                }
            })
            .collect();
        first_success(asks.into_iter()).await
    }
}

/// Does one thing after another, the next as soon as the one before has failed, or has taken long, until
/// one has succeeded.
async fn first_success<T, E, F>(mut waiting: impl Iterator<Item = F>) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut under_way: FuturesUnordered<F> = waiting.next().into_iter().collect();
    let (mut failure, mut are_more) = (None, true);
    loop {
        tokio::select! {
            biased;
            Some(done) = under_way.next() => match done {
                Ok(value) => return Ok(value),
                Err(error) => failure = Some(error),
            },
            () = sleep(NEXT_AFTER), if are_more => {}
            else => return Err(failure.expect("there is at least one")),
        }
        match waiting.next() {
            Some(next) => under_way.push(next),
            None => are_more = false,
        }
    }
}

/// The time limit of a call, if a third of the lease is not shorter. etcd answers in milliseconds, and
/// elects a leader in a second or two; a member that takes longer is left for another, and the lease is
/// not yet over.
const CALL_LIMIT: Duration = Duration::from_secs(1);

/// After how long the next member is asked: one that is well has answered by then, on the same
/// continent, and four that hang cost less than a second.
const NEXT_AFTER: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_that_answers_is_taken() {
        let hangs = || pending().boxed();
        let says = |it: Result<u8, u8>| ready(it).boxed();
        let began = tokio::time::Instant::now();
        assert_eq!(first_success([says(Ok(1)), hangs()].into_iter()).await, Ok(1));
        assert_eq!(first_success([says(Err(1)), says(Ok(2))].into_iter()).await, Ok(2));
        assert_eq!(first_success([says(Err(1)), says(Err(2))].into_iter()).await, Err(2));
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(first_success([hangs(), hangs(), says(Ok(3))].into_iter()).await, Ok(3));
        assert_eq!(began.elapsed(), NEXT_AFTER * 2);
    }
}
