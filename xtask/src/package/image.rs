//! The image of a container: what goes into it is put together here and started as an engine would
//! start it. Where there is an engine, it builds and runs it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{call, clear, copy, in_namespaces, is_there, said, write};

/// Collects everything that the binary needs, and returns the folder to build an image of.
pub(super) fn build(binary: &Path) -> Result<PathBuf> {
    let image = PathBuf::from("target/image");
    let stage = image.join("stage");
    clear(&image)?;
    copy(binary, &stage.join("usr/bin/callsign"), 0o755)?;
    // With the libraries of the machine on which it was built.
    let needed = said("ldd", &[&binary.to_string_lossy()])?;
    let libraries = needed.split_whitespace().filter(|it| it.starts_with('/'));
    for library in libraries.map(Path::new) {
        let inside = library.strip_prefix("/").expect("it begins with a slash");
        copy(library, &stage.join(inside), 0o755)?;
    }
    write(&stage.join("etc/passwd"), PASSWD, 0o644)?;
    write(&stage.join("etc/group"), GROUP, 0o644)?;
    copy(Path::new("LICENSE"), &stage.join("usr/share/doc/callsign/copyright"), 0o644)?;
    for (folder, mode) in [("tmp", 0o1777), ("run/callsign", 0o755)] {
        let folder = stage.join(folder);
        let what = || format!("{} cannot be made", folder.display());
        fs::create_dir_all(&folder).with_context(what)?;
        fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).with_context(what)?;
    }

    let rootfs = image.join("rootfs.tar");
    let (from, to) = (stage.to_string_lossy(), rootfs.to_string_lossy());
    let tar = |how: &[&str], what: &[&str]| {
        let common = ["--directory", &*from, "--file", &*to, "--sort=name", "--mtime=@0"];
        call("tar", &[how, &common, what].concat())
    };
    let root = ["--create", "--owner=root:0", "--group=root:0", "--exclude=./run/callsign"];
    tar(&root, &["."])?;
    let own = ["--append", "--owner=callsign:10001", "--group=callsign:10001"];
    tar(&own, &["./run/callsign"])?;
    clear(&stage)?;
    copy(Path::new(CONTAINERFILE), &image.join("Containerfile"), 0o644)?;
    Ok(image)
}

/// Does with the image what its file says, as far as that takes no engine: starts its program as
/// its user, until its health check succeeds, and queries it.
pub(super) fn attempt(image: &Path) -> Result<()> {
    let file = fs::read_to_string(image.join("Containerfile")).context("there is no image")?;
    let one = |instruction: &str| {
        let found = said_of(&file, instruction);
        found.first().cloned().with_context(|| format!("the image has no {instruction}"))
    };
    let health = one("HEALTHCHECK")?;
    let Some((_, health)) = health.split_once("CMD ") else { bail!("no command tells its health") };
    let program = format!("{} {}", words(&one("ENTRYPOINT")?)?, words(&one("CMD")?)?);
    let rootfs = image.join("rootfs.tar");
    let args = [
        &*rootfs.to_string_lossy(),
        &one("USER")?,
        &said_of(&file, "ENV").join(" "),
        &words(health)?,
        &program,
    ];
    let kinds = ["--mount", "--net", "--ipc", "--uts"];
    if !in_namespaces(&kinds, include_str!("image.sh"), &args)? {
        eprintln!("xtask: no namespaces can be made here: the image is not tried");
        return Ok(());
    }
    if !is_there("podman") {
        eprintln!("xtask: podman is not there: no engine builds the image");
        return Ok(());
    }
    let folder = fs::canonicalize(image).context("there is no image")?;
    in_namespaces(&["--mount"], include_str!("engine.sh"), &[&folder.to_string_lossy()]).map(drop)
}

/// Returns the text after an instruction, wherever a line begins with it.
fn said_of(file: &str, instruction: &str) -> Vec<String> {
    let said = file.lines().filter_map(|it| it.strip_prefix(instruction)?.strip_prefix(' '));
    said.map(str::to_owned).collect()
}

/// Reads a list of quoted words without white space.
fn words(list: &str) -> Result<String> {
    let inside = list.trim().strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let inside = inside.with_context(|| format!("`{list}` is no list of words"))?;
    let words: Vec<_> = inside.split(',').map(|it| it.trim().trim_matches('"')).collect();
    Ok(words.join(" "))
}

const CONTAINERFILE: &str = "packaging/container/Containerfile";

/// The users of the image. The number is one that is hardly used outside of it.
const PASSWD: &str = "\
root:x:0:0:root:/:/sbin/nologin
callsign:x:10001:10001:callsign registrar:/run/callsign:/sbin/nologin
";
const GROUP: &str = "root:x:0:\ncallsign:x:10001:\n";
