//! `docs/configuration.md`, made of the table and the manual.

use super::keys::{KEYS, NAMESPACE, NAMESPACE_KEYS, When};
use super::manual::{self, Entry};

/// The page.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    for entry in manual::entries() {
        match entry {
            Entry::Section(name, _) if name.is_empty() => page.push_str(&table("Top level", "")),
            Entry::Section(name, words) => {
                let shown = if name.starts_with(NAMESPACE) { "namespace.NAME" } else { &name };
                page.push_str(&table(&format!("`[{shown}]`"), &words));
            }
            Entry::Key { name, default, words } => page.push_str(&row(&name, &default, &words)),
        }
    }
    page
}

fn table(title: &str, words: &str) -> String {
    let words = if words.is_empty() { String::new() } else { format!("{words}\n\n") };
    format!("\n## {title}\n\n{words}| key | value | default | changes with | |\n|---|---|---|---|---|\n")
}

fn row(name: &str, default: &str, words: &str) -> String {
    let node = KEYS.iter().map(|key| (key.name, key.form, key.when));
    let namespace = NAMESPACE_KEYS.iter().map(|key| (key.name, key.form, key.when));
    let found = if manual::is_of_namespace(name) {
        namespace.into_iter().find(|(key, ..)| *key == name)
    } else {
        node.into_iter().find(|(key, ..)| *key == name)
    };
    let Some((_, form, when)) = found else { return String::new() };
    let when = match when {
        When::Live => "SIGHUP",
        When::Restart => "restart",
    };
    let words = words.replace("[restart] ", "").replace(" [restart]", "").replace('|', "\\|");
    format!("| `{name}` | {} | `{default}` | {when} | {words} |\n", form.word())
}

const HEAD: &str = r#"# Configuration

Tidewire starts without any. What is set, is set in four layers, of which a later one beats an earlier one:

1. **Defaults**, which are right for most.
2. **`tidewire.toml`** in the folder where the server starts, or the file that `--config` or `TIDEWIRE_CONFIG` names.
   `tidewire init` writes one that holds every key with its default, commented out.
3. **The environment**: `limits.heartbeat` is `TIDEWIRE_LIMITS__HEARTBEAT`, `namespace.chat.ttl` is
   `TIDEWIRE_NAMESPACE__CHAT__TTL`. With `_FILE` behind its name a variable names a file that holds the value, as in
   `TIDEWIRE_AUTH__HS256_SECRET_FILE=/run/secrets/tidewire`; one line end at the end of the file is not part of it.
4. **Flags**: `--set limits.heartbeat=5s`, and `--listen`, `--admin-listen`, `--dev`, `--demo` and others.

A key that does not exist is an error wherever it stands, and so is an empty value. Lists have brackets in the file and
commas elsewhere. Durations are `500ms`, `15s`, `5m`, `1h`, `2d` or whole seconds; sizes are `64KiB`, `1MiB`, `2GiB` or
whole bytes. `auto` is worked out when the server starts, `none` is nothing. Relative paths in the file begin in its
folder. Secrets may stand in files of their own there, too: `hs256_secret_file = "tidewire.secret"`.

```sh configuration
tidewire init                   # a file to begin with, and a secret
tidewire check                  # everything that is wrong, and where; exit code 78 if there is anything
tidewire check --prod           # what would be wrong on the internet, too
tidewire config show --origin   # every value, and where it came from
tidewire config schema          # JSON Schema of the file, for editors
```

`kill -HUP` has a running server read it again; what cannot be used is refused as a whole, and the old values stay. Every key is a
variable of [the environment](environment.md), too.

This page is generated from the table of keys and the commented file that `tidewire init` writes.
"#;

/// Holds a page under `docs` to what it is generated from, or writes it anew.
#[cfg(test)]
pub(crate) fn assert_written(name: &str, page: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "{name} has drifted: UPDATE_REFERENCE=1 cargo test -p tidewire-server reference"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_says_what_the_table_says() {
        assert_written("docs/configuration.md", &reference());
    }

    #[test]
    fn the_reference_has_a_row_for_every_key() {
        let page = reference();
        for key in KEYS {
            assert!(page.contains(&format!("\n| `{}` |", key.name)), "{}", key.name);
        }
        for key in NAMESPACE_KEYS {
            assert!(page.contains(&format!("\n| `{}` |", key.name)), "{}", key.name);
        }
    }
}
