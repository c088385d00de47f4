//! Commands and their output, compared with a file.

use std::{env, fs, path::Path};

use crate::{
    harness::{Node, Outcome, Room},
    mask::{masked, masked_json},
};

/// Commands and their output.
#[derive(Debug)]
pub(crate) struct Transcript<'a> {
    room: &'a Room,
    node: Option<&'a Node<'a>>,
    text: String,
}

impl<'a> Transcript<'a> {
    /// Begins a transcript of commands that need no registrar.
    pub(crate) fn new(room: &'a Room) -> Self {
        Self { room, node: None, text: String::new() }
    }

    /// Begins a transcript of commands that ask a node.
    pub(crate) fn with(room: &'a Room, node: &'a Node<'a>) -> Self {
        Self { node: Some(node), ..Self::new(room) }
    }

    /// Runs a command, and records its output, with masks.
    #[track_caller]
    pub(crate) fn run(&mut self, args: &[&str]) {
        let Outcome { stdout, stderr, code, .. } = match self.node {
            Some(node) => node.callsign(args),
            None => self.room.callsign(args),
        };
        let is_json = args.contains(&"--json");
        let quoted = args
            .iter()
            .map(|it| if it.contains([' ', '*']) { format!("'{it}'") } else { (*it).to_owned() });
        self.text += &format!("$ callsign {}\n", quoted.collect::<Vec<_>>().join(" "));
        self.text += &if is_json { masked_json(&stdout) } else { masked(&stdout) };
        if !stderr.is_empty() {
            self.text += "--- stderr\n";
            self.text += &if is_json { masked_json(&stderr) } else { masked(&stderr) };
        }
        let code = code.map_or("a signal".to_owned(), |it| it.to_string());
        self.text += &format!("--- ends with {code}\n\n");
        // Paths differ in length, so the name of the folder is masked where it stands by itself.
        let path = self.room.path().display().to_string();
        let folder = self.room.path().file_name().unwrap().to_str().unwrap();
        self.text = self.text.replace(&path, "/ROOM").replace(folder, "THE_ROOM");
    }

    /// Checks that a terminal of 80 columns shows each line as one.
    #[track_caller]
    pub(crate) fn fits_80_columns(&self) {
        let is_long = |it: &&str| it.chars().count() > 80;
        let long: Vec<_> = self.text.lines().filter(is_long).collect();
        assert!(long.is_empty(), "wider than 80 columns:\n{}", long.join("\n"));
    }

    /// Checks that the transcript equals the file in `golden/`.
    #[track_caller]
    pub(crate) fn matches_golden(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cli/golden");
        let path = folder.join(name).with_extension("txt");
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if self.text == expected {
            return;
        }
        if env::var_os("UPDATE_GOLDEN").is_some_and(|it| it == "1") {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &self.text).unwrap();
            return;
        }
        panic!(
            "tests/cli/golden/{name}.txt says otherwise (- as it says, + as it is):\n\n{}\n\
             if it is meant to be so: UPDATE_GOLDEN=1 cargo test -p callsign --test cli",
            differences(&expected, &self.text)
        );
    }
}

/// Shows the difference between two texts: the lines of one with `-`, of the other with `+`, and a
/// few around them.
fn differences(expected: &str, found: &str) -> String {
    let (expected, found): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    // For each pair of places, the number of lines that the rests have in common.
    let mut common = vec![vec![0_usize; found.len() + 1]; expected.len() + 1];
    for (i, left) in expected.iter().enumerate().rev() {
        for (j, right) in found.iter().enumerate().rev() {
            common[i][j] = if left == right {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < expected.len() || j < found.len() {
        let is_same = expected.get(i).is_some_and(|it| found.get(j) == Some(it));
        if is_same {
            lines.push((' ', expected[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == found.len() || (i < expected.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', expected[i]));
            i += 1;
        } else {
            lines.push(('+', found[j]));
            j += 1;
        }
    }
    let is_near = |at: usize| {
        let around = at.saturating_sub(CONTEXT_LINES)..(at + CONTEXT_LINES + 1).min(lines.len());
        lines[around].iter().any(|(mark, _)| *mark != ' ')
    };
    let mut text = String::new();
    for (at, (mark, line)) in lines.iter().enumerate() {
        if is_near(at) {
            text += &format!("{mark} {line}\n");
        } else if at > 0 && is_near(at - 1) {
            text += "...\n";
        }
    }
    text
}

/// The lines to show around a difference.
const CONTEXT_LINES: usize = 3;

#[test]
fn differences_are_shown_with_what_is_around_them() {
    let check = |expected: &str, found: &str, shown: &str| {
        assert_eq!(differences(expected, found), shown);
    };
    check("a\nb\nc\n", "a\nB\nc\n", "  a\n- b\n+ B\n  c\n");
    check("", "a\n", "+ a\n");
    check("1\n2\n3\n4\n5\nx\n", "1\n2\n3\n4\n5\ny\n", "  3\n  4\n  5\n- x\n+ y\n");
}
