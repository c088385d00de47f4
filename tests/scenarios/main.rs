//! The uses of callsign, with the real program, real processes and real sockets.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod access;
mod activation;
mod addresses;
mod background;
mod boot;
mod browser;
mod claimed;
#[cfg(feature = "etcd")]
mod clusters;
mod completion;
mod devices;
mod dns;
mod dnsaddr;
mod echo;
mod exit_codes;
mod full_disk;
#[path = "../harness/mod.rs"]
mod harness;
mod herd;
mod host_id;
mod http;
mod http_events;
mod http_leases;
mod http_metrics;
mod http_tls;
mod inheritance;
mod keys;
mod leases;
mod lifecycle;
mod line;
mod meant;
mod memory;
mod mounts;
mod owners;
mod padded;
mod parties;
mod presence;
mod processes;
mod programs;
mod promises;
mod published;
mod quotas;
mod reload;
mod resolvers;
mod restart;
mod resume;
mod ruled;
mod sandboxes;
mod screens;
mod service;
mod several;
mod signals;
mod silence;
mod spans;
mod supervision;
mod table;
mod taken_out;
mod taken_over;
mod threads;
mod tls;
mod tls_actors;
mod tls_owners;
mod top;
mod tractor;
mod transports;
mod unread;
mod waiting;
mod whose;
