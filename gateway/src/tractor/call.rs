//! Calling a function of a tractor actor.

use std::time::Duration;

use endpoints::Endpoint;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use transport::{DialError, dial};
use uuid::Uuid;

use super::{
    channel::{Channel, ChannelError},
    message::{Aid, Fields, Message, is_map},
};

/// Calls a function of a tractor actor, and returns its result: `func` of the module `ns`, or a
/// method of the actor itself where that is `"self"`. `kwargs` is written as a map: a map with
/// texts as keys, or a struct.
///
/// The actor has to expose the module (its `enable_modules`), and the function has to be a plain
/// asynchronous one; a context or a stream cannot be called. The call waits for as long as the
/// function takes.
///
/// # Errors
///
/// [`CallError`]; a function that raised is [`CallError::Raised`].
///
/// # Cancel safety
///
/// Dropping the future closes the connection. The function may run on: tractor does not end it.
///
/// # Examples
///
/// ```no_run
/// # use callsign_gateway as callsign;
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use std::collections::BTreeMap;
///
/// use callsign::tractor::call;
///
/// let feed = "/ip4/127.0.0.1/tcp/4321".parse()?;
/// let quote: f64 = call(&feed, "market.feed", "quote", &BTreeMap::from([("of", "EURUSD")])).await?;
/// # Ok(())
/// # }
/// ```
pub async fn call<R: DeserializeOwned>(
    endpoint: &Endpoint,
    ns: &str,
    func: &str,
    kwargs: &impl Serialize,
) -> Result<R, CallError> {
    let encoded = rmp_serde::to_vec_named(kwargs).map_err(ChannelError::from).map_err(broken)?;
    if !encoded.first().is_some_and(|it| is_map(*it)) {
        return Err(CallError::NoMap);
    }
    // An actor that leaves open whether it is a registrar counts as one.
    let aid = Aid::new("callsign".to_owned(), Uuid::new_v4().to_string(), Some(false));
    let aid = Aid { pid: Some(std::process::id().into()), ..aid };
    let stream = dial(endpoint).await?;
    let (mut channel, _) = Channel::greet(stream, &aid, GREET_TIMEOUT).await.map_err(broken)?;
    channel.set_frame_bytes_max(wire::FRAME_BYTES_MAX);

    let cid = Uuid::new_v4().to_string();
    let uid = aid.uid();
    let start = Message::Start { cid: &cid, ns, func, kwargs, uid: &uid, pld_spec: "typing.Any" };
    channel.send(&start).await.map_err(broken)?;
    let result = answer(&mut channel, &cid).await;
    channel.close().await;
    result
}

async fn answer<R: DeserializeOwned>(channel: &mut Channel, cid: &str) -> Result<R, CallError> {
    loop {
        let frame = channel.next().await.map_err(broken)?;
        let frame = frame.ok_or(ChannelError::Closed).map_err(broken)?;
        let names = ["msg_type", "cid", "functype", "pld", "src_type_str", "message", "tb_str"];
        let fields = Fields::read(&frame, &names).map_err(unreadable)?;
        let msg_type: String = fields.get("msg_type").map_err(unreadable)?;
        if fields.find::<&str>("cid").map_err(unreadable)? != Some(cid) {
            // Either side may call the other. Nothing is exposed here, and no answer is owed.
            continue;
        }
        match msg_type.as_str() {
            "StartAck" => {
                let functype: String = fields.get("functype").map_err(unreadable)?;
                if functype != "asyncfunc" {
                    return Err(CallError::NotAFunction { functype });
                }
            }
            "Return" | "CancelAck" => return fields.get("pld").map_err(CallError::Result),
            "Error" => {
                let find = |name| fields.find(name).map_err(unreadable);
                return Err(CallError::Raised {
                    kind: fields.get("src_type_str").map_err(unreadable)?,
                    message: find("message")?.unwrap_or_default(),
                    traceback: find("tb_str")?.unwrap_or_default(),
                });
            }
            _ => return Err(CallError::NotAFunction { functype: msg_type }),
        }
    }
}

/// Why a call has no result.
///
/// ```
/// # use callsign_gateway as callsign;
/// use callsign::tractor::CallError;
///
/// /// Tells whether the function ran, and raised an exception.
/// fn has_raised(error: &CallError) -> bool {
///     matches!(error, CallError::Raised { .. })
/// }
///
/// assert!(!has_raised(&CallError::NoMap));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The arguments are not written as a map.
    #[error("the arguments of a call are a map, with texts as keys")]
    NoMap,
    /// The actor cannot be connected to.
    #[error("the actor cannot be connected to")]
    Dial(#[from] DialError),
    /// The peer does not answer as a tractor actor does, or has gone.
    #[error("the answer is not that of a tractor actor")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is a context or a stream, which is used in another way.
    #[error("the called object is not a plain function, but `{functype}`")]
    NotAFunction {
        /// The name of the exception's type.
        functype: String,
    },
    /// The result has another type than was requested.
    #[error("the result is of another type")]
    Result(#[source] rmp_serde::decode::Error),
    /// The function raised an exception, or cannot be called.
    #[error("{kind}: {message}")]
    Raised {
        /// The type of the exception.
        kind: String,
        /// Its message; usually the last line.
        message: String,
        /// The traceback, as Python prints it.
        traceback: String,
    },
}

fn unreadable(error: rmp_serde::decode::Error) -> CallError {
    broken(error.into())
}

fn broken(error: ChannelError) -> CallError {
    CallError::Broken(Box::new(error))
}

/// The time limit for an actor's introduction. The original allows ten seconds, and answers in
/// milliseconds.
const GREET_TIMEOUT: Duration = Duration::from_secs(10);
