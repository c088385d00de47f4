//! The Debian package: built from a binary that is there, and tried.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::step::Step;

/// Builds the binary as it is released, then its package.
///
/// # Errors
///
/// Says what failed.
pub(crate) fn run() -> Result<()> {
    Step::cargo("the binary", "build --release --package callsign").run()?;
    let package = build(Path::new("target/release/callsign"))?;
    println!("{}", package.display());
    attempt(&package)
}

/// Builds a package of the binary that the tests have used, and tries it.
///
/// # Errors
///
/// Says what failed. Where the programs are missing that it takes, it is skipped.
pub(crate) fn check() -> Result<()> {
    let binary = Path::new("target/debug/callsign");
    if !binary.exists() || !is_there("dpkg-deb") {
        eprintln!("xtask: the package is not tried: it takes a binary, and dpkg-deb");
        return Ok(());
    }
    attempt(&build(binary)?)
}

/// Stages what is installed, and packs it: the same files make the same package.
fn build(binary: &Path) -> Result<PathBuf> {
    let stage = Path::new("target/package/stage");
    if stage.exists() {
        fs::remove_dir_all(stage).context("cannot remove an earlier stage")?;
    }
    for (from, to) in FILES {
        copy(Path::new(from), &stage.join(to), 0o644)?;
    }
    for page in fs::read_dir("docs/man").context("docs/man cannot be read")? {
        let page = page.context("docs/man cannot be read")?;
        copy(&page.path(), &stage.join("usr/share/man/man1").join(page.file_name()), 0o644)?;
    }
    let installed = stage.join("usr/bin/callsign");
    copy(binary, &installed, 0o755)?;
    call("strip", &["--strip-unneeded", &installed.to_string_lossy()])?;

    let architecture = said("dpkg", &["--print-architecture"])?;
    let version = env!("CARGO_PKG_VERSION");
    let control = format!(
        "Package: callsign\nVersion: {version}\nArchitecture: {}\n\
         Maintainer: the authors of callsign <callsign@localhost>\nSection: net\n\
         Priority: optional\nDepends: libc6, libgcc-s1\nDescription: registrar of actors\n \
         Finds actors by name, and connects to them over the nearest transport\n \
         that provably reaches them.\n",
        architecture.trim()
    );
    write(&stage.join("DEBIAN/control"), &control, 0o644)?;
    write(&stage.join("DEBIAN/postinst"), POSTINST, 0o755)?;
    let package = PathBuf::from(format!("target/package/callsign_{version}.deb"));
    let args = ["--root-owner-group", "-Zxz", "--build"];
    let paths = [stage.to_string_lossy(), package.to_string_lossy()];
    call("dpkg-deb", &[&args[..], &[&*paths[0], &*paths[1]]].concat())?;
    Ok(package)
}

/// Unpacks a package into a folder, runs what is in it, and lets systemd read its units.
fn attempt(package: &Path) -> Result<()> {
    let root = Path::new("target/package/root");
    if root.exists() {
        fs::remove_dir_all(root).context("cannot remove an earlier root")?;
    }
    call("dpkg-deb", &["--extract", &package.to_string_lossy(), &root.to_string_lossy()])?;
    let binary = root.join("usr/bin/callsign");
    let version = said(&binary.to_string_lossy(), &["--version"])?;
    if !version.contains(env!("CARGO_PKG_VERSION")) {
        bail!("the package holds another version: {version}");
    }
    if !is_there("systemd-analyze") {
        eprintln!("xtask: systemd-analyze is not there: the units are not tried");
        return Ok(());
    }
    // It asks for the program that a unit starts, which is not installed here.
    let units = root.join("units");
    fs::create_dir_all(&units).context("cannot make a folder for units")?;
    for (scope, folder) in [("--system", "system"), ("--user", "user")] {
        let here = fs::canonicalize(&binary).context("the binary is not in the package")?;
        let mut paths = Vec::new();
        for name in ["callsign-registrar.service", "callsign-registrar.socket"] {
            let text = fs::read_to_string(root.join("usr/lib/systemd").join(folder).join(name))
                .with_context(|| format!("{name} is not in the package"))?;
            let text = text.replace("/usr/bin/callsign", &here.to_string_lossy());
            let unit = units.join(name);
            write(&unit, &text, 0o644)?;
            paths.push(unit.to_string_lossy().into_owned());
        }
        let args = ["verify", "--man=no", "--recursive-errors=no", scope];
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        call("systemd-analyze", &[&args[..], &paths].concat())?;
    }
    Ok(())
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
        // All that is packed is as old as this, whenever it is packed.
        .env("SOURCE_DATE_EPOCH", "0")
        // Units of a user are read as in a session, whether this is one or not.
        .env("XDG_RUNTIME_DIR", std::env::temp_dir())
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

/// What is installed as it stands, and where.
const FILES: &[(&str, &str)] = &[
    (
        "packaging/systemd/callsign-registrar.service",
        "usr/lib/systemd/system/callsign-registrar.service",
    ),
    (
        "packaging/systemd/callsign-registrar.socket",
        "usr/lib/systemd/system/callsign-registrar.socket",
    ),
    (
        "packaging/systemd/user/callsign-registrar.socket",
        "usr/lib/systemd/user/callsign-registrar.socket",
    ),
    (
        "packaging/systemd/user/callsign-registrar.service",
        "usr/lib/systemd/user/callsign-registrar.service",
    ),
    ("packaging/sysusers.conf", "usr/lib/sysusers.d/callsign.conf"),
    ("packaging/tmpfiles.conf", "usr/lib/tmpfiles.d/callsign.conf"),
    ("LICENSE", "usr/share/doc/callsign/copyright"),
];

const POSTINST: &str = "\
#!/bin/sh
set -e
if command -v systemd-sysusers >/dev/null; then systemd-sysusers callsign.conf; fi
if command -v systemd-tmpfiles >/dev/null; then systemd-tmpfiles --create callsign.conf || true; fi
";
