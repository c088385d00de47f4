//! The table `[quotas]`: keys for everybody, and a table for each owner with other values.

use endpoints::Quoted;
use toml::de::DeValue;

use super::{Shape, article, list, suggestion};
use crate::{
    diagnostic::Diagnostic,
    keys::{COUNTS, QUOTA_KEYS, TRUSTED},
    syntax::{Key, Value},
    written::{WrittenQuota, WrittenQuotas},
};

impl Shape<'_> {
    pub(super) fn quotas(&mut self, value: &Value<'_>) -> WrittenQuotas {
        let mut quotas = WrittenQuotas::default();
        for (key, value) in self.table("quotas", value) {
            let name = key.get_ref().as_ref();
            if let DeValue::Table(table) = value.get_ref() {
                let mut own = WrittenQuota::default();
                let title = "a table of `[quotas]`";
                table.iter().for_each(|(key, value)| self.quota(title, key, value, &mut own));
                match name {
                    TRUSTED => quotas.trusted = own,
                    _ => quotas.named.push((self.key(key), own)),
                }
            } else {
                self.quota("`[quotas]`", key, value, &mut quotas.others);
            }
        }
        quotas.named.sort_by_key(|(owner, _)| owner.place.span.start);
        quotas
    }

    fn quota(&mut self, table: &str, key: &Key<'_>, value: &Value<'_>, quota: &mut WrittenQuota) {
        let name = key.get_ref().as_ref();
        if name == "bytes" {
            quota.bytes = match value.get_ref() {
                DeValue::String(text) => Some(self.text(value, text)),
                other => {
                    let message = format!("found {} where a size is expected", article(other));
                    let help = "write the unit: bytes = \"64MiB\"".to_owned();
                    self.diagnostics
                        .push(Diagnostic::error(message, self.place(value.span())).help(help));
                    None
                }
            };
        } else if let Some(at) = COUNTS.iter().position(|it| it.key == name) {
            quota.counts[at] = self.number(&COUNTS[at], value);
        } else {
            let message = format!("unknown key {} in {table}", Quoted(name));
            let help = match suggestion(name, QUOTA_KEYS, QUOTA_ALIASES) {
                Some(key) => format!("did you mean `{key}`?"),
                None => format!("its keys are {}", list(QUOTA_KEYS)),
            };
            let place = self.key(key).place;
            self.diagnostics.push(Diagnostic::error(message, place).help(help));
        }
    }
}

const QUOTA_ALIASES: &[(&str, &str)] = &[
    ("connections", "sessions"),
    ("sessions_max", "sessions"),
    ("instances_max", "instances"),
    ("waiters", "waits"),
    ("watchers", "watches"),
    ("dials", "looks"),
    ("errands", "looks"),
    ("memory", "bytes"),
    ("size", "bytes"),
];
