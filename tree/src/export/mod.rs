//! Functions that other actors may call.
//!
//! [`#[export]`](macro@crate::export) turns an async function into one that makes a *call*: a value
//! with the function's path, its arguments and a fingerprint, which is sent to an actor and carried
//! out there. Every export of a program is in one [registry](exports), so that an actor finds a
//! function by its path. An export is not a permission: the functions that may be called are listed
//! where the actor is spawned.
//!
//! ```text
//!   caller                                   callee
//!   mean(xs)  ──▶ Call { path, body } ═══▶   find(path) ──▶ Export::run(Incoming) ──┐
//!   Call::decode ◀════════════ result, or CalleeError ◀═════════════════════════────┘
//! ```
//!
//! Nothing here knows how bytes get from one actor to another. The code that does gives the callee
//! an [`Incoming`], polls the future of [`run`](Export::run), and carries the items of a dialogue
//! between [`Ends`] and the connection.
//!
//! ```standalone_crate
//! # extern crate callsign_tree as callsign;
//! /// Adds two numbers.
//! #[callsign::export]
//! async fn add(left: i64, right: i64) -> i64 {
//!     left + right
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let call = add(20, 22);
//! assert!(call.export().path.ends_with("::add"));
//! assert_eq!(call.run_here().await?, 42);
//! # Ok(())
//! # }
//! ```

pub(crate) mod body;
#[expect(unsafe_code, reason = "an entry of the registry is placed in a section by its name")]
mod builtin;
mod call;
mod callee_error;
mod context;
mod dialogue;
mod error;
mod registry;
pub mod run;

use std::{fmt, pin::Pin};

use bytes::Bytes;

pub use body::Wire;
pub use builtin::ping;
pub use call::Call;
pub use callee_error::{CalleeError, Mismatch, Never};
pub use context::{Context, Ended, Ends, FarEnds, ITEMS_AHEAD, RawStream, Stream};
pub use dialogue::Dialogue;
pub use error::CallError;
#[doc(hidden)]
pub use linkme;
pub use registry::{Duplicate, Duplicates, EXPORTS, check, exports, find};

/// An exported function: `mean::EXPORT` for one called `mean`.
///
/// ```standalone_crate
/// # extern crate callsign_tree as callsign;
/// #[callsign::export]
/// async fn quote(pair: String) -> f64 {
///     if pair == "EURUSD" { 1.0842 } else { f64::NAN }
/// }
///
/// let export = quote::EXPORT;
/// assert!(export.path.ends_with("::quote"));
/// ```
#[derive(Clone, Copy)]
pub struct Export {
    /// Its path: that of its module, and its name.
    pub path: &'static str,
    /// The method by which it is called over a connection.
    #[doc(hidden)]
    pub method: &'static str,
    /// Changes when the path, the names or types of its parameters, or its result change.
    pub fingerprint: u64,
    /// The way it converses.
    pub kind: ExportKind,
    /// Carries out a call.
    pub run: fn(Incoming) -> Running,
    /// In which source file it is.
    pub file: &'static str,
    /// On which line.
    pub line: u32,
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Export({} at {}:{})", self.path, self.file, self.line)
    }
}

/// The way an exported function converses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExportKind {
    /// It takes arguments and returns a result.
    Unary,
    /// Between the two it gives a started value, and both sides send items.
    Dialogue,
}

/// A call as it reaches the callee. A unary function is not notified when its caller wants no more,
/// or is gone: it ends at its next `await` when the future of [`Export::run`] is dropped.
#[derive(Debug)]
pub struct Incoming {
    /// The fingerprint and the arguments, as [`Call::body`] gives them.
    pub body: Bytes,
    /// The callee's ends of the dialogue; `None` for a unary call.
    pub ends: Option<Ends>,
}

/// A call being carried out. A panic of the function unwinds out of it; dropping it ends the
/// function where it waits.
pub type Running = Pin<Box<dyn Future<Output = Result<Bytes, CalleeError>> + Send>>;

/// Computes the fingerprint of a function (FNV-1a). `signature` is what the attribute has read.
///
/// It tells functions apart that were written differently. A type that keeps its name and gets
/// another field has the same fingerprint: fields travel with their names, so that serde's
/// attributes decide what that means.
pub const fn fingerprint(path: &str, signature: &str) -> u64 {
    let texts = [path.as_bytes(), b"\0", signature.as_bytes()];
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut text = 0;
    while text < texts.len() {
        let mut at = 0;
        while at < texts[text].len() {
            hash = (hash ^ texts[text][at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            at += 1;
        }
        text += 1;
    }
    hash
}
