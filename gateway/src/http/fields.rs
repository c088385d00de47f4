//! The body of a request, read strictly, with errors that say where and what is expected.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use endpoints::Quoted;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Number, error::Category};

use super::{parameters::unknown, problem::Problem};

/// The fields of an object.
#[derive(Debug)]
pub(super) struct Fields(Vec<(String, Value)>);

/// A value of JSON, whose objects have kept what stands in them twice.
#[derive(Debug)]
enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Fields {
    /// Reads an object that has none but known fields.
    pub(super) fn read(body: &[u8], known: &[&'static str]) -> Result<Self, Problem> {
        let fields = match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => fields,
            Ok(other) => {
                let kind = kind(&other);
                return Err(Problem::invalid(format!(
                    "the body is {kind}, not an object: write {{\"name\": \"feed\", …}}"
                )));
            }
            Err(error) => return Err(Problem::invalid(unreadable(body, &error))),
        };
        if let Some((other, _)) = fields.iter().find(|(it, _)| !known.contains(&it.as_str())) {
            return Err(Problem::invalid(unknown("field", other, known)));
        }
        once("", &fields)?;
        Ok(Self(fields))
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        let at = self.0.iter().position(|(it, _)| it == key)?;
        Some(self.0.swap_remove(at).1).filter(|it| !matches!(it, Value::Null))
    }

    pub(super) fn text(&mut self, key: &str, expected: &str) -> Result<String, Problem> {
        self.optional_text(key, expected)?.ok_or_else(|| missing(key, expected))
    }

    pub(super) fn optional_text(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<Option<String>, Problem> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(key, &other, expected)),
        }
    }

    pub(super) fn number(&mut self, key: &str, expected: &str) -> Result<u64, Problem> {
        self.optional_number(key, expected)?.ok_or_else(|| missing(key, expected))
    }

    pub(super) fn optional_number(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<Option<u64>, Problem> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = match &value {
            Value::Number(number) => number.as_u64(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| wrong(key, &value, expected))
    }

    pub(super) fn texts(&mut self, key: &str, expected: &str) -> Result<Vec<String>, Problem> {
        let items = match self.take(key) {
            None => return Err(missing(key, expected)),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(wrong(key, &other, expected)),
        };
        let read = |(at, item): (usize, Value)| match item {
            Value::String(text) => Ok(text),
            other => Err(wrong(&format!("{key}[{at}]"), &other, "a string")),
        };
        items.into_iter().enumerate().map(read).collect()
    }

    pub(super) fn map(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<BTreeMap<String, String>, Problem> {
        let fields = match self.take(key) {
            None => return Ok(BTreeMap::new()),
            Some(Value::Object(fields)) => fields,
            Some(other) => return Err(wrong(key, &other, expected)),
        };
        once(key, &fields)?;
        let read = |(name, value): (String, Value)| match value {
            Value::String(text) => Ok((name, text)),
            other => Err(wrong(&within(key, &name), &other, "a string")),
        };
        fields.into_iter().map(read).collect()
    }
}

/// Refuses an object, the value of a field or all of the body, in which a field stands twice.
fn once(key: &str, fields: &[(String, Value)]) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    match fields.iter().find(|(name, _)| !seen.insert(name)) {
        None => Ok(()),
        Some((name, _)) => Err(Problem::invalid(format!(
            "the field {} is there twice: leave out one",
            Quoted(&within(key, name))
        ))),
    }
}

/// Returns how a field within the value of another is called.
fn within(key: &str, name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    if key.is_empty() { name } else { format!("{key}.{name}") }
}

fn missing(key: &str, expected: &str) -> Problem {
    Problem::invalid(format!("the field `{key}` is missing: it is {expected}"))
}

fn wrong(key: &str, found: &Value, expected: &str) -> Problem {
    let found = match found {
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {}", Quoted(text)),
        other => kind(other).to_owned(),
    };
    Problem::invalid(format!("the field {} is {found}, and should be {expected}", Quoted(key)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(true) => "`true`",
        Value::Bool(false) => "`false`",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Value::Object(fields))
    }
}

fn unreadable(body: &[u8], error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        _ if body.trim_ascii().is_empty() => {
            "the body is empty: it is a JSON object, {\"name\": \"feed\", …}".to_owned()
        }
        Category::Eof => format!(
            "the JSON of the body ends too soon, in line {line}, column {column}: is a bracket or a \
             quote not closed?"
        ),
        _ => format!(
            "the body is no JSON from line {line}, column {column}: are there a comma too many or too \
             few, or names without double quotes?"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_with_their_place_and_remedy() {
        let check = |body: &str, expected: &str| {
            let read = Fields::read(body.as_bytes(), &["name", "ttl_ms", "endpoints", "metadata"]);
            let read = read.and_then(|mut it| {
                it.text("name", "the actor's name")?;
                it.texts("endpoints", "an array of multiaddrs")?;
                it.map("metadata", "an object of strings")?;
                it.number("ttl_ms", "a number")
            });
            let said = read.err().map(|it| it.detail().to_owned()).unwrap_or_default();
            assert!(
                said.starts_with(expected) && said.is_empty() == expected.is_empty(),
                "{body}: {said}"
            );
        };
        check("{\"name\": \"feed\", \"endpoints\": [\"/unix/a\"], \"ttl_ms\": 7}", "");
        check(" \n", "the body is empty");
        check("[]", "the body is an array, not an object");
        check("{\"name\": \"feed\"", "the JSON of the body ends too soon, in line 1, column 15");
        check("{\"name\":\n feed}", "the body is no JSON from line 2, column");
        check("{\"ttl\": 7}", "there is no field `ttl`: there is `name`");
        check("{\"ttl_s\": 7}", "there is no field `ttl_s`: did you mean `ttl_ms`?");
        check("{}", "the field `name` is missing: it is the actor's name");
        check("{\"name\": null}", "the field `name` is missing");
        check(
            "{\"name\": \"a\", \"name\": \"a\"}",
            "the field `name` is there twice: leave out one",
        );
        check(
            "{\"name\": \"x\", \"endpoints\": [], \"metadata\": {\"a\": \"1\", \"a\": \"2\"}}",
            "the field `metadata.a` is there twice",
        );
        check("{\"name\": 7}", "the field `name` is the number 7, and should be the actor's name");
        check(
            "{\"name\": \"x\", \"endpoints\": [\"\", []]}",
            "the field `endpoints[1]` is an array, and",
        );
        let long = "{\"name\": \"x\", \"endpoints\": [], \"metadata\": {\"a\": 1}}";
        check(long, "the field `metadata.a` is the number 1, and should be a string");
        let text = "{\"name\": \"x\", \"endpoints\": [], \"ttl_ms\": \"7\"}";
        check(text, "the field `ttl_ms` is the string `7`, and should be a number");
    }
}
