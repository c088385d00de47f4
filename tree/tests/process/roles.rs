//! What the children do. Each reads one line from its channel and does what that says.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

/// Plays the role that the parent names.
pub(crate) fn play(channel: UnixStream) -> i32 {
    channel.set_nonblocking(false).unwrap();
    let mut channel = BufReader::new(channel);
    let mut role = String::new();
    channel.read_line(&mut role).unwrap();
    let words: Vec<_> = role.split_whitespace().collect();
    match words[..] {
        ["exit", code] => code.parse().unwrap(),
        ["panic"] => panic!("it was asked for"),
        ["abort"] => std::process::abort(),
        ["fault"] => fault(),
        ["wait"] => {
            say(&channel, "ready");
            let mut rest = Vec::new();
            channel.read_to_end(&mut rest).unwrap();
            0
        }
        ["sleep"] => {
            say(&channel, "ready");
            thread::sleep(Duration::from_secs(3600));
            0
        }
        _ => panic!("no such role: {role:?}"),
    }
}

fn say(channel: &BufReader<UnixStream>, line: &str) {
    channel.get_ref().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Reads memory that may not be read.
#[expect(unsafe_code, reason = "safe code cannot do this")]
fn fault() -> i32 {
    // SAFETY: the page is new and is nobody's; reading it ends this process, which is the point.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0);
        page.cast::<i32>().read_volatile()
    }
}
