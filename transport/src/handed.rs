//! Descriptors that a service manager handed to this process at its start, by systemd's socket
//! activation protocol (`sd_listen_fds(3)`).
//!
//! ```text
//! LISTEN_PID=4711             whom they are for: another process leaves them alone
//! LISTEN_FDS=2                how many there are, from number 3 on
//! LISTEN_FDNAMES=local:web    what each is called, where that is said
//! ```
//!
//! Why not `sd-notify` for this, as for the messages to the service manager? It returns bare
//! numbers, and something has to guarantee that nobody else uses them.

#![expect(
    unsafe_code,
    reason = "to take a descriptor by its number, and to change the environment, have no safe form"
)]

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
};

use thiserror::Error;

/// A descriptor that this process was handed as it was started.
///
/// ```no_run
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{Handed, Listener};
///
/// // `FileDescriptorName=quotes` of the socket unit.
/// let handed = Handed::take()?.into_iter().find(|it| it.name.as_deref() == Some("quotes"));
/// let listener = match handed {
///     Some(handed) => Listener::try_from(handed.descriptor)?,
///     None => Listener::bind(&"/unix/run/quotes.sock".parse()?).await?,
/// };
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Handed {
    /// Its name from the service manager, if it has one.
    pub name: Option<String>,
    /// The descriptor. A program that is started does not inherit it.
    pub descriptor: OwnedFd,
}

