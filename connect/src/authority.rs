//! A name as the host of a URI, and back.
//!
//! A host may have letters, digits, `-`, `.`, `_` and `~`. Every other character of a name is
//! written as in the encoding quoted-printable: `=` and two hexadecimal digits for each byte. (The
//! `%` of URIs is no part of a host: neither the crate `http` nor browsers accept it there.)

use std::fmt::Write;

use endpoints::{Name, NameError};
use http::Uri;
use thiserror::Error;

/// Returns a name as the host of a URI: `market:feed` is `market=3afeed`. Capitals are escaped as
/// well, because many clients turn a host into small letters.
///
/// ```
/// # use callsign_connect as callsign;
/// # use callsign_connect as connect;
/// assert_eq!(callsign::host(&"feed.eurusd".parse()?), "feed.eurusd");
/// assert_eq!(callsign::host(&"Market:feed".parse()?), "=4darket=3afeed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn host(name: &Name) -> String {
    let mut host = String::new();
    for byte in name.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => host.push(char::from(byte)),
            _ => write!(host, "={byte:02x}").expect("a text takes what is written to it"),
        }
    }
    host
}

/// Returns the URI of a name: `http://HOST/`.
///
/// ```
/// # use callsign_connect as callsign;
/// # use callsign_connect as connect;
/// assert_eq!(callsign::uri(&"feed".parse()?).to_string(), "http://feed/");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn uri(name: &Name) -> Uri {
    let text = format!("http://{}/", host(name));
    text.parse().expect("a host in small letters, digits and escapes")
}

/// Reads the name in a URI.
pub(crate) fn name_in(uri: &Uri) -> Result<Name, UriError> {
    if let Some(scheme) = uri.scheme_str().filter(|it| *it != "http") {
        return Err(UriError::Scheme { scheme: scheme.to_owned() });
    }
    let Some(authority) = uri.authority() else { return Err(UriError::NoName) };
    let host = authority.as_str();
    // Whether `:` or `@` is an accident or belongs to the name, only the caller knows.
    if let Some(character) = host.chars().find(|it| matches!(it, '@' | ':' | '[')) {
        return Err(UriError::Unescaped { host: host.to_owned(), character });
    }
    let Some(text) = unescaped(host) else { return Err(UriError::Escape(host.to_owned())) };
    Ok(Name::new(&text)?)
}

fn unescaped(host: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = host.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'=' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let [high, low] = [digits[0], digits[1]].map(|it| char::from(it).to_digit(16));
        bytes.push(u8::try_from(high? * 16 + low?).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// Why a URI names no actor.
///
/// ```
/// # use callsign_connect as callsign;
/// use callsign::UriError;
///
/// assert_eq!(UriError::NoName.to_string(), "the URI names no actor; write `http://NAME/…`");
/// ```
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum UriError {
    /// It has no host.
    #[error("the URI names no actor; write `http://NAME/…`")]
    NoName,
    /// Its scheme is another.
    #[error(
        "the URI begins with `{scheme}:`; write `http://NAME/…`: the way to the actor is chosen by what it is registered with"
    )]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// It has a port, a user, or an address.
    #[error(
        "`{host}` is no actor's name: the registrar tells its port; a `{character}` that belongs to the name is written `={:02x}`",
        u32::from(*.character)
    )]
    Unescaped {
        /// The host, with the rest of the authority.
        host: String,
        /// The character.
        character: char,
    },
    /// An escape in it is broken.
    #[error(
        "`{0}` has a `=` without two hexadecimal digits of a byte behind it; `=` itself is written `=3d`"
    )]
    Escape(String),
    /// The text is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_host_and_comes_back() {
        let long = "ü".repeat(127);
        for text in [
            "feed",
            "feed.eurusd",
            "10.0.0.1",
            "Feed",
            "a:b",
            "a:1616",
            "user@host",
            "[::1]",
            "a=b",
            "a%2Fb",
            "100%",
            "größe",
            "日本",
            "~x_y-z",
            "a#b",
            "a\\b",
            "{\"a\"}",
            "a=3ab",
            "|",
            ".x",
            "x.",
            &long,
        ] {
            let name = Name::new(text).unwrap();
            let uri = uri(&name);
            assert_eq!(name_in(&uri).unwrap(), name, "{uri}");
            let small: Uri = uri.to_string().to_lowercase().parse().unwrap();
            assert_eq!(name_in(&small).unwrap(), name, "{small}");
        }
    }

    #[test]
    fn a_uri_is_read_as_it_is_typed() {
        for (uri, name) in [
            ("http://feed/quote?pair=EURUSD", "feed"),
            ("http://Feed", "Feed"),
            ("http://market=3Afeed/", "market:feed"),
            ("http://feed!", "feed!"),
        ] {
            assert_eq!(name_in(&uri.parse().unwrap()).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_uri_that_names_no_actor_says_why() {
        for (uri, why) in [
            ("/quote", "names no actor"),
            ("https://feed/", "begins with `https:`"),
            (
                "http://feed:80/",
                "the registrar tells its port; a `:` that belongs to the name is written `=3a`",
            ),
            ("http://a:b/", "is written `=3a`"),
            ("http://me@feed/", "is written `=40`"),
            ("http://[::1]/", "is no actor's name"),
            ("http://a=/", "without two hexadecimal digits"),
            ("http://a=4/", "without two hexadecimal digits"),
            ("http://a=4x/", "without two hexadecimal digits"),
            ("http://a=ff/", "without two hexadecimal digits of a byte"),
            ("http://a=2fb/", "a name cannot have"),
            ("http://a*/", "a name cannot have"),
            ("http://../", "a name"),
        ] {
            let error = match uri.parse() {
                Ok(uri) => name_in(&uri).unwrap_err().to_string(),
                Err(error) => panic!("{uri}: {error}"),
            };
            assert!(error.contains(why), "{uri}: {error}");
        }
    }
}
