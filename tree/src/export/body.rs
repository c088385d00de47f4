//! Values as MessagePack documents.

use std::{
    cell::Cell,
    io::{self, Write},
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use wire::{LONG_BYTES_MIN, LongBuffer};

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
    // A `Serialize` that encodes another value finds another buffer.
    let mut document = Document { short: SPARE.take(), long: LongBuffer::default() };
    let written = rmp_serde::encode::write_named(&mut document, value);
    let Document { mut short, long } = document;
    let bytes = if long.is_empty() { Bytes::copy_from_slice(&short) } else { long.into() };
    short.clear();
    SPARE.set(short);
    written.map(|()| bytes).map_err(|error| error.to_string())
}

thread_local! {
    /// A buffer for the next short document: most are, and a buffer would grow several times for it.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A document as it is written, in a buffer that suits its length.
struct Document {
    short: Vec<u8>,
    long: LongBuffer,
}

impl Write for Document {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.long.is_empty() {
            self.long.extend_from_slice(bytes);
        } else if self.short.len() + bytes.len() < LONG_BYTES_MIN {
            self.short.extend_from_slice(bytes);
        } else {
            self.long = LongBuffer::with_room(self.short.len() + bytes.len());
            self.long.extend_from_slice(&self.short);
            self.long.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads such a document.
///
/// # Errors
///
/// The fault of the document.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_bytes::ByteBuf;

    use super::*;

    #[test]
    fn a_document_reads_the_same_whatever_its_length() {
        for length in [0, 100, LONG_BYTES_MIN - 3, LONG_BYTES_MIN, 100_000, 600_000] {
            let value = ("before".to_owned(), ByteBuf::from(vec![7; length]), vec![1_u64; 9]);
            let bytes = encode(&value).unwrap();
            assert_eq!(decode::<(String, ByteBuf, Vec<u64>)>(&bytes).unwrap(), value, "{length}");
            let many = vec![300_u16; length.min(20_000)];
            assert_eq!(decode::<Vec<u16>>(&encode(&many).unwrap()).unwrap(), many, "{length}");
        }
    }
}
