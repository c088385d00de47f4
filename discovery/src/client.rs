//! The handle, and the tasks it owns.

use std::sync::Arc;

use endpoints::Endpoint;

use crate::{ClientOptions, ConnectError, Faults, IntoEndpoint};

/// A handle to the registrars. Clones are handles to the same links; when the last one is
/// dropped, the links end.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

impl Client {
    /// Connects to registrars, and waits until one of them answers.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when none answers, or one is named by a text that is no endpoint.
    pub async fn connect<R: IntoEndpoint>(
        registrars: impl IntoIterator<Item = R>,
    ) -> Result<Self, ConnectError> {
        Self::connect_with(registrars, ClientOptions::default()).await
    }

    /// Connects as [`connect`](Self::connect) does, with options.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with<R: IntoEndpoint>(
        registrars: impl IntoIterator<Item = R>,
        options: ClientOptions,
    ) -> Result<Self, ConnectError> {
        let client = Self::open(registrars, options)?;
        client.connected().await.map_err(ConnectError::Unreachable)?;
        Ok(client)
    }

    /// Begins to connect, and does not wait: for a program that may start before its registrar.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when no registrar is named, or one by a text that is no endpoint.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime that drives I/O and time.
    pub fn open<R: IntoEndpoint>(
        registrars: impl IntoIterator<Item = R>,
        options: ClientOptions,
    ) -> Result<Self, ConnectError> {
        _ = (registrars, options);
        todo!()
    }

    /// Waits until a registrar answers, or all have been tried in vain.
    ///
    /// # Errors
    ///
    /// [`Faults`] lists each registrar with its reason.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn connected(&self) -> Result<(), Faults> {
        todo!()
    }

    /// Returns where the registrars are looked for, in the order given.
    pub fn registrars(&self) -> impl Iterator<Item = &Endpoint> {
        self.inner.registrars.iter()
    }

    /// Says goodbye to all registrars, and waits until the links have ended. What this client
    /// registered and keeps by its session is gone with it, also for all clones.
    pub async fn close(self) {
        todo!()
    }
}

#[derive(Debug)]
struct Inner {
    registrars: Vec<Endpoint>,
}
