//! The documents that the `callsign` binary makes of itself.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::step::Step;

/// The generated documents: one row for each file, or for each folder of files.
const GENERATED: &[Generated] = &[
    Generated { args: &["schema"], place: Destination::File("docs/callsign.schema.json") },
    Generated { args: &["man"], place: Destination::Folder("docs/man") },
];

/// A command of the binary and its output.
struct Generated {
    args: &'static [&'static str],
    place: Destination,
}

/// The path of a document, relative to the top folder.
enum Destination {
    /// The command writes the document to its standard output.
    File(&'static str),
    /// The command writes any number of files to the folder that `--out` names. The folder holds
    /// nothing else.
    Folder(&'static str),
}

/// Writes the documents that are out of date.
///
/// # Errors
///
/// The binary does not build or refuses, or a file cannot be written.
pub(crate) fn write() -> Result<()> {
    let changes = changes()?;
    for change in &changes {
        let path = change.path.as_path();
        match &change.text {
            Some(text) => {
                let folder = path.parent().expect("a document lies in a folder");
                fs::create_dir_all(folder).and_then(|()| fs::write(path, text))
            }
            None => fs::remove_file(path),
        }
        .with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}: {}", path.display(), change.done());
    }
    if changes.is_empty() {
        println!("The generated documents are in step.");
    }
    Ok(())
}

/// Writes nothing.
///
/// # Errors
///
/// Names the documents that are out of date.
pub(crate) fn check() -> Result<()> {
    let changes = changes()?;
    for change in &changes {
        println!("{}: {}", change.path.display(), change.due());
    }
    if !changes.is_empty() {
        bail!("generated documents are out of step; `cargo xtask docs` writes them");
    }
    Ok(())
}

/// A file on disk that differs from what would be generated.
struct OutdatedFile {
    path: PathBuf,
    /// The contents of the file; `None` if it is to be removed.
    text: Option<Vec<u8>>,
    exists: bool,
}

impl OutdatedFile {
    fn due(&self) -> &'static str {
        match (&self.text, self.exists) {
            (Some(_), true) => "is out of step",
            (Some(_), false) => "is missing",
            (None, _) => "is not generated any more",
        }
    }

    fn done(&self) -> &'static str {
        match (&self.text, self.exists) {
            (Some(_), true) => "brought into step",
            (Some(_), false) => "written",
            (None, _) => "removed",
        }
    }
}

fn changes() -> Result<Vec<OutdatedFile>> {
    let binary = build()?;
    let mut changes = Vec::new();
    for Generated { args, place } in GENERATED {
        let (mut on_disk, generated) = match place {
            Destination::File(path) => {
                let text = output(&binary, args)?;
                let path = PathBuf::from(path);
                let on_disk = fs::read(&path).ok().map(|text| (path.clone(), text));
                (on_disk.into_iter().collect(), BTreeMap::from([(path, text)]))
            }
            Destination::Folder(path) => {
                let scratch = binary.with_file_name("generated-documents");
                remove_folder(&scratch)?;
                fs::create_dir(&scratch)
                    .with_context(|| format!("cannot make {}", scratch.display()))?;
                let out = scratch.to_str().context("the build folder's path is no text")?;
                output(&binary, &[*args, &["--out", out]].concat())?;
                let generated = read_folder(&scratch, Path::new(path))?;
                remove_folder(&scratch)?;
                (read_folder(Path::new(path), Path::new(path))?, generated)
            }
        };
        for (path, text) in generated {
            let old = on_disk.remove(&path);
            if old.as_ref() != Some(&text) {
                changes.push(OutdatedFile { path, exists: old.is_some(), text: Some(text) });
            }
        }
        let stale = on_disk.into_keys();
        changes.extend(stale.map(|path| OutdatedFile { path, text: None, exists: true }));
    }
    Ok(changes)
}

/// Builds the binary and returns its path: it lies beside this one.
fn build() -> Result<PathBuf> {
    // With the tests, dependencies get the very features that `cargo xtask test` gives them;
    // without, everything would be compiled once more.
    Step::cargo("the binary", "build --workspace --all-features --bins --tests").run()?;
    let own = env::current_exe().context("cannot tell where this binary lies")?;
    Ok(own.with_file_name("callsign"))
}

/// Runs a command of the binary, and returns its standard output.
fn output(binary: &Path, args: &[&str]) -> Result<Vec<u8>> {
    let command = || format!("callsign {}", args.join(" "));
    let output = Command::new(binary)
        .args(args)
        // Nothing of this machine may get into a document.
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", command()))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", command(), output.status);
    }
    Ok(output.stdout)
}

/// Reads the files of a folder, each under the name that it has, or would have, in `place`. A
/// folder that does not exist holds none.
fn read_folder(folder: &Path, place: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let read = || -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries?,
        };
        entries
            .map(|entry| {
                let entry = entry?;
                Ok((place.join(entry.file_name()), fs::read(entry.path())?))
            })
            .collect()
    };
    read().with_context(|| format!("cannot read {}", folder.display()))
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
