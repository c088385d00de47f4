//! Unix sockets, and the two spellings of their addresses.
//!
//! The `multiaddr` crate takes a single segment for `/unix` and does not decode it, so the codec
//! is our own. It reads the greedy spelling (an absolute path, as tractor, go-multiaddr and
//! py-multiaddr write it) and the one percent-encoded segment of the specification
//! (<https://github.com/multiformats/multiaddr/blob/master/protocols/unix.md>).

use std::{borrow::Cow, ffi::OsStr, path::Path};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode_byte};

use crate::{
    error::{ParseEndpointError, ParseEndpointErrorKind},
    limits::{ABSTRACT_NAME_BYTES_MAX, FILE_NAME_BYTES_MAX, PATH_BYTES_MAX, SUN_PATH_BYTES_MAX},
    plain::is_plain,
};

/// The address of a Unix socket.
///
/// ```
/// # use endpoints as callsign;
/// use callsign::{Endpoint, UnixAddress};
///
/// let Endpoint::Unix(address) = "/unix/@feed".parse()? else { unreachable!("it is a Unix socket") };
/// assert!(matches!(address, UnixAddress::Abstract(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum UnixAddress {
    /// A socket file.
    Path(UnixPath),
    /// A name without a file, known within one network namespace; without the leading `@`.
    /// It has 1 to 107 bytes. NULs are bytes like any other, and some programs pad their names with
    /// them to the full length; they are written as `%00`.
    Abstract(Box<str>),
}

/// The absolute, plain path of a socket file: no `.`, no `..`, no empty part, no NUL.
///
/// ```
/// # use endpoints as callsign;
/// use std::path::Path;
///
/// use callsign::UnixPath;
///
/// let path = UnixPath::new(Path::new("/run/feed.sock"))?;
/// assert_eq!(path.as_str(), "/run/feed.sock");
/// assert!(UnixPath::new(Path::new("feed.sock")).is_err(), "it is relative");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixPath(Box<str>);

impl UnixPath {
    /// The most bytes of a path that can be bound and dialed as it stands.
    pub const SUN_PATH_BYTES_MAX: usize = SUN_PATH_BYTES_MAX;

    /// The most bytes that the last part of a longer path may have.
    pub const FILE_NAME_BYTES_MAX: usize = FILE_NAME_BYTES_MAX;

    /// The most bytes that a whole path may have.
    pub const BYTES_MAX: usize = PATH_BYTES_MAX;

    /// Checks `path` and takes it as the path of a socket.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use std::path::Path;
    ///
    /// use callsign::UnixPath;
    ///
    /// assert_eq!(UnixPath::new(Path::new("/run/feed.sock"))?.as_str(), "/run/feed.sock");
    /// assert!(UnixPath::new(Path::new("feed.sock")).is_err(), "where that is, depends");
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ParseEndpointError`] says which rule `path` breaks.
    pub fn new(path: &Path) -> Result<Self, ParseEndpointError> {
        let text = path.to_string_lossy();
        let fail = |kind| ParseEndpointError::of_whole(&text, kind);
        if path.to_str().is_none() {
            return Err(fail(ParseEndpointErrorKind::NotUtf8));
        }
        if !text.starts_with('/') {
            let path = text.clone().into_owned();
            return Err(fail(ParseEndpointErrorKind::RelativePath { path }));
        }
        Self::absolute(text.clone().into_owned()).map_err(fail)
    }

    /// Returns the path as text.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use std::path::Path;
    ///
    /// use callsign::UnixPath;
    ///
    /// assert_eq!(UnixPath::new(Path::new("/run/feed.sock"))?.as_str(), "/run/feed.sock");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path as a path.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use std::path::Path;
    ///
    /// use callsign::{Endpoint, UnixAddress};
    ///
    /// let endpoint = "/unix/%2Frun%2Ffeed.sock".parse()?;
    /// let Endpoint::Unix(UnixAddress::Path(path)) = endpoint else { panic!("it is a path") };
    /// assert_eq!(path.as_path(), Path::new("/run/feed.sock"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// Returns the folder, and the name of the socket in it.
    ///
    /// ```
    /// # use endpoints as callsign;
    /// use std::path::Path;
    ///
    /// use callsign::UnixPath;
    ///
    /// let path = UnixPath::new(Path::new("/run/feed.sock"))?;
    /// let (folder, name) = path.parts();
    /// assert_eq!(folder.join(name), path.as_path());
    /// assert_eq!(folder, Path::new("/run"));
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn parts(&self) -> (&Path, &OsStr) {
        let path = self.as_path();
        path.parent()
            .zip(path.file_name())
            .expect("the path of a socket is absolute and has a last part")
    }

    /// Takes a path that begins with a slash.
    pub(crate) fn absolute(path: String) -> Result<Self, ParseEndpointErrorKind> {
        if path.contains('\0') {
            return Err(ParseEndpointErrorKind::Nul);
        }
        if path.ends_with('/') {
            return Err(ParseEndpointErrorKind::TrailingSlash);
        }
        if path[1..].split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(ParseEndpointErrorKind::NotPlain { path });
        }
        if path.len() > Self::BYTES_MAX {
            return Err(ParseEndpointErrorKind::PathTooLong { bytes: path.len() });
        }
        let file_name = path.rsplit('/').next().unwrap_or_default();
        if path.len() > Self::SUN_PATH_BYTES_MAX && file_name.len() > Self::FILE_NAME_BYTES_MAX {
            return Err(ParseEndpointErrorKind::FileNameTooLong { bytes: file_name.len() });
        }
        Ok(Self(path.into()))
    }
}

