//! Sockets that were looked at, and are dialed next.
//!
//! Whether a path leads to the socket that is meant is asked to rank it, and again to dial it. The file
//! that the first look has opened is the one to connect to, if it is the right one: then nothing is
//! opened twice, and nobody can swap the socket in between.

use std::sync::{Mutex, MutexGuard};

use endpoints::{Endpoint, SocketId, UnixAddress, UnixPath, Unreachable};

use crate::{here::open_socket, linux::Handle};

/// Looks at paths for `endpoints::rank`, as [`look`](crate::look) does, and keeps the first socket that
/// it finds open for the dial. It is one because descriptors are few, and candidates may be many.
///
/// ```
/// # use transport as callsign;
/// use std::path::Path;
///
/// use callsign::Looks;
/// # use endpoints::{UnixPath, Unreachable};
///
/// let looks = Looks::default();
/// let path = UnixPath::new(Path::new("/run/no/such.sock"))?;
/// assert_eq!(looks.look(&path), Err(Unreachable::Missing));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Looks(Mutex<Option<SeenSocket>>);

/// A socket file that was looked at, and is held: it is the same, whatever its path leads to by now.
#[derive(Debug)]
pub struct SeenSocket {
    pub(crate) path: UnixPath,
    pub(crate) file: Handle,
    pub(crate) id: SocketId,
}

impl Looks {
    /// Finds the socket that a path leads to.
    ///
    /// ```
    /// # use transport as callsign;
    /// # use endpoints::{ParseEndpointError, Stamped, Unreachable, locate};
    /// use callsign::{Looks, here};
    ///
    /// let (looks, bare) = (Looks::default(), Stamped::bare("/unix/run/no/such.sock".parse()?));
    /// let verdict = locate(&bare, &here(), &|path| looks.look(path));
    /// assert_eq!(verdict, Err(Unreachable::NoStamp), "so it was not looked at");
    /// # Ok::<(), ParseEndpointError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`look`](crate::look).
    pub fn look(&self, path: &UnixPath) -> Result<SocketId, Unreachable> {
        let (file, id) = open_socket(path)?;
        let mut held = self.held();
        if held.is_none() {
            *held = Some(SeenSocket { path: path.clone(), file, id });
        }
        Ok(id)
    }

    /// Takes the socket that is held, if it is the one at this endpoint.
    ///
    /// ```
    /// # use transport as callsign;
    /// let nothing = callsign::Looks::default();
    /// assert!(nothing.take(&"/unix/run/feed.sock".parse()?).is_none());
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn take(&self, endpoint: &Endpoint) -> Option<SeenSocket> {
        let Endpoint::Unix(UnixAddress::Path(path)) = endpoint else { return None };
        self.held().take_if(|it| it.path == *path)
    }

    fn held(&self) -> MutexGuard<'_, Option<SeenSocket>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}
