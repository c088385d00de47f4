//! The messages of programs to a registrar, decoded once.

use rmp_serde::decode::Error;
use serde::de::Error as _;

use super::{Uid, address::Address, message::Fields};

/// A message after the first.
#[derive(Debug)]
pub(super) enum Received {
    /// A call. Its fault is returned to the call.
    Start { cid: String, start: Result<Start, Error> },
    /// An answer. This side makes no calls, so it is ignored, as in the original.
    Answer,
    /// A message that is not allowed here.
    Unexpected { cid: Option<String>, msg_type: String },
}

/// A call of a program.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) ns: String,
    /// The caller.
    pub(super) uid: Uid,
    pub(super) request: Request,
}

/// The function that is called, with its arguments.
#[derive(Debug)]
pub(super) enum Request {
    RegisterActor {
        uid: Uid,
        addr: Address,
    },
    UnregisterActor {
        uid: Uid,
    },
    FindActor {
        name: String,
    },
    WaitForActor {
        name: String,
    },
    DeleteAddr {
        addr: Address,
    },
    GetRegistry,
    Cancel,
    CancelTask {
        cid: Option<String>,
    },
    Unknown {
        func: String,
    },
    /// The arguments are not those of the function.
    Invalid(Error),
}

impl Received {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// The fault of a message of unknown kind.
    pub(super) fn read(frame: &[u8]) -> Result<Self, Error> {
        let names = ["msg_type", "cid", "ns", "func", "kwargs", "uid"];
        let fields = Fields::read(frame, &names)?;
        let msg_type: String = fields.get("msg_type")?;
        let cid = fields.find::<String>("cid")?.filter(|it| it.len() <= CID_BYTES_MAX);
        Ok(match (msg_type.as_str(), cid) {
            ("Start", Some(cid)) => Self::Start { cid, start: Start::read(&fields) },
            ("StartAck" | "Started" | "Yield" | "Stop" | "Return" | "CancelAck" | "Error", _) => {
                Self::Answer
            }
            (_, cid) => Self::Unexpected { cid, msg_type },
        })
    }
}

impl Start {
    fn read(fields: &Fields<'_>) -> Result<Self, Error> {
        let func: String = fields.get("func")?;
        let request = Request::read(func, fields.bytes("kwargs"));
        Ok(Self {
            ns: fields.get("ns")?,
            uid: fields.get("uid")?,
            request: request.unwrap_or_else(Request::Invalid),
        })
    }
}

impl Request {
    fn read(func: String, kwargs: Option<&[u8]>) -> Result<Self, Error> {
        let kwargs = |names: &[&'static str]| {
            Fields::read(kwargs.ok_or_else(|| Error::missing_field("kwargs"))?, names)
        };
        Ok(match func.as_str() {
            "register_actor" => {
                let kwargs = kwargs(&["uid", "addr"])?;
                Self::RegisterActor { uid: kwargs.get("uid")?, addr: kwargs.get("addr")? }
            }
            "unregister_actor" => Self::UnregisterActor { uid: kwargs(&["uid"])?.get("uid")? },
            "find_actor" => Self::FindActor { name: kwargs(&["name"])?.get("name")? },
            "wait_for_actor" => Self::WaitForActor { name: kwargs(&["name"])?.get("name")? },
            "delete_addr" => Self::DeleteAddr { addr: kwargs(&["addr"])?.get("addr")? },
            "get_registry" => Self::GetRegistry,
            "cancel" => Self::Cancel,
            // Whatever it cancels, it does not run afterwards.
            "_cancel_task" => {
                let cid = kwargs(&["cid"]).and_then(|it| it.get("cid"));
                Self::CancelTask { cid: cid.ok() }
            }
            _ => Self::Unknown { func },
        })
    }
}

/// The longest number of a call, which is kept for as long as it waits. A UUID's text has 36.
const CID_BYTES_MAX: usize = 256;
