//! The start of a child: its parent's first bytes on the channel, and the variable that makes a
//! program a child.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use thiserror::Error;
use uuid::Uuid;

use super::{forkserver::wire, kernel, ready::InitError};

/// The variable that makes a program a child: `<protocol>:<nonce>`.
pub const CHILD_VARIABLE: &str = "CALLSIGN_CHILD";

/// The boot message of a parent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Boot {
    /// The same as in the variable: it proves that descriptor 0 is the channel, and not a terminal
    /// or a file in its place.
    pub(super) nonce: Uuid,
    /// The process that holds the other end of the channel.
    pub(super) parent: i32,
    /// The time for which the child may outlive its parent.
    pub(super) grace: Duration,
    /// Whether the child gets its own forkserver.
    pub(super) forkserver: bool,
    /// Whether it is a forkserver itself, replacing one that has ended.
    pub(super) is_forkserver: bool,
    /// The name of the child in lists of processes.
    pub(super) label: String,
}

/// The variable has an invalid value.
#[derive(Debug, Error)]
pub(super) enum BootFault {
    /// The program does not begin as it must.
    #[error("this child cannot begin")]
    NotReady(#[source] InitError),
    /// The variable has another form, or the protocol is another.
    #[error(
        "`{CHILD_VARIABLE}` is `{0}`, which is not how this build marks a child; only a process \
         that starts children may set it"
    )]
    Mark(String),
    /// Descriptor 0 is not the channel.
    #[error("`{CHILD_VARIABLE}` is set, but standard input is not the channel to a parent")]
    Channel(#[source] io::Error),
    /// The first bytes on the channel are not a boot message.
    #[error("`{CHILD_VARIABLE}` is set, but what standard input says is not from a parent")]
    Words,
    /// The parent had gone before the child was up.
    #[error("the parent ended while this child was starting")]
    Orphaned,
    /// The process could not be set up.
    #[error("cannot {task}")]
    Setup {
        /// The step that failed.
        task: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The exit code of a child that could not become one, as BSD's `EX_SOFTWARE`.
const NOT_A_CHILD: i32 = 70;

/// The protocol of the variable and of these first bytes.
const PROTOCOL: &str = "1";

/// The beginning of the first bytes.
const MAGIC: [u8; 8] = *b"csboot/1";

/// The most bytes of a label to send; the kernel shows 15 of a process's name.
const LABEL_BYTES_MAX: usize = 64;

/// The size of the message: magic, nonce, parent, grace, flags, length of the label, label.
pub(super) const BOOT_BYTES: usize = 8 + 16 + 4 + 4 + 4 + 4 + LABEL_BYTES_MAX;

/// The child's time limit for the first bytes. They are in the socket before it starts, so it waits
/// only if standard input is something else.
const BOOT_TIMEOUT: Duration = Duration::from_secs(5);

impl Boot {
    /// Returns the value of the variable.
    pub(super) fn mark(&self) -> String {
        format!("{PROTOCOL}:{}", self.nonce.simple())
    }

    /// Reads the variable's value.
    pub(super) fn nonce(mark: &str) -> Result<Uuid, BootFault> {
        mark.strip_prefix(PROTOCOL)
            .and_then(|rest| rest.strip_prefix(':'))
            .and_then(|nonce| Uuid::try_parse(nonce).ok())
            .ok_or_else(|| BootFault::Mark(mark.to_owned()))
    }

    pub(super) fn to_bytes(&self) -> [u8; BOOT_BYTES] {
        let is_end = |at: &usize| self.label.is_char_boundary(*at);
        let end = (0..=LABEL_BYTES_MAX).rev().find(is_end).unwrap_or_default();
        let label = &self.label[..end];
        let grace_ms = u32::try_from(self.grace.as_millis()).unwrap_or(u32::MAX);
        let parts: [&[u8]; 7] = [
            &MAGIC,
            self.nonce.as_bytes(),
            &self.parent.to_le_bytes(),
            &grace_ms.to_le_bytes(),
            &(u32::from(self.forkserver) | u32::from(self.is_forkserver) << 1).to_le_bytes(),
            &(label.len() as u32).to_le_bytes(),
            label.as_bytes(),
        ];
        let mut bytes = [0; BOOT_BYTES];
        let mut end = 0;
        for part in parts {
            bytes[end..][..part.len()].copy_from_slice(part);
            end += part.len();
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; BOOT_BYTES]) -> Option<Self> {
        let (magic, bytes) = bytes.split_first_chunk()?;
        let (nonce, bytes) = bytes.split_first_chunk()?;
        let (parent, bytes) = bytes.split_first_chunk()?;
        let (grace_ms, bytes) = bytes.split_first_chunk()?;
        let (flags, bytes) = bytes.split_first_chunk()?;
        let (length, label) = bytes.split_first_chunk()?;
        let label = label.get(..u32::from_le_bytes(*length) as usize)?;
        (*magic == MAGIC).then_some(())?;
        Some(Self {
            nonce: Uuid::from_bytes(*nonce),
            parent: i32::from_le_bytes(*parent),
            grace: Duration::from_millis(u32::from_le_bytes(*grace_ms).into()),
            forkserver: u32::from_le_bytes(*flags) & 1 != 0,
            is_forkserver: u32::from_le_bytes(*flags) & 2 != 0,
            label: str::from_utf8(label).ok()?.to_owned(),
        })
    }

    /// Reads the first bytes from the channel, and takes the counter that came with them.
    pub(super) fn read(mut channel: &UnixStream) -> Result<(Self, OwnedFd), BootFault> {
        let mut bytes = [0; BOOT_BYTES];
        let mut receive = || {
            channel.set_read_timeout(Some(BOOT_TIMEOUT))?;
            let (received, mut descriptors) = wire::receive_bytes(channel.as_fd(), &mut bytes)?;
            channel.read_exact(&mut bytes[received..])?;
            channel.set_read_timeout(None)?;
            Ok(descriptors.pop())
        };
        let counter = receive().map_err(BootFault::Channel)?;
        let boot = Self::from_bytes(&bytes).ok_or(BootFault::Words)?;
        let counter = counter.ok_or_else(|| {
            BootFault::Channel(io::Error::new(io::ErrorKind::UnexpectedEof, "no counter came"))
        })?;
        Ok((boot, counter))
    }
}

impl BootFault {
    /// Writes to standard error why this process cannot be a child, and exits.
    pub(super) fn give_up(&self) -> ! {
        let mut text = format!("callsign: {self}");
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text.push('\n');
        // There is nobody else to tell.
        drop(io::stderr().write_all(text.as_bytes()));
        kernel::exit_now(NOT_A_CHILD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_channel() {
        let boot = Boot {
            nonce: Uuid::new_v4(),
            parent: 4711,
            grace: Duration::from_millis(1500),
            forkserver: true,
            is_forkserver: false,
            label: "feed".to_owned(),
        };
        assert_eq!(Boot::from_bytes(&boot.to_bytes()), Some(boot.clone()));
        assert_eq!(Boot::nonce(&boot.mark()).unwrap(), boot.nonce);

        let other = Boot { forkserver: false, is_forkserver: true, ..boot.clone() };
        assert_eq!(Boot::from_bytes(&other.to_bytes()), Some(other));

        let long = Boot { label: "ä".repeat(100), ..boot.clone() };
        let heard = Boot::from_bytes(&long.to_bytes()).unwrap();
        assert_eq!(heard.label, "ä".repeat(LABEL_BYTES_MAX / 2));

        for at in [0, 36] {
            let mut bytes = boot.to_bytes();
            bytes[at] = 0xff;
            assert_eq!(Boot::from_bytes(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn a_mark_of_another_form_is_no_mark() {
        for mark in ["", "1", "1:", "1:feed", "2:0123456789abcdef0123456789abcdef", "nonsense"] {
            assert!(matches!(Boot::nonce(mark), Err(BootFault::Mark(_))), "{mark}");
        }
    }
}
