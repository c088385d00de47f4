//! The compiler's errors for code that the attributes cannot take.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Each file below `refused` is compiled, and the compiler's output is compared with the file of
/// the same name that ends in `.stderr`. `UPDATE_GOLDEN=1` rewrites those.
///
/// The compiler is called as cargo would call it, with everything that cargo has built for this
/// test. A separate cargo, as `trybuild` starts it, would build all of that once more.
#[test]
fn refused_exports_say_why_and_what_to_do() {
    let mut differ = Vec::new();
    for entry in fs::read_dir(workspace().join(REFUSED)).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix(".rs") else { continue };
        let golden = workspace().join(REFUSED).join(format!("{name}.stderr"));
        let found = compiler_output(&format!("{REFUSED}/{file}"));
        if env::var_os("UPDATE_GOLDEN").is_some_and(|it| it == "1") {
            fs::write(golden, found).unwrap();
        } else if fs::read_to_string(golden).unwrap_or_default() != found {
            differ.push(format!("{REFUSED}/{name}.stderr should be:\n{found}"));
        }
    }
    assert!(
        differ.is_empty(),
        "{}\nif it is meant to be so: UPDATE_GOLDEN=1 cargo test -p callsign-tree --test attributes",
        differ.join("\n")
    );
}

fn compiler_output(file: &str) -> String {
    let built = env::current_exe().unwrap();
    let built = built.parent().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--out-dir"])
        .arg(scratch.path())
        .arg(format!("-Ldependency={}", built.display()))
        .arg(format!("--extern=callsign_tree={}", newest(built, "libcallsign_tree-").display()))
        .arg(file)
        // An item of the crate itself is shown with its path from here.
        .current_dir(workspace())
        .output()
        .expect("the compiler has built this test, so it can be started");
    assert!(!output.status.success(), "{file} compiles");
    let said = String::from_utf8(output.stderr).unwrap();
    said.lines().map(|line| unnumbered(line).to_owned() + "\n").collect()
}

/// Leaves out what changes with every line of the crate: the numbers in the margin, their width,
/// and the lines of items in a file of the crate.
fn unnumbered(line: &str) -> &str {
    let text = line.trim_start_matches(|it: char| it == ' ' || it.is_ascii_digit());
    match text.split_once(".rs:") {
        Some((file, _)) if file.starts_with("--> tree/src/") => file,
        _ if ["|", "=", "-->"].iter().any(|it| text.starts_with(it)) => text,
        _ => line,
    }
}

/// Returns the library that was built last. There may be several, with other features of its
/// dependencies. Whichever one cargo has built for this test, nothing has changed since; so the
/// last has the same sources.
fn newest(folder: &Path, prefix: &str) -> PathBuf {
    let libraries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).filter(|entry| {
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        name.starts_with(prefix) && name.ends_with(".rlib")
    });
    let newest = libraries.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap());
    newest.expect("this test is linked with it").path()
}

/// Returns the top folder of the workspace.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

const REFUSED: &str = "tree/tests/attributes/refused";
