//! The settings file, described to editors.
//!
//! The tables and keys come from [`Written`], with their comments. [`types`] stand for the values.
//! The schema says a little less than [`read`](crate::read) knows: that two actors claim
//! the same place cannot be said in it.

pub(crate) mod types;

use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::Value;

use crate::written::Written;

/// Returns the JSON schema of the settings file, laid out for people and ending in a line break.
pub fn schema() -> String {
    // Editors read this draft; many do not read later ones.
    let settings = SchemaSettings::draft07().with_transform(RecursiveTransform(join_lines));
    let generator = settings.into_generator();
    let mut schema = generator.into_root_schema_for::<Written>().to_value();
    // Whether keys keep their order depends on what else is built.
    schema.sort_all_objects();
    format!("{schema:#}\n")
}

/// Removes the line breaks of comments, which have no meaning.
fn join_lines(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, keys::REGISTRAR_KEYS, read};

    #[test]
    fn the_document_is_in_step() {
        let document = include_str!("../../docs/callsign.schema.json");
        assert!(
            document == schema(),
            "docs/callsign.schema.json is out of step; `cargo xtask docs` writes it anew"
        );
    }

    #[test]
    fn it_knows_the_keys_and_the_defaults() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let properties = schema["definitions"]["Registrar"]["properties"].as_object().unwrap();
        let keys: Vec<_> = properties.keys().map(String::as_str).collect();
        let mut known = REGISTRAR_KEYS.to_vec();
        known.sort_unstable();
        assert_eq!(keys, known);

        // JSON writes these values as TOML does.
        let line = |(key, it): (&String, &Value)| Some(format!("{key} = {}\n", it.get("default")?));
        let lines: String = properties.iter().filter_map(line).collect();
        let (mut settings, _) = read(&format!("[registrar]\n{lines}"), "defaults").unwrap();
        assert!(settings.registrar.names_place.take().is_some());
        assert_eq!(settings, Settings::default());
        let without = ["listen", "socket_mode", "socket_group", "tractor"].len();
        assert_eq!(lines.lines().count(), keys.len() - without, "all but these have a default");
    }
}
