//! The ends of a root, by signals and by failing children, and its output then.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use transport::Listener;
use tree::{AnyError, Kind};

use super::{place, start_program};
use crate::roles::{self, FAILING, STUBBORN, STUCK};

pub(super) async fn early_signal(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let listener = Listener::bind(&place(folder.path()).parse()?).await?;
    let mut program = start_program(folder.path())?;
    // The root waits for an answer that does not come.
    let _asks = listener.accept().await?;
    kill_process(Pid::from_child(&program), Signal::TERM)?;
    let status = tokio::task::block_in_place(|| program.wait())?;
    assert_eq!(status.code(), Some(128 + libc::SIGTERM));
    Ok(())
}

/// If any thread or process of a tree cannot be made, the tree ends at once, and prints a line with
/// the reason for each failure, with and without backtraces.
pub(super) async fn too_few_threads(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let as_user = |user: u32, program: &OsStr| {
        let (mut command, user) = (Command::new("setpriv"), user.to_string());
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(program);
        command
    };
    let exe = std::env::current_exe()?;
    // Users for this test alone, who have no other process.
    let users = 2_000_000_000 + std::process::id() * 16;
    let tried = as_user(users, exe.as_os_str()).arg("--list").output();
    if !tried.is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: this test has to run itself as another user, which takes root");
        return Ok(());
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let mut refused = 0;
    for (kind, limits) in [(Kind::Process, 13..21), (Kind::Forkserver, 15..23)] {
        for (number, limit) in (0..).zip(limits) {
            let user = users + number + if kind == Kind::Process { 0 } else { 8 };
            let own = folder.path().join(user.to_string());
            fs::create_dir(&own)?;
            chown(&own, Some(user), Some(user))?;
            let mut command = as_user(user, "prlimit".as_ref());
            command.arg(format!("--nproc={limit}:{limit}")).arg(&exe);
            command.env("CONFORMANCE_ROLE", format!("{kind} {}", place(&own)));
            command.env_remove("XDG_RUNTIME_DIR").env("TMPDIR", &own);
            let output = tokio::task::block_in_place(|| {
                command.env("RUST_BACKTRACE", "1").stdin(Stdio::null()).output()
            })?;
            let said = String::from_utf8(output.stdout)?;
            assert_eq!(output.status.code(), Some(7), "{kind} {limit}: {said}");
            let is_short = said.lines().count() <= 6 && !said.contains("panicked");
            assert!(is_short && !said.contains("SIGKILL"), "{kind} {limit}: {said}");
            refused += usize::from(said.contains("the system starts no more threads"));
        }
    }
    assert!(refused > 0, "no runtime was refused its threads");
    Ok(())
}

/// Children of each kind that do not react, one of them two levels down, with a grace of an hour.
/// The first signal grants them that hour, and the second does not.
pub(super) async fn hurried(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let (registrar, flag) = (place(folder.path()), folder.path().join("blocks"));
    for kind in Kind::ALL {
        let role = format!("{kind} {registrar} {}", flag.display());
        let below = tokio::task::block_in_place(|| hurry(kind, STUBBORN, &role))?;
        roles::gone(&below).await;
        no_sockets_are_left(folder.path())?;
    }
    Ok(())
}

/// A child and its child that are both blocked, with a grace of an hour: nobody between the root
/// and the lower one passes anything on.
pub(super) async fn hurried_past(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let (registrar, flag) = (place(folder.path()), folder.path().join("blocks"));
    for (above, below) in [
        (Kind::Process, Kind::Process),
        (Kind::Forkserver, Kind::Forkserver),
        (Kind::Process, Kind::Thread),
        (Kind::Thread, Kind::Process),
    ] {
        let role = format!("{above} {below} {registrar} {}", flag.display());
        let below = tokio::task::block_in_place(|| hurry(above, STUCK, &role))?;
        roles::gone(&below).await;
        no_sockets_are_left(folder.path())?;
    }
    Ok(())
}

/// Removes the flags, and a dump.
fn no_sockets_are_left(folder: &Path) -> Result<(), AnyError> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        assert!(!path.to_string_lossy().contains(".sock"), "{}", path.display());
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// Returns the processes that were below the root.
fn hurry(kind: Kind, variable: &str, role: &str) -> Result<Vec<u32>, AnyError> {
    let mut command = Command::new("/proc/self/exe");
    command.env(variable, role).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut played = command.spawn()?;
    let mut output = BufReader::new(played.stdout.take().expect("it is piped"));
    let mut hears = || -> Result<String, AnyError> {
        let mut line = String::new();
        output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    };
    assert_eq!(hears()?, "ready");
    let below = roles::descendants_of(played.id()).into_iter().collect();
    let process = Pid::from_child(&played);
    kill_process(process, Signal::INT)?;
    assert_eq!(hears()?, "asked");
    kill_process(process, Signal::TERM)?;
    let said = hears()?;
    // A child that cannot be stopped by force is abandoned, and the report says so.
    let is_well = said == "cancelled by /base: SIGINT";
    assert_eq!(is_well, kind.is_process(), "{kind}: {said}");
    assert_eq!(played.wait()?.code(), Some(7));
    Ok(below)
}

/// The variable is that of the root, and so of its children.
pub(super) async fn backtraces(folder: tempfile::TempDir) -> Result<(), AnyError> {
    let registrar = place(folder.path());
    for kind in Kind::ALL {
        for (how, function) in [("fails", "export::run::finish"), ("panics", "panic_with")] {
            let role = format!("{how} {kind} {registrar}");
            let said = tokio::task::block_in_place(|| fail(&role, "0"))?;
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.starts_with("/base/pricer: "), "{said}");

            // A busy machine may not find the names in time, and says so.
            let mut said = String::new();
            while said.is_empty() || said.contains("have no names yet") {
                said = tokio::task::block_in_place(|| fail(&role, "1"))?;
            }
            let (error, backtrace) = said.split_once("\n\nbacktrace of /base/pricer:\n").unwrap();
            assert_eq!(error.lines().count(), 1, "{said}");
            assert!(backtrace.contains(function), "{role}: {said}");
            assert!(backtrace.len() <= wire::BACKTRACE_BYTES_MAX);
        }
    }
    Ok(())
}

/// Returns the output of a root whose child fails.
fn fail(role: &str, wanted: &str) -> Result<String, AnyError> {
    let mut command = Command::new("/proc/self/exe");
    let output = command.env(FAILING, role).env("RUST_LIB_BACKTRACE", wanted).output()?;
    assert!(output.status.success(), "{role}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}
