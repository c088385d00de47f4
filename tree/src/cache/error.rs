//! How opening and closing fail.

use std::{error::Error, sync::Arc};

use thiserror::Error;

/// Why a resource is not opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError<E: Error + 'static> {
    /// It could not be made. All who waited for it are told the same.
    #[error("the resource could not be made")]
    Make(#[source] Arc<E>),
    /// What would close it has ended.
    #[error("the cache has ended")]
    Over,
}

/// Why a resource is not closed well. It is gone all the same.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CloseError<E: Error + 'static> {
    /// Closing it failed.
    #[error("closing the resource failed")]
    Failed(#[source] E),
    /// Closing it panicked.
    #[error("closing the resource panicked")]
    Panicked,
    /// What was to close it has ended. It was dropped instead.
    #[error("the cache has ended before the resource was closed")]
    Over,
}
