//! Bytes between processes: listen, dial, and what this machine says of itself.
