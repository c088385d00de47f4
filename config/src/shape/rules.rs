//! The table `[names]`: a rule for each pattern.

use endpoints::Quoted;
use toml::de::DeTable;

use super::{Shape, article, list, suggestion};
use crate::{
    diagnostic::Diagnostic, keys::Limits, rewritten, syntax::Value, text::Text,
    written::WrittenRule,
};

impl Shape<'_> {
    pub(super) fn rules(&mut self, value: &Value<'_>) -> Vec<(Text, WrittenRule)> {
        let mut rules = Vec::new();
        for (pattern, value) in self.table("names", value) {
            let Some(table) = value.get_ref().as_table() else {
                let message =
                    format!("found {} where a rule is expected", article(value.get_ref()));
                let pattern = self.literal(pattern.span());
                let help = format!("write {pattern} = {}", rewritten::rule(value.get_ref()));
                self.diagnostics
                    .push(Diagnostic::error(message, self.place(value.span())).help(help));
                continue;
            };
            rules.push((self.key(pattern), self.rule(table)));
        }
        rules.sort_by_key(|(pattern, _): &(Text, _)| pattern.place.span.start);
        rules
    }

    fn rule(&mut self, table: &DeTable<'_>) -> WrittenRule {
        let mut rule = WrittenRule::default();
        for (key, value) in table.iter() {
            match key.get_ref().as_ref() {
                "register" => rule.register = self.words(key, value, "any", rewritten::owner),
                "find" => rule.find = self.words(key, value, "any", rewritten::owner),
                "exclusive" => rule.exclusive = self.switch(key, value),
                "max_instances" => rule.max_instances = self.number(&INSTANCES_MAX, value),
                name => {
                    let message = format!("unknown key {} in a rule of `[names]`", Quoted(name));
                    let help =
                        match suggestion(name, RULE_KEYS, &[("instances_max", "max_instances")]) {
                            Some(key) => format!("did you mean `{key}`?"),
                            None => format!("its keys are {}", list(RULE_KEYS)),
                        };
                    let place = self.key(key).place;
                    self.diagnostics.push(Diagnostic::error(message, place).help(help));
                }
            }
        }
        rule
    }
}

const RULE_KEYS: &[&str] = &["register", "find", "exclusive", "max_instances"];

/// Only its key serves here: what is not a number is reported by it.
const INSTANCES_MAX: Limits<u32> =
    Limits { key: "max_instances", min: 1, default: 1, max: u32::MAX };
