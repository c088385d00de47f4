//! The messages between a guardian and the process that started it.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Read, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

use super::terminal::Footing;

/// A program to start below a guardian.
///
/// ```
/// use callsign_process::GuardedCommand;
///
/// let command = GuardedCommand {
///     words: vec!["redis-server".into(), "--port".into(), "6379".into()],
///     sockets: vec!["/run/redis.sock".into()],
///     ..GuardedCommand::default()
/// };
/// # drop(command);
/// ```
#[derive(Clone, Debug, Default)]
pub struct GuardedCommand {
    /// The program and its arguments: one word at least.
    pub words: Vec<OsString>,
    /// Its environment variables, besides those of this process.
    pub environment: Vec<(OsString, OsString)>,
    /// The variables of this process that it does not get.
    pub withheld: Vec<OsString>,
    /// The program's socket paths: a dead socket that it leaves there is removed.
    pub sockets: Vec<PathBuf>,
    /// The names of descriptors that are the program's, by the protocol of `sd_listen_fds(3)`: this
    /// process has them from number 3 on, and need not keep them when the program has started. A
    /// name may be empty.
    pub handed: Vec<OsString>,
}

impl GuardedCommand {
    pub(super) fn write(&self, footing: &Footing, to: &mut impl Write) -> io::Result<()> {
        let environment = self.environment.iter().flat_map(|(key, value)| [key, value]);
        let lists = [
            encode(self.words.iter().map(OsString::as_os_str)),
            encode(environment.map(OsString::as_os_str)),
            encode(self.withheld.iter().map(OsString::as_os_str)),
            encode(self.sockets.iter().map(|it| it.as_os_str())),
            encode(self.handed.iter().map(OsString::as_os_str)),
        ];
        to.write_all(&footing.encode())?;
        for list in lists {
            to.write_all(&(list.len() as u64).to_le_bytes())?;
            to.write_all(&list)?;
        }
        Ok(())
    }

    pub(super) fn read(from: &mut impl Read) -> io::Result<(Self, Footing)> {
        let mut footing = [0; Footing::BYTES];
        from.read_exact(&mut footing)?;
        let mut lists = [const { Vec::new() }; 5];
        for list in &mut lists {
            let mut length = [0; 8];
            from.read_exact(&mut length)?;
            let length = u64::from_le_bytes(length);
            from.take(length).read_to_end(list)?;
            if list.len() as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let [words, environment, withheld, sockets, handed] = lists.map(|list| decode(&list));
        let mut environment = environment.into_iter();
        let pairs = std::iter::from_fn(|| environment.next().zip(environment.next()));
        let command = Self {
            words,
            environment: pairs.collect(),
            withheld,
            sockets: sockets.into_iter().map(PathBuf::from).collect(),
            handed,
        };
        Ok((command, Footing::decode(footing)))
    }
}

/// Writes words one after the other, each with its end: none of them has a NUL in it, or it could
/// not be an argument, a variable or a path.
fn encode<'a>(words: impl Iterator<Item = &'a OsStr>) -> Vec<u8> {
    let mut list = Vec::new();
    for word in words {
        list.extend(word.as_bytes());
        list.push(0);
    }
    list
}

fn decode(list: &[u8]) -> Vec<OsString> {
    let ended = list.strip_suffix(&[0]);
    let words = ended.into_iter().flat_map(|it| it.split(|byte| *byte == 0));
    words.map(|it| OsString::from_vec(it.to_vec())).collect()
}

/// A message of one direction or the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Message {
    pub(super) kind: u32,
    pub(super) value: i32,
}

/// The kinds of requests to a guardian.
pub(super) struct Request;

impl Request {
    /// To send the signal `value` to the program.
    pub(super) const TO_PROGRAM: u32 = 1;
    /// As above, to its group.
    pub(super) const TO_GROUP: u32 = 2;
    /// As above, to all.
    pub(super) const TO_ALL: u32 = 3;
    /// To kill all.
    pub(super) const KILL: u32 = 4;
    /// Continue the program, in the foreground if there is one.
    pub(super) const RESUME: u32 = 5;
}

/// The kinds of messages from a guardian.
pub(super) struct Reply;

impl Reply {
    /// The program has the number `value`.
    pub(super) const STARTED: u32 = 1;
    /// It could not be started, with the error `value`.
    pub(super) const NOT_STARTED: u32 = 2;
    /// The signal `value` has stopped it.
    pub(super) const STOPPED: u32 = 3;
    /// The terminal has gone.
    pub(super) const HUNG_UP: u32 = 4;
    /// The program has ended with the status `value`, and all others have.
    pub(super) const ENDED: u32 = 5;
    /// The program has ended with the status `value`, and others live.
    pub(super) const LEFT_BEHIND: u32 = 6;
    /// All have ended.
    pub(super) const ALONE: u32 = 7;
}

impl Message {
    pub(super) fn encode(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.kind.to_le_bytes());
        bytes[4..].copy_from_slice(&self.value.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { kind: u32::from_le_bytes([a, b, c, d]), value: i32::from_le_bytes([e, f, g, h]) }
    }

    /// Reads a message; `None` if the other side has gone.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = [0; 8];
        match from.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(Self::decode(bytes))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_written() {
        let check =
            |words: &[&str], environment: &[(&str, &str)], sockets: &[&str], handed: &[&str]| {
                let command = GuardedCommand {
                    words: words.iter().map(OsString::from).collect(),
                    environment: environment.iter().map(|(k, v)| (k.into(), v.into())).collect(),
                    withheld: environment.iter().map(|(k, _)| k.into()).collect(),
                    sockets: sockets.iter().map(PathBuf::from).collect(),
                    handed: handed.iter().map(OsString::from).collect(),
                };
                let mut written = Vec::new();
                command.write(&Footing::here(), &mut written).unwrap();
                let (read, _) = GuardedCommand::read(&mut &written[..]).unwrap();
                assert_eq!(read.words, command.words);
                assert_eq!(read.environment, command.environment);
                assert_eq!(read.withheld, command.withheld);
                assert_eq!(read.sockets, command.sockets);
                assert_eq!(read.handed, command.handed);
                assert!(GuardedCommand::read(&mut &written[..written.len() - 1]).is_err());
            };
        check(&["true"], &[], &[], &[]);
        check(
            &["echo", "", "ä \n"],
            &[("PORT", "7"), ("EMPTY", "")],
            &["/run/x", "/run/y"],
            &["web", ""],
        );
        check(&[""], &[], &["/x"], &[""]);
    }

    #[test]
    fn a_message_is_read_as_written() {
        let check = |kind, value| {
            let message = Message { kind, value };
            assert_eq!(Message::read(&mut &message.encode()[..]).unwrap(), Some(message));
        };
        check(Reply::STARTED, i32::MAX);
        check(Request::TO_ALL, -1);
        assert_eq!(Message::read(&mut &[1_u8, 2][..]).unwrap(), None);
    }
}
