//! Several tasks share one connection each to two servers: it is opened once, and closed by the
//! last task that uses it.
//!
//! ```text
//! cargo run --example cache
//! ```

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::{convert::Infallible, error::Error};

use callsign::cache::{Cache, CloseError, Resource};
use tokio::{sync::Barrier, task::JoinSet};

/// A resource that is expensive to open, and has to be closed.
struct Session(&'static str);

impl Resource for Session {
    type Error = Infallible;

    async fn close(self) -> Result<(), Infallible> {
        println!("{}: closed", self.0);
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (cache, reaper) = Cache::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(reaper.run());

    for server in ["market", "archive"] {
        let mut users = JoinSet::new();
        let all_use_it = std::sync::Arc::new(Barrier::new(3));
        for _ in 0..3 {
            let (cache, all_use_it) = (cache.clone(), all_use_it.clone());
            users.spawn(async move {
                let session = cache
                    .open(server, async || {
                        println!("{server}: opened");
                        Ok(Session(server))
                    })
                    .await
                    .map_err(|error| error.to_string())?;
                all_use_it.wait().await;
                // The last of the three waits until it is closed, and hears how that went.
                session.release().await.map_err(|error: CloseError<_>| error.to_string())
            });
        }
        while let Some(ended) = users.join_next().await {
            ended??;
        }
    }
    Ok(())
}
