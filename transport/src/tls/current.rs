//! The certificate of this process, followed as its files change.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use endpoints::Endpoint;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    credentials::{Credentials, TlsFiles, TlsFilesError},
    error::TlsError,
    files::TlsFault,
};

/// Reads the certificate with which this process listens and dials at `…/tls`. The files are read
/// again when they have changed: connections that are open stay, and files that cannot be used are
/// logged while the former certificate stays in use.
///
/// ```
/// # use transport as callsign;
/// use callsign::{TlsFiles, set_tls};
///
/// let files = TlsFiles {
///     ca: "/no/such/ca.pem".into(),
///     certificate: "/no/such/feed.pem".into(),
///     key: "/no/such/feed.key".into(),
/// };
/// let error = set_tls(files).unwrap_err();
/// assert!(error.to_string().contains("cannot be read"));
/// ```
///
/// # Errors
///
/// [`TlsFilesError`] names the file and its fault; a certificate that was set before stays.
pub fn set_tls(files: TlsFiles) -> Result<(), TlsFilesError> {
    let seen = Seen::of(&files);
    let credentials = Credentials::read(&files, SystemTime::now())?;
    follow(files, seen, Ok(credentials));
    Ok(())
}

/// Reads the certificate as [`set_tls`] does, and if it cannot be used, waits for one that can: from
/// then on this process listens and dials with it. Before that, whatever needs no TLS works, and what
/// does fails.
///
/// # Errors
///
/// [`TlsFilesError`] names the file and its fault at present.
///
/// ```
/// # use transport as callsign;
/// use callsign::{TlsFiles, follow_tls};
///
/// let [ca, certificate, key] = ["ca.pem", "later.pem", "later.key"].map(Into::into);
/// if let Err(fault) = follow_tls(TlsFiles { ca, certificate, key }) {
///     println!("no connection with TLS for now: {fault}");
/// }
/// ```
pub fn follow_tls(files: TlsFiles) -> Result<(), TlsFilesError> {
    let seen = Seen::of(&files);
    let read = Credentials::read(&files, SystemTime::now());
    let (credentials, read) = match read {
        Ok(credentials) => (Ok(credentials), Ok(())),
        Err(error) => (Err(TlsError::Unusable(error.to_string())), Err(error)),
    };
    follow(files, seen, credentials);
    read
}

fn follow(files: TlsFiles, seen: Seen, credentials: Result<Credentials, TlsError>) {
    let looked_at = Instant::now();
    let mut followed = lock();
    let listening = followed.take().map(|it| it.listening).unwrap_or_default();
    let mut now = Followed { files, seen, credentials, looked_at, warned_at: None, listening };
    now.warn_of_end();
    now.warn_of_doubts();
    *followed = Some(now);
}

/// Returns the files of this process's certificate, to pass them on to a process that it starts.
///
/// ```
/// # use transport as callsign;
/// assert_eq!(callsign::tls_files(), None, "none is set yet");
/// ```
pub fn tls_files() -> Option<TlsFiles> {
    lock().as_ref().map(|it| it.files.clone())
}

/// Returns the certificate of this process, as its files have it now.
pub(crate) fn current() -> Result<Credentials, TlsError> {
    let mut followed = lock();
    let followed = followed.as_mut().ok_or(TlsError::NoCertificate)?;
    followed.follow();
    followed.credentials.clone()
}

/// Looks at the files of this process's certificate, as a connection does: what has changed is taken, and
/// what is wrong with them is logged, before anybody comes. It does nothing without a certificate, and
/// at most twice a second.
///
/// ```
/// # use transport as callsign;
/// callsign::look_at_tls_files();
/// ```
pub fn look_at_tls_files() {
    if let Some(followed) = lock().as_mut() {
        followed.follow();
    }
}

/// Takes note that this process listens there, and warns if those who dial that endpoint cannot
/// accept the certificate: now, and whenever another has come.
pub(crate) fn listens_at(endpoint: &Endpoint) {
    let mut followed = lock();
    let Some(followed) = followed.as_mut() else { return };
    followed.warn_of_doubt(endpoint);
    if followed.listening.len() < LISTENING_MAX && !followed.listening.contains(endpoint) {
        followed.listening.push(endpoint.clone());
    }
}

struct Followed {
    files: TlsFiles,
    seen: Seen,
    /// The last that could be used; before the first, why there is none.
    credentials: Result<Credentials, TlsError>,
    looked_at: Instant,
    /// When it was last warned of the end of the certificate.
    warned_at: Option<Instant>,
    /// Where this process has begun to listen with it.
    listening: Vec<Endpoint>,
}

