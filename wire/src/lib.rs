//! Messages between callsign processes as data, and their encoding.
