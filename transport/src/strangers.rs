//! Other users' listeners in the places of programs that cannot prove who they are.
//!
//! A port or an abstract name is free for anybody as soon as its server ends, and nothing of its own
//! tells two servers apart, as the inode of a socket file does. The kernel tells their users apart: so
//! a registration says whose the listener is, and callers compare.

use endpoints::{Endpoint, Stamp, Stamped, UnixAddress};

use crate::{
    here,
    linux::{ROOT, user_ids_are_global},
    listening::{Listening, ListeningSocket, listening_at_each},
};

/// Stamps endpoints of a program that cannot prove who it is with the user who listens there: ports and
/// abstract names of this network namespace. Where nobody listens, that is `registrant`; root's
/// programs may be of any user.
///
/// ```
/// # use transport as callsign;
/// # use endpoints::{Endpoint, Stamped};
/// let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let endpoint = Endpoint::from(server.local_addr()?);
/// let mut stamped = [Stamped { stamp: callsign::stamp(&endpoint), endpoint }];
/// callsign::stamp_users(&mut stamped, None);
/// assert!(stamped[0].stamp.user.is_some() || !callsign::user_ids_are_global());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn stamp_users(stamped: &mut [Stamped], registrant: Option<u32>) {
    let mut places: Vec<_> = stamped.iter_mut().filter(|it| is_open_to_all(it)).collect();
    let endpoints: Vec<_> = places.iter().map(|it| it.endpoint.clone()).collect();
    if endpoints.is_empty() || !user_ids_are_global() {
        return;
    }
    for (place, listening) in places.iter_mut().zip(listening_at_each(&endpoints)) {
        place.stamp.user = match listening {
            Listening::Sockets(sockets) => sockets.first().and_then(|it| it.uid),
            Listening::Nobody(_) => registrant.filter(|it| *it != ROOT),
            Listening::Unknown => None,
        };
    }
}

/// Keeps the users of former stamps of the same places: who registers an instance again does not mean
/// another server.
///
/// ```
/// # use transport as callsign;
/// # use endpoints::{Stamp, Stamped};
/// let bare = Stamped::bare("/ip4/127.0.0.1/tcp/80".parse()?);
/// let of = |user| Stamped { stamp: Stamp { user: Some(user), ..Stamp::default() }, ..bare.clone() };
/// let mut now = [of(1001)];
/// callsign::keep_users(&mut now, &[of(1000)]);
/// assert_eq!(now, [of(1000)]);
/// # Ok::<(), endpoints::ParseEndpointError>(())
/// ```
pub fn keep_users(stamped: &mut [Stamped], former: &[Stamped]) {
    for now in stamped {
        let is_it = |it: &&Stamped| {
            let same = |stamp: &Stamp| (stamp.kernel, stamp.netns);
            it.endpoint == now.endpoint && same(&it.stamp) == same(&now.stamp)
        };
        if let Some(user) = former.iter().find(is_it).and_then(|it| it.stamp.user) {
            now.stamp.user = Some(user);
        }
    }
}

/// Finds, for each endpoint of a program that cannot prove who it is, another user's listener in its
/// place. The listener may be of the user that the stamp names, of the registrant, and of root, who
/// listens for others. The kernel is asked once for all of them, and not at all unless one is of this
/// network namespace and has a user in its stamp.
///
/// ```
/// # use transport as callsign;
/// # use endpoints::Stamped;
/// let elsewhere = Stamped::bare("/ip4/192.0.2.7/tcp/80".parse()?);
/// assert_eq!(callsign::strangers_at(&[(&elsewhere, None)]), [None]);
/// # Ok::<(), endpoints::ParseEndpointError>(())
/// ```
pub fn strangers_at(places: &[(&Stamped, Option<u32>)]) -> Vec<Option<u32>> {
    let mut found = vec![None; places.len()];
    let asked: Vec<_> = (0..places.len()).filter(|at| may_be_strangers(places[*at].0)).collect();
    if asked.is_empty() {
        return found;
    }
    let endpoints: Vec<_> = asked.iter().map(|at| places[*at].0.endpoint.clone()).collect();
    for (at, listening) in asked.into_iter().zip(listening_at_each(&endpoints)) {
        let (stamped, registrant) = places[at];
        if let Listening::Sockets(sockets) = listening {
            found[at] = stranger_among(&sockets, &stamped.stamp, registrant);
        }
    }
    found
}

/// Returns the user of a listener that is neither of the user that the stamp names, nor of the
/// registrant, nor of root, if there is one. Without a user in the stamp everybody may listen.
///
/// ```
/// # use transport as callsign;
/// # use endpoints::Stamp;
/// use callsign::{ListeningSocket, stranger_among};
///
/// let stamp = Stamp { user: Some(1000), ..Stamp::default() };
/// let of = |uid| [ListeningSocket { inode: 7, uid: Some(uid), file: None }];
/// assert_eq!(stranger_among(&of(1000), &stamp, None), None);
/// assert_eq!(stranger_among(&of(0), &stamp, None), None);
/// assert_eq!(stranger_among(&of(1001), &stamp, Some(1001)), None);
/// if callsign::user_ids_are_global() {
///     assert_eq!(stranger_among(&of(1001), &stamp, None), Some(1001));
/// }
/// ```
pub fn stranger_among(
    sockets: &[ListeningSocket],
    stamp: &Stamp,
    registrant: Option<u32>,
) -> Option<u32> {
    let meant = stamp.user.filter(|_| user_ids_are_global())?;
    let may = |uid: &u32| *uid == meant || *uid == ROOT || Some(*uid) == registrant;
    sockets.iter().filter_map(|it| it.uid).find(|uid| !may(uid))
}

/// Tells whether another user's listener at an endpoint would be a stranger.
pub(crate) fn may_be_strangers(stamped: &Stamped) -> bool {
    stamped.stamp.user.is_some() && is_open_to_all(stamped)
}

/// Tells whether an endpoint is a port or an abstract name of this network namespace.
fn is_open_to_all(Stamped { endpoint, stamp }: &Stamped) -> bool {
    let is_of_kind =
        matches!(endpoint, Endpoint::Tcp(_) | Endpoint::Unix(UnixAddress::Abstract(_)));
    is_of_kind
        && stamp.kernel.is_some()
        && stamp.netns.is_some()
        && stamp.kernel == here::kernel()
        && stamp.netns == here::netns()
}