impl UnixAddress {
    /// Reads the text after `/unix/`, in either spelling.
    pub(crate) fn read(value: &str) -> Result<Self, ParseEndpointErrorKind> {
        let decoded = percent_decode_str(value)
            .decode_utf8()
            .map_err(|_| ParseEndpointErrorKind::NotUtf8)?
            .into_owned();
        if let Some(name) = decoded.strip_prefix('@') {
            return Self::from_abstract_name(name);
        }

        // One segment with an encoded slash is the specification's spelling, which says whether the
        // path is absolute. Anything else is the greedy form, which omits the slash.
        let (first, after) = match value.split_once('/') {
            Some((first, after)) => (first, Some(after)),
            None => (value, None),
        };
        if !percent_decode_str(first).decode_utf8_lossy().contains('/') {
            return UnixPath::absolute(format!("/{decoded}")).map(Self::Path);
        }
        match after {
            Some(rest) => Err(ParseEndpointErrorKind::Trailing { component: format!("/{rest}") }),
            None if decoded.starts_with('/') => UnixPath::absolute(decoded).map(Self::Path),
            None => Err(ParseEndpointErrorKind::RelativePath { path: decoded }),
        }
    }

    /// Reads the value of a binary multiaddr. A path may come without its leading slash, as
    /// py-multiaddr writes it.
    pub(crate) fn read_bytes(value: &[u8]) -> Result<Self, ParseEndpointErrorKind> {
        let value = str::from_utf8(value).map_err(|_| ParseEndpointErrorKind::NotUtf8)?;
        match value.strip_prefix('@') {
            Some(name) => Self::from_abstract_name(name),
            None if value.starts_with('/') => UnixPath::absolute(value.to_owned()).map(Self::Path),
            None => UnixPath::absolute(format!("/{value}")).map(Self::Path),
        }
    }

    /// Returns the value of the multiaddr component: the path, or `@` and the name.
    pub(crate) fn to_value(&self) -> Cow<'_, str> {
        match self {
            Self::Path(path) => Cow::Borrowed(path.as_str()),
            Self::Abstract(name) => Cow::Owned(format!("@{name}")),
        }
    }

    /// Returns the path, if it needs no escapes, as nearly every path.
    pub(crate) fn as_plain(&self) -> Option<&str> {
        match self {
            Self::Path(path) if is_plain_path(path.as_str()) => Some(path.as_str()),
            _ => None,
        }
    }

    /// Reads what stands after `/unix`, if it is a path that needs no escapes.
    pub(crate) fn read_plain(path: &str) -> Option<Self> {
        let is_short = path.len() <= SUN_PATH_BYTES_MAX;
        // What is wrong with others is said by the usual way.
        let is_path = is_short && is_plain_path(path) && leads_somewhere(path);
        is_path.then(|| Self::Path(UnixPath(path.into())))
    }

    /// Appends what Display writes, if it is a path that needs no escapes. Tells whether it is.
    pub(crate) fn append_plain(&self, text: &mut String) -> bool {
        let Some(path) = self.as_plain() else { return false };
        text.push_str("/unix");
        text.push_str(path);
        true
    }

    /// Writes the value for people. It escapes only `%` and characters that would not survive in a
    /// line of text, or would be invisible there, so that reading undoes printing.
    pub(crate) fn to_greedy(&self) -> String {
        let value = self.to_value();
        let segments = match value.strip_prefix('/') {
            // Without its slash, this path would be read as an abstract name.
            Some(path) if path.starts_with('@') => return self.to_encoded(),
            Some(path) => path,
            None => &value,
        };
        let mut text = String::with_capacity(segments.len());
        for (at, character) in segments.char_indices() {
            // Before a slash, a separator may be taken for the end of the endpoint.
            let separates =
                matches!(character, ',' | ';' | '|') && segments[at + 1..].starts_with('/');
            if matches!(character, '%' | ' ') || separates || !is_plain(character) {
                let mut utf8 = [0; 4];
                let bytes = character.encode_utf8(&mut utf8).bytes();
                text.extend(bytes.map(percent_encode_byte));
            } else {
                text.push(character);
            }
        }
        text
    }

    /// Writes the value as one segment of plain ASCII.
    pub(crate) fn to_encoded(&self) -> String {
        percent_encoding::utf8_percent_encode(&self.to_value(), ENCODED_SEGMENT).to_string()
    }

    pub(crate) fn from_abstract_name(name: &str) -> Result<Self, ParseEndpointErrorKind> {
        if name.is_empty() || name.len() > ABSTRACT_NAME_BYTES_MAX {
            return Err(ParseEndpointErrorKind::AbstractNameLength { bytes: name.len() });
        }
        Ok(Self::Abstract(name.into()))
    }
}

/// Tells whether no part of an absolute path is empty, `.` or `..`.
fn leads_somewhere(path: &str) -> bool {
    let (mut length, mut dots) = (0, 0);
    let mut is_good = true;
    for byte in path.bytes().skip(1).chain([b'/']) {
        if byte == b'/' {
            is_good &= length > dots || length > 2;
            (length, dots) = (0, 0);
        } else {
            length += 1;
            dots += usize::from(byte == b'.');
        }
    }
    is_good
}

/// Tells whether a path has only letters, digits and the marks of usual file names.
fn is_plain_path(path: &str) -> bool {
    let is_usual = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'/' | b'.' | b'-' | b'_');
    path.starts_with('/') && path.bytes().all(is_usual)
}

/// The characters to escape in one segment, besides all non-ASCII ones.
const ENCODED_SEGMENT: &AsciiSet = &CONTROLS.add(b'%').add(b'/').add(b' ');
