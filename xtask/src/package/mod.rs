//! The packages: a Debian package and a container image, both of one binary, and both tried.

mod deb;
mod image;

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::step::Step;

/// Builds the release binary, then the packages of it.
///
/// # Errors
///
/// The failure.
pub(crate) fn run() -> Result<()> {
    Step::cargo("the binary", "build --release --package callsign").run()?;
    pack_and_try(Path::new("target/release/callsign"))
}

/// Packs the binary that the tests have used, and tries that.
///
/// # Errors
///
/// The failure. If the required programs are missing, it is skipped.
pub(crate) fn check() -> Result<()> {
    let binary = Path::new("target/debug/callsign");
    if !binary.exists() || !is_there("dpkg-deb") || !is_there("strip") {
        eprintln!("xtask: the package is not tried: it takes a binary, dpkg-deb and strip");
        return Ok(());
    }
    pack_and_try(binary)
}

fn pack_and_try(binary: &Path) -> Result<()> {
    let stripped = Path::new("target/package/callsign");
    copy(binary, stripped, 0o755)?;
    call("strip", &["--strip-unneeded", &stripped.to_string_lossy()])?;
    let package = deb::build(stripped)?;
    let image = image::build(stripped)?;
    println!("{}\n{}", package.display(), image.display());
    deb::attempt(&package)?;
    image::attempt(&image)
}

/// Runs a root's script in separate namespaces, so that nothing of it remains, and passes on its
/// output. Tells whether such namespaces are possible here.
fn in_namespaces(kinds: &[&str], script: &str, args: &[&str]) -> Result<bool> {
    let tried = Command::new("unshare").args(kinds).arg("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|it| it.success()) {
        return Ok(false);
    }
    // A hanging script is killed; everything takes seconds.
    let limit = ["--kill-after=5", "180", "unshare"];
    let place = "target/package/trial.sh";
    write(Path::new(place), script, 0o644)?;
    let groups = Groups::new();
    let entered = format!("{}exec \"$@\"", groups.enter());
    let words = ["-c", &entered, "sh", "timeout"];
    let told = said("sh", &[&words[..], &limit, kinds, &["sh", place], args].concat())?;
    told.lines().for_each(|line| eprintln!("xtask: {line}"));
    Ok(true)
}

/// Control groups for the trials, one below this process's in each hierarchy, which are removed
/// with all groups below them. Empty if they cannot be made.
struct Groups(Vec<PathBuf>);

impl Groups {
    fn new() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let name = format!("callsign-trial-{}", std::process::id());
        let made = own.lines().filter_map(|line| {
            let (_, place) = line.split_once(':')?;
            let (hierarchy, path) = place.split_once(':')?;
            let hierarchies = match hierarchy.strip_prefix("name=").unwrap_or(hierarchy) {
                "" => ["unified", ""].map(|it| Path::new("/sys/fs/cgroup").join(it)),
                name => [name, name].map(|it| Path::new("/sys/fs/cgroup").join(it)),
            };
            let mounted = hierarchies.into_iter().find(|it| it.join("cgroup.procs").exists())?;
            let group = mounted.join(path.trim_start_matches('/')).join(&name);
            fs::create_dir(&group).ok().map(|()| group)
        });
        Self(made.collect())
    }

    /// Returns the commands with which a shell enters them.
    fn enter(&self) -> String {
        let enter = |it: &PathBuf| format!("echo $$ 2>/dev/null >{}/cgroup.procs\n", it.display());
        self.0.iter().map(enter).collect()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in &self.0 {
            let group = group.to_string_lossy();
            let args = [&*group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"];
            // The last processes may be about to end.
            for _try in 0..50 {
                match Command::new("find").args(args).stderr(Stdio::null()).status() {
                    Ok(removed) if !removed.success() => thread::sleep(Duration::from_millis(100)),
                    _ => break,
                }
            }
        }
    }
}

fn clear(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove an earlier {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("{} cannot be read", from.display()))?;
    write(to, bytes, mode)
}

fn write(to: &Path, bytes: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let what = || format!("{} cannot be written", to.display());
    fs::create_dir_all(to.parent().expect("it is below a folder")).with_context(what)?;
    fs::write(to, bytes).with_context(what)?;
    fs::set_permissions(to, PermissionsExt::from_mode(mode)).with_context(what)
}

fn call(program: &str, args: &[&str]) -> Result<()> {
    said(program, args).map(drop)
}

fn said(program: &str, args: &[&str]) -> Result<String> {
    let called = Command::new(program)
        .args(args)
        // Everything that is packed is as old as this, whenever it is packed.
        .env("SOURCE_DATE_EPOCH", "0")
        // The units of a user are read as in a session, whether this is one or not.
        .env("XDG_RUNTIME_DIR", env::temp_dir())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    let text = String::from_utf8_lossy(&called.stdout).into_owned();
    if !called.status.success() {
        bail!("{program} {}: {text}{}", args.join(" "), String::from_utf8_lossy(&called.stderr));
    }
    Ok(text)
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}
