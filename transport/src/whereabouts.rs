//! The present endpoints of this process's listeners.
//!
//! A published endpoint is true of a moment: a vanished socket file is bound again and is another
//! one then, and the addresses of a wildcard change with the networks. So its publishers wait for
//! changes, and update it:
//!
//! ```text
//!   a socket is bound again ──▶ moves ────────┐
//!                                             ├─▶ Changes ──▶ Whereabouts::follow ──▶ published
//!   an address comes or goes ──▶ rtnetlink ───┘
//! ```

use std::{collections::HashMap, io, time::Duration};

use endpoints::{Endpoint, Host, InstanceId, Stamp, Stamped};
use tokio::time::sleep;

use crate::{
    addresses::AddressChanges,
    here::is_there,
    moves::{Moves, follow_moves, moves},
    wildcards::{Wildcard, wildcards_in},
};

/// The published endpoints that change with this process's listeners.
///
/// ```
/// # use transport as callsign;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use callsign::{Listener, Whereabouts};
///
/// let listener = Listener::bind(&"/ip4/0.0.0.0/tcp/0".parse()?).await?;
/// let mut published = listener.published();
/// let mut whereabouts = Whereabouts::of(&published);
/// assert!(!whereabouts.follow(&mut published), "this host has the same addresses still");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Whereabouts {
    /// The wildcard addresses with all of their endpoints published, each with its latest
    /// addresses. A program that published only some of them has made its choice.
    wildcards: Vec<(Wildcard, Vec<Stamped>)>,
    /// The published addresses of this host, which it may lose, and those that it has yet to get.
    fixed: Vec<Fixed>,
}

/// A published address of this host.
#[derive(Clone, Debug)]
struct Fixed {
    stamped: Stamped,
    is_gone: bool,
}

impl Whereabouts {
    /// Finds out which of these are of this process's listeners.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::Whereabouts;
    ///
    /// // Nothing is published, so nothing can move.
    /// assert!(!Whereabouts::of(&[]).follow(&mut Vec::new()));
    /// ```
    pub fn of(published: &[Stamped]) -> Self {
        Self { wildcards: wildcards_in(published), fixed: fixed_in(published) }.sorted()
    }

    pub(crate) fn of_wildcard(wildcard: Wildcard, meant: Vec<Stamped>) -> Self {
        Self { wildcards: vec![(wildcard, meant)], fixed: Vec::new() }
    }

    pub(crate) fn of_bound(wildcards: impl Iterator<Item = Wildcard>, others: &[Stamped]) -> Self {
        let with_meant = |it: Wildcard| it.meant().map(|meant| (it, meant));
        Self { wildcards: wildcards.filter_map(with_meant).collect(), fixed: fixed_in(others) }
    }

    /// Leaves the addresses of a wildcard to that.
    fn sorted(mut self) -> Self {
        let Self { wildcards, fixed } = &mut self;
        fixed.retain(|it| !wildcards.iter().any(|(_, meant)| meant.contains(&it.stamped)));
        self
    }

    /// Follows only the wildcards all of whose endpoints are among these.
    pub(crate) fn keep_all_of(&mut self, published: &[Stamped]) {
        self.wildcards.retain(|(_, meant)| meant.iter().all(|it| published.contains(it)));
    }

