//! The choice and the reading of a settings file. It may be anything, and its reader must not hang.

use std::{
    ffi::OsStr,
    fmt,
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::Errno,
};

/// A settings file to read. It prints as its reader would call it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SettingsFile {
    /// The path.
    pub path: PathBuf,
    /// The origin of the path.
    pub named_by: NamedBy,
}

/// The origin of a settings file's path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NamedBy {
    /// A flag of the command line.
    Flag(String),
    /// A variable of the environment.
    Variable(String),
    /// The program itself.
    Program,
    /// Nobody: the program looks for it.
    Nobody,
}

/// A flag or a variable, and its value.
pub type Said<'a> = (&'a str, &'a OsStr);

impl SettingsFile {
    /// Returns the file named by the flag, or else by the variable, or else the default. An empty
    /// variable counts as unset.
    pub fn choose(
        flag: Option<Said<'_>>,
        variable: Option<Said<'_>>,
        otherwise: Option<Self>,
    ) -> Option<Self> {
        let named = |path: &OsStr, named_by| Some(Self { path: path.into(), named_by });
        let variable = variable.filter(|(_, path)| !path.is_empty());
        match (flag, variable) {
            (Some((flag, path)), _) => named(path, NamedBy::Flag(flag.to_owned())),
            (None, Some((variable, path))) => named(path, NamedBy::Variable(variable.to_owned())),
            (None, None) => otherwise,
        }
    }

    /// Reads the file. It must be a file that can be read again, or `/dev/null`, and have at most 4
    /// MiB.
    ///
    /// # Errors
    ///
    /// The system's error, or the kind of file that it is instead. The only wait is for the disk.
    pub fn read(&self) -> io::Result<String> {
        let metadata = fs::metadata(&self.path)?;
        if metadata.file_type().is_fifo() {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "it is a pipe, which is not read twice",
            ));
        }
        text_of(&self.path, &metadata)
    }
}

/// Reads a file as [`SettingsFile::read`] does, or what comes out of a pipe within 5 s, for who
/// reads it once.
///
/// # Errors
///
/// As [`SettingsFile::read`].
pub fn read_once(path: &Path) -> io::Result<String> {
    text_of(path, &fs::metadata(path)?)
}

fn text_of(path: &Path, metadata: &Metadata) -> io::Result<String> {
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_file() || kind.is_fifo() => None,
        () if kind.is_dir() => Some("it is a folder"),
        () if kind.is_socket() => Some("it is a socket"),
        () if metadata.rdev() == NULL_DEVICE => None,
        () => Some("it is a device"),
    };
    if let Some(what) = what {
        return Err(io::Error::new(ErrorKind::InvalidInput, what));
    }
    // Opening a pipe without a writer returns immediately, and so does one that replaces a file
    // meanwhile.
    let file =
        File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let bytes = if kind.is_fifo() {
        all_of_pipe(file)?
    } else {
        let mut bytes = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        bytes
    };
    if bytes.len() as u64 > BYTES_MAX {
        let what = "it is larger than 4 MiB, the most that settings may have";
        return Err(io::Error::new(ErrorKind::InvalidData, what));
    }
    let not_utf8 = |_| io::Error::new(ErrorKind::InvalidData, "it is not text in UTF-8");
    String::from_utf8(bytes).map_err(not_utf8)
}

