//! A certificate authority in a folder of its owner, and what certificates and keys hold.
//!
//! The authority is for a few hosts whose administrator is one person: one key, which signs
//! certificates for actors and nodes. These have SPIFFE IDs, so that certificates made by
//! another authority (SPIRE, step-ca) can stand beside these. Nothing here speaks TLS, revokes a
//! certificate, or renews one by itself.
//!
//! - [`Authority`] is made once ([`Authority::create`]), and issues certificates with their keys.
//! - [`Contents`] is what a file with certificates and keys holds, to be shown.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//!
//! use endpoints::{SpiffePath, TrustDomain};
//! use keys::{Authority, Contents, Block, KeyKind};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let base = tempfile::tempdir()?;
//! let folder = base.path().join("keys");
//! let (domain, now) = (TrustDomain::new("market.example")?, SystemTime::now());
//! let authority = Authority::create(&folder, domain, KeyKind::P256, now)?;
//!
//! let quarter = Duration::from_secs(90 * 24 * 3600);
//! let issued = authority.issue(SpiffePath::new("feed")?, &["10.0.0.7".parse()?], quarter, now)?;
//! let Block::Certificate(shown) = &Contents::read(&issued.certificate)?.blocks[0] else {
//!     unreachable!("it is the certificate")
//! };
//! assert_eq!(shown.uris, ["spiffe://market.example/feed"]);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod authority;
mod contents;
mod error;
mod files;
mod host;
mod wrapped;

pub use authority::{AUTHORITY_LIFETIME, Authority, Issued, KeyKind, LIFETIME_MIN};
pub use contents::{Block, Certificate, Contents, ContentsError, Key, PublicKey};
pub use error::{AuthorityError, CreateError, IssueError};
pub use host::{CertifiedHost, HostError};
