//! The endpoints that the registrar may connect to, and for whom: it has rights that others lack,
//! and does not use them for those.

use std::{fs, os::unix::fs::MetadataExt};

use endpoints::{Endpoint, Here, UnixAddress};
use transport::{Listening, ListeningSocket};

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
        return fs::metadata(path.as_path()).is_ok_and(|it| it.uid() == user);
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
    use std::net::IpAddr;

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
        fs::write(&file, "").unwrap();
        let uid = fs::metadata(&file).unwrap().uid();
        let place = format!("/unix{}", file.display());
        check(&place, unknown, [Owner::User(uid), other], true);
        check(&place, unknown, [Owner::User(uid + 1), other], false);
        check(&format!("{place}x"), unknown, [Owner::User(uid + 1), other], false);
    }
}
