//! The table `[cluster]`.

use endpoints::Quoted;

use super::{Shape, list, suggestion};
use crate::{
    diagnostic::Diagnostic,
    keys::{CLUSTER_KEYS, CLUSTER_LEASE},
    syntax::{Key, Value},
    written::WrittenCluster,
};

impl Shape<'_> {
    pub(super) fn cluster(&mut self, key: &Key<'_>, value: &Value<'_>) -> WrittenCluster {
        let place = Some(self.key(key).place);
        let mut cluster = WrittenCluster { place, ..WrittenCluster::default() };
        for (key, value) in self.table("cluster", value) {
            let before = self.diagnostics.len();
            match key.get_ref().as_ref() {
                "engine" => cluster.engine = self.word("engine", "etcd", value),
                "endpoints" => {
                    cluster.endpoints = self.words(key, value, "http://127.0.0.1:2379", |_| None);
                }
                "prefix" => cluster.prefix = self.word("prefix", "/callsign/", value),
                "node" => cluster.node = self.word("node", "rome", value),
                "lease" => cluster.lease = self.duration(&CLUSTER_LEASE, value),
                "user" => cluster.user = self.word("user", "callsign", value),
                "password_file" => {
                    let example = "/etc/callsign/etcd.password";
                    cluster.password_file = self.word("password_file", example, value);
                }
                "ca" => cluster.ca = self.word("ca", "/etc/callsign/etcd-ca.pem", value),
                "certificate" => {
                    let example = "/etc/callsign/etcd.pem";
                    cluster.certificate = self.word("certificate", example, value);
                }
                "key" => cluster.key = self.word("key", "/etc/callsign/etcd.key", value),
                name => {
                    let message = format!("unknown key {} in `[cluster]`", Quoted(name));
                    let help = match suggestion(name, CLUSTER_KEYS, CLUSTER_ALIASES) {
                        Some(key) => format!("did you mean `{key}`?"),
                        None => format!("its keys are {}", list(CLUSTER_KEYS)),
                    };
                    let place = self.key(key).place;
                    self.diagnostics.push(Diagnostic::error(message, place).help(help));
                }
            }
            let known = CLUSTER_KEYS.iter().find(|it| **it == key.get_ref().as_ref());
            cluster.mistyped.extend(known.filter(|_| self.diagnostics.len() > before));
        }
        cluster
    }
}

/// What other programs call the keys.
const CLUSTER_ALIASES: &[(&str, &str)] = &[
    ("address", "endpoints"),
    ("addresses", "endpoints"),
    ("hosts", "endpoints"),
    ("servers", "endpoints"),
    ("urls", "endpoints"),
    ("backend", "engine"),
    ("name", "node"),
    ("id", "node"),
    ("ttl", "lease"),
    ("username", "user"),
    ("password", "password_file"),
    ("cacert", "ca"),
    ("cert", "certificate"),
];
