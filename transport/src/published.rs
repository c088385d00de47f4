//! The published endpoints of listeners, and how they follow changes.

use std::ops::{Deref, DerefMut};

use endpoints::Stamped;

use crate::{whereabouts::Whereabouts, wildcards::Wildcard};

/// The dialable endpoints of listeners at a moment, with their listeners: a wildcard address may
/// have no address yet, and its registrant still follows it.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{Listener, Published};
///
/// let listeners = [
///     Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?,
///     Listener::bind(&"/memory/0".parse()?).await?,
/// ];
/// let both: Published = listeners.iter().map(Listener::published).collect();
/// assert_eq!(both.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Published {
    stamped: Vec<Stamped>,
    whereabouts: Whereabouts,
}

impl Published {
    pub(crate) fn of_wildcard(wildcard: Wildcard, meant: Vec<Stamped>) -> Self {
        Self { stamped: meant.clone(), whereabouts: Whereabouts::of_wildcard(wildcard, meant) }
    }

    /// Returns the endpoints, and the wildcards to follow: those with all of their addresses still
    /// published. A program that removed some has made its choice.
    ///
    /// ```
    /// # use transport as callsign;
    /// # fn example(listener: callsign::Listener) {
    /// let (stamped, followed) = listener.published().into_parts();
    /// for stamped in &stamped {
    ///     println!("callers come to {}", stamped.endpoint);
    /// }
    /// # drop(followed);
    /// # }
    /// ```
    pub fn into_parts(self) -> (Vec<Stamped>, Whereabouts) {
        let Self { stamped, mut whereabouts } = self;
        whereabouts.keep_all_of(&stamped);
        (stamped, whereabouts)
    }
}

impl Deref for Published {
    type Target = Vec<Stamped>;

    fn deref(&self) -> &Vec<Stamped> {
        &self.stamped
    }
}

impl DerefMut for Published {
    fn deref_mut(&mut self) -> &mut Vec<Stamped> {
        &mut self.stamped
    }
}

/// Endpoints that belong to no listener of this process, or are not known to.
impl From<Vec<Stamped>> for Published {
    fn from(stamped: Vec<Stamped>) -> Self {
        Self { stamped, whereabouts: Whereabouts::default() }
    }
}

impl<const N: usize> From<[Stamped; N]> for Published {
    fn from(stamped: [Stamped; N]) -> Self {
        Vec::from(stamped).into()
    }
}

impl From<Published> for Vec<Stamped> {
    fn from(published: Published) -> Self {
        published.stamped
    }
}

impl FromIterator<Self> for Published {
    fn from_iter<I: IntoIterator<Item = Self>>(all: I) -> Self {
        all.into_iter().fold(Self::default(), |mut together, it| {
            together.stamped.extend(it.stamped);
            together.whereabouts = together.whereabouts.and(it.whereabouts);
            together
        })
    }
}

impl IntoIterator for Published {
    type Item = Stamped;
    type IntoIter = std::vec::IntoIter<Stamped>;

    fn into_iter(self) -> Self::IntoIter {
        self.stamped.into_iter()
    }
}

impl<'a> IntoIterator for &'a Published {
    type Item = &'a Stamped;
    type IntoIter = std::slice::Iter<'a, Stamped>;

    fn into_iter(self) -> Self::IntoIter {
        self.stamped.iter()
    }
}

impl PartialEq for Published {
    fn eq(&self, other: &Self) -> bool {
        self.stamped == other.stamped
    }
}

impl PartialEq<Vec<Stamped>> for Published {
    fn eq(&self, other: &Vec<Stamped>) -> bool {
        self.stamped == *other
    }
}

impl PartialEq<Published> for Vec<Stamped> {
    fn eq(&self, other: &Published) -> bool {
        *self == other.stamped
    }
}
