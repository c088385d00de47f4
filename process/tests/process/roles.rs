//! The children's roles. Each child reads one line from its channel, and plays the role named
//! there.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{net::UnixStream, process::CommandExt},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use callsign_process::{self as process, CHILD_VARIABLE, Kind};

use crate::{crowd, support::block_on};

/// Plays the role that the parent names.
pub(crate) fn play(channel: UnixStream) -> i32 {
    channel.set_nonblocking(false).unwrap();
    let mut parent = Parent(BufReader::new(channel));
    let role = parent.hears();
    let words: Vec<_> = role.split_whitespace().collect();
    match words[..] {
        ["exit", code] => code.parse().unwrap(),
        ["panic"] => panic!("it was asked for"),
        ["abort"] => std::process::abort(),
        ["fault"] => fault(),
        ["wait"] => {
            parent.says("ready");
            parent.ends();
            0
        }
        ["sleep"] => {
            parent.says("ready");
            thread::sleep(Duration::from_secs(3600));
            0
        }
        ["trace", pid] => {
            parent.says(&trace(pid.parse().unwrap()));
            parent.ends();
            0
        }
        ["echo"] => loop {
            let line = parent.hears();
            parent.says(&line);
        },
        ["flood", bytes, end] => {
            // No line ends, so a part stays in the buffer of standard output.
            print!("{}", "o".repeat(bytes.parse().unwrap()));
            eprint!("{}", "e".repeat(bytes.parse().unwrap()));
            if end == "abort" {
                std::process::abort();
            }
            0
        }
        ["chat"] => {
            println!("one\ntwo");
            eprintln!("three");
            print!("four");
            0
        }
        ["descriptors"] => descriptors(&parent),
        ["environment"] => {
            let names: Vec<_> = std::env::vars().map(|(name, _)| name).collect();
            parent.says(&names.join(" "));
            0
        }
        ["identity"] => {
            let [name, mask, ignored] = ["Name:", "SigBlk:", "SigIgn:"].map(status);
            let group = rustix::process::getpgrp().as_raw_nonzero();
            parent.says(&format!("{name} {} {group} {mask} {ignored}", std::process::id()));
            0
        }
        ["helper"] => {
            parent.says(&helper(None).to_string());
            parent.ends();
            0
        }
        ["leave", "helper"] => {
            // In a separate group, it survives the kill, and holds the pipes.
            parent.says(&helper(Some(0)).to_string());
            0
        }
        ["farewell", path] => {
            parent.says("ready");
            parent.ends();
            fs::write(path, "done").unwrap();
            0
        }
        ["forced", path] => {
            parent.says("ready");
            block_on(process::forced_to_end());
            fs::write(path, "heard").unwrap();
            thread::sleep(Duration::from_secs(3600));
            0
        }
        ["family", kind, ref role @ ..] => {
            crowd::family(kind_of(kind), &role.join(" "), |line| parent.says(line));
            0
        }
        ["crowd", kind] => crowd::crowd(kind_of(kind)),
        ["starved", kind] => crowd::starved(kind_of(kind)),
        ["dropped", kind] => crowd::dropped(kind_of(kind)),
        ["forsaken"] => crowd::forsaken(),
        ["bereft"] => crowd::bereft(),
        ["again"] => {
            let error = process::init(play).unwrap_err();
            parent.says(&error.to_string());
            0
        }
        _ => panic!("no such role: {role:?}"),
    }
}

/// The other end of the channel, which may disappear.
struct Parent(BufReader<UnixStream>);

impl Parent {
    fn says_not(error: &std::io::Error) -> ! {
        panic!("the parent is not there: {error}")
    }

    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap_or_else(|error| Self::says_not(&error));
        line.trim_end().to_owned()
    }

    fn says(&self, line: &str) {
        let line = format!("{line}\n");
        self.0.get_ref().write_all(line.as_bytes()).unwrap_or_else(|it| Self::says_not(&it));
    }

    /// Waits for the end of the channel.
    fn ends(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap_or_else(|error| Self::says_not(&error));
    }
}

pub(crate) fn kind_of(word: &str) -> Kind {
    match word {
        "exec" => Kind::Exec,
        "fork" => Kind::Fork,
        _ => panic!("no such kind: {word:?}"),
    }
}

/// Starts a program that idles for a long time, and returns its number.
fn helper(group: Option<i32>) -> u32 {
    let mut command = Command::new("sleep");
    command.arg("3600").stdin(Stdio::null());
    if let Some(group) = group {
        command.process_group(group);
    }
    #[expect(clippy::zombie_processes, reason = "it outlives this process")]
    let helper = command.spawn().unwrap();
    helper.id()
}

/// Prints each descriptor and its target.
fn descriptors(parent: &Parent) -> i32 {
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        let number = path.file_name().unwrap().to_str().unwrap();
        parent.says(&format!("{number} {}", fs::read_link(&path).unwrap().display()));
    }
    assert!(std::env::var_os(CHILD_VARIABLE).is_none());
    0
}

/// Returns a line of the kernel's status of this process.
fn status(name: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().to_owned()
}

/// Traces a process and lets it run on, and returns `ready` or the error.
#[expect(unsafe_code, reason = "there is no safe form")]
fn trace(pid: i32) -> String {
    // SAFETY: with these arguments the kernel touches no memory of this process.
    match unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) } {
        0 => "ready".to_owned(),
        _ => std::io::Error::last_os_error().to_string(),
    }
}

/// Reads memory that may not be read.
#[expect(unsafe_code, reason = "safe code cannot do this")]
fn fault() -> i32 {
    // SAFETY: the page is new and has no other user; the read ends this process, which is the
    // purpose.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0);
        page.cast::<i32>().read_volatile()
    }
}
