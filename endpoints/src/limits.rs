//! How long the address of a Unix socket may be.

/// The most bytes of a path that fits `sun_path` beside its closing NUL.
pub(crate) const SUN_PATH_BYTES_MAX: usize = 107;

/// The most bytes that the last part of a longer path may have. Such a path is reached as
/// `/proc/self/fd/N/<last part>` through a descriptor of its folder; what is left beside that
/// prefix and a descriptor of seven digits is this.
pub(crate) const FILE_NAME_BYTES_MAX: usize = SUN_PATH_BYTES_MAX - "/proc/self/fd/1234567/".len();

/// The most bytes that a whole path may have: Linux's `PATH_MAX`, less the closing NUL.
pub(crate) const PATH_BYTES_MAX: usize = 4095;

/// The longest abstract name: `sun_path` without the NUL that marks it.
pub(crate) const ABSTRACT_NAME_BYTES_MAX: usize = 107;
