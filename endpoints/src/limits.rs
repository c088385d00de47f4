//! The limits of a Unix socket's address.

/// The most bytes of a path that fits `sun_path` with its closing NUL.
pub(crate) const SUN_PATH_BYTES_MAX: usize = 107;

/// The most bytes of the last segment of a longer path. Such a path is reached as
/// `/proc/self/fd/N/<last segment>` through a descriptor of its folder; this is the room left after
/// that prefix with a descriptor of seven digits.
pub(crate) const FILE_NAME_BYTES_MAX: usize = SUN_PATH_BYTES_MAX - "/proc/self/fd/1234567/".len();

/// The most bytes that a whole path may have: Linux's `PATH_MAX`, less the closing NUL.
pub(crate) const PATH_BYTES_MAX: usize = 4095;

/// The longest abstract name: `sun_path` without the NUL that marks it.
pub(crate) const ABSTRACT_NAME_BYTES_MAX: usize = 107;
