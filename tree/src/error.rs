//! The errors of a scope: all of them, as a tree.

use std::{error::Error, fmt, panic::Location, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{ActorPath, CalleeError, Exit, Kind};

/// Any error, as the body of a scope may fail with it: `?` turns every error into one.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// What went wrong in a scope: in its body, in its children, and in theirs.
///
/// It is printed as a tree, with each error at the actor where it began. A single error is printed
/// alone, on one line, with the actors that relayed it:
///
/// ```text
/// 2 errors in a scope of /base, opened at src/main.rs:7:10
/// ├─ /base/feed: killed by SIGKILL
/// └─ /base/desk/pricer: failed: no quote for EURUSD (relayed by /base/desk)
/// ```
///
/// An exported function may return it as its error; it is then passed up the tree as it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NurseryError {
    /// Whose scope it was.
    pub actor: ActorPath,
    /// Where in the source the scope was opened.
    pub opened: String,
    /// What the body failed with, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyError>,
    /// The children whose end is an error, in the order in which they ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildError>,
}

/// What the body of a scope failed with.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BodyError {
    /// What the error says, and after it each of its causes.
    pub said: Vec<String>,
    /// The errors of a scope within this one, if that is what it failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nested: Option<Box<NurseryError>>,
    /// The error itself, in the process where it happened.
    #[serde(skip)]
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// A child whose end is an error.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ChildError {
    /// Which actor.
    pub actor: ActorPath,
    /// What it ran in.
    pub kind: Kind,
    /// How it ended.
    pub exit: Exit,
    /// How often it had been started again.
    #[serde(default)]
    pub restarts: u32,
}

/// One error, without what it brought about elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leaf {
    /// Where it began.
    pub actor: ActorPath,
    /// What happened.
    pub said: String,
    /// Through whom it came here, from the actor nearest to it up.
    pub relayed: Vec<ActorPath>,
}

impl NurseryError {
    /// Reads the errors of a scope out of the error of a function that returned them.
    pub fn within(error: &CalleeError) -> Option<Self> {
        error.own()
    }

    /// Returns each error of the whole tree, without what it brought about elsewhere.
    pub fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        self.node().collect(&mut leaves);
        leaves
    }

    /// Leaves out this scope if there is but another one of the same actor within it.
    pub(crate) fn collapsed(self) -> Self {
        match self.body {
            Some(BodyError { nested: Some(nested), .. }) if self.children.is_empty() => *nested,
            _ => self,
        }
    }

    fn node(&self) -> Node {
        let mut nodes: Vec<Node> = self.children.iter().map(ChildError::node).collect();
        nodes.extend(self.body.iter().map(|it| it.node(&self.actor)));
        if nodes.len() == 1 {
            return nodes.remove(0);
        }
        Node::Branch { actor: self.actor.clone(), opened: self.opened.clone(), nodes }
    }
}

impl BodyError {
    pub(crate) fn new(error: AnyError) -> Self {
        let error: Arc<dyn Error + Send + Sync> = error.into();
        let mut said = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(error) = cause {
            said.push(error.to_string());
            cause = error.source();
        }
        let nested = error.downcast_ref::<NurseryError>().cloned().map(Box::new);
        Self { said, nested, source: Some(error) }
    }

    /// Returns the error itself, if it happened in this process and is an `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.source.as_ref()?.downcast_ref()
    }

    fn node(&self, actor: &ActorPath) -> Node {
        match &self.nested {
            Some(nested) => nested.node(),
            None => Node::Leaf(Leaf {
                actor: actor.clone(),
                said: self.said.join(": "),
                relayed: Vec::new(),
            }),
        }
    }
}

impl ChildError {
    fn node(&self) -> Node {
        let Some(nested) = self.exit.nested() else {
            let said = self.exit.said_of(self.kind);
            let said = match self.restarts {
                0 => said,
                restarts => format!("{said}, after {restarts} restarts"),
            };
            return Node::Leaf(Leaf { actor: self.actor.clone(), said, relayed: Vec::new() });
        };
        let mut node = nested.node();
        if let Node::Leaf(leaf) = &mut node
            && leaf.actor != self.actor
        {
            leaf.relayed.push(self.actor.clone());
        }
        node
    }
}

