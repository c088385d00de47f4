//! Whether the kernel's number of a user or a group is somebody's.
//!
//! In a user namespace all users that it does not map have one number in common, the overflow uid,
//! which is 65534 by default (user_namespaces(7)). There it is nobody in particular, though one of
//! the namespace's own users may have the same number.

use std::{fs, sync::LazyLock};

/// Returns the number of a user, unless it may be anybody's.
pub(crate) fn known_user(uid: u32) -> Option<u32> {
    static OVERFLOW: LazyLock<Option<u32>> =
        LazyLock::new(|| overflow("/proc/self/uid_map", "/proc/sys/kernel/overflowuid"));
    Some(uid).filter(|_| *OVERFLOW != Some(uid))
}

/// Returns the number of a group, unless it may be any group's.
pub(crate) fn known_group(gid: u32) -> Option<u32> {
    static OVERFLOW: LazyLock<Option<u32>> =
        LazyLock::new(|| overflow("/proc/self/gid_map", "/proc/sys/kernel/overflowgid"));
    Some(gid).filter(|_| *OVERFLOW != Some(gid))
}

/// Returns the number that stands for all who are not mapped; `None` where all are. What cannot be
/// read is taken for the worse.
fn overflow(map: &str, number: &str) -> Option<u32> {
    let map = fs::read_to_string(map).unwrap_or_default();
    if maps_everybody(&map) {
        return None;
    }
    let number = fs::read_to_string(number).ok();
    Some(number.and_then(|it| it.trim().parse().ok()).unwrap_or(OVERFLOW_DEFAULT))
}

/// Tells whether a map has a number for every one outside. Each line is of the first number within,
/// the first outside, and how many.
fn maps_everybody(map: &str) -> bool {
    let count = |line: &str| line.split_ascii_whitespace().nth(2)?.parse::<u64>().ok();
    map.lines().filter_map(count).sum::<u64>() >= EVERYBODY
}

/// How many numbers there are: 2^32, less the one that stands for no number.
const EVERYBODY: u64 = 4_294_967_295;

/// What the kernel takes by default.
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
