//! Settings as they are shown: one key a line, secrets masked, each with where it came from.

use serde_json::Value;

use super::keys::{KEYS, NAMESPACE, NAMESPACE_KEYS};
use super::sources::Resolved;

/// A setting as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Its key.
    pub key: String,
    /// Its value: a string, a list of strings, a whole number or a truth value. Secrets are `***`.
    pub value: Value,
    /// Where it came from; `default` where nobody set it.
    pub place: String,
}

impl Shown {
    /// As a line of the file: `limits.heartbeat = "15s"`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} = {}", dotted(&self.key), literal(&self.value))
    }
}

impl Resolved {
    /// Every setting, in the order of the manual; of namespaces those that differ from the rest.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let place = |key: &str| self.places.of(key).map_or_else(|| "default".into(), ToString::to_string);
        let of_node = KEYS.iter().map(|key| Shown {
            key: key.name.into(),
            value: (key.show)(&self.settings),
            place: place(key.name),
        });
        let of_namespaces = self.settings.namespaces.iter().flat_map(|(name, namespace)| {
            let set = NAMESPACE_KEYS.iter().filter(|key| !(key.same)(namespace, &Default::default()));
            set.map(move |key| (format!("{NAMESPACE}{}.{}", name, key.name), (key.show)(namespace)))
        });
        of_node.chain(of_namespaces.map(|(key, value)| Shown { place: place(&key), key, value })).collect()
    }
}

/// A key as TOML writes it: names of namespaces may have bytes that need quotes there.
fn dotted(key: &str) -> String {
    let bare = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    match key.strip_prefix(NAMESPACE).and_then(|rest| rest.rsplit_once('.')) {
        Some((name, last)) if !bare(name) => format!("{NAMESPACE}\"{name}\".{last}"),
        _ => key.to_owned(),
    }
}

/// A value as TOML writes it.
#[must_use]
pub fn literal(value: &Value) -> String {
    match value {
        // Strings of JSON are strings of TOML, but for one control character that TOML wants escaped.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007f"),
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