impl Followed {
    fn follow(&mut self) {
        if self.looked_at.elapsed() < LOOK_INTERVAL {
            return;
        }
        self.looked_at = Instant::now();
        let seen = Seen::of(&self.files);
        // What is not valid yet becomes so without a change, and an authority expires.
        let now = SystemTime::now();
        let is_as_it_was = |it: &Credentials| it.outdated_at.is_none_or(|at| now < at);
        if seen == self.seen && self.credentials.as_ref().is_ok_and(is_as_it_was) {
            return self.warn_of_end();
        }
        // Of several files some may be new already and others not: the rest is another change.
        self.seen = seen;
        match Credentials::read(&self.files, now) {
            Ok(credentials) => {
                info!(certificate = %self.files.certificate.display(), "read anew");
                (self.credentials, self.warned_at) = (Ok(credentials), None);
                self.warn_of_end();
                self.warn_of_doubts();
            }
            // Who is let in, and to whom this process goes, was by that authority.
            Err(error) if matches!(error.fault, TlsFault::ExpiredAuthority) => {
                if self.credentials.is_ok() {
                    warn!(%error, "there is no connection with TLS any more");
                }
                self.credentials = Err(TlsError::Unusable(error.to_string()));
            }
            Err(error) if self.credentials.is_ok() => {
                warn!(%error, "the former certificate stays in use");
            }
            Err(error) => self.credentials = Err(TlsError::Unusable(error.to_string())),
        }
    }

    /// Warns once a day of a certificate that expires soon.
    fn warn_of_end(&mut self) {
        let Ok(credentials) = &self.credentials else { return };
        let (file, ends_at) = credentials.ends;
        let left = ends_at.duration_since(SystemTime::now()).unwrap_or_default();
        if left > WARNED_BEFORE || self.warned_at.is_some_and(|it| it.elapsed() < WARN_INTERVAL) {
            return;
        }
        self.warned_at = Some(Instant::now());
        let certificate = self.files.of(file).display();
        match left.as_secs() / DAY_SECONDS {
            0 if left.is_zero() => warn!(%certificate, "has expired: peers refuse it"),
            0 => warn!(%certificate, "expires in less than a day"),
            1 => warn!(%certificate, "expires in a day"),
            days => warn!(%certificate, "expires in {days} days"),
        }
    }

    fn warn_of_doubts(&self) {
        self.listening.iter().for_each(|it| self.warn_of_doubt(it));
    }

    fn warn_of_doubt(&self, endpoint: &Endpoint) {
        let Ok(credentials) = &self.credentials else { return };
        let Some(doubt) = credentials.doubt(endpoint, SystemTime::now()) else { return };
        let (certificate, remedy) = (self.files.certificate.display(), doubt.remedy());
        warn!(%endpoint, %certificate, remedy, "its certificate {doubt}");
    }
}

/// What identifies the contents of files, without reading them.
#[derive(Eq, PartialEq)]
struct Seen(Vec<(u64, i64, i64, i64, i64, u64)>);

impl Seen {
    fn of(files: &TlsFiles) -> Self {
        let of = |path: &Path| {
            let status = fs::metadata(path).ok();
            // A change of its permissions changes the second time alone.
            let times = |it: fs::Metadata| {
                (it.ino(), it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec(), it.len())
            };
            status.map(times).unwrap_or_default()
        };
        let mut seen = vec![of(&files.certificate), of(&files.key), of(&files.ca)];
        if let Ok(folder) = fs::read_dir(&files.ca) {
            let mut within: Vec<_> = folder.flatten().map(|it| of(&it.path())).collect();
            within.sort_unstable();
            seen.extend(within);
        }
        Self(seen)
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<Followed>> {
    // Whoever panicked left the former state whole.
    FOLLOWED.lock().unwrap_or_else(PoisonError::into_inner)
}

static FOLLOWED: Mutex<Option<Followed>> = Mutex::new(None);

pub(super) const DAY_SECONDS: u64 = 24 * 3600;

/// The most endpoints that are remembered, to warn of another certificate: no process has as many.
const LISTENING_MAX: usize = 64;

/// How long before its end a certificate is warned of: enough to find who issues another.
pub(super) const WARNED_BEFORE: Duration = Duration::from_secs(14 * DAY_SECONDS);

/// The time between two warnings.
const WARN_INTERVAL: Duration = Duration::from_secs(DAY_SECONDS);

/// The time between two looks at the files: a rotation takes effect within it.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
