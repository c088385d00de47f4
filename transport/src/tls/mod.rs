//! TLS 1.3 on `…/tcp/N/tls`: both sides show certificates.
//!
//! A process has one identity: the files of [`TlsFiles`], which [`set_tls`] reads. They are read
//! again when they change; connections that are open stay. The peer's certificate has to be signed
//! by an authority of the file `ca`. A dialer also checks that the listener's certificate names the
//! host that was dialed. Who the holder of a peer's certificate is, is for the registrar to use.
//!
//! | module | its one idea |
//! |---|---|
//! | `credentials` | the files as they belong together, and the settings of rustls made of them |
//! | `authorities` | who signs the certificates of peers |
//! | `current` | those of this process, followed as the files change |
//! | `doubt` | why those who dial a listener cannot accept its certificate |
//! | `ahead` | a socket that is read in larger parts than rustls asks for |
//! | `stream` | an encrypted connection, whose handshake runs with its first use |
//! | `name` | the names of a certificate: its holder's, and those of its hosts |
//! | `files` | the files, and what can be wrong with them |
//! | `reason` | what else is wrong with a certificate |
//! | `error` | why there is no such connection, in words of ours |

mod ahead;
mod authorities;
mod credentials;
mod current;
mod doubt;
mod error;
mod files;
mod name;
mod reason;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use credentials::Credentials;
pub use credentials::{TlsFile, TlsFiles, TlsFilesError};
pub(crate) use current::{current, listens_at};
pub use current::{follow_tls, look_at_tls_files, set_tls, tls_files};
pub use doubt::TlsDoubt;
pub use error::TlsError;
pub use files::TlsFault;
pub(crate) use stream::TlsStream;
