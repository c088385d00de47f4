//! Words that are programs.

use std::{env, os::unix::fs::PermissionsExt, path::Path};

use endpoints::Endpoint;

/// Tells whether a word in the place of an endpoint is more likely a program: it can be executed, or
/// it looks like a command and like no endpoint.
pub(crate) fn is_program(word: &str) -> bool {
    let Err(error) = word.parse::<Endpoint>() else { return false };
    if is_executable(word) {
        return true;
    }
    let is_path = word.starts_with("./") || word.starts_with("../");
    let is_socket = word.ends_with(".sock") || word.ends_with(".socket");
    let is_word = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '.' | '+');
    let is_command = word.chars().all(is_word) && word.starts_with(char::is_alphabetic);
    !is_socket && (is_path || is_command && error.suggestion().is_none() && !has_ending(word))
}

/// Tells whether a word looks like the name of a host, or a number of something.
fn has_ending(word: &str) -> bool {
    word.starts_with(|it: char| it.is_ascii_digit()) || word == "localhost"
}

/// Tells whether a word is the path of a program, or the name of one on the path.
pub(crate) fn is_executable(word: &str) -> bool {
    let can_be_executed = |it: &Path| {
        it.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    if word.contains('/') {
        return can_be_executed(Path::new(word));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    !word.is_empty() && env::split_paths(&path).any(|it| can_be_executed(&it.join(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_endpoints_that_are_wrong() {
        for program in ["./server", "../bin/feed", "sh", "/bin/sh", "no-such-server", "redis-srv"] {
            assert!(is_program(program), "{program}");
        }
        for other in [
            "/unix/@web",
            "/unix/bin/sh",
            "",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost",
            "localhost:80",
            "tcp://host:80",
            "feed.sock",
            "./feed.sock",
            "8080",
            "5s",
            "@web",
            "/run/feed",
            "—",
        ] {
            assert!(!is_program(other), "{other}");
        }
    }
}
