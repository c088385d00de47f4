//! The path of an actor in its tree.

use std::{fmt, sync::Arc};

use endpoints::{Name, NameError};
use serde::{Deserialize, Serialize};

/// The path of an actor in its tree: the names from the root down, as `/base/desk/feed`.
///
/// Restarts of an actor share its path; the instance's UUID distinguishes them.
///
/// ```
/// # use callsign_tree as callsign;
/// # use endpoints::Name;
/// use callsign::ActorPath;
///
/// let feed = ActorPath::root(&Name::new("base")?).child(&Name::new("feed")?);
/// assert_eq!(feed.as_str(), "/base/feed");
/// assert_eq!(feed.name(), "feed");
/// assert_eq!(feed.parent().map(|it| it.to_string()).as_deref(), Some("/base"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActorPath(Arc<str>);

impl ActorPath {
    /// Returns the path of a root.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use endpoints::Name;
    /// use callsign::ActorPath;
    ///
    /// assert_eq!(ActorPath::root(&Name::new("market")?).as_str(), "/market");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn root(name: &Name) -> Self {
        Self(format!("/{name}").into())
    }

    /// Returns the path of a child.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// # use endpoints::Name;
    /// use callsign::ActorPath;
    ///
    /// let market = ActorPath::root(&Name::new("market")?);
    /// assert_eq!(market.child(&Name::new("feed")?).as_str(), "/market/feed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn child(&self, name: &Name) -> Self {
        Self(format!("{}/{name}", self.0).into())
    }

    /// Returns the path as text.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::ActorPath;
    ///
    /// /// Tells whether an actor is below another, at any depth.
    /// fn is_below(actor: &ActorPath, other: &ActorPath) -> bool {
    ///     actor.as_str().strip_prefix(other.as_str()).is_some_and(|it| it.starts_with('/'))
    /// }
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path of the parent; `None` for a root.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::ActorPath;
    ///
    /// fn are_siblings(one: &ActorPath, other: &ActorPath) -> bool {
    ///     one.parent().is_some() && one.parent() == other.parent()
    /// }
    /// ```
    pub fn parent(&self) -> Option<Self> {
        match self.0.rsplit_once('/') {
            Some(("", _)) | None => None,
            Some((parent, _)) => Some(Self(parent.into())),
        }
    }

    /// Returns what the actor itself is called.
    ///
    /// ```
    /// # use callsign_tree as callsign;
    /// use callsign::ActorPath;
    ///
    /// fn show(path: &ActorPath) {
    ///     println!("{:>12} {path}", path.name());
    /// }
    /// ```
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }
}

impl TryFrom<String> for ActorPath {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        // Without a leading slash there is no name before the first one.
        let names = text.strip_prefix('/').unwrap_or("");
        for name in names.split('/') {
            Name::new(name)?;
        }
        Ok(Self(text.into()))
    }
}

impl From<ActorPath> for String {
    fn from(path: ActorPath) -> Self {
        path.0.as_ref().to_owned()
    }
}

impl fmt::Display for ActorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        let check = |text: &str, parent: Option<&str>, name: &str| {
            let path = ActorPath::try_from(text.to_owned()).unwrap();
            assert_eq!(path.parent().as_ref().map(ActorPath::as_str), parent);
            assert_eq!(path.name(), name);
            assert_eq!(path.to_string(), text);
        };
        check("/base", None, "base");
        check("/base/desk", Some("/base"), "desk");
        check("/base/desk/feed.2", Some("/base/desk"), "feed.2");
        for bad in ["", "/", "base", "/base/", "//base", "/base//feed", "/a b"] {
            assert!(ActorPath::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn grows_downwards() {
        let root = ActorPath::root(&Name::new("base").unwrap());
        assert_eq!(root.child(&Name::new("feed").unwrap()).as_str(), "/base/feed");
    }
}
