//! Quotas of a registrar, with users as this machine knows them.

use config::{Diagnostics, Quota, QuotaOwner, Settings};
use registrar::{
    QuotaRules, Quotas,
    registry::{Account, Certified, Owner},
};
use rustix::process::geteuid;

use crate::users::user_number;

/// Returns the quotas that the settings give.
///
/// # Errors
///
/// [`Diagnostics`] has every user that is not there.
pub(crate) fn quotas(settings: &Settings) -> Result<QuotaRules, Diagnostics> {
    let said = &settings.quotas;
    let trusted = with(Quotas::TRUSTED, &said.trusted);
    let others = with(Quotas::default(), &said.others);
    let (mut rules, mut diagnostics) =
        (QuotaRules { trusted, others, ..QuotaRules::default() }, Vec::new());
    for (owner, quota) in &said.named {
        let account = match owner {
            QuotaOwner::Address(address) => Owner::Host(address.to_canonical()).account(),
            QuotaOwner::Certified(name) => match Certified::new(name) {
                Some(name) => Account::Certified(name),
                None => continue,
            },
            QuotaOwner::User(user) => {
                match user_number(&user.name).or_else(|| user.name.parse().ok()) {
                    Some(number) => Account::User(number),
                    None => {
                        diagnostics.push(user.unknown());
                        continue;
                    }
                }
            }
        };
        let is_trusted =
            matches!(account, Account::User(0)) || account == Account::User(geteuid().as_raw());
        let otherwise = if is_trusted { trusted } else { others };
        rules.named.insert(account, with(otherwise, quota));
    }
    if diagnostics.is_empty() { Ok(rules) } else { Err(Diagnostics(diagnostics)) }
}

fn with(otherwise: Quotas, said: &Quota) -> Quotas {
    let Quota { sessions, instances, waits, watches, looks, cpu, bytes } = *said;
    Quotas {
        sessions: sessions.unwrap_or(otherwise.sessions),
        instances: instances.unwrap_or(otherwise.instances),
        waits: waits.unwrap_or(otherwise.waits),
        watches: watches.unwrap_or(otherwise.watches),
        looks: looks.unwrap_or(otherwise.looks),
        cpu: cpu.unwrap_or(otherwise.cpu),
        bytes: bytes.unwrap_or(otherwise.bytes),
    }
}
