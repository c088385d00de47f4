//! The clerk that keeps the registry of actors.
