//! From a name to a connection over the nearest transport.
