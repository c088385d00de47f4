//! The folder, the processes, and how they are shown. All of it goes at the end.

use std::{
    ffi::OsString,
    fmt::Display,
    fs::{self, DirBuilder, File},
    io,
    os::unix::{
        fs::{DirBuilderExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use owo_colors::OwoColorize;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use transport::ProcessNumbers;
use uuid::Uuid;

use super::typed::broken_up;
use crate::{
    context::Context,
    failure::Failure,
    global::{Color, PROGRAM},
    hints::in_words,
    output::fitted_styled,
};

/// The place where the programs run and are shown.
pub(super) struct Stage<'a> {
    context: &'a Context,
    folder: Folder,
    path: OsString,
    registrar: Option<String>,
    /// The programs in the background, in the order in which they were started.
    programs: Vec<Program>,
    /// The commands and their output, recorded only for JSON.
    pub(super) steps: Vec<Step>,
}

/// A command that was run, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    command: String,
    output: String,
}

/// A program in the background.
struct Program {
    name: &'static str,
    child: Child,
    /// Its unread output. Open, so that it can continue to print.
    lines: Lines<BufReader<ChildStdout>>,
}

impl<'a> Stage<'a> {
    /// Makes the folder; nothing runs yet.
    pub(super) fn new(context: &'a Context) -> Result<Self, Failure> {
        let folder = Folder::new(&context.environment.temp_dir)?;
        // The displayed commands begin with `callsign`, and run this program.
        let bin = folder.0.join("bin");
        let own = std::process::id().cast_signed();
        let entry = ProcessNumbers::here().ok().and_then(|it| it.entry_of(own));
        let Some(own) = entry.map(|it| format!("/proc/{it}/exe")) else {
            let why = "cannot find this program: /proc is not mounted here";
            return Err(Failure::usage(anyhow!(why)));
        };
        fs::create_dir(&bin)
            .and_then(|()| symlink(own, bin.join(PROGRAM)))
            .with_context(|| format!("cannot write to `{}`", folder.0.display()))
            .map_err(Failure::failed)?;
        let mut path = bin.into_os_string();
        if let Some(rest) = context.environment.raw("PATH") {
            path.push(":");
            path.push(rest);
        }
        let (programs, steps) = (Vec::new(), Vec::new());
        Ok(Self { context, folder, path, registrar: None, programs, steps })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// Makes all further commands ask this registrar.
    pub(super) fn ask(&mut self, registrar: &str) -> Result<(), Failure> {
        self.registrar = Some(registrar.to_owned());
        self.prompt(&format!("export CALLSIGN_REGISTRAR={registrar}"))
    }

    /// Announces the next step.
    pub(super) fn say(&self, text: impl Display) -> Result<(), Failure> {
        self.print(format_args!("\n{}\n", text.bold()))
    }

    /// Comments on the last step.
    pub(super) fn remark(&self, text: impl Display) -> Result<(), Failure> {
        self.print(format_args!("{}\n", format_args!("# {text}").dimmed()))
    }

    /// Runs a command, and shows it with its output. `input` is a text that `printf` writes.
    pub(super) async fn run(&mut self, words: &[&str], input: Option<&str>) -> Result<(), Failure> {
        let mut line = in_words(words);
        if let Some(input) = input {
            line = format!("printf '{}' | {line}", input.escape_default());
        }
        self.prompt(&line)?;
        let mut command = self.command(words);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        if self.context.json {
            command.stdout(Stdio::piped());
        }
        let running = async {
            let mut child = command.spawn()?;
            if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
                stdin.write_all(input.as_bytes()).await?;
            }
            child.wait_with_output().await
        };
        let ended = timeout(PATIENCE, running).await;
        let ended = ended.map_err(|_| Failure::failed(anyhow!("`{line}` does not end")))?;
        let output = ended
            .map_err(|error| Failure::failed(error).context(format!("cannot run `{line}`")))?;
        if self.context.json {
            let output = String::from_utf8_lossy(&output.stdout).into_owned();
            self.steps.push(Step { command: line.clone(), output });
        }
        if output.status.success() {
            Ok(())
        } else {
            Err(Failure::failed(anyhow!("`{line}` failed ({})", output.status)))
        }
    }

    /// Starts a program in the background, and shows how.
    pub(super) fn start(&mut self, name: &'static str, words: &[&str]) -> Result<(), Failure> {
        let line = in_words(words) + " &";
        self.prompt(&line)?;
        let log = File::create(self.folder.0.join(format!("{name}.log")));
        let mut command = self.command(words);
        let child = log.and_then(|log| {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()
        });
        let mut child = child
            .map_err(|error| Failure::failed(error).context(format!("cannot start `{line}`")))?;
        let stdout = child.stdout.take().expect("it is piped");
        self.programs.push(Program { name, child, lines: BufReader::new(stdout).lines() });
        if self.context.json {
            self.steps.push(Step { command: line, output: String::new() });
        }
        Ok(())
    }

    /// Waits for the next line that a program in the background prints, and returns it.
    pub(super) async fn line_of(&mut self, name: &str) -> Result<String, Failure> {
        let program = self.program(name);
        let line = timeout(PATIENCE, program.lines.next_line()).await;
        match line {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(_) => Err(self.broken(name, "has ended")),
            Err(_) => Err(self.broken(name, "says nothing")),
        }
    }

    /// Waits until an actor is there, without showing it.
    pub(super) async fn wait_for(&mut self, name: &str) -> Result<(), Failure> {
        let words = ["callsign", "wait", name, "--timeout", "10s"];
        match self.run_unseen(&words).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.broken(name, "does not come")),
            Err(error) => {
                let what = format!("cannot run `{}`", in_words(&words));
                Err(Failure::failed(error).context(what))
            }
        }
    }

    /// Runs a command without showing it, and tells whether it succeeds.
    pub(super) async fn succeeds(&self, words: &[&str]) -> bool {
        self.run_unseen(words).await.is_ok_and(|it| it)
    }

    /// Runs a command without showing it. Fails if it cannot be started.
    async fn run_unseen(&self, words: &[&str]) -> io::Result<bool> {
        let mut command = self.command(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match timeout(PATIENCE, command.status()).await {
            Ok(ended) => Ok(ended?.success()),
            Err(_) => Ok(false),
        }
    }

    /// Returns the number of the process of a program in the background.
    pub(super) fn pid_of(&mut self, name: &str) -> u32 {
        self.program(name).child.id().expect("it has not been waited for")
    }

    /// Kills a program in the background with a signal that it cannot handle.
    pub(super) fn kill(&mut self, name: &str) -> Result<(), Failure> {
        self.program(name).child.start_kill().map_err(Failure::failed)
    }

    /// Waits until a program that was killed has ended, and forgets it.
    pub(super) async fn bury(&mut self, name: &str) -> Result<ExitStatus, Failure> {
        let at = self.programs.iter().rposition(|it| it.name == name);
        let mut program = self.programs.remove(at.expect("it was started"));
        program.child.wait().await.map_err(Failure::failed)
    }

    /// Reports why a program in the background cannot continue, with its error output.
    pub(super) fn broken(&self, name: &str, how: &str) -> Failure {
        let log = fs::read_to_string(self.folder.0.join(format!("{name}.log")));
        let log = log.unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(5).collect();
        let failure = Failure::failed(anyhow!("`{name}` {how}"));
        if last.is_empty() {
            failure
        } else {
            let last: Vec<_> = last.into_iter().rev().collect();
            failure.hint(format!("it said:\n{}", last.join("\n")))
        }
    }

    /// Ends all programs, the last one first, and takes the folder away.
    pub(super) async fn clear(mut self) -> Result<(), Failure> {
        for program in self.programs.iter_mut().rev() {
            program.end().await;
        }
        self.folder.remove().map_err(Failure::failed)
    }

    /// Prints text that is only for people.
    pub(super) fn print(&self, text: impl Display) -> Result<(), Failure> {
        if self.context.json {
            return Ok(());
        }
        self.context.print(fitted_styled(&text.to_string(), self.context.width()))
    }

    /// Shows a command as if it were typed.
    pub(super) fn prompt(&self, line: &str) -> Result<(), Failure> {
        let width = self.context.width().map_or(COLUMNS, usize::from);
        self.print(format_args!(
            "{} {}\n",
            "$".dimmed(),
            broken_up(line, width.saturating_sub(2)).cyan()
        ))
    }

    fn program(&mut self, name: &str) -> &mut Program {
        let program = self.programs.iter_mut().rev().find(|it| it.name == name);
        program.expect("it was started")
    }

    fn command(&self, words: &[&str]) -> Command {
        let (program, args) = words.split_first().expect("a command has a name");
        let mut command = match *program {
            PROGRAM => std::process::Command::new(self.folder.0.join("bin").join(PROGRAM)),
            other => std::process::Command::new(other),
        };
        command.args(args).current_dir(&self.folder.0);
        for name in
            self.context.environment.names().filter(|it| {
                it.to_string_lossy().starts_with("CALLSIGN_") || *it == "NOTIFY_SOCKET"
            })
        {
            command.env_remove(name);
        }
        command.env("PATH", &self.path);
        // No instance from before can return.
        command.env("CALLSIGN_SETTLE_TIME", "0s");
        if let Some(registrar) = &self.registrar {
            command.env("CALLSIGN_REGISTRAR", registrar);
        }
        if self.context.width().is_none() {
            command.env("COLUMNS", COLUMNS.to_string());
        }
        match self.context.global.color {
            Color::Auto => {}
            Color::Always => drop(command.env("CLICOLOR_FORCE", "1")),
            Color::Never => drop(command.env("NO_COLOR", "1")),
        }
        // Ctrl-C is for this program, which then ends the others in order.
        command.process_group(0);
        transport::die_with_parent(&mut command);
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        command
    }
}