    /// Follows both.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, transport::*}; }
    /// use callsign::Whereabouts;
    ///
    /// /// Follows what was published at several times.
    /// fn of_all(published: &[Vec<callsign::Stamped>]) -> Whereabouts {
    ///     let each = published.iter().map(|it| Whereabouts::of(it));
    ///     each.fold(Whereabouts::default(), Whereabouts::and)
    /// }
    /// ```
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (wildcard, meant) in other.wildcards {
            if !self.wildcards.iter().any(|(own, _)| own.is(&wildcard)) {
                self.wildcards.push((wildcard, meant));
            }
        }
        for fixed in other.fixed {
            match self.fixed.iter_mut().find(|it| it.stamped == fixed.stamped) {
                Some(own) => own.is_gone &= fixed.is_gone,
                None => self.fixed.push(fixed),
            }
        }
        self.sorted()
    }

    /// Follows what an earlier publication has followed too, as far as that is published still: this
    /// host may have lost such an address before.
    ///
    /// ```
    /// # mod callsign { pub use {endpoints::*, transport::*}; }
    /// use callsign::Whereabouts;
    ///
    /// /// Follows what is published from now on.
    /// fn publish(published: &[callsign::Stamped], before: &Whereabouts) -> Whereabouts {
    ///     Whereabouts::of(published).after(before, published)
    /// }
    /// ```
    #[must_use]
    pub fn after(self, before: &Self, published: &[Stamped]) -> Self {
        let is_published = |it: &&Fixed| published.contains(&it.stamped);
        let fixed = before.fixed.iter().filter(is_published).cloned().collect();
        self.and(Self { wildcards: Vec::new(), fixed })
    }

    /// Returns the published addresses that this host has lost.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::Whereabouts;
    ///
    /// assert_eq!(Whereabouts::of(&[]).gone().count(), 0);
    /// ```
    pub fn gone(&self) -> impl Iterator<Item = &Endpoint> {
        self.fixed.iter().filter(|it| it.is_gone).map(|it| &it.stamped.endpoint)
    }

    /// Takes out the addresses that this host has lost.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Listener, Whereabouts};
    ///
    /// let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?).await?;
    /// let mut published = listener.published();
    /// Whereabouts::of_listeners([&listener]).withhold(&mut published);
    /// assert_eq!(published.len(), 1, "the loopback stays");
    /// # Ok(())
    /// # }
    /// ```
    pub fn withhold(&mut self, published: &mut Vec<Stamped>) {
        for fixed in &mut self.fixed {
            fixed.look(&mut Looked::default());
            if fixed.is_gone {
                published.retain(|it| *it != fixed.stamped);
            }
        }
    }

    /// Updates published endpoints, and tells whether they have changed.
    ///
    /// ```
    /// # use transport as callsign;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use callsign::{Listener, Whereabouts};
    ///
    /// let listener = Listener::bind(&"/ip4/0.0.0.0/tcp/0".parse()?).await?;
    /// let mut published = Vec::new();
    /// let mut whereabouts = Whereabouts::of_listeners([&listener]);
    /// if whereabouts.follow(&mut published) {
    ///     println!("this host has other addresses by now: {published:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn follow(&mut self, published: &mut Vec<Stamped>) -> bool {
        self.follow_beside(published, &mut Looked::default())
    }

    /// Updates published endpoints as [`follow`](Self::follow) does, beside others that may be at the
    /// same addresses: each is looked at once.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::{Looked, Whereabouts};
    ///
    /// let mut looked = Looked::default();
    /// for _actor in 0..3 {
    ///     assert!(!Whereabouts::of(&[]).follow_beside(&mut Vec::new(), &mut looked));
    /// }
    /// ```
    pub fn follow_beside(&mut self, published: &mut Vec<Stamped>, looked: &mut Looked) -> bool {
        let mut has_changed = follow_moves(published);
        for (wildcard, meant) in &mut self.wildcards {
            let Some(now) = wildcard.meant() else { continue };
            if now == *meant {
                continue;
            }
            published.retain(|it| !meant.contains(it) || now.contains(it));
            let come: Vec<_> = now.iter().filter(|it| !published.contains(it)).cloned().collect();
            published.extend(come);
            published.truncate(InstanceId::ENDPOINTS_MAX);
            *meant = now;
            has_changed = true;
        }
        for fixed in &mut self.fixed {
            let was_gone = fixed.is_gone;
            fixed.look(looked);
            if fixed.is_gone {
                let count = published.len();
                published.retain(|it| *it != fixed.stamped);
                has_changed |= published.len() < count;
            } else if was_gone
                && !published.contains(&fixed.stamped)
                && published.len() < InstanceId::ENDPOINTS_MAX
            {
                published.push(fixed.stamped.clone());
                has_changed = true;
            }
        }
        has_changed
    }

    /// Begins to report changes that may concern these, except those of the loopback interface alone.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::{Listener, Whereabouts};
    ///
    /// /// Follows where a listener is found.
    /// async fn follow(listener: &Listener) {
    ///     let mut published = listener.published();
    ///     let mut whereabouts = Whereabouts::of_listeners([listener]);
    ///     let mut changes = whereabouts.changes();
    ///     loop {
    ///         changes.next().await;
    ///         if whereabouts.follow(&mut published) {
    ///             println!("by now at {published:?}");
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime that drives I/O and time.
    pub fn changes(&self) -> Changes {
        // The client of a tree follows the loopback for all its actors: each may have a port there, and
        // a socket of its own for these changes would be too much.
        let is_loopback = |it: &Fixed| matches!(&it.stamped.endpoint, Endpoint::Tcp(tcp) if tcp.host.is_loopback());
        if self.wildcards.is_empty() && self.fixed.iter().all(is_loopback) {
            Changes::of_sockets()
        } else {
            Changes::new()
        }
    }
}

impl Fixed {
    /// Looks whether this host has the address now.
    fn look(&mut self, looked: &mut Looked) {
        let is_gone = looked.is_there(&self.stamped) == Some(false);
        let endpoint = &self.stamped.endpoint;
        match (self.is_gone, is_gone) {
            (false, true) => tracing::warn!(
                target: "callsign", %endpoint,
                "this host has lost the address, and nobody is led there until it has it again"
            ),
            (true, false) => {
                tracing::warn!(target: "callsign", %endpoint, "this host has the address again");
            }
            _ => {}
        }
        self.is_gone = is_gone;
    }
}

