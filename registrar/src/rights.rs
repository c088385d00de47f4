//! The endpoints that the registrar may connect to, and for whom: it has rights that others lack,
//! and does not use them for those.

use std::time::Duration;

use endpoints::{Endpoint, Here, Stamped, UnixAddress};
use transport::{
    DialError, Listening, ListeningSocket, Stream, dial_stamped, dial_stamped_of, socket_user,
};

use crate::registry::Owner;

/// Tells whether the registrar may connect to an endpoint of a registration by `registrant`, at the
/// request of `reporter`: only where one of them could, and to their own endpoints.
///
/// - Declared endpoints may be looked at.
/// - For a local user it looks at listeners at the paths, names and ports of this host that are the
///   user's own, and for user 0 at all of them.
/// - For a peer at an address it looks at listeners at that address.
pub(crate) fn may_connect(
    endpoint: &Endpoint,
    listening: &Listening,
    here: &Here,
    registrant: Owner,
    reporter: Owner,
) -> bool {
    match registrant {
        Owner::Registrar => return true,
        Owner::User(0) if is_local(endpoint, here) => return true,
        Owner::User(user) if is_local(endpoint, here) && belongs_to(endpoint, listening, user) => {
            return true;
        }
        _ => {}
    }
    [registrant, reporter].into_iter().any(|it| is_address_of(endpoint, here, it))
}

/// Connects to an endpoint of a registration by `registrant` that [may be
/// connected to](may_connect). Where that was so because of whose a socket file is, the path may lead
/// elsewhere by now: the file is looked at again, by the descriptor through which it is dialed.
pub(crate) async fn dial_for(
    stamped: &Stamped,
    registrant: Owner,
    limit: Duration,
) -> Result<Stream, DialError> {
    match registrant {
        Owner::Registrar | Owner::User(0) => dial_stamped(stamped, limit).await,
        Owner::User(user) => dial_stamped_of(stamped, user, limit).await,
        // Theirs are no paths.
        _ if stamped.endpoint.is_socket_file() => Err(DialError::NoPermission),
        _ => dial_stamped(stamped, limit).await,
    }
}

fn is_local(endpoint: &Endpoint, here: &Here) -> bool {
    match endpoint {
        Endpoint::Unix(_) | Endpoint::Memory(_) => true,
        Endpoint::Tcp(tcp) => {
            tcp.host.is_loopback() || tcp.host.ip().is_some_and(|it| here.has_address(it))
        }
    }
}

/// Tells whether a user has made the listener, from the kernel or the file system.
fn belongs_to(endpoint: &Endpoint, listening: &Listening, user: u32) -> bool {
    if let Endpoint::Unix(UnixAddress::Path(path)) = endpoint {
        return socket_user(path) == Some(user);
    }
    let is_own = |it: &ListeningSocket| it.uid == Some(user);
    matches!(listening, Listening::Sockets(sockets) if sockets.iter().all(is_own))
}

