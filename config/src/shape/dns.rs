//! The table `[dns]`.

use endpoints::Quoted;

use super::{Shape, suggestion};
use crate::{diagnostic::Diagnostic, syntax::Value, written::WrittenDns};

impl Shape<'_> {
    pub(super) fn dns(&mut self, value: &Value<'_>) -> WrittenDns {
        let mut dns = WrittenDns::default();
        for (key, value) in self.table("dns", value) {
            match key.get_ref().as_ref() {
                "listen" => dns.listen = self.words(key, value, "127.0.0.1:5300", |_| None),
                "domain" => dns.domain = self.word("domain", "callsign", value),
                name => {
                    let message = format!("unknown key {} in `[dns]`", Quoted(name));
                    let help = match suggestion(name, &["listen", "domain"], DNS_ALIASES) {
                        Some(key) => format!("did you mean `{key}`?"),
                        None => "its keys are `listen`, `domain`".to_owned(),
                    };
                    let place = self.key(key).place;
                    self.diagnostics.push(Diagnostic::error(message, place).help(help));
                }
            }
        }
        dns
    }
}

const DNS_ALIASES: &[(&str, &str)] = &[
    ("address", "listen"),
    ("addresses", "listen"),
    ("bind", "listen"),
    ("port", "listen"),
    ("zone", "domain"),
    ("suffix", "domain"),
    ("origin", "domain"),
    ("tld", "domain"),
];
