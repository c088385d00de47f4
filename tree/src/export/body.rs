//! What a call carries: a fingerprint, then the arguments.

use bytes::{BufMut, Bytes, BytesMut};
use rmp::decode::{read_array_len, read_int};
use serde::{Serialize, de::DeserializeOwned};
use wire::ErrorKind;

use super::{CalleeError, Export, Mismatch};

/// What can travel between actors by value: arguments, items, results.
///
/// It is implemented by whatever serde can write and read back, and that can go to another thread.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel between actors",
    label = "not serializable, or not to be sent",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, and let it own what it holds"
)]
pub trait Wire: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Wire for T {}

/// Writes a value as a MessagePack document with named fields.
///
/// # Errors
///
/// Says why the value's own `Serialize` refused.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new().writer();
    rmp_serde::encode::write_named(&mut bytes, value).map_err(|error| error.to_string())?;
    Ok(bytes.into_inner().freeze())
}

/// Reads such a document.
///
/// # Errors
///
/// Says what is wrong with it.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|error| error.to_string())
}

/// Reads the arguments of a call of `export`, after the fingerprint, so that a caller built from
/// another source learns that instead of where reading failed.
///
/// # Errors
///
/// What the caller is to be told.
pub(super) fn arguments<A: DeserializeOwned>(
    export: &Export,
    body: &[u8],
) -> Result<A, CalleeError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        let message = format!("the arguments of `{}` cannot be read: {error}", export.path);
        CalleeError::new(ErrorKind::Invalid, message)
    };
    let mut rest = body;
    match read_array_len(&mut rest) {
        Ok(2) => {}
        Ok(_) => return Err(unreadable(&"they do not follow a fingerprint")),
        Err(error) => return Err(unreadable(&error)),
    }
    let caller: u64 = read_int(&mut rest).map_err(|error| unreadable(&error))?;
    if caller != export.fingerprint {
        let path = export.path.to_owned();
        return Err(Mismatch { path, caller, callee: export.fingerprint }.into());
    }
    decode(rest).map_err(|error| unreadable(&error))
}