/// Tells whether an endpoint is at a peer's address. A peer on this host may reach all of its
/// addresses.
fn is_address_of(endpoint: &Endpoint, here: &Here, owner: Owner) -> bool {
    let (Endpoint::Tcp(tcp), Owner::Host(address)) = (endpoint, owner) else { return false };
    let is_same = tcp.host.ip().map(|it| it.to_canonical()) == Some(address);
    is_same || (address.is_loopback() && is_local(endpoint, here))
}

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        os::unix::{fs::symlink, net::UnixListener},
        path::Path,
    };

    use rustix::process::geteuid;

    use super::*;

    #[test]
    fn no_owner_learns_more_than_its_rights_allow() {
        let own = |uid| {
            Listening::Sockets(vec![ListeningSocket { inode: 1, uid: Some(uid), file: None }])
        };
        let host = |it: &str| Owner::Host(it.parse::<IpAddr>().unwrap());
        let here = Here::default();
        let check = |endpoint: &str, listening: &Listening, owners: [Owner; 2], expected: bool| {
            let endpoint = endpoint.parse().unwrap();
            let may = may_connect(&endpoint, listening, &here, owners[0], owners[1]);
            assert_eq!(may, expected, "{endpoint} {listening:?} {owners:?}");
        };
        let (user, other, root) = (Owner::User(1000), Owner::User(1001), Owner::User(0));
        let unknown = &Listening::Unknown;
        // Anywhere else, for any caller.
        for owners in [[user, user], [root, root], [host("10.0.0.9"), user], [Owner::Unknown(1); 2]]
        {
            check("/ip4/10.0.0.7/tcp/22", unknown, owners, false);
            check("/dns/db.example/tcp/22", unknown, owners, false);
        }
        // At the owner's address.
        check("/ip4/10.0.0.7/tcp/22", unknown, [host("10.0.0.7"), user], true);
        check("/ip4/10.0.0.7/tcp/22", unknown, [user, host("10.0.0.7")], true);
        check("/ip6/2001:db8::7/tcp/22", unknown, [host("2001:db8::7"), user], true);
        check("/ip4/10.0.0.7/tcp/22", unknown, [Owner::Registrar, user], true);
        // On this host, the owner's own endpoints.
        for endpoint in ["/ip4/127.0.0.1/tcp/22", "/unix/@feed"] {
            check(endpoint, &own(1000), [user, other], true);
            check(endpoint, &own(1001), [user, other], false);
            check(endpoint, &own(0), [user, other], false);
            check(endpoint, &own(0), [user, root], false);
            check(endpoint, unknown, [user, user], false);
            check(endpoint, &own(1001), [root, user], true);
            check(endpoint, &own(1001), [host("10.0.0.7"), host("10.0.0.7")], false);
        }
        check("/ip4/127.0.0.1/tcp/22", &own(7), [host("127.0.0.1"), user], true);
        check("/unix/@feed", &own(7), [host("127.0.0.1"), user], false);

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("feed.sock");
        let _listener = UnixListener::bind(&file).unwrap();
        let uid = geteuid().as_raw();
        let place = format!("/unix{}", file.display());
        check(&place, unknown, [Owner::User(uid), other], true);
        check(&place, unknown, [Owner::User(uid + 1), other], false);
        check(&format!("{place}x"), unknown, [Owner::User(uid + 1), other], false);
    }
    #[tokio::test]
    async fn a_path_that_leads_elsewhere_by_now_is_not_dialed() {
        let folder = tempfile::tempdir().unwrap();
        let (own, theirs) = (folder.path().join("own"), folder.path().join("theirs"));
        let user = geteuid().as_raw() + 1;
        let place = |it: &Path| format!("/unix{}", it.display()).parse::<Endpoint>().unwrap();
        let _listeners = [&own, &theirs].map(|it| UnixListener::bind(it).unwrap());
        if std::os::unix::fs::chown(&own, Some(user), None).is_err() {
            println!("skipped: nobody may give a file away here");
            return;
        }
        let may = |it| {
            let (unknown, here) = (Listening::Unknown, Here::default());
            may_connect(&place(it), &unknown, &here, Owner::User(user), Owner::User(user))
        };
        let dial = async |path: &Path, owner| {
            let stamped = Stamped { stamp: transport::stamp(&place(path)), endpoint: place(path) };
            dial_for(&stamped, owner, Duration::from_secs(1)).await
        };
        assert!(may(&own) && !may(&theirs));
        dial(&own, Owner::User(user)).await.unwrap();
        dial(&theirs, Owner::User(user - 1)).await.unwrap();
        dial(&theirs, Owner::Registrar).await.unwrap();
        // By a link, whichever way it leads at a look.
        let link = folder.path().join("link");
        symlink(folder.path(), &link).unwrap();
        for owner in [Owner::User(user), Owner::Unknown(7), Owner::Host([127, 0, 0, 1].into())] {
            for path in [&theirs, &link.join("theirs")] {
                let dialed = dial(path, owner).await;
                assert!(matches!(dialed, Err(DialError::NoPermission)), "{owner}: {dialed:?}");
            }
        }
    }
}
