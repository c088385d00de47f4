//! callsign.
