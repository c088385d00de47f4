//! The errors of a scope: all of them, as a tree.

use std::{
    any::{Any, type_name},
    error::Error,
    fmt, mem,
    panic::Location,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use wire::{BACKTRACE_BYTES_MAX, ErrorKind, PAYLOAD_BYTES_MAX};

use super::{backtrace::CalleeBacktrace, exit::Exit};
use crate::{ActorPath, CalleeError, Kind, export::body};

/// Any error, as the body of a scope may fail with it: `?` turns every error into one.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::AnyError;
///
/// fn port(text: &str) -> Result<u16, AnyError> {
///     Ok(text.parse()?)
/// }
///
/// assert_eq!(port("80")?, 80);
/// assert!(port("http").is_err());
/// # Ok::<(), AnyError>(())
/// ```
pub type AnyError = Box<dyn Error + Send + Sync>;

/// The failure of a scope: that of its body, of its children, and of theirs.
///
/// It is printed as a tree, with each error at the actor where it began. A single error is printed
/// on one line, with the actors that relayed it:
///
/// ```text
/// 2 errors in a scope of /base, opened at src/main.rs:7:10
/// ├─ /base/feed: killed by SIGKILL
/// └─ /base/desk/pricer: failed: no quote for EURUSD (relayed by /base/desk)
/// ```
///
/// Printed with `{:#}`, the backtraces follow, if `RUST_BACKTRACE=1` asks for them.
///
/// An exported function may return it as its error; it then travels up the tree unchanged.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Nursery, NurseryError, Root};
///
/// async fn serve(root: &Root) -> Result<(), NurseryError> {
///     let outcome = root.nursery(async |_: &Nursery| Ok(())).await;
///     if let Err(error) = &outcome {
///         for leaf in error.leaves() {
///             eprintln!("{}: {}", leaf.actor, leaf.said);
///         }
///     }
///     outcome
/// }
/// ```
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NurseryError {
    /// The actor of the scope.
    pub actor: ActorPath,
    /// The place in the source where the scope was opened.
    pub opened: String,
    /// The error of the body, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyError>,
    /// The children whose end is an error, in the order in which they ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildError>,
    /// The backtraces of the errors of the whole tree, as far as they came in time. Those of many
    /// that failed in the same place are one; all together take
    /// [`wire::BACKTRACE_BYTES_MAX`] at most, further ones are left out.
    #[serde(default, skip_serializing_if = "<[LeafBacktrace]>::is_empty")]
    pub backtraces: Box<[LeafBacktrace]>,
}

/// The backtraces of a tree's errors.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::NurseryError;
///
/// fn show(error: &NurseryError) {
///     for backtrace in &error.backtraces {
///         eprintln!("in {} actors:\n{}", backtrace.actors.len(), backtrace.calls);
///     }
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct LeafBacktrace {
    /// In which actors.
    pub actors: Vec<ActorPath>,
    /// The calls that led there, the innermost first.
    pub calls: String,
}

/// The error of a scope's body.
///
/// ```
/// # use callsign_tree as callsign;
/// use std::io;
///
/// use callsign::NurseryError;
///
/// /// Tells whether the body of the scope failed because a file is not there.
/// fn lacks_a_file(error: &NurseryError) -> bool {
///     let cause = error.body.as_ref().and_then(|it| it.downcast_ref::<io::Error>());
///     cause.is_some_and(|it| it.kind() == io::ErrorKind::NotFound)
/// }
/// ```
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BodyError {
    /// The error's message, followed by its causes.
    pub said: Box<[String]>,
    /// The errors of a scope within this one, if it failed with those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nested: Option<Box<NurseryError>>,
    /// The error itself, in the process where it happened.
    #[serde(skip)]
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// A child whose end is an error.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::{Exit, NurseryError};
///
/// /// Counts the children that a signal has ended.
/// fn killed(error: &NurseryError) -> usize {
///     error.children.iter().filter(|it| matches!(it.exit, Exit::Signalled { .. })).count()
/// }
/// ```
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ChildError {
    /// The actor.
    pub actor: ActorPath,
    /// Its kind.
    pub kind: Kind,
    /// Its exit.
    pub exit: Exit,
    /// The number of its restarts.
    #[serde(default)]
    pub restarts: u32,
}

/// An error, without its consequences elsewhere.
///
/// ```
/// # use callsign_tree as callsign;
/// use callsign::NurseryError;
///
/// /// Writes each error once, where it began, however many actors relayed it.
/// fn causes(error: &NurseryError) -> Vec<String> {
///     error.leaves().iter().map(|it| format!("{}: {}", it.actor, it.said)).collect()
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leaf {
    /// The actor where it began.
    pub actor: ActorPath,
    /// The message.
    pub said: String,
    /// Through whom it came here, from the actor nearest to it up.
    pub relayed: Vec<ActorPath>,
}

impl NurseryError {
    /// Makes the error of a scope. The backtraces of the errors below become its own.
    pub(crate) fn new(
        actor: ActorPath,
        opened: String,
        mut body: Option<BodyError>,
        mut children: Vec<ChildError>,
    ) -> Self {
        let mut backtraces = Vec::new();
        for child in &mut children {
            child.hand_over(&mut backtraces);
        }
        if let Some(BodyError { nested: Some(nested), .. }) = &mut body {
            gather(&mut backtraces, mem::take(&mut nested.backtraces));
        }
        Self { actor, opened, body, children, backtraces: backtraces.into() }
    }

    /// Adds the children of another scope.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.children.extend(other.children);
        let mut backtraces = mem::take(&mut self.backtraces).into_vec();
        gather(&mut backtraces, other.backtraces);
        self.backtraces = backtraces.into();
    }

    /// Returns the same errors with their messages only, for when everything together is too long
    /// to send.
    pub(crate) fn texts_alone(&self) -> Self {
        let mut error = self.clone();
        error.backtraces = Box::default();
        for child in &mut error.children {
            let Exit::Failed(error) = &mut child.exit else { continue };
            match Self::within(error) {
                Some(nested) => error.set_own(&nested.texts_alone()),
                None => error.payload = None,
            }
        }
        error
    }

    /// Extracts the errors of a scope from the error of a function that returned them.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::{CalleeError, NurseryError};
    ///
    /// /// Counts what went wrong, where a function has failed because children of its own did.
    /// fn count(error: &CalleeError) -> usize {
    ///     NurseryError::within(error).map_or(1, |it| it.leaves().len())
    /// }
    /// ```
    pub fn within(error: &CalleeError) -> Option<Self> {
        error.own()
    }

    /// Returns each error of the whole tree, without its consequences elsewhere.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::NurseryError;
    ///
    /// /// Says where something went wrong first.
    /// fn tell(error: &NurseryError) {
    ///     for leaf in error.leaves() {
    ///         println!("{}: {}", leaf.actor, leaf.said);
    ///     }
    /// }
    /// ```
    pub fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        self.node().collect(&mut leaves);
        leaves
    }

    /// Leaves out this scope if its only error is another scope of the same actor.
    pub(crate) fn collapsed(self) -> Self {
        match self.body {
            Some(BodyError { nested: Some(nested), .. }) if self.children.is_empty() => {
                Self { backtraces: self.backtraces, ..*nested }
            }
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

impl Exit {
    /// Returns the errors below this one, if the actor failed because of its own scope.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::Exit;
    ///
    /// /// Tells whether an actor failed only because a scope of its own did.
    /// fn is_relayed(exit: &Exit) -> bool {
    ///     exit.nested().is_some()
    /// }
    /// ```
    pub fn nested(&self) -> Option<NurseryError> {
        match self {
            Self::Failed(error) => NurseryError::within(error),
            _ => None,
        }
    }
}

impl CalleeError {
    /// Makes the error of a function that returned its own error.
    pub(crate) fn failed<E: Error + Serialize + 'static>(error: &E) -> Self {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        // An error that cannot be encoded still arrives as a message.
        let mut payload = body::encode(error).ok();
        let relayed = (error as &dyn Any).downcast_ref::<NurseryError>();
        if let Some(relayed) = relayed
            && payload.as_ref().is_none_or(|it| it.len() > PAYLOAD_BYTES_MAX)
        {
            payload = body::encode(&relayed.texts_alone()).ok();
        }
        Self {
            kind: ErrorKind::Failed,
            message: error.to_string(),
            causes: causes.into(),
            payload: payload.map(|it| it.to_vec().into()),
            error_type: Some(type_name::<E>().into()),
            actor: None,
            // A relayed error begins where the original did.
            backtrace: if relayed.is_some() { None } else { CalleeBacktrace::capture() },
        }
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
        Self { said: said.into(), nested, source: Some(error) }
    }

    /// Returns the error itself, if it happened in this process and is an `E`.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::NurseryError;
    ///
    /// /// Tells whether a scope has failed because a file was not there.
    /// fn lacks_file(error: &NurseryError) -> bool {
    ///     let own = error.body.as_ref().and_then(|it| it.downcast_ref::<std::io::Error>());
    ///     own.is_some_and(|it| it.kind() == std::io::ErrorKind::NotFound)
    /// }
    /// ```
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
    /// Hands over the backtraces of the error and of those below it.
    fn hand_over(&mut self, backtraces: &mut Vec<LeafBacktrace>) {
        let backtrace = match &mut self.exit {
            Exit::Failed(error) => match NurseryError::within(error) {
                Some(nested) if nested.backtraces.is_empty() => return,
                Some(mut nested) => {
                    gather(backtraces, mem::take(&mut nested.backtraces));
                    return error.set_own(&nested);
                }
                None => &error.backtrace,
            },
            Exit::Panicked(panic) => &panic.backtrace,
            _ => return,
        };
        if let Some(calls) = backtrace.as_ref().and_then(CalleeBacktrace::text) {
            let (actors, calls) = (vec![self.actor.clone()], calls.to_owned());
            gather(backtraces, [LeafBacktrace { actors, calls }]);
        }
    }

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

/// Adds backtraces to others, each once, as long as there is room for them.
fn gather(backtraces: &mut Vec<LeafBacktrace>, further: impl IntoIterator<Item = LeafBacktrace>) {
    for new in further {
        let bytes: usize = backtraces.iter().map(|it| it.calls.len()).sum();
        if let Some(known) = backtraces.iter_mut().find(|it| it.calls == new.calls) {
            known.actors.extend(new.actors);
        } else if bytes + new.calls.len() <= BACKTRACE_BYTES_MAX {
            backtraces.push(new);
        }
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
        self.node().write(f, "")?;
        if f.alternate() {
            self.backtraces.iter().try_for_each(|it| write!(f, "\n\n{it}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for LeafBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.actors {
            [] => f.write_str("backtrace:")?,
            [actor] => write!(f, "backtrace of {actor}:")?,
            [first, others @ ..] => {
                write!(f, "backtrace of {first}, and of {} more:", others.len())?;
            }
        }
        write!(f, "\n{}", self.calls.trim_end())
    }
}

// Its message holds all of its causes already.
impl Error for NurseryError {}

pub(crate) fn place(location: &Location<'_>) -> String {
    format!("{}:{}:{}", location.file(), location.line(), location.column())
}

#[cfg(test)]
mod tests;
