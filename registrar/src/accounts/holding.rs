//! The bytes in the buffers of a connection.

use super::{Accounts, Exceeded};
use crate::registry::Account;

/// The bytes in the buffers of one connection, charged to an account: credited when this is
/// dropped.
///
/// ```
/// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
/// use callsign::registrar::{Exceeded, ForeignSession, Holding};
///
/// /// Charges an answer to the peer, until it has read it.
/// fn hold(session: &ForeignSession, answer: &[u8]) -> Result<Holding, Exceeded> {
///     let mut holding = session.holding();
///     holding.set(answer.len())?;
///     Ok(holding)
/// }
/// ```
#[derive(Debug)]
pub struct Holding {
    accounts: Accounts,
    account: Account,
    bytes: usize,
}

impl Holding {
    pub(crate) fn new(accounts: Accounts, account: Account) -> Self {
        Self { accounts, account, bytes: 0 }
    }

    /// Records the number of buffered bytes. A few are included in the connection's own charge, so
    /// that no connection ends for a short message.
    ///
    /// ```
    /// # mod callsign { pub mod registrar { pub use callsign_registrar::{*, registry::*}; } }
    /// # use callsign::registrar::{Limits, RegistryHandle};
    /// # let registry = RegistryHandle::unattended(Limits::default());
    /// let session = registry.own_session();
    /// let mut holding = session.holding();
    /// holding.set(1024 * 1024)?;
    /// assert!(registry.accounts().bytes() > 1_000_000);
    /// holding.set(0)?; // the peer has read it
    /// assert_eq!(registry.accounts().bytes(), 0);
    /// # Ok::<(), callsign::registrar::Exceeded>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Exceeded`] if that is more than the owner's quota: the connection must end.
    pub fn set(&mut self, bytes: usize) -> Result<(), Exceeded> {
        let bytes = bytes.saturating_sub(PLACE_BUFFER_BYTES);
        if bytes != self.bytes {
            self.accounts.charge_buffers(self.account, self.bytes, bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.set(0).expect("less is never too much");
    }
}

/// The buffered bytes of a connection that are included in its own charge: a few short messages.
const PLACE_BUFFER_BYTES: usize = 4 * 1024;