/// The tree that is printed.
enum Node {
    Leaf(Leaf),
    Branch { actor: ActorPath, opened: String, nodes: Vec<Self> },
}

impl Node {
    fn collect(self, leaves: &mut Vec<Leaf>) {
        match self {
            Self::Leaf(leaf) => leaves.push(leaf),
            Self::Branch { nodes, .. } => nodes.into_iter().for_each(|it| it.collect(leaves)),
        }
    }

    /// Writes the node; lines after the first begin with `indent`.
    fn write(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let (actor, opened, nodes) = match self {
            Self::Leaf(leaf) => {
                return f.write_str(&leaf.to_string().replace('\n', &format!("\n{indent}")));
            }
            Self::Branch { actor, opened, nodes } => (actor, opened, nodes),
        };
        write!(f, "{} errors in a scope of {actor}, opened at {opened}", nodes.len())?;
        for (at, node) in nodes.iter().enumerate() {
            let (branch, below) =
                if at + 1 == nodes.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            write!(f, "\n{indent}{branch}")?;
            node.write(f, &format!("{indent}{below}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.actor, self.said)?;
        if let [first, rest @ ..] = &*self.relayed {
            write!(f, " (relayed by {first}")?;
            rest.iter().try_for_each(|it| write!(f, ", {it}"))?;
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Display for NurseryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node().write(f, "")
    }
}

// What it says holds all of its causes already.
impl Error for NurseryError {}

pub(crate) fn place(location: &Location<'_>) -> String {
    format!("{}:{}:{}", location.file(), location.line(), location.column())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn path(text: &str) -> ActorPath {
        ActorPath::try_from(text.to_owned()).unwrap()
    }

    fn error(body: Option<BodyError>, children: Vec<ChildError>) -> NurseryError {
        NurseryError { actor: path("/base"), opened: "src/main.rs:7:10".to_owned(), body, children }
    }

    fn child(actor: &str, exit: Exit) -> ChildError {
        ChildError { actor: path(actor), kind: Kind::Process, exit, restarts: 0 }
    }

    fn killed() -> Exit {
        Exit::Signalled { signal: 9, last_words: String::new() }
    }

    #[test]
    fn a_single_error_is_one_line() {
        let single = error(None, vec![child("/base/feed", killed())]);
        assert_eq!(single.to_string(), "/base/feed: killed by SIGKILL");

        let io = io::Error::new(io::ErrorKind::NotFound, "no such feed");
        let body = error(Some(BodyError::new(io.into())), Vec::new());
        assert_eq!(body.to_string(), "/base: no such feed");
        let source = body.body.as_ref().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::NotFound);

        let outer = error(Some(BodyError::new(body.into())), Vec::new());
        assert_eq!(outer.to_string(), "/base: no such feed", "scopes within scopes say it once");
    }

    #[test]
    fn several_errors_are_a_tree() {
        let words = Exit::Exited { code: 2, last_words: "one\ntwo".to_owned() };
        let inner = error(None, vec![child("/base/a", killed()), child("/base/b", words)]);
        let body = BodyError::new(inner.into());
        let outer = error(Some(body), vec![child("/base/c", killed())]);
        assert_eq!(
            outer.to_string(),
            "\
2 errors in a scope of /base, opened at src/main.rs:7:10
├─ /base/c: killed by SIGKILL
└─ 2 errors in a scope of /base, opened at src/main.rs:7:10
   ├─ /base/a: killed by SIGKILL
   └─ /base/b: exited with code 2; its last words: one
      two"
        );
        let leaves: Vec<_> = outer.leaves().into_iter().map(|it| it.actor.to_string()).collect();
        assert_eq!(leaves, ["/base/c", "/base/a", "/base/b"]);
    }
}
