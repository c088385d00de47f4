//! The use of a registrar by each owner, as a table.

use std::mem;

use discovery::RegistrarFailure;
use endpoints::{Endpoint, Plain};
use wire::registrar::Owners;

use super::cause;
use crate::{
    output::{Table, fitted, shortened},
    owners::{Amount, amounts, in_words},
};

/// Writes each owner's use and quotas, without lines for unused ones.
pub(super) fn picture(
    endpoint: &Endpoint,
    owners: &Result<Owners, RegistrarFailure>,
    width: Option<u16>,
) -> String {
    let owners = match owners {
        Ok(owners) => owners,
        Err(failure) => {
            let text = format!("{endpoint}\n  {}\n", Plain(&cause(failure)));
            return text.lines().map(|it| fitted(it, width, 0, 2) + "\n").collect();
        }
    };
    let room = usize::from(width.unwrap_or(80)).saturating_sub(OTHERS_WIDTH);
    let mut table = Table::new(["OWNER", "QUOTA", "USED", "OF"]);
    for owner in &owners.owners {
        let mut name = shortened(&in_words(&owner.owner), room);
        for Amount { quota, used, limit, .. } in amounts(owner).filter(|it| it.is_used) {
            let of = limit.unwrap_or_else(|| "-".to_owned());
            table.row([mem::take(&mut name), quota.to_string(), used, of]);
        }
    }
    let more = match owners.total.saturating_sub(owners.owners.len() as u64) {
        0 => String::new(),
        count => format!("and {count} more, with less memory\n"),
    };
    let more = if owners.is_own_alone {
        let text = "only root and the registrar's own user see what others use";
        fitted(text, width, 0, 0) + "\n"
    } else {
        more
    };
    let place = fitted(&endpoint.to_string(), width, 0, 2);
    format!("{place}\n{}{more}", table.render())
}

/// The width of the table besides its owners.
const OTHERS_WIDTH: usize = 30;

#[cfg(test)]
mod tests {
    use wire::{Owner, OwnerUse, Use};

    use super::*;

    fn owner(owner: Owner, used: u64) -> OwnerUse {
        let some = |quota| Use { used, quota: Some(quota) };
        OwnerUse {
            owner,
            sessions: some(2048),
            instances: some(4_000_000),
            waits: Use { used: 7, quota: None },
            watches: Use::default(),
            bytes: Use { used: used * 2000, quota: Some(64 << 20) },
            looks: Use::default(),
            cpu: some(100),
            cpu_ms: used,
        }
    }

    #[test]
    fn a_table_fits_a_narrow_terminal() {
        let longest = Owner::Network("2001:db8:1111:2222::".parse().unwrap());
        let one = owner(longest, 4_000_000);
        let own = one.clone();
        let owners = Owners {
            own,
            owners: vec![one, owner(Owner::Registrar, 12)],
            total: 3,
            is_own_alone: false,
        };
        for width in [40, 80] {
            let text = picture(&"/unix/@a".parse().unwrap(), &Ok(owners.clone()), Some(width));
            let widest = text.lines().map(|it| it.chars().count()).max();
            assert!(widest <= Some(width.into()), "{widest:?}\n{text}");
            for shown in ["24KiB", "64MiB", "4000000", "watches", "and 1 more"] {
                assert_eq!(text.contains(shown), shown != "watches", "{shown}\n{text}");
            }
        }
    }
}