impl Handed {
    /// Takes the descriptors that were handed to this process: all of them in the first call, and
    /// none in later ones. Descriptors for another process, such as the parent, are left alone.
    ///
    /// While this process has one thread, the variables of the protocol are removed, so that no
    /// child process sees them. Later they stay, and name this process.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::Handed;
    ///
    /// for handed in Handed::take()? {
    ///     println!("a service manager hands over {:?}", handed.name);
    /// }
    /// # Ok::<(), callsign::HandedError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`HandedError`] if the variables contradict themselves. Nothing is taken then.
    pub fn take() -> Result<Vec<Self>, HandedError> {
        if IS_TAKEN.swap(true, Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let set = |variable| env::var_os(variable).filter(|it| !it.is_empty());
        let [pid, count] = [PID, COUNT].map(set);
        let names = env::var_os(NAMES);
        forget_variables();
        let Some(count) = meant_for_this(pid.as_deref(), count.as_deref())? else {
            return Ok(Vec::new());
        };
        let names = names_of(names, count)?;
        let mut taken = Vec::new();
        for (number, name) in (FIRST..).zip(names) {
            let descriptor = adopt(number).map_err(|_| HandedError::NotOpen { number, count })?;
            taken.push(Self { name, descriptor });
        }
        Ok(taken)
    }

    /// Returns the number of the descriptor.
    ///
    /// ```no_run
    /// # use transport as callsign;
    /// use callsign::Handed;
    ///
    /// for handed in Handed::take()? {
    ///     println!("{}: {:?}", handed.number(), handed.name);
    /// }
    /// # Ok::<(), transport::HandedError>(())
    /// ```
    pub fn number(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// Why what this process was handed cannot be taken.
///
/// ```
/// # use transport as callsign;
/// use callsign::{Handed, HandedError};
///
/// match Handed::take() {
///     Ok(handed) => println!("{} sockets were handed over", handed.len()),
///     Err(HandedError::NotANumber { variable, .. }) => println!("{variable} is no number"),
///     Err(error) => println!("{error}"),
/// }
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum HandedError {
    /// A variable says no number.
    #[error("{variable} is not a number: {value:?}")]
    NotANumber {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// A descriptor is not open.
    #[error("descriptor {number} is not open, and LISTEN_FDS says that {count} are, from 3 on")]
    NotOpen {
        /// Its number.
        number: RawFd,
        /// The number in the variable.
        count: u32,
    },
    /// There are not as many names as descriptors.
    #[error("LISTEN_FDS says {count}, and LISTEN_FDNAMES has {names} names")]
    Names {
        /// The number of descriptors.
        count: u32,
        /// The number of names.
        names: usize,
    },
}

/// Returns the number of descriptors, if they are for this process.
fn meant_for_this(pid: Option<&OsStr>, count: Option<&OsStr>) -> Result<Option<u32>, HandedError> {
    let (Some(pid), Some(count)) = (pid, count) else { return Ok(None) };
    let number = |variable, value: &OsStr| {
        let value = value.to_string_lossy().into_owned();
        value.parse::<u32>().map_err(|_| HandedError::NotANumber { variable, value })
    };
    if number(PID, pid)? != std::process::id() {
        return Ok(None);
    }
    number(COUNT, count).map(Some)
}

/// Returns the name of each.
fn names_of(
    names: Option<OsString>,
    count: u32,
) -> Result<Box<dyn Iterator<Item = Option<String>>>, HandedError> {
    let Some(names) = names else {
        return Ok(Box::new((0..count).map(|_| None)));
    };
    let names = names.to_string_lossy().into_owned();
    let names: Vec<_> = names.split(':').map(str::to_owned).collect();
    let found = if names == [""] && count != 1 { 0 } else { names.len() };
    if found != count as usize {
        return Err(HandedError::Names { count, names: found });
    }
    Ok(Box::new(names.into_iter().take(found).map(|it| Some(it).filter(|it| !it.is_empty()))))
}

/// Takes an open descriptor by its number, and keeps it from programs that are started.
fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the call reads three numbers, and refuses one that is not open.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and by the protocol the process that started this one says that it was
    // handed over, so nothing in this process has opened it. It is taken once, because this runs
    // once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Removes the variables from the environment, if nobody can be reading it.
fn forget_variables() {
    let is_alone = fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if is_alone {
        for variable in VARIABLES.into_iter().chain([PIDFD]) {
            // SAFETY: this is the only thread, so nobody else reads or changes the environment.
            unsafe { env::remove_var(variable) };
        }
    }
}

static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The number of the first descriptor.
const FIRST: RawFd = 3;

const PID: &str = "LISTEN_PID";
const COUNT: &str = "LISTEN_FDS";
const NAMES: &str = "LISTEN_FDNAMES";
const VARIABLES: [&str; 3] = [PID, COUNT, NAMES];

/// A second way to name the process, which is not needed here.
const PIDFD: &str = "LISTEN_PIDFDID";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_for_another_process_are_left_alone() {
        let own = std::process::id().to_string();
        let check = |pid: Option<&str>, count: Option<&str>, expected| {
            let said = meant_for_this(pid.map(OsStr::new), count.map(OsStr::new));
            assert_eq!(said, expected, "{pid:?} {count:?}");
        };
        let wrong = |variable, value: &str| {
            Err(HandedError::NotANumber { variable, value: value.to_owned() })
        };
        check(Some(&own), Some("2"), Ok(Some(2)));
        check(Some(&own), Some("0"), Ok(Some(0)));
        check(Some("1"), Some("2"), Ok(None));
        check(Some("1"), Some("x"), Ok(None));
        check(None, Some("2"), Ok(None));
        check(Some(&own), None, Ok(None));
        check(Some(&own), Some("two"), wrong(COUNT, "two"));
        check(Some(&own), Some("-1"), wrong(COUNT, "-1"));
        check(Some("self"), Some("1"), wrong(PID, "self"));
    }

    #[test]
    fn each_has_a_name_or_none_has() {
        let check = |names: Option<&str>, count, expected: Result<&[Option<&str>], usize>| {
            let named = names_of(names.map(OsString::from), count).map(|it| it.collect::<Vec<_>>());
            let expected = expected
                .map(|it| it.iter().map(|name| name.map(str::to_owned)).collect())
                .map_err(|names| HandedError::Names { count, names });
            assert_eq!(named, expected, "{names:?} {count}");
        };
        check(None, 2, Ok(&[None, None]));
        check(Some("a:b"), 2, Ok(&[Some("a"), Some("b")]));
        check(Some("a:"), 2, Ok(&[Some("a"), None]));
        check(Some(""), 1, Ok(&[None]));
        check(Some(""), 0, Ok(&[]));
        check(Some("a"), 2, Err(1));
        check(Some("a:b:c"), 2, Err(3));
        check(Some(""), 2, Err(0));
    }
}
