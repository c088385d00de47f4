//! Looks for what a run of the tests leaves behind, which is to be nothing.

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail};

/// A fresh directory for the temporary files of the tests. A file or a mount in it, or a process
/// with it in its environment, is a leftover; the rest of the machine is not examined.
pub(crate) struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Creates the directory. Other users may enter it: some tests run as another user.
    ///
    /// # Errors
    ///
    /// It cannot be created.
    pub(crate) fn new() -> Result<Self> {
        // A short name, because the path of a socket has a limit.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("xtask-{}-{number}", process::id()));
        let made = fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
        made.with_context(|| format!("cannot create the directory {}", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks for leftovers.
    ///
    /// # Errors
    ///
    /// The error lists all of them, and what is in a folder, whose name is mostly drawn.
    pub(crate) fn has_nothing_left(&self) -> Result<()> {
        let mut left = files_below(&self.path)?;
        left.extend(processes_with(&self.path)?);
        left.extend(mounts_below(&self.path)?);
        if left.is_empty() {
            return Ok(());
        }
        left.sort();
        bail!("the tests have left behind:\n  {}", left.join("\n  "))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("xtask: cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Returns the paths of all that is in a directory, and in the directories there.
fn files_below(directory: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        found.push(entry.path().display().to_string());
        if entry.file_type()?.is_dir() {
            found.extend(files_below(&entry.path())?);
        }
    }
    Ok(found)
}

/// Returns the processes that have a directory in their environment, as text.
fn processes_with(directory: &Path) -> io::Result<Vec<String>> {
    let directory = directory.as_os_str().as_encoded_bytes();
    let processes = fs::read_dir("/proc")?.flatten().map(|it| it.path());
    let of_tests = processes.filter_map(|process| {
        // A process that has ended has no environment, and that of another user may be unreadable.
        let environment = fs::read(process.join("environ")).ok()?;
        environment.windows(directory.len()).find(|it| *it == directory)?;
        let command = fs::read(process.join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        Some(format!("process {}: {command}", process.file_name()?.display()))
    });
    Ok(of_tests.collect())
}

/// Returns the mounts below a directory.
fn mounts_below(directory: &Path) -> io::Result<Vec<String>> {
    let directory = directory.display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let places = mounts.lines().filter_map(|it| it.split(' ').nth(4));
    Ok(places.filter(|it| it.starts_with(&directory)).map(|it| format!("mount {it}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_file_and_a_process_are_named_and_nothing_is_well() {
        let temporary = Temporary::new().unwrap();
        let path = temporary.path().to_owned();
        temporary.has_nothing_left().unwrap();

        fs::create_dir(path.join("room")).unwrap();
        fs::write(path.join("room/door"), "").unwrap();
        let mut left = Command::new("cat");
        left.env("TMPDIR", &path).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut left = left.spawn().unwrap();
        let told = temporary.has_nothing_left().unwrap_err().to_string();
        assert!(told.contains(&path.join("room/door").display().to_string()), "{told}");
        assert!(told.contains(&format!("process {}: cat", left.id())), "{told}");

        drop(left.stdin.take());
        left.wait().unwrap();
        fs::remove_dir_all(path.join("room")).unwrap();
        temporary.has_nothing_left().unwrap();
        drop(temporary);
        assert!(!path.exists());
    }
}
