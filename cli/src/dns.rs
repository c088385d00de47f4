//! The DNS server of a registrar that a program embeds. `docs/dns.md` says what it answers.

pub use gateway::dns::{DnsAdapter, DnsError, DnsSockets};
