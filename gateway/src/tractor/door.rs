//! Which connections are tractor's.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use endpoints::Endpoint;
use registrar::{Clerk, Door, Recognised, Serving, Visit};
use tokio::sync::mpsc;

use super::{
    conversation,
    keeper::{Keeper, ORDERS_MAX, Order},
    ledger::Ledger,
    message::{LENGTH_BYTES, is_map},
    shared::{Scope, Shared},
};

/// Lets programs of tractor use a node as their registrar: they register, find each other and
/// callsign's actors, and are found.
///
/// What they register is *foreign*: it has no session, so the door watches whether it lives. The
/// process that registered over a Unix socket is watched by the kernel's word; others are asked
/// from time to time. Each node needs a door of its own.
///
/// ```
/// # use callsign_gateway as callsign;
/// use std::sync::Arc;
///
/// use callsign::tractor::{Scope, TractorDoor};
/// # use registrar::NodeOptions;
///
/// let door = Arc::new(TractorDoor::new(Scope::Local));
/// let options = NodeOptions { doors: vec![door], ..NodeOptions::default() };
/// # drop(options);
/// ```
#[derive(Debug)]
pub struct TractorDoor {
    shared: Arc<Shared>,
    /// Until the node attends the door.
    to_keep: Mutex<Option<mpsc::Receiver<Order>>>,
    ledger: Option<PathBuf>,
}

impl TractorDoor {
    /// Makes a door.
    pub fn new(scope: Scope) -> Self {
        let (orders, to_keep) = mpsc::channel(ORDERS_MAX);
        let shared = Arc::new(Shared::new(scope, orders));
        Self { shared, to_keep: Mutex::new(Some(to_keep)), ledger: None }
    }

    /// Writes down in a file what is registered, so that the next run of the node knows it: tractor
    /// programs never register again. The file is to be this node's alone, in a folder of its user
    /// in which nobody else may write. It is there while something is registered.
    ///
    /// ```
    /// # use callsign_gateway as callsign;
    /// use callsign::tractor::{Scope, TractorDoor};
    ///
    /// let door = TractorDoor::new(Scope::Local).remembering("/var/lib/callsign/tractor".into());
    /// # drop(door);
    /// ```
    pub fn remembering(self, file: PathBuf) -> Self {
        Self { ledger: Some(file), ..self }
    }
}

impl Door for TractorDoor {
    fn serves(&self, endpoint: &Endpoint) -> bool {
        self.shared.scope.serves(endpoint)
    }

    fn recognises(&self, first_bytes: &[u8]) -> Recognised {
        // A length of less than 16 MiB, of which the last byte is 0, and then a map. The texts of
        // other protocols have no zero byte so early.
        match first_bytes.get(LENGTH_BYTES - 1..) {
            None | Some([] | [0]) => Recognised::NeedMore,
            Some([0, marker, ..]) if is_map(*marker) => Recognised::Yes,
            Some(_) => Recognised::No,
        }
    }

    fn serve(&self, visit: Visit) -> Serving {
        Box::pin(conversation::serve(visit, self.shared.clone()))
    }

    fn attend(&self, clerk: Clerk) -> Serving {
        let to_keep = self.to_keep.lock().expect("nothing panics while it holds the lock").take();
        let own = self.shared.own(&clerk).clone();
        let Some(orders) = to_keep else { return Box::pin(async {}) };
        let mut keeper = Keeper::new(clerk, own, orders, self.ledger.clone().map(Ledger::new));
        keeper.restore();
        Box::pin(keeper.run())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tractor_is_told_by_a_length_and_a_map() {
        use Recognised::{NeedMore, No, Yes};
        let door = TractorDoor::new(Scope::Local);
        let check = |bytes: &[u8], expected| {
            assert_eq!(door.recognises(bytes), expected, "{bytes:02x?}");
        };
        let frame = b"\x46\0\0\0\x86\xa8msg_type";
        for length in 1..=LENGTH_BYTES {
            check(&frame[..length], NeedMore);
        }
        check(&frame[..5], Yes);
        check(frame, Yes);
        check(b"\xc5\0\0\0\xde\0\x05", Yes);
        check(b"\x46\0\0\0\x93", No);
        check(b"\0\0\0\x46\x86", No);
        check(b"GET / HTTP/1.1\r\n", No);
        check(&wire::preface::preface(), No);
    }

    #[test]
    fn it_is_served_within_the_host_unless_it_is_asked_for() {
        let check = |endpoint: &str, local: bool, everywhere: bool| {
            let endpoint = endpoint.parse().unwrap();
            assert_eq!(TractorDoor::new(Scope::Local).serves(&endpoint), local);
            assert_eq!(TractorDoor::new(Scope::Everywhere).serves(&endpoint), everywhere);
        };
        check("/unix/run/registrar.sock", true, true);
        check("/unix/@registrar", true, true);
        check("/ip4/127.0.0.1/tcp/1616", true, true);
        check("/ip6/::1/tcp/1616", true, true);
        check("/ip4/0.0.0.0/tcp/1616", false, true);
        check("/ip4/10.0.0.9/tcp/1616", false, true);
        check("/memory/1", false, false);
    }
}
