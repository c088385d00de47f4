//! A shell into which the commands of a document are typed.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{self, Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
};

use tempfile::TempDir;

use crate::{LONG, example, programs, root};

/// A shell in a separate folder. The endpoints of its programs are changed on the way in and back
/// on the way out, so that two sessions do not conflict.
pub(crate) struct Session {
    shell: Child,
    input: ChildStdin,
    output: Receiver<String>,
    places: Vec<(String, String)>,
    commands: usize,
    _folder: TempDir,
}

impl Session {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let places = places();
        let market = fs::read_to_string(root().join("examples/market.toml")).unwrap();
        let market = places.iter().fold(market, |text, (shown, own)| text.replace(shown, own));
        fs::create_dir(folder.path().join("examples")).unwrap();
        fs::write(folder.path().join("examples/market.toml"), market).unwrap();

        let path = std::env::var("PATH").unwrap();
        let examples = example("feed");
        let examples = examples.parent().unwrap().display();
        let mut shell = Command::new("bash")
            .current_dir(folder.path())
            .env("PATH", format!("{}:{examples}:{path}", programs().display()))
            .env("XDG_RUNTIME_DIR", folder.path())
            .env("CALLSIGN_SYSTEM_DIR", "")
            .env_remove("CALLSIGN_CONFIG")
            .env_remove("CALLSIGN_REGISTRAR")
            .env_remove("COLUMNS")
            .env("CALLSIGN_SETTLE_TIME", "0s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = shell.stdin.take().unwrap();
        // Programs that still run at the end go with the shell.
        writeln!(input, "exec 2>&1; trap 'kill $(jobs -p); wait' EXIT").unwrap();
        let (sender, output) = sync_channel(1000);
        let lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { shell, input, output, places, commands: 0, _folder: folder }
    }

    /// Types a command, and returns the output until the command has ended and as many lines have
    /// come as the document shows, including those of programs in the background.
    pub(crate) fn run(&mut self, command: &str, shown: &str) -> String {
        self.commands += 1;
        let end = format!("end of command {}", self.commands);
        let own = self.places.iter();
        let own = own.fold(command.to_owned(), |text, (shown, own)| text.replace(shown, own));
        // The command must not read the commands that follow it.
        writeln!(self.input, "{{ {own}\n}} </dev/null; echo '{end}'").unwrap();

        let (mut printed, mut lines, mut has_ended) = (String::new(), 0, false);
        while !has_ended || lines < shown.lines().count() {
            let line = match self.output.recv_timeout(LONG) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => panic!("{command} printed only:\n{printed}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the shell ended at {command}"),
            };
            if line == end {
                has_ended = true;
            // The shell's own message about a killed job.
            } else if !line.starts_with("bash: line ") {
                let places = self.places.iter();
                printed += &places.fold(line, |text, (shown, own)| text.replace(own, shown));
                printed += "\n";
                lines += 1;
            }
        }
        printed
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(writeln!(self.input, "exit"));
        drop(self.shell.wait());
    }
}

/// Returns the document's texts, each with its substitute. Both have one length, so that tables
/// keep their form.
fn places() -> Vec<(String, String)> {
    let own = base36(process::id());
    let name = ("@market".to_owned(), format!("@m{own}"));
    let file = ("tmp%2Fmarket".to_owned(), format!("tmp%2Fm{own}"));
    // Below the ephemeral ports; each process starts with others.
    let tried = (process::id()..).map(|it| 2000 + it * 7 % 8000);
    let is_free = |port: &u32| TcpListener::bind(("0.0.0.0", *port as u16)).is_ok();
    let free = tried.filter(is_free).map(|it| it.to_string());
    PORTS.iter().map(|it| (*it).to_owned()).zip(free).chain([name, file]).collect()
}

/// Writes a process number with five digits.
fn base36(mut number: u32) -> String {
    let mut digits = [0; 5];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[number as usize % 36];
        number /= 36;
    }
    digits.iter().map(|it| char::from(*it)).collect()
}

/// The ports in `examples/market.toml` that are bound on this host, and another of the document's.
const PORTS: [&str; 6] = ["7616", "5554", "5555", "5556", "8765", "4321"];
