//! What a child inherits from its parent and what not, and the conditions for having children.

use std::{
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Command, ExitCode, Stdio},
};

use callsign_process::{self as process, CHILD_VARIABLE, Kind, Launch};
use libtest_mimic::Trial;

use crate::{
    roles,
    support::{Played, block_on, of_each_kind},
};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = of_each_kind(&[
        ("descriptors", |kind| Box::pin(descriptors(kind))),
        ("identity", |kind| Box::pin(identity(kind))),
        ("begins_once", |kind| Box::pin(begins_once(kind))),
    ]);
    trials.push(Trial::test("environments", || {
        environments();
        Ok(())
    }));
    trials.push(Trial::test("a_program_may_not_begin_late", || {
        begins_late();
        Ok(())
    }));
    trials.push(Trial::test("a_strange_beginning_is_told", || {
        strange_beginnings();
        Ok(())
    }));
    trials
}

/// A child inherits 0, 1 and 2. It opens all others itself.
async fn descriptors(kind: Kind) {
    let traps: Vec<_> = (0..20).map(|_| trap()).collect();
    let mut played = Played::start(kind, "descriptors").await;
    let mut found = Vec::new();
    loop {
        let line = played.hears().await;
        let Some((number, target)) = line.split_once(' ') else { break };
        found.push((number.parse::<u32>().unwrap(), target.to_owned()));
    }
    drop(traps);
    found.sort();
    let (inherited, own): (Vec<_>, Vec<_>) = found.into_iter().partition(|it| it.0 < 3);
    let [(0, input), (1, output), (2, error)] = &inherited[..] else { panic!("{inherited:?}") };
    assert_eq!(input, "/dev/null");
    assert!(output.starts_with("pipe:") && error.starts_with("pipe:"), "{inherited:?}");

    // Two for the channel, for the child and its watchdog; the parent; the forced end; the folder
    // being listed.
    let mut own: Vec<_> = own.into_iter().map(|(_, target)| target).collect();
    own.sort();
    let [folder, counter, parent, channel, watched] = &own[..] else { panic!("{own:?}") };
    assert!(folder.starts_with("/proc/"), "{own:?}");
    assert_eq!([counter, parent], ["anon_inode:[eventfd]", "anon_inode:[pidfd]"]);
    assert!(channel.starts_with("socket:"), "{own:?}");
    assert_eq!(channel, watched);
}

/// Opens a file as a careless library does: every program started later inherits it.
fn trap() -> OwnedFd {
    let file = std::fs::File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(file.as_fd(), rustix::io::FdFlags::empty()).unwrap();
    file.into()
}

/// A child has its own name and group, blocks no signal, and ignores the signals that Rust ignores.
async fn identity(kind: Kind) {
    let launch = Launch { kind, ..Launch::exec("a-longer-name-than-16") };
    let mut played = Played::launch(launch, "identity").await;
    let pid = played.child.pid();
    let line = played.hears().await;
    let [name, number, group, blocked, ignored] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    assert_eq!(name, "a-longer-name-t");
    assert_eq!([number, group], [pid.to_string(), pid.to_string()]);
    let signals = |mask| u64::from_str_radix(mask, 16).unwrap();
    assert_eq!(signals(blocked), 0);
    // The C library reserves the two below the first one.
    let own_of_libc = 0b11 << (32 - 1);
    assert_eq!(signals(ignored) & !own_of_libc, 1 << (libc::SIGPIPE - 1), "{ignored}");
}

/// Variables of a service manager stay with the parent, and the child's mark is not passed to its
/// children.
fn environments() {
    let scrubbed = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_USEC"];
    // A program whose file was replaced starts children of the version that runs.
    let own = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir_in(own.parent().unwrap()).unwrap();
    let program = folder.path().join("program");
    std::fs::hard_link(own, &program).unwrap();
    let output = Command::new(&program)
        .arg("--tell-environments")
        .envs(scrubbed.map(|name| (name, "3")))
        .env("KEPT", "3")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    for names in text.lines() {
        let has = |wanted| names.split(' ').any(|name| name == wanted);
        assert!(has("KEPT"), "{names}");
        assert!(!has(CHILD_VARIABLE) && !scrubbed.into_iter().any(has), "{names}");
    }
}

/// Removes this program's file, and prints the variables in the environment of a child of each
/// kind.
pub(crate) fn tell_environments() -> ExitCode {
    std::fs::remove_file(std::env::current_exe().unwrap()).unwrap();
    process::init_with_forkserver(roles::play).unwrap();
    block_on(async {
        for kind in [Kind::Exec, Kind::Fork] {
            println!("{}", Played::start(kind, "environment").await.hears().await);
        }
    });
    ExitCode::SUCCESS
}

async fn begins_once(kind: Kind) {
    let mut played = Played::start(kind, "again").await;
    let error = played.hears().await;
    assert_eq!(error, "this process is already initialized for children; do it once");
}

fn begins_late() {
    for (how, expected) in
        [("thread", "this process has 2 threads already"), ("runtime", "inside a tokio runtime")]
    {
        let output = Command::new("/proc/self/exe").args(["--begin-too-late", how]).output();
        let output = output.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(expected), "{how}: {text}");
        assert!(output.status.success(), "{how}: {text}");

        // A child does not continue as if it were not one.
        let output = Command::new("/proc/self/exe")
            .args(["--begin-too-late", how])
            .env(CHILD_VARIABLE, "1:0123456789abcdef0123456789abcdef")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("this child cannot begin") && text.contains(expected), "{text}");
        assert_eq!(output.status.code(), Some(70), "{how}");
    }
}

/// Calls `init` while there is a thread or a runtime, and prints the errors.
pub(crate) fn begin_too_late() -> ExitCode {
    match std::env::args().nth(2).as_deref() {
        Some("thread") => {
            let (ended, end) = std::sync::mpsc::channel::<()>();
            let thread = std::thread::spawn(move || end.recv().is_err());
            println!("{}", process::init_with_forkserver(roles::play).unwrap_err());
            drop(ended);
            assert!(thread.join().unwrap());
            // Once the thread has gone, `init` succeeds.
            process::init_with_forkserver(roles::play).unwrap();
        }
        _ => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _inside = runtime.enter();
            println!("{}", process::init(roles::play).unwrap_err());
        }
    }
    ExitCode::SUCCESS
}

/// A program with a child's mark but without a parent says so, and ends.
fn strange_beginnings() {
    let nonce = "1:0123456789abcdef0123456789abcdef";
    let closed = || Stdio::from(OwnedFd::from(UnixStream::pair().unwrap().0));
    let other = || {
        let (near, far) = UnixStream::pair().unwrap();
        rustix::io::write(&near, &[7; 4096]).unwrap();
        Stdio::from(OwnedFd::from(far))
    };
    for (mark, input, expected) in [
        ("feed", Stdio::null(), "`CALLSIGN_CHILD` is `feed`, which is not how this build"),
        ("", Stdio::null(), "is not how this build marks a child"),
        (nonce, Stdio::null(), "standard input is not the channel to a parent"),
        (nonce, closed(), "standard input is not the channel to a parent"),
        (nonce, other(), "what standard input says is not from a parent"),
    ] {
        let mut program = Command::new("/proc/self/exe")
            .env(CHILD_VARIABLE, mark)
            .stdin(input)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        program.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(program.wait().unwrap().code(), Some(70), "{mark}: {text}");
        assert!(text.contains(expected), "{mark}: {text}");
    }
}
