//! A command line, run with its name and its duration shown.

use std::{
    env, fmt,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// A command line of a task. It prints as a person would type it.
pub(crate) struct Step {
    name: &'static str,
    program: String,
    variables: Vec<(&'static str, String)>,
    args: Vec<String>,
    temporary: Option<PathBuf>,
    is_quiet: bool,
    is_held: bool,
}

impl Step {
    /// Makes the step that runs cargo with `args`, which are split at white space.
    pub(crate) fn cargo(name: &'static str, args: &str) -> Self {
        Self::command(name, CARGO, &args.split_whitespace().collect::<Vec<_>>())
    }

    /// Makes the step that runs another program.
    pub(crate) fn command(name: &'static str, program: &str, args: &[&str]) -> Self {
        let step = Self {
            name,
            program: program.to_owned(),
            variables: Vec::new(),
            args: Vec::new(),
            temporary: None,
            is_quiet: false,
            is_held: false,
        };
        step.args(args)
    }

    /// Shows nothing of what the command prints to standard output.
    pub(crate) fn quiet(self) -> Self {
        Self { is_quiet: true, ..self }
    }

    /// Holds what the command prints until it has ended, for one that runs beside another.
    pub(crate) fn held(self) -> Self {
        Self { is_held: true, ..self }
    }

    /// Adds arguments, each as it is.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&it| it.to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// Sets the directory for temporary files. It exists for this run alone, and so is not printed.
    pub(crate) fn temporary(self, folder: &Path) -> Self {
        Self { temporary: Some(folder.to_owned()), ..self }
    }

    /// Disables cargo's incremental compilation: its files take as much room again as the build,
    /// and help only while a developer changes and builds in turn.
    pub(crate) fn once(self) -> Self {
        self.variable("CARGO_INCREMENTAL", "0")
    }

    /// Returns the name of the step.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the command and returns its duration. Its output goes straight through, unless it is held;
    /// notes about it go to stderr. It has no standard input, so that it cannot wait for any.
    ///
    /// # Errors
    ///
    /// The step that failed, and how to run it alone.
    #[expect(clippy::disallowed_methods, reason = "a step is timed here and nowhere else")]
    pub(crate) fn run(&self) -> Result<Duration> {
        eprintln!("xtask: {}: {self}", self.name);
        let started = Instant::now();
        let mut command = match &*self.program {
            CARGO => cargo(),
            other => Command::new(other),
        };
        if self.is_quiet {
            command.stdout(Stdio::null());
        }
        command
            .args(&self.args)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(self.temporary.iter().map(|it| ("TMPDIR", it)))
            .stdin(Stdio::null());
        let ended = if self.is_held { self.run_held(command) } else { command.status() };
        let status =
            ended.with_context(|| format!("{}: cannot start {}", self.name, self.program))?;
        let took = started.elapsed();
        if !status.success() {
            let (name, took) = (self.name, Took(took));
            bail!("{name} FAILED after {took} ({status}); to run it alone:\n\n    {self}\n");
        }
        eprintln!("xtask: {}: passed in {}", self.name, Took(took));
        Ok(took)
    }

    /// Runs the command to its end, and shows what it has printed then.
    fn run_held(&self, mut command: Command) -> io::Result<ExitStatus> {
        let (mut printed, writer) = io::pipe()?;
        if !self.is_quiet {
            command.stdout(writer.try_clone()?);
        }
        let mut child = command.stderr(writer).spawn()?;
        // It holds the other end, too.
        drop(command);
        let mut text = Vec::new();
        printed.read_to_end(&mut text)?;
        io::stderr().write_all(&text)?;
        child.wait()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            write!(f, "{name}='{value}' ")?;
        }
        f.write_str(&self.program)?;
        for arg in &self.args {
            let plain = |it: char| it.is_ascii_alphanumeric() || "-_=/.:,+".contains(it);
            if !arg.is_empty() && arg.chars().all(plain) {
                write!(f, " {arg}")?;
            } else {
                write!(f, " '{}'", arg.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

const CARGO: &str = "cargo";

/// Tells whether cargo has a subcommand that is installed apart from it.
pub(crate) fn has_subcommand(name: &str) -> bool {
    let output = cargo().args([name, "--version"]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Makes a command of the cargo that runs this.
fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A duration for people: `0.4 s`, `2 min 05 s`.
pub(crate) struct Took(pub(crate) Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0.as_secs() {
            0..60 => format!("{:.1} s", self.0.as_secs_f64()),
            seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_prints_as_it_would_be_typed() {
        let check = |step: Step, typed: &str| assert_eq!(step.to_string(), typed);
        check(Step::cargo("format", "fmt --all"), "cargo fmt --all");
        check(
            Step::cargo("tests", "nextest run").args(&["-E", "test(it's one)", ""]),
            r"cargo nextest run -E 'test(it'\''s one)' ''",
        );
        check(
            Step::cargo("documentation", "doc").variable("RUSTDOCFLAGS", "-D warnings"),
            "RUSTDOCFLAGS='-D warnings' cargo doc",
        );
    }

    #[test]
    fn a_failed_step_says_how_to_run_it_alone() {
        let step = Step::cargo("nonsense", "no-such-command");
        let error = step.run().unwrap_err().to_string();
        assert!(error.starts_with("nonsense FAILED after "), "{error}");
        assert!(error.ends_with("to run it alone:\n\n    cargo no-such-command\n"), "{error}");
    }

    #[test]
    fn what_is_held_is_shown_to_its_end_and_fails_as_ever() {
        let step = |script| Step::command("talk", "sh", &["-c", script]).held();
        step("yes | head -n 100000").quiet().run().unwrap();
        let error = step("echo said; echo asked >&2; exit 7").run().unwrap_err().to_string();
        assert!(error.contains("exit status: 7"), "{error}");
    }

    #[test]
    fn a_duration_is_readable() {
        let check = |ms, text: &str| assert_eq!(Took(Duration::from_millis(ms)).to_string(), text);
        check(40, "0.0 s");
        check(59_940, "59.9 s");
        check(60_000, "1 min 00 s");
        check(125_900, "2 min 05 s");
    }
}
