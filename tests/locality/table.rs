//! The matrix as people read it.

use std::{env, fs, io::Write, path::PathBuf};

use rustix::fs::FlockOperation;

use crate::harness::Room;

/// One section of `matrix.txt`.
#[derive(Debug)]
pub(crate) struct Section {
    title: String,
    text: String,
    /// What differs each time, and what stands for it.
    masks: Vec<(String, &'static str)>,
}

impl Section {
    pub(crate) fn new(title: &str, room: &Room) -> Self {
        let folder = room.path().file_name().unwrap().to_str().unwrap().to_owned();
        let masks = vec![(room.path().display().to_string(), "/ROOM"), (folder, "ROOM")];
        Self { title: title.to_owned(), text: format!("# {title}\n"), masks }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, columns: [&str; 5]) {
        let [name, endpoint, locality, impostor, outcome] = columns;
        let mut endpoint = endpoint.to_owned();
        for (text, mask) in &self.masks {
            endpoint = endpoint.replace(text, mask);
        }
        if let Some((place, _)) = endpoint.split_once("/tcp/") {
            endpoint = format!("{place}/tcp/PORT");
        }
        self.text +=
            &format!("{name:<16} {endpoint:<31} {locality:<12} {impostor:<11} {outcome}\n");
    }

    /// Checks that it is as `matrix.txt` says.
    #[track_caller]
    pub(crate) fn matches_golden(&self) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/locality/matrix.txt");
        if env::var_os("UPDATE_GOLDEN").is_some_and(|it| it == "1") {
            return self.write(&path);
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        let is_own = |it: &&str| it.lines().next() == Some(&self.title);
        let expected = golden.split("\n# ").find(is_own).unwrap_or_default();
        let expected = format!("# {}\n", expected.trim_end());
        assert!(
            expected == self.text,
            "tests/locality/matrix.txt says otherwise.\n\nAs it says:\n{expected}\nAs it is:\n{}\n\
             if it is meant to be so: UPDATE_GOLDEN=1 cargo test -p callsign --test locality",
            self.text
        );
    }

    /// Puts it into the file in place of what is there. Others may be about to do the same.
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
        let own = self.text.strip_prefix("# ").unwrap().trim_end();
        match parts.iter().position(|it| it.lines().next() == Some(&self.title)) {
            Some(at) => parts[at] = own,
            None => parts.push(own),
        }
        let text = parts.join("\n\n# ") + "\n";
        file.set_len(0).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

/// What stands at the beginning of the file.
const HEAD: &str = "\
Which endpoint is reached from where, as tests/locality finds it with real namespaces.

The title of a table says how the caller's place differs from the actor's. An actor's name says
how it listens, and whether it is a foreign program, which cannot prove who it is. Of each
endpoint: how near it is to the caller; what became of an impostor who listens at the very same
text where the caller would find it (`-`: nobody can); and what came of the endpoint.
";
