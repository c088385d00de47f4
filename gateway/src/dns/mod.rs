//! The DNS server: every program that can resolve a name finds actors.
//!
//! | question | answer |
//! |---|---|
//! | `feed.callsign` A, AAAA | the addresses of the actor `feed` |
//! | `feed.callsign` SRV, `_feed._tcp.callsign` SRV | its ports and hosts, with their addresses beside them |
//! | `_dnsaddr.feed.callsign` TXT | its endpoints as multiaddrs, as [dnsaddr] has them |
//! | `_feed._tcp.callsign` PTR, `_services._dns-sd._udp.callsign` PTR | its instances, and the names of all actors, for browsers of services (RFC 6763) |
//! | `<uuid>._feed._tcp.callsign` SRV, TXT | an instance's ports and hosts, and its metadata |
//!
//! Only what the asker can reach is answered: a loopback address only to an asker in its network
//! namespace, a Unix socket to none. Instances that are ready are answered, the nearest first, and
//! suspect ones only if there is no other. No answer may be kept (its time to live is 0), because an
//! actor may end at any time. While a registrar is young, a name that nobody has yet is a failure
//! (SERVFAIL), and no answer. A name that a rule hides from anybody is hidden here from all, because
//! a resolver asks for many.
//!
//! Names whose characters do not fit DNS are escaped: a byte other than a small letter, a digit, and
//! a `-` within a part is `_` and two hexadecimal digits. So the actor `order_book` is
//! `order_5fbook.callsign`, and `Feed` is `_46eed.callsign`. Dots separate labels.
//!
//! [dnsaddr]: https://github.com/multiformats/multiaddr/blob/master/protocols/DNSADDR.md
//!
//! | module | its one idea |
//! |---|---|
//! | `adapter` | the server, bound and run |
//! | `serve` | datagrams and connections, each a bounded piece of work |
//! | `packet` | one message to its answer |
//! | `zone` | what is answered to a question |
//! | `question` | what a domain name asks for |
//! | `kept` | answers that are given again |
//! | `label` | names of actors as labels, and back |
//! | `asker` | where the asker is |
//! | `texts` | a question to another server |

mod adapter;
mod asker;
mod kept;
mod label;
mod packet;
mod question;
mod serve;
mod texts;
mod zone;

pub use adapter::{DnsAdapter, DnsError, DnsSockets};
pub use serve::CONNECTIONS_MAX;
pub use texts::{TextsError, texts_of};
