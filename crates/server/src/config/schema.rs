//! The JSON Schema of the configuration file, made of the table: for editors that complete and check as one types.

use serde_json::{Map, Value, json};

use super::keys::{self, KEYS, Key, NAMESPACE_KEYS};
use super::kinds::Form;

/// The schema, in draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    let mut top = Map::new();
    for key in KEYS {
        match key.name.split_once('.') {
            None => insert(&mut top, key.name, key),
            Some((section, name)) => {
                let section = top.entry(section).or_insert_with(|| table(&Map::new()));
                if let Some(properties) = section.get_mut("properties").and_then(Value::as_object_mut) {
                    insert(properties, name, key);
                }
            }
        }
    }
    let mut namespace = Map::new();
    for key in NAMESPACE_KEYS {
        insert(&mut namespace, key.name, key);
    }
    top.insert(
        "namespace".into(),
        json!({
            "type": "object",
            "description": "What is different in a namespace, by its name.",
            "additionalProperties": table(&namespace),
        }),
    );
    let mut schema = table(&top);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Tidewire configuration".into();
    schema
}

fn table(properties: &Map<String, Value>) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn insert<S>(properties: &mut Map<String, Value>, name: &str, key: &Key<S>) {
    let mut value = of_form(key.form);
    if ["auto", "none"].contains(&key.default) && !is_text(key.form) {
        value = json!({ "anyOf": [value, { "const": key.default }] });
    }
    value["description"] = key.meaning.into();
    value["default"] = default(key);
    properties.insert(name.into(), value);
    if keys::may_hold_a_secret(key.name, key.form) {
        let words = format!("The name of a file that holds `{}`.", key.name);
        properties.insert(format!("{name}_file"), json!({ "type": "string", "description": words }));
    }
}

/// Any text may be written, `auto` and `none` included.
fn is_text(form: Form) -> bool {
    matches!(form, Form::Text(_) | Form::Secret)
}

fn default<S>(key: &Key<S>) -> Value {
    let word = || Value::from(key.default);
    match key.form {
        Form::List(_) => json!([]),
        Form::Boolean | Form::Count(..) => serde_json::from_str(key.default).unwrap_or_else(|_| word()),
        _ => word(),
    }
}

fn of_form(form: Form) -> Value {
    match form {
        Form::Boolean => json!({ "type": "boolean" }),
        Form::Count(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Form::Duration => {
            json!({ "type": ["string", "integer"], "pattern": "^[0-9]+ *(ms|s|m|h|d)?$", "minimum": 0 })
        }
        Form::Size => {
            json!({ "type": ["string", "integer"], "pattern": "^[0-9]+ *(B|KiB|MiB|GiB)?$", "minimum": 0 })
        }
        Form::Choice(words) => json!({ "enum": words }),
        Form::Text(_) | Form::Secret => json!({ "type": "string", "minLength": 1 }),
        Form::List(_) => json!({ "type": "array", "items": { "type": "string" } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'s>(schema: &'s Value, key: &str) -> &'s Value {
        key.split('.').fold(schema, |at, part| &at["properties"][part])
    }

    #[test]
    fn the_schema_knows_every_key_with_its_default() {
        let schema = schema();
        for key in KEYS {
            let found = at(&schema, key.name);
            assert_eq!(found["description"], key.meaning, "{}", key.name);
            assert!(!found["default"].is_null(), "{}", key.name);
        }
        let of_namespace = &schema["properties"]["namespace"]["additionalProperties"];
        for key in NAMESPACE_KEYS {
            assert_eq!(at(of_namespace, key.name)["description"], key.meaning, "{}", key.name);
        }
    }

    #[test]
    fn the_schema_knows_no_other_key() {
        let schema = schema();
        assert_eq!(schema["additionalProperties"], false);
        for section in ["auth", "history", "engine", "limits"] {
            assert_eq!(schema["properties"][section]["additionalProperties"], false);
        }
        assert_eq!(at(&schema, "limits.heartbeat")["default"], "15s");
        assert_eq!(at(&schema, "history.messages_max")["default"], 1000);
        assert_eq!(at(&schema, "auth.hs256_secret_file")["type"], "string");
    }
}
