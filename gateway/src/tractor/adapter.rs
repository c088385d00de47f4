//! The adapter: recognises tractor's connections and serves them.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use endpoints::Endpoint;
use registrar::{Accepted, ProtocolAdapter, Recognised, RegistryHandle, Serving};
use tokio::sync::mpsc;

use super::{
    conversation,
    ledger::Ledger,
    liveness::{LivenessMonitor, ORDERS_MAX, Order},
    message::{LENGTH_BYTES, is_map},
    shared::{Scope, Shared},
};

/// Lets programs of tractor use a node as their registrar: they register, find each other and
/// callsign's actors, and are found.
///
/// Their registrations are *foreign*: they have no session, so the adapter watches whether the
/// programs live. The kernel watches a process that registered over a Unix socket; others are asked
/// from time to time. Each node needs its own adapter.
///
/// ```
/// # use callsign_gateway as callsign;
/// use std::sync::Arc;
///
/// use callsign::tractor::{Scope, TractorAdapter};
/// # use registrar::NodeOptions;
///
/// let adapter = Arc::new(TractorAdapter::new(Scope::Local));
/// let options = NodeOptions { adapters: vec![adapter], ..NodeOptions::default() };
/// # drop(options);
/// ```
#[derive(Debug)]
pub struct TractorAdapter {
    shared: Arc<Shared>,
    /// Until the node attends the adapter.
    to_keep: Mutex<Option<mpsc::Receiver<Order>>>,
    ledger: Option<PathBuf>,
}

impl TractorAdapter {
    /// Makes an adapter.
    ///
    /// ```
    /// # use callsign_gateway as callsign;
    /// use callsign::tractor::{Scope, TractorAdapter};
    ///
    /// // Programs of this host alone register here.
    /// let adapter = TractorAdapter::new(Scope::Local);
    /// # drop(adapter);
    /// ```
    pub fn new(scope: Scope) -> Self {
        let (orders, to_keep) = mpsc::channel(ORDERS_MAX);
        let shared = Arc::new(Shared::new(scope, orders));
        Self { shared, to_keep: Mutex::new(Some(to_keep)), ledger: None }
    }

    /// Records registrations in a file, so that the next run of the node knows them: tractor
    /// programs never register again. The file must be this node's only, in a folder of its user in
    /// which nobody else may write. It exists while something is registered.
    ///
    /// ```
    /// # use callsign_gateway as callsign;
    /// use callsign::tractor::{Scope, TractorAdapter};
    ///
    /// let adapter = TractorAdapter::new(Scope::Local).remembering("/var/lib/callsign/tractor".into());
    /// # drop(adapter);
    /// ```
    pub fn remembering(self, file: PathBuf) -> Self {
        Self { ledger: Some(file), ..self }
    }
}

impl ProtocolAdapter for TractorAdapter {
    fn serves(&self, endpoint: &Endpoint) -> bool {
        self.shared.scope.serves(endpoint)
    }

    fn recognises(&self, first_bytes: &[u8]) -> Recognised {
        // A length of less than 16 MiB, whose last byte is 0, and then a map. The text of other
        // protocols has no zero byte so early.
        match first_bytes.get(LENGTH_BYTES - 1..) {
            None | Some([] | [0]) => Recognised::NeedMore,
            Some([0, marker, ..]) if is_map(*marker) => Recognised::Yes,
            Some(_) => Recognised::No,
        }
    }

    fn serve(&self, accepted: Accepted) -> Serving {
        Box::pin(conversation::serve(accepted, self.shared.clone()))
    }

    fn run(&self, registry: RegistryHandle) -> Serving {
        let to_keep = self.to_keep.lock().expect("nothing panics while it holds the lock").take();
        let own = self.shared.own(&registry).clone();
        let Some(orders) = to_keep else { return Box::pin(async {}) };
        let mut liveness =
            LivenessMonitor::new(registry, own, orders, self.ledger.clone().map(Ledger::new));
        liveness.restore();
        Box::pin(liveness.run())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tractor_is_told_by_a_length_and_a_map() {
        use Recognised::{NeedMore, No, Yes};
        let adapter = TractorAdapter::new(Scope::Local);
        let check = |bytes: &[u8], expected| {
            assert_eq!(adapter.recognises(bytes), expected, "{bytes:02x?}");
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
            assert_eq!(TractorAdapter::new(Scope::Local).serves(&endpoint), local);
            assert_eq!(TractorAdapter::new(Scope::Everywhere).serves(&endpoint), everywhere);
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
