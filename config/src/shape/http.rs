//! The table `[http]`.

use endpoints::Quoted;

use super::{Shape, suggestion};
use crate::{diagnostic::Diagnostic, syntax::Value, written::WrittenHttp};

impl Shape<'_> {
    pub(super) fn http(&mut self, value: &Value<'_>) -> WrittenHttp {
        let mut http = WrittenHttp::default();
        for (key, value) in self.table("http", value) {
            match key.get_ref().as_ref() {
                "listen" => http.listen = self.endpoints(key, value, "http"),
                name => {
                    let message = format!("unknown key {} in `[http]`", Quoted(name));
                    let help = match suggestion(name, &["listen"], HTTP_ALIASES) {
                        Some(key) => format!("did you mean `{key}`?"),
                        None => "its only key is `listen`".to_owned(),
                    };
                    let place = self.key(key).place;
                    self.diagnostics.push(Diagnostic::error(message, place).help(help));
                }
            }
        }
        http
    }
}

const HTTP_ALIASES: &[(&str, &str)] = &[
    ("address", "listen"),
    ("addresses", "listen"),
    ("bind", "listen"),
    ("endpoint", "listen"),
    ("port", "listen"),
    ("socket", "listen"),
];
