//! Real processes that start at once, are killed, and return. The children run this program itself,
//! and in it the one test [`child`].

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    os::fd::OwnedFd,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::SystemTime,
};

use endpoints::{Endpoint, HostId};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::runtime::{Builder, Runtime};
use transport::{HostKnown, Listener, dial, die_with_parent, here, set_host_id};

use crate::common::{TOO_LONG, bounded, unix};

#[test]
fn a_killed_owner_leaves_nothing_in_the_way() {
    in_time(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feed.sock");
        let endpoint = unix(&path);
        for _ in 0..3 {
            let mut owner = Kid::start("bind", &endpoint.to_string());
            assert_eq!(owner.hears(), "ready");
            owner.say("go");
            assert_eq!(owner.hears(), "bound");

            // As long as it lives, nobody takes its place.
            let mut late = Kid::start("bind", &endpoint.to_string());
            assert_eq!(late.hears(), "ready");
            late.say("go");
            assert_names(&late.hears(), owner.pid());
            runtime().block_on(bounded(dial(&endpoint))).unwrap();

            owner.kill();
            assert!(path.exists());
        }
        let listener = runtime().block_on(bounded(Listener::bind(&endpoint)));
        listener.unwrap().close().unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    });
}

#[test]
fn of_64_processes_at_once_exactly_one_binds_a_path() {
    in_time(|| {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = unix(&folder.path().join("feed.sock"));
        let mut killed = Kid::start("bind", &endpoint.to_string());
        assert_eq!(killed.hears(), "ready");
        killed.say("go");
        assert_eq!(killed.hears(), "bound");
        killed.kill();
        // Each round begins with the leftovers of a killed process.
        for _ in 0..5 {
            assert_eq!(folder.path().read_dir().unwrap().count(), 2);
            let start = |_| Kid::start("bind", &endpoint.to_string());
            let mut kids: Vec<_> = (0..64).map(start).collect();
            for kid in &mut kids {
                assert_eq!(kid.hears(), "ready");
            }
            for kid in &mut kids {
                kid.say("go");
            }
            let heard: Vec<_> = kids.iter_mut().map(Kid::hears).collect();
            let winners: Vec<_> = (0..64).filter(|at| heard[*at] == "bound").collect();
            assert_eq!(winners.len(), 1, "{heard:?}");
            let winner = winners[0];
            for (at, said) in heard.iter().enumerate().filter(|(at, _)| *at != winner) {
                assert!(!said.is_empty(), "{at}");
                assert_names(said, kids[winner].pid());
            }
            runtime().block_on(bounded(dial(&endpoint))).unwrap();
            kids[winner].kill();
        }
    });
}

#[test]
fn the_end_of_the_peers_process_is_seen() {
    in_time(|| {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime();
        runtime.block_on(bounded(async {
            let endpoint = unix(&folder.path().join("feed.sock"));
            let listener = Listener::bind(&endpoint).await.unwrap();
            let mut kid = Kid::start("dial", &endpoint.to_string());
            let stream = listener.accept().await.unwrap();
            assert_eq!(kid.hears(), "dialed");
            let transport::Peer::Unix { pid, .. } = stream.peer() else {
                panic!("{}", stream.peer())
            };
            assert_eq!(*pid, Some(kid.pid()));

            let process = stream.peer_process().unwrap();
            let at_once = tokio::time::timeout(std::time::Duration::ZERO, process.ended());
            assert!(at_once.await.is_err(), "it lives");
            kid.kill();
            process.ended().await.unwrap();
            process.ended().await.unwrap();
        }));
    });
}

#[test]
fn a_program_dies_with_its_parent() {
    in_time(|| {
        let mut parent = Kid::start("start-sleeper", "");
        let sleeper = parent.hears().parse().unwrap();
        let sleeper = pidfd_open(Pid::from_raw(sleeper).unwrap(), PidfdFlags::empty()).unwrap();
        assert!(!has_ended(&sleeper, Timespec { tv_sec: 0, tv_nsec: 0 }));
        parent.kill();
        assert!(has_ended(&sleeper, Timespec { tv_sec: 20, tv_nsec: 0 }));
    });
}

