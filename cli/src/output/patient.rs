//! Output that waits for its reader beside everything else.

use std::{
    io::{self, Write},
    sync::Arc,
};

use crate::standard::Output;

/// Writes to standard output until all of it is taken, without blocking other tasks; they have to
/// wait only if no thread can be started for it.
pub(crate) async fn write_patiently(bytes: Vec<u8>) -> io::Result<()> {
    if let Some(error) = transport::stdout_closed() {
        return Err(error);
    }
    let bytes = Arc::<[u8]>::from(bytes);
    let write = |bytes: Arc<[u8]>| Output.write_all(&bytes).and_then(|()| Output.flush());
    let written = bytes.clone();
    match transport::beside("output", move || write(written)).await {
        Ok(written) => written,
        Err(_) => write(bytes),
    }
}
