//! The files and crates of the repository.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

/// A crate of the workspace.
pub(crate) struct Package {
    /// The folder, from the top.
    pub(crate) folder: String,
    /// The path of its `Cargo.toml`, from the top.
    pub(crate) manifest: String,
    /// The folders of the crates of the workspace that it is built with. Its tests may use more.
    pub(crate) dependencies: Vec<String>,
    /// The files in which its library and its binaries open.
    pub(crate) roots: Vec<String>,
}

/// Returns the crates of the workspace.
pub(crate) fn packages() -> Vec<Package> {
    let args = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(root())
        .output()
        .expect("cargo built this test, so it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    list(&metadata["packages"]).map(package).collect()
}

fn package(package: &Value) -> Package {
    let manifest = from_top(text(&package["manifest_path"]));
    let dependencies = list(&package["dependencies"])
        .filter(|it| it["kind"] != "dev")
        .filter_map(|it| it["path"].as_str().map(from_top))
        .collect();
    let is_root = |target: &&Value| {
        list(&target["kind"]).any(|it| it == "lib" || it == "bin" || it == "proc-macro")
    };
    let roots = list(&package["targets"])
        .filter(is_root)
        .map(|it| from_top(text(&it["src_path"])))
        .collect();
    let folder = manifest.trim_end_matches("/Cargo.toml").to_owned();
    Package { folder, manifest, dependencies, roots }
}

/// Returns the folder of the crate that a file belongs to; the top folder for other files. A crate
/// may lie within another's folder.
pub(crate) fn folder_of<'a>(path: &'a str, packages: &'a [Package]) -> &'a str {
    let holds = |folder: &&str| path.strip_prefix(folder).is_some_and(|it| it.starts_with('/'));
    let folders = packages.iter().map(|package| package.folder.as_str());
    let nearest = folders.filter(holds).max_by_key(|folder| folder.len());
    nearest.unwrap_or_else(|| path.split('/').next().unwrap_or_default())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("cargo's metadata has a list here").iter()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo's metadata has a text here")
}

fn from_top(path: &str) -> String {
    let path = Path::new(path).strip_prefix(root()).expect("the workspace holds all its crates");
    path.to_str().expect("cargo's metadata is text").to_owned()
}

/// Returns the top folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// Returns the files that git tracks or would track, by their paths from the top.
pub(crate) fn files() -> Vec<String> {
    let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"];
    let output = Command::new("git")
        // A clone may belong to another user than the one who tests it.
        .args(["-c", "safe.directory=*"])
        .args(args)
        .current_dir(root())
        .output()
        .expect("git is needed to list the files; install it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).expect("file names are text");
    let exists = |path: &&str| !path.is_empty() && root().join(path).exists();
    listed.split('\0').filter(exists).map(str::to_owned).collect()
}

/// Returns those of the files that hold Rust.
pub(crate) fn rust_files() -> impl Iterator<Item = String> {
    files().into_iter().filter(|path| path.ends_with(".rs"))
}

/// Returns the text of a file, given by its path from the top.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_innermost_crate() {
        let package = |folder: &str| Package {
            folder: folder.to_owned(),
            manifest: String::new(),
            dependencies: Vec::new(),
            roots: Vec::new(),
        };
        let packages = [package("tree"), package("tree/macros")];
        let check = |path, expected| assert_eq!(folder_of(path, &packages), expected);
        check("tree/src/lib.rs", "tree");
        check("tree/macros/src/lib.rs", "tree/macros");
        check("tree/macros.rs", "tree");
        check("docs/wire.md", "docs");
    }
}
