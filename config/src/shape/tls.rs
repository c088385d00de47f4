//! The table `[tls]`: the files of this program's certificate.

use endpoints::Quoted;

use super::{Shape, list, suggestion};
use crate::{
    diagnostic::Diagnostic,
    keys::TLS_KEYS,
    syntax::{Key, Value},
    written::WrittenTls,
};

impl Shape<'_> {
    pub(super) fn tls(&mut self, key: &Key<'_>, value: &Value<'_>) -> WrittenTls {
        let mut tls = WrittenTls { place: Some(self.key(key).place), ..WrittenTls::default() };
        for (key, value) in self.table("tls", value) {
            let before = self.diagnostics.len();
            match key.get_ref().as_ref() {
                "ca" => tls.ca = self.word("ca", "/etc/callsign/ca.pem", value),
                "certificate" => {
                    tls.certificate = self.word("certificate", "/etc/callsign/node.pem", value);
                }
                "key" => tls.key = self.word("key", "/etc/callsign/node.key", value),
                name => {
                    let message = format!("unknown key {} in `[tls]`", Quoted(name));
                    let help = match suggestion(name, TLS_KEYS, TLS_ALIASES) {
                        Some(key) => format!("did you mean `{key}`?"),
                        None => format!("its keys are {}", list(TLS_KEYS)),
                    };
                    let place = self.key(key).place;
                    self.diagnostics.push(Diagnostic::error(message, place).help(help));
                }
            }
            let known = TLS_KEYS.iter().find(|it| **it == key.get_ref().as_ref());
            tls.mistyped.extend(known.filter(|_| self.diagnostics.len() > before));
        }
        tls
    }
}

/// What other programs call the keys.
const TLS_ALIASES: &[(&str, &str)] = &[
    ("ca_file", "ca"),
    ("ca_cert", "ca"),
    ("cacert", "ca"),
    ("cafile", "ca"),
    ("cert", "certificate"),
    ("cert_file", "certificate"),
    ("key_file", "key"),
    ("private_key", "key"),
];
