//! Rules of names, with users and groups as this machine knows them.

use config::{Diagnostics, Settings};
use registrar::registry::{Grantee, NameRule, NameRules, Names};

use crate::users::user_number;

/// Returns the rules of names.
///
/// # Errors
///
/// [`Diagnostics`] has every user and group that is not there.
pub(crate) fn rules(settings: &Settings) -> Result<NameRules, Diagnostics> {
    let mut diagnostics = Vec::new();
    let mut grantees = |written: &Option<Vec<config::Grantee>>| {
        let read = |it: &config::Grantee| match it {
            config::Grantee::Any => Some(Grantee::Any),
            config::Grantee::Address(address, bits) => Some(Grantee::Address(*address, *bits)),
            config::Grantee::Certified(name) => Some(Grantee::Certified(name.clone())),
            config::Grantee::User(user) => {
                let number = user_number(&user.name).or_else(|| user.name.parse().ok());
                diagnostics.extend(number.is_none().then(|| user.unknown_user()));
                number.map(Grantee::User)
            }
            config::Grantee::Group(group) => {
                let number = transport::group_id(&group.name);
                diagnostics.extend(number.is_none().then(|| group.unknown_group()));
                number.map(Grantee::Group)
            }
        };
        written.as_ref().map(|it| it.iter().filter_map(read).collect())
    };
    let rule = |it: &config::NameRule| NameRule {
        pattern: it.pattern.clone(),
        register: grantees(&it.register),
        find: grantees(&it.find),
        exclusive: it.exclusive,
        instances_max: it.instances_max,
        place: it.place(),
    };
    let rules = settings.names.iter().map(rule).collect();
    if !diagnostics.is_empty() {
        return Err(Diagnostics(diagnostics));
    }
    let otherwise = match settings.registrar.names {
        config::Names::SameUser => Names::SameUser,
        config::Names::Open => Names::Open,
    };
    let place = settings.registrar.names_place.as_deref().unwrap_or("the default");
    Ok(NameRules::new(otherwise, place.to_owned(), rules))
}
