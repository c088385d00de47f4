//! Whether the kernel's number of a user or a group identifies anybody.
//!
//! In a user namespace, all users that it does not map share one number, the overflow uid, 65534 by
//! default (user_namespaces(7)). It identifies nobody in particular there, although a user of the
//! namespace may have the same number.

use std::{fs, sync::LazyLock};

/// Returns the number of a user, unless it may stand for anybody.
pub(crate) fn known_user(uid: u32) -> Option<u32> {
    static OVERFLOW: LazyLock<Option<u32>> =
        LazyLock::new(|| overflow("/proc/self/uid_map", "/proc/sys/kernel/overflowuid"));
    Some(uid).filter(|_| *OVERFLOW != Some(uid))
}

/// Returns the number of a group, unless it may stand for any group.
pub(crate) fn known_group(gid: u32) -> Option<u32> {
    static OVERFLOW: LazyLock<Option<u32>> =
        LazyLock::new(|| overflow("/proc/self/gid_map", "/proc/sys/kernel/overflowgid"));
    Some(gid).filter(|_| *OVERFLOW != Some(gid))
}

/// Returns the number that stands for all unmapped users; `None` if all are mapped. If that cannot
/// be read, it assumes that some are not.
fn overflow(map: &str, number: &str) -> Option<u32> {
    let map = fs::read_to_string(map).unwrap_or_default();
    if maps_everybody(&map) {
        return None;
    }
    let number = fs::read_to_string(number).ok();
    Some(number.and_then(|it| it.trim().parse().ok()).unwrap_or(OVERFLOW_DEFAULT))
}

/// Tells whether a map has a number for every one outside. Each line has the first number within,
/// the first outside, and the count.
fn maps_everybody(map: &str) -> bool {
    let count = |line: &str| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok();
    map.lines().filter_map(count).sum::<u64>() >= EVERYBODY
}

/// The number of ids: 2^32, less the one that means "none".
const EVERYBODY: u64 = 4_294_967_295;

/// The kernel's default.
const OVERFLOW_DEFAULT: u32 = 65_534;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_a_number_for_everybody_or_not() {
        let check = |map: &str, expected: bool| assert_eq!(maps_everybody(map), expected, "{map}");
        check("         0          0 4294967295\n", true);
        check("0 0 65536\n65536 65536 4294901759\n", true);
        check("0 5000 1\n", false);
        check("0 100000 65536\n", false);
        check("65534 65534 1\n0 100000 65534\n", false);
        check("", false);
    }
}
