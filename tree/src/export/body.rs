//! Values as MessagePack documents.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// A value that can travel between actors: an argument, an item, a result.
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
/// The reason why the value's own `Serialize` refused.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new().writer();
    rmp_serde::encode::write_named(&mut bytes, value).map_err(|error| error.to_string())?;
    Ok(bytes.into_inner().freeze())
}

/// Reads such a document.
///
/// # Errors
///
/// The fault of the document.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|error| error.to_string())
}