/// The addresses that were looked at for one change.
///
/// ```
/// # use transport as callsign;
/// # use endpoints::Stamped;
/// /// Follows what all of these publish, after a change.
/// fn follow_all(all: &mut [(callsign::Whereabouts, Vec<Stamped>)]) {
///     let mut looked = callsign::Looked::default();
///     for (whereabouts, published) in all {
///         whereabouts.follow_beside(published, &mut looked);
///     }
/// }
/// ```
#[derive(Debug, Default)]
pub struct Looked(HashMap<(Host, Stamp), Option<bool>>);

impl Looked {
    fn is_there(&mut self, stamped: &Stamped) -> Option<bool> {
        let Endpoint::Tcp(tcp) = &stamped.endpoint else { return is_there(stamped) };
        let place = (tcp.host.clone(), stamped.stamp);
        *self.0.entry(place).or_insert_with(|| is_there(stamped))
    }
}

/// Returns those at an address that this host has, or that its stamp says to be here: a listener may be
/// bound before its address comes (`ip_nonlocal_bind`).
fn fixed_in(published: &[Stamped]) -> Vec<Fixed> {
    let at_address = published.iter().filter(|it| matches!(it.endpoint, Endpoint::Tcp(_)));
    let are_here = at_address.filter_map(|it| Some((it, is_there(it)?)));
    let fixed = |(it, is_there): (&Stamped, bool)| {
        if !is_there {
            tracing::warn!(
                target: "callsign", endpoint = %it.endpoint,
                "this host does not have the address, and nobody is led there until it has"
            );
        }
        Fixed { stamped: it.clone(), is_gone: !is_there }
    };
    are_here.map(fixed).collect()
}

/// Reports when this process's listeners may have other endpoints: a socket was bound again, or an
/// address of this host has come or gone.
///
/// ```
/// # use transport as callsign;
/// use callsign::{Changes, Listener};
///
/// /// Says where listeners are found, whenever that has changed.
/// async fn follow(listeners: &[Listener]) {
///     let mut changes = Changes::of(listeners);
///     loop {
///         changes.next().await;
///         listeners.iter().for_each(|it| println!("{:?}", it.published()));
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Changes {
    moves: Moves,
    addresses: Addresses,
}

#[derive(Debug)]
enum Addresses {
    Heard(AddressChanges),
    /// The kernel does not report them, so they are polled.
    Unheard,
    /// There is no wildcard address.
    Unneeded,
}

impl Changes {
    /// Tells of all changes from now on: those of the network namespace of this thread.
    ///
    /// ```
    /// # use transport as callsign;
    /// use callsign::Changes;
    ///
    /// /// Waits until this host may have another address.
    /// async fn until_moved() {
    ///     Changes::new().next().await;
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime that drives I/O and time.
    #[expect(clippy::new_without_default, reason = "it opens a socket")]
    pub fn new() -> Self {
        let addresses = match AddressChanges::new() {
            Ok(changes) => Addresses::Heard(changes),
            Err(error) => Addresses::unheard(&error),
        };
        Self { moves: moves(), addresses }
    }

    pub(crate) fn of_sockets() -> Self {
        Self { moves: moves(), addresses: Addresses::Unneeded }
    }

    /// Waits for the next change. Several together count as one.
    ///
    /// ```
    /// # use transport as callsign;
    /// # async fn example(mut changes: callsign::Changes) {
    /// changes.next().await;
    /// println!("a cable was plugged in, or a socket file moved");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a change is either reported or still to be reported.
    pub async fn next(&mut self) {
        let Self { moves, addresses } = self;
        let heard = tokio::select! {
            () = moves.changed() => Ok(()),
            heard = addresses.changed() => heard,
        };
        if let Err(error) = heard {
            self.addresses = Addresses::unheard(&error);
        }
    }
}

impl Addresses {
    fn unheard(error: &io::Error) -> Self {
        tracing::debug!(%error, "the kernel does not tell of addresses; they are looked at instead");
        Self::Unheard
    }

    async fn changed(&self) -> io::Result<()> {
        match self {
            Self::Heard(changes) => changes.changed().await,
            Self::Unheard => {
                sleep(PAUSE).await;
                Ok(())
            }
            Self::Unneeded => std::future::pending().await,
        }
    }
}

/// The interval between looks at the addresses if the kernel does not report changes: a new address
/// is published within two seconds.
const PAUSE: Duration = Duration::from_secs(1);