fn all_of_pipe(mut pipe: File) -> io::Result<Vec<u8>> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    #[expect(clippy::disallowed_methods, reason = "a program that reads its settings does no more")]
    let began = Instant::now();
    while bytes.len() as u64 <= BYTES_MAX {
        let left = PIPE_TIMEOUT.saturating_sub(began.elapsed());
        let left = Timespec::try_from(left).expect("a few seconds");
        match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)) {
            Ok(0) => {
                let what = format!("it is a pipe, and has no end within {PIPE_TIMEOUT:?}");
                return Err(io::Error::new(ErrorKind::TimedOut, what));
            }
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match pipe.read(&mut chunk)? {
            0 => break,
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(bytes)
}

/// The most bytes to read: a line for each of the 65 536 actors of a session takes as much.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The time limit for reading a pipe: a program that writes settings needs milliseconds.
const PIPE_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of `/dev/null`, with which many say that there is no file.
const NULL_DEVICE: u64 = 0x103;

impl fmt::Display for SettingsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings file `{}`", self.path.display())?;
        match &self.named_by {
            NamedBy::Flag(name) | NamedBy::Variable(name) => write!(f, ", which {name} names"),
            NamedBy::Program | NamedBy::Nobody => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_flag_goes_before_a_variable_and_that_before_the_rest() {
        let file = |path: &str, named_by| SettingsFile { path: path.into(), named_by };
        let check = |flag: Option<&str>, variable: Option<&str>, left, expected: Option<&str>| {
            let flag = flag.map(|it| ("--config", OsStr::new(it)));
            let variable = variable.map(|it| ("CALLSIGN_CONFIG", OsStr::new(it)));
            let chosen = SettingsFile::choose(flag, variable, left);
            assert_eq!(chosen.map(|it| it.to_string()).as_deref(), expected);
        };
        let looked_for = || Some(file("callsign.toml", NamedBy::Nobody));
        let flag = Some("the settings file `a`, which --config names");
        let variable = Some("the settings file `b`, which CALLSIGN_CONFIG names");
        check(Some("a"), Some("b"), looked_for(), flag);
        check(None, Some("b"), looked_for(), variable);
        check(None, Some(""), looked_for(), Some("the settings file `callsign.toml`"));
        check(None, None, Some(file("c", NamedBy::Program)), Some("the settings file `c`"));
        check(None, Some(""), None, None);
    }

    fn read(path: &Path) -> Result<String, String> {
        let file = SettingsFile { path: path.into(), named_by: NamedBy::Program };
        file.read().map_err(|it| it.to_string())
    }

    #[test]
    fn only_what_is_there_at_once_and_again_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let check = |path: &Path, expected: Result<&str, &str>| {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(read(path), expected, "{}", path.display());
        };
        fs::write(at("small"), "é").unwrap();
        std::os::unix::fs::symlink("small", at("link")).unwrap();
        check(&at("small"), Ok("é"));
        check(&at("link"), Ok("é"));
        check(Path::new("/dev/null"), Ok(""));
        check(Path::new("/proc/sys/kernel/ostype"), Ok("Linux\n"));

        fs::write(at("bytes"), b"\xff").unwrap();
        check(&at("bytes"), Err("it is not text in UTF-8"));
        File::create(at("sparse")).unwrap().set_len(1 << 40).unwrap();
        check(&at("sparse"), Err("it is larger than 4 MiB, the most that settings may have"));
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        check(&at("pipe"), Err("it is a pipe, which is not read twice"));
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        check(&at("socket"), Err("it is a socket"));
        check(folder.path(), Err("it is a folder"));
        check(Path::new("/dev/zero"), Err("it is a device"));
        check(Path::new("/dev/random"), Err("it is a device"));
        assert!(read(&at("nothing")).unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_pipe_is_read_once_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let read = std::thread::spawn({
            let pipe = pipe.clone();
            move || read_once(&pipe)
        });
        // The open returns once there is a reader.
        let mut writer = File::options().write(true).open(&pipe).unwrap();
        writer.write_all(b"[registrar]\n").unwrap();
        writer.write_all(b"listen = []\n").unwrap();
        drop(writer);
        assert_eq!(read.join().unwrap().unwrap(), "[registrar]\nlisten = []\n");

        // Nobody ever writes to it.
        let error = read_once(&pipe).unwrap_err();
        assert_eq!(error.to_string(), "it is a pipe, and has no end within 5s");
    }
}
