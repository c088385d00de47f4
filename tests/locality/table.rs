//! The matrix in readable form.

use std::{env, fmt, fs, io::Write, path::PathBuf};

use rustix::fs::FlockOperation;

use crate::harness::Room;

/// A section of `matrix.txt`.
#[derive(Debug)]
pub(crate) struct Section {
    title: String,
    lines: Vec<[String; 5]>,
    /// Varying text, and its masks.
    masks: Vec<(String, &'static str)>,
}

impl Section {
    pub(crate) fn new(title: &str, room: &Room) -> Self {
        let folder = room.path().file_name().unwrap().to_str().unwrap().to_owned();
        let masks = vec![(room.path().display().to_string(), "/ROOM"), (folder, "ROOM")];
        Self { title: title.to_owned(), lines: Vec::new(), masks }
    }

    /// Adds a line: an actor, its endpoint, and three facts.
    pub(crate) fn line(&mut self, columns: [&str; 5]) {
        let mut columns = columns.map(str::to_owned);
        let endpoint = &mut columns[1];
        for (text, mask) in &self.masks {
            *endpoint = endpoint.replace(text, mask);
        }
        if let Some((place, _)) = endpoint.split_once("/tcp/") {
            *endpoint = format!("{place}/tcp/PORT");
        }
        self.lines.push(columns);
    }

    /// Checks that it equals the section of `matrix.txt`.
    #[track_caller]
    pub(crate) fn matches_golden(&self) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/locality/matrix.txt");
        let found = self.to_string();
        if env::var_os("UPDATE_GOLDEN").is_some_and(|it| it == "1") {
            return self.write(&path);
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        let is_own = |it: &&str| it.lines().next() == Some(&self.title);
        let expected = golden.split("\n# ").find(is_own).unwrap_or_default();
        let expected = format!("# {}\n", expected.trim_end());
        assert!(
            expected == found,
            "tests/locality/matrix.txt says otherwise.\n\nAs it says:\n{expected}\nAs it is:\n\
             {found}\nif it is meant to be so: UPDATE_GOLDEN=1 cargo test -p callsign --test \
             locality"
        );
    }

    /// Replaces the section in the file. Other tests may be about to do the same.
    fn write(&self, path: &PathBuf) {
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(path).unwrap();
        rustix::fs::flock(&file, FlockOperation::LockExclusive).unwrap();
        let golden = fs::read_to_string(path).unwrap();
        let mut parts: Vec<_> = golden.split("\n# ").map(str::trim_end).collect();
        if parts == [""] {
            parts = vec![HEAD.trim_end()];
        }
        let own = self.to_string();
        let own = own.strip_prefix("# ").unwrap().trim_end();
        match parts.iter().position(|it| it.lines().next() == Some(&self.title)) {
            Some(at) => parts[at] = own,
            None => parts.push(own),
        }
        let text = parts.join("\n\n# ") + "\n";
        file.set_len(0).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}", self.title)?;
        let width = |column: usize| self.lines.iter().map(|it| it[column].len()).max().unwrap_or(0);
        let widths = [0, 1, 2, 3].map(width);
        for [columns @ .., outcome] in &self.lines {
            for (column, width) in columns.iter().zip(widths) {
                write!(f, "{column:<width$}  ")?;
            }
            writeln!(f, "{outcome}")?;
        }
        Ok(())
    }
}

/// The beginning of the file.
const HEAD: &str = "\
Which endpoint is reached from where, as tests/locality finds it with real namespaces.

The title of a table says how the caller's place differs from the actor's. An actor's name says
how it listens, and whether it is a foreign program, which cannot prove who it is. Of each
endpoint: how near it is to the caller; what became of an impostor who listens at the very same
text where the caller would find it (`-`: nobody can); and what came of the endpoint.
";