#[test]
fn processes_of_one_kernel_know_it_and_know_each_other_apart() {
    in_time(|| {
        let mut kid = Kid::start("here", "");
        let [theirs, ours] = [kid.hears(), here_in_words()];
        let (their_kernel, their_process) = theirs.rsplit_once(' ').unwrap();
        let (our_kernel, our_process) = ours.rsplit_once(' ').unwrap();
        assert_eq!(their_kernel, our_kernel);
        assert_ne!(their_process, our_process);
    });
}

#[test]
fn a_host_goes_by_another_name_only_before_it_has_told_its_own() {
    in_time(|| {
        let in_words = |task: &str| Kid::start(task, "").hears();
        let (named, again) = (in_words("here-by-name"), in_words("here-by-name"));
        let kernel = |words: &str| words.split(')').next().unwrap().to_owned();
        assert_eq!(kernel(&named), kernel(&again));
        assert_ne!(kernel(&named), kernel(&here_in_words()));
        assert_eq!(in_words("name-too-late"), HostKnown.to_string());
    });
}

/// The part of a child. It does nothing in an ordinary run.
#[test]
fn child() {
    let Ok(task) = env::var("CALLSIGN_TEST_TASK") else { return };
    let endpoint = env::var("CALLSIGN_TEST_ENDPOINT").unwrap();
    let endpoint = || endpoint.parse::<Endpoint>().unwrap();
    let say = |words: &str| println!("\n{MARK}{words}");
    // It ends with the parent, which holds the other end.
    let wait = || std::io::stdin().read_line(&mut String::new()).unwrap();

    let runtime = runtime();
    match &*task {
        "bind" => {
            say("ready");
            wait();
            match runtime.block_on(bounded(Listener::bind(&endpoint()))) {
                Ok(listener) => {
                    say("bound");
                    wait();
                    drop(listener);
                }
                Err(error) => say(&error.to_string()),
            }
        }
        "dial" => {
            let stream = runtime.block_on(bounded(dial(&endpoint()))).unwrap();
            say("dialed");
            wait();
            drop(stream);
        }
        "start-sleeper" => {
            let mut command = Command::new("sleep");
            command.arg("600").stdin(Stdio::null()).stdout(Stdio::null());
            die_with_parent(&mut command);
            let mut sleeper = command.spawn().unwrap();
            say(&sleeper.id().to_string());
            wait();
            sleeper.kill().unwrap();
            sleeper.wait().unwrap();
        }
        "here" => say(&here_in_words()),
        "here-by-name" => {
            let host = HostId::new("rack7-node3").unwrap();
            set_host_id(&host).unwrap();
            set_host_id(&host).unwrap();
            say(&here_in_words());
        }
        "name-too-late" => {
            here();
            say(&set_host_id(&HostId::new("rack7-node3").unwrap()).unwrap_err().to_string());
        }
        other => panic!("no such task: {other}"),
    }
}

/// A child. It is killed when it is dropped.
struct Kid {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Kid {
    fn start(task: &str, endpoint: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "processes::child", "--nocapture", "--test-threads=1"])
            .env("CALLSIGN_TEST_TASK", task)
            .env("CALLSIGN_TEST_ENDPOINT", endpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout }
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Waits for the next line that is meant for the parent.
    fn hears(&mut self) -> String {
        let lines = self.stdout.by_ref().lines().map(Result::unwrap);
        let mut meant = lines.filter_map(|line| line.strip_prefix(MARK).map(str::to_owned));
        meant.next().expect("the child says something before it ends")
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Kid {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `test`, with a limit.
fn in_time(test: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    let running = thread::spawn(move || {
        test();
        sender.send(()).unwrap();
    });
    match receiver.recv_timeout(TOO_LONG) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => running.join().unwrap(),
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn here_in_words() -> String {
    let here = here();
    format!("{:?} {:?} {}", here.kernel, here.netns, here.process.unwrap())
}

fn assert_names(said: &str, holder: i32) {
    let uid = rustix::process::geteuid().as_raw();
    let expected = format!("it is in use by process {holder} of user {uid} since ");
    let since = said.strip_prefix(&expected).unwrap_or_else(|| panic!("{said}"));
    let since = humantime::parse_rfc3339(since).unwrap();
    let ago = SystemTime::now().duration_since(since).unwrap();
    assert!(ago < 2 * TOO_LONG, "{said}");
}

fn has_ended(process: &OwnedFd, limit: Timespec) -> bool {
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit)).unwrap() == 1
}

/// The prefix of each line from a child that is meant for its parent: the test harness writes there
/// too.
const MARK: &str = "> ";
