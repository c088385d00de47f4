//! A typed conversation with one peer.
