//! The manual: a configuration file with every key, its default, its unit and its cost, all of it commented out.

use super::keys::{NAMESPACE, NAMESPACE_KEYS};

/// The file. Prose begins with `# `, a key with `#`.
pub const MANUAL: &str = include_str!("tidewire.toml");

/// One piece of the manual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A section begins: its name, and what is said about it. The one before all sections has no name.
    Section(String, String),
    /// A key with its name, sections included, its default as the file writes it, and what is said about it.
    Key {
        /// For a key of a namespace, the part after the namespace.
        name: String,
        /// As TOML.
        default: String,
        /// In sentences.
        words: String,
    },
}

/// Reads the manual.
#[must_use]
pub fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut section = String::new();
    let mut words = String::new();
    for line in MANUAL.lines() {
        let code = line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
        if let Some(name) = code.unwrap_or(line).strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = if name.starts_with(NAMESPACE) { String::new() } else { format!("{name}.") };
            entries.push(Entry::Section(name.to_owned(), std::mem::take(&mut words)));
        } else if let Some((name, default)) = code.and_then(|code| code.split_once(" = ")) {
            let (name, default) = (format!("{section}{name}"), default.to_owned());
            entries.push(Entry::Key { name, default, words: std::mem::take(&mut words) });
        } else if let Some(prose) = line.strip_prefix('#') {
            words = format!("{words} {}", prose.trim()).trim().to_owned();
        } else if entries.is_empty() && !words.is_empty() {
            // The first paragraphs speak of the whole, and end where the first key's begin.
            entries.push(Entry::Section(String::new(), std::mem::take(&mut words)));
        }
    }
    entries
}

/// The manual with `lines` in place of the default of `key`, which is in the section `[section]`.
#[must_use]
pub fn with(section: &str, key: &str, lines: &str) -> String {
    let mut inside = false;
    let mut text = String::with_capacity(MANUAL.len() + lines.len());
    for line in MANUAL.lines() {
        if line.starts_with('[') {
            inside = line == format!("[{section}]");
        }
        let replaced =
            inside && line.strip_prefix('#').is_some_and(|code| code.starts_with(&format!("{key} = ")));
        text.push_str(if replaced { lines } else { line });
        text.push('\n');
    }
    text
}

/// Whether a name in the manual is that of a key of a namespace.
#[must_use]
pub fn is_of_namespace(name: &str) -> bool {
    NAMESPACE_KEYS.iter().any(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::{KEYS, Key, When};
    use crate::config::kinds::Form;
    use crate::config::{Settings, Sources};

    fn keys() -> Vec<(String, String, String)> {
        let key = |entry| match entry {
            Entry::Key { name, default, words } => Some((name, default, words)),
            Entry::Section(..) => None,
        };
        entries().into_iter().filter_map(key).collect()
    }

    fn written<S>(key: &Key<S>) -> String {
        match (key.default, key.form) {
            ("none", Form::List(_)) => "[]".into(),
            (default, Form::Boolean | Form::Count(..)) if default != "auto" => default.into(),
            (default, _) => format!("\"{default}\""),
        }
    }

    #[test]
    fn the_manual_lists_every_key_with_its_default_in_the_order_of_the_table() {
        let node = KEYS.iter().map(|key| (key.name.to_owned(), written(key)));
        let namespace = NAMESPACE_KEYS.iter().map(|key| (key.name.to_owned(), written(key)));
        let table: Vec<_> = node.chain(namespace).collect();
        let manual: Vec<_> = keys().into_iter().map(|(name, default, _)| (name, default)).collect();
        assert_eq!(manual, table);
    }

    #[test]
    fn the_manual_says_of_every_key_what_the_table_says_and_when_it_takes_effect() {
        let node = KEYS.iter().map(|key| (key.meaning, key.when));
        let table = node.chain(NAMESPACE_KEYS.iter().map(|key| (key.meaning, key.when)));
        for ((name, _, words), (meaning, when)) in keys().into_iter().zip(table) {
            let expected =
                if when == When::Restart { format!("{meaning} [restart]") } else { meaning.to_owned() };
            assert!(words.starts_with(&expected), "{name}\nmanual: {words}\ntable:  {expected}");
            assert_eq!(words.contains("[restart]"), when == When::Restart, "{name}");
        }
    }

    #[test]
    fn the_manual_as_it_stands_changes_nothing_and_uncommented_neither() {
        let uncommented: Vec<&str> = MANUAL
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(code) if !code.is_empty() && !code.starts_with(' ') => code,
                _ => line,
            })
            .collect();
        for text in [MANUAL.to_owned(), uncommented.join("\n")] {
            let sources = Sources { file: Some(("tidewire.toml".into(), text)), ..Sources::default() };
            let resolved = sources.resolve(Settings::for_this_machine()).unwrap();
            assert_eq!(resolved.settings, Settings::for_this_machine());
            assert_eq!(resolved.warnings, []);
        }
    }

    #[test]
    fn a_line_of_the_manual_can_be_replaced() {
        let text = with("auth", "hs256_secret", "hs256_secret_file = \"x\"");
        assert!(text.contains("\nhs256_secret_file = \"x\"\n") && !text.contains("#hs256_secret = "));
        assert_eq!(text.lines().count(), MANUAL.lines().count());
    }

    #[test]
    fn the_lines_of_the_manual_fit_on_a_screen() {
        for line in MANUAL.lines() {
            assert!(line.chars().count() <= 120, "{line}");
        }
    }
}
