//! Random bytes from the kernel.

use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};

/// Draws random bytes, fit for secrets.
///
/// # Panics
///
/// When the kernel has no source of randomness, which Linux has had since version 3.17.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut drawn = 0;
    while drawn < N {
        match getrandom(&mut bytes[drawn..], GetRandomFlags::empty()) {
            Ok(more) => drawn += more,
            Err(Errno::INTR) => {}
            Err(error) => panic!("the kernel draws no random numbers: {error}"),
        }
    }
    bytes
}