impl Program {
    /// Asks it to end, and makes it end if it does not.
    async fn end(&mut self) {
        let Some(pid) = self.child.id() else { return };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("it is a process");
        // It may have ended by itself; the number is its own until it is reaped.
        let _ended = kill_process(pid, Signal::TERM);
        if timeout(PARTING, self.child.wait()).await.is_err() {
            let _killed = self.child.kill().await;
        }
    }
}

/// A private folder of this user that is removed with its contents.
struct Folder(PathBuf);

impl Folder {
    fn new(temp_dir: &Path) -> Result<Self, Failure> {
        // The name is short, so that its contents fit the displayed tables.
        let number = Uuid::new_v4().simple().to_string();
        let folder = temp_dir.join(format!("demo-{}", &number[..6]));
        let made = DirBuilder::new().mode(0o700).create(&folder);
        let what = || format!("cannot make the folder `{}`", folder.display());
        made.map_err(|error| Failure::system(error).context(what()))?;
        Ok(Self(folder))
    }

    fn remove(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.0).with_context(|| format!("cannot remove `{}`", self.0.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Most often it is gone already.
        let _gone = self.remove();
    }
}

/// The time limit for each wait. Everything takes milliseconds, but a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(15);

/// The time for a program to end before it is killed.
const PARTING: Duration = Duration::from_secs(3);

/// The width without a terminal.
const COLUMNS: usize = 80;
