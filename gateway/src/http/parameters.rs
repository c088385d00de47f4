//! What a request asks for in its address, read strictly: a misspelt parameter would otherwise ask
//! for something else.

use std::{fmt, time::Duration};

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use endpoints::{Quoted, names_like};

use super::problem::Problem;

/// The parameters of a request.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let unreadable =
            |_| Problem::invalid("what follows the `?` cannot be read: write KEY=VALUE&KEY=VALUE");
        let Query(pairs) = Query::try_from_uri(&parts.uri).map_err(unreadable)?;
        Ok(Self(pairs))
    }
}

impl Parameters {
    /// Makes sure that there are none but known ones, each once.
    pub(super) fn only(self, known: &[&'static str]) -> Result<Self, Problem> {
        for (at, (key, _)) in self.0.iter().enumerate() {
            if !known.contains(&key.as_str()) {
                return Err(Problem::invalid(unknown("parameter", key, known)));
            }
            if self.0[..at].iter().any(|(earlier, _)| earlier == key) {
                return Err(Problem::invalid(format!(
                    "the parameter `{key}` is there twice: leave out one"
                )));
            }
        }
        Ok(self)
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str())
    }

    /// Reads a parameter that is `true` or `false`.
    pub(super) fn truth(&self, key: &str) -> Result<bool, Problem> {
        match self.get(key) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(wrong(key, "`true` or `false`", other)),
        }
    }

    /// Reads a parameter that is a number.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, Problem> {
        let read = |text: &str| {
            let expected =
                "a whole number, such as the header Callsign-Revision of an earlier answer has";
            text.parse().map_err(|_| wrong(key, expected, text))
        };
        self.get(key).map(read).transpose()
    }

    /// Reads a parameter that is a time of at most `limit`.
    pub(super) fn time(&self, key: &str, limit: Duration) -> Result<Option<Duration>, Problem> {
        let read = |text: &str| {
            let time = humantime::parse_duration(text).ok().filter(|it| *it <= limit);
            let most = humantime::format_duration(limit);
            let expected = format!("a time of at most {most}, such as `10s`");
            time.ok_or_else(|| wrong(key, expected, text))
        };
        self.get(key).map(read).transpose()
    }
}

fn wrong(key: &str, expected: impl fmt::Display, found: &str) -> Problem {
    Problem::invalid(format!("the parameter `{key}` is {expected}, not {}", Quoted(found)))
}

/// Says that something does not exist, what may be meant, and what there is.
pub(super) fn unknown(kind: &str, key: &str, known: &[&'static str]) -> String {
    let said = format!("there is no {kind} {}", Quoted(key));
    match (names_like(key, known.iter().copied()).first(), known) {
        (Some(near), _) => format!("{said}: did you mean `{near}`?"),
        (None, []) => format!("{said}: this takes none"),
        (None, known) => {
            let known: Vec<_> = known.iter().map(|it| format!("`{it}`")).collect();
            format!("{said}: there is {}", known.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_known_or_told() {
        let check = |query: &str, expected: &str| {
            let uri = format!("/v1/actors/feed?{query}").parse().unwrap();
            let Query(pairs) = Query::try_from_uri(&uri).unwrap();
            let read = Parameters(pairs).only(&["all", "wait", "after"]).and_then(|it| {
                it.truth("all")?;
                it.number("after")?;
                it.time("wait", Duration::from_secs(600))
            });
            let said = read.err().map(|it| it.detail().to_owned()).unwrap_or_default();
            assert!(
                said.starts_with(expected) && said.is_empty() == expected.is_empty(),
                "{query}: {said}"
            );
        };
        for fine in ["", "all=true", "all=false&wait=10s&after=7", "wait=10min"] {
            check(fine, "");
        }
        check("al=true", "there is no parameter `al`: did you mean `all`?");
        check("Wait=1s", "there is no parameter `Wait`: did you mean `wait`?");
        check("pattern=x", "there is no parameter `pattern`: there is `all`, `wait`, `after`");
        check("all=true&all=true", "the parameter `all` is there twice: leave out one");
        check("all=1", "the parameter `all` is `true` or `false`, not `1`");
        check("after=-1", "the parameter `after` is a whole number, such as");
        check("wait=1y", "the parameter `wait` is a time of at most 10m, such as `10s`, not `1y`");
    }
}
