//! The Debian package: built from a binary that is there, and tried.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{call, clear, copy, in_namespaces, is_there, said, write};

/// Stages the installed files, and packs them: the same files make the same package.
pub(super) fn build(binary: &Path) -> Result<PathBuf> {
    let stage = Path::new("target/package/stage");
    clear(stage)?;
    for (from, to) in FILES {
        copy(Path::new(from), &stage.join(to), 0o644)?;
    }
    for page in fs::read_dir("docs/man").context("docs/man cannot be read")? {
        let page = page.context("docs/man cannot be read")?;
        copy(&page.path(), &stage.join("usr/share/man/man1").join(page.file_name()), 0o644)?;
    }
    let installed = stage.join("usr/bin/callsign");
    copy(binary, &installed, 0o755)?;

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
    for script in ["postinst", "prerm", "postrm"] {
        let from = Path::new("packaging/deb").join(script);
        copy(&from, &stage.join("DEBIAN").join(script), 0o755)?;
    }
    let package = PathBuf::from(format!("target/package/callsign_{version}.deb"));
    let args = ["--root-owner-group", "-Zxz", "-z1", "--build"];
    let paths = [stage.to_string_lossy(), package.to_string_lossy()];
    call("dpkg-deb", &[&args[..], &[&*paths[0], &*paths[1]]].concat())?;
    Ok(package)
}

/// Unpacks a package into a folder and runs its contents; installs it on a copy of this system,
/// uses it and removes it; and lets systemd read its units, and run them.
pub(super) fn attempt(package: &Path) -> Result<()> {
    let root = Path::new("target/package/root");
    clear(root)?;
    call("dpkg-deb", &["--extract", &package.to_string_lossy(), &root.to_string_lossy()])?;
    let binary = root.join("usr/bin/callsign");
    let version = said(&binary.to_string_lossy(), &["--version"])?;
    if !version.contains(env!("CARGO_PKG_VERSION")) {
        bail!("the package holds another version: {version}");
    }
    let kinds = ["--mount", "--pid", "--fork"];
    let path = fs::canonicalize(package).context("the package is gone")?;
    if !is_there("systemd-sysusers") || !is_there("setpriv") {
        eprintln!("xtask: the package is not installed: it takes systemd-sysusers and setpriv");
    } else if !in_namespaces(&kinds, include_str!("install.sh"), &[&path.to_string_lossy()])? {
        eprintln!("xtask: no namespaces can be made here: the package is not installed");
    }
    if !is_there("systemd-analyze") {
        eprintln!("xtask: systemd-analyze is not there: the units are not tried");
        return Ok(());
    }
    // It checks for the program that a unit starts, which is not installed here.
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
    start_units(&path, root)
}

/// Makes a real systemd start the units of the system and those of a user, and end them.
fn start_units(package: &Path, root: &Path) -> Result<()> {
    if !Path::new("/usr/lib/systemd/systemd").exists() || !is_there("systemctl") {
        eprintln!("xtask: systemd is not there: the units are not started");
        return Ok(());
    }
    let of_system = ["--mount", "--net", "--ipc", "--uts", "--cgroup"];
    let package = package.to_string_lossy();
    let root = fs::canonicalize(root).context("the package is not unpacked")?;
    let of_user = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--cgroup"];
    let with_functions = |script: &str| {
        let place = "# The functions of both trials stand here.\n";
        script.replace(place, include_str!("functions.sh"))
    };
    let (boot, units) = (include_str!("boot.sh"), include_str!("units.sh"));
    if !in_namespaces(&of_system, &with_functions(boot), &[&package])?
        || !in_namespaces(&of_user, &with_functions(units), &[&root.to_string_lossy()])?
    {
        eprintln!("xtask: no namespaces can be made here: the units are not started");
    }
    Ok(())
}

/// The files that are installed unchanged, and their destinations.
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
