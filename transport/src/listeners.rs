//! The listeners of this network namespace at a moment, for many questions.
//!
//! The kernel goes through all of its sockets for an answer. Whoever judges many endpoints, or is asked
//! often, takes one picture of them and keeps it for a moment.

use std::{collections::HashMap, net::IpAddr};

use endpoints::{Endpoint, Stamped, UnixAddress};

use crate::{
    diag::{self, TcpSocket},
    here,
    listening::{Listening, ListeningSocket, ips_of, listening_at_port},
    strangers::{may_be_strangers, stranger_among},
};

/// The listeners of this network namespace at ports and at abstract names, at a moment.
///
/// ```
/// use endpoints::Stamped;
/// use transport::Listeners;
///
/// /// Counts the endpoints where another user listens than is meant.
/// fn strangers(stamped: &[Stamped]) -> usize {
///     let listeners = Listeners::read();
///     stamped.iter().filter(|it| listeners.stranger_at(it, None).is_some()).count()
/// }
/// ```
#[derive(Debug, Default)]
pub struct Listeners {
    ports: HashMap<u16, Vec<TcpSocket>>,
    names: HashMap<Vec<u8>, Vec<ListeningSocket>>,
    /// The addresses of this host.
    own: Vec<IpAddr>,
}

impl Listeners {
    /// Asks the kernel. What it does not tell is not there.
    ///
    /// ```
    /// let listeners = transport::Listeners::read();
    /// # drop(listeners);
    /// ```
    pub fn read() -> Self {
        let mut ports: HashMap<u16, Vec<TcpSocket>> = HashMap::new();
        match diag::all_tcp_listeners() {
            Ok(all) => all.into_iter().for_each(|it| {
                ports.entry(it.address.port()).or_default().push(it);
            }),
            Err(error) => tracing::debug!(%error, "the kernel does not say who listens"),
        }
        let mut names: HashMap<Vec<u8>, Vec<ListeningSocket>> = HashMap::new();
        let read = diag::each_unix_socket(|socket| {
            let is_stream = i32::from(socket.socket_type) == libc::SOCK_STREAM;
            if let [0, name @ ..] = &socket.name[..]
                && socket.is_listening
                && is_stream
            {
                let found = ListeningSocket { inode: socket.inode, uid: socket.uid, file: None };
                names.entry(name.to_owned()).or_default().push(found);
            }
        });
        if let Err(error) = read {
            tracing::debug!(%error, "the kernel does not say who listens");
        }
        let own = here::interfaces().unwrap_or_default().into_iter().map(|it| it.ip).collect();
        Self { ports, names, own }
    }

    /// Tells whether another user's listener at an endpoint would be a stranger, so that it takes a look.
    ///
    /// ```
    /// use endpoints::Stamped;
    /// use transport::Listeners;
    ///
    /// let bare = Stamped::bare("/ip4/127.0.0.1/tcp/80".parse()?);
    /// assert!(!Listeners::concern(&bare), "its stamp names no user");
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn concern(stamped: &Stamped) -> bool {
        may_be_strangers(stamped)
    }

    /// Returns the other user who listens at an endpoint, as
    /// [`strangers_at`](crate::strangers_at) does.
    ///
    /// ```
    /// use endpoints::Stamped;
    /// use transport::Listeners;
    ///
    /// let bare = Stamped::bare("/ip4/127.0.0.1/tcp/80".parse()?);
    /// assert_eq!(Listeners::read().stranger_at(&bare, None), None);
    /// # Ok::<(), endpoints::ParseEndpointError>(())
    /// ```
    pub fn stranger_at(&self, stamped: &Stamped, registrant: Option<u32>) -> Option<u32> {
        if !Self::concern(stamped) {
            return None;
        }
        let at_port;
        let sockets = match &stamped.endpoint {
            Endpoint::Tcp(tcp) => {
                let ips = ips_of(&tcp.host)?;
                // What listens for an address of another host says nothing of that.
                if !ips.iter().all(|it| it.is_loopback() || self.own.contains(it)) {
                    return None;
                }
                at_port = listening_at_port(self.ports.get(&tcp.port)?, tcp.port, &ips);
                let Listening::Sockets(sockets) = &at_port else { return None };
                sockets
            }
            Endpoint::Unix(UnixAddress::Abstract(name)) => self.names.get(name.as_bytes())?,
            _ => return None,
        };
        stranger_among(sockets, &stamped.stamp, registrant)
    }
}

#[cfg(test)]
mod tests {
    use std::os::{linux::net::SocketAddrExt, unix::net};

    use super::*;
    use crate::{stamp, user_ids_are_global};

    #[test]
    fn another_users_listener_is_a_stranger() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("listeners-{}", port.local_addr().unwrap().port());
        let address = net::SocketAddr::from_abstract_name(&name).unwrap();
        let _named = net::UnixListener::bind_addr(&address).unwrap();
        let listeners = Listeners::read();
        let me = rustix::process::geteuid().as_raw();
        let names = ["nobody-listens", &name].map(|it| format!("/unix/@{it}").parse().unwrap());
        let [nobody, named] = names;
        let at_port = Endpoint::from(port.local_addr().unwrap());
        for (endpoint, is_served) in [(at_port, true), (named, true), (nobody, false)] {
            let mut stamped = Stamped { stamp: stamp(&endpoint), endpoint };
            assert_eq!(listeners.stranger_at(&stamped, None), None, "no user is meant");
            stamped.stamp.user = Some(me);
            assert_eq!(listeners.stranger_at(&stamped, None), None, "the user is meant");
            stamped.stamp.user = Some(me.wrapping_add(1));
            let is_seen = is_served && me != 0 && user_ids_are_global();
            assert_eq!(listeners.stranger_at(&stamped, None), is_seen.then_some(me));
            assert_eq!(listeners.stranger_at(&stamped, Some(me)), None, "the registrant is meant");
            stamped.stamp.netns = None;
            assert_eq!(listeners.stranger_at(&stamped, None), None, "it is elsewhere");
        }
    }
}
