//! What a child process costs, of each kind: from its launch to its first byte, and on until it has
//! ended and was waited for.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run had better stop")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::{
    io::Write,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use tokio::{io::AsyncReadExt, runtime::Builder};
use tree::process::{self, Ended, Kind, Launch};

/// How many children are started of each kind, one after the other.
const CHILDREN: usize = 300;

fn main() {
    process::init_with_forkserver(greet).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for kind in [Kind::Exec, Kind::Fork] {
        let times: Vec<_> = (0..CHILDREN).map(|_| runtime.block_on(start_and_end(kind))).collect();
        // The first starts what all use.
        let [first, reaped] = [0, 1].map(|at| median(times.iter().skip(1).map(|it| it[at])));
        println!("{kind:?}: launch to first byte {first:?}, to reaped {reaped:?} (medians)");
    }
}

fn greet(mut channel: UnixStream) -> i32 {
    channel.write_all(b"!").unwrap();
    0
}

async fn start_and_end(kind: Kind) -> [Duration; 2] {
    let start = Instant::now();
    let mut child = Launch { kind, ..Launch::exec("greeter") }.start().await.unwrap();
    let channel = child.take_channel().unwrap();
    let mut channel = tokio::net::UnixStream::from_std(channel).unwrap();
    channel.read_u8().await.unwrap();
    let first = start.elapsed();
    assert_eq!(child.exited().await.unwrap(), Ended::Code(0));
    [first, start.elapsed()]
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() / 2]
}
