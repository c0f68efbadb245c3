//! `docs/environment.md`, made of the table and the manual.

use super::keys::{KEYS, NAMESPACE_KEYS};
use super::kinds::Form;
use super::manual::{self, Entry};

/// The page.
#[must_use]
pub fn environment() -> String {
    let mut page = String::from(HEAD);
    for entry in manual::entries() {
        match entry {
            Entry::Section(..) => {}
            Entry::Key { name, default, .. } => page.push_str(&row(&name, &default)),
        }
    }
    page.push_str(TAIL);
    page
}

fn row(name: &str, default: &str) -> String {
    let of_namespace = manual::is_of_namespace(name);
    let form = if of_namespace {
        NAMESPACE_KEYS.iter().find(|key| key.name == name).map(|key| key.form)
    } else {
        KEYS.iter().find(|key| key.name == name).map(|key| key.form)
    };
    let Some(form) = form else { return String::new() };
    let key = if of_namespace { format!("namespace.NAME.{name}") } else { name.to_owned() };
    let variable = format!("TIDEWIRE_{}", key.replace('.', "__").to_uppercase());
    // A secret in a variable is there for everything that the process starts, and for whoever may look at it.
    let shown = if matches!(form, Form::Secret) { format!("{variable}_FILE") } else { variable };
    format!("| `{shown}` | `{key}` | {} | `{}` |\n", form.word(), without_brackets(default))
}

/// A default as a variable says it: a list has no brackets there, and a text no quotes.
fn without_brackets(default: &str) -> String {
    let list = default.strip_prefix('[').and_then(|list| list.strip_suffix(']'));
    match list {
        Some("") => "none".to_owned(),
        list => list.unwrap_or(default).replace('"', "").replace(", ", ","),
    }
}

const HEAD: &str = r#"# Environment

Every key of [the configuration](configuration.md) is a variable, too. What a key means stands there; here is what its variable is
called.

- **The name** is `TIDEWIRE_`, and the key in capitals, with two underscores for each dot.
- **The value** is written without quotes and brackets; lists are separated by commas. An empty value is an error, so that
  `"$SECRET"` where there is no such variable does not end in dev mode. `none` is nothing, and `auto` what is worked out.
- **`_FILE` behind the name** of any of them names a file that holds the value, as orchestrators hand out secrets: one line end at
  the end of it is not part of it, and it has at most 64 KiB. A value beside the file that holds it is an error. Secrets stand here
  with `_FILE`, since a variable is there to be read for everything that the process starts.
- **They beat the file**, and flags beat them. `tidewire config show --origin` says what came from where.
- **A variable that names no key** is an error, where it has two underscores in a row or is nearly a key's name. What Kubernetes sets beside a
  service called `tidewire` (`TIDEWIRE_SERVICE_HOST`, `TIDEWIRE_PORT_8080_TCP` …) is left alone.

```sh environment
export TIDEWIRE_LIMITS__HEARTBEAT=10s TIDEWIRE_TRUSTED_PROXIES=127.0.0.1,10.0.0.0/8
tidewire config show --origin
```

```text expected
TIDEWIRE_LIMITS__HEARTBEAT
TIDEWIRE_TRUSTED_PROXIES
```

This page is generated from the table of keys and the commented file that `tidewire init` writes.

## Keys

| variable | key | value | default |
|---|---|---|---|
"#;

const TAIL: &str = r#"
`NAME` is that of a namespace, in capitals.

## What is no key

| variable | read by | what it is |
|---|---|---|
| `TIDEWIRE_CONFIG` | the server, `check`, `config` | the configuration file, as `--config` |
| `TIDEWIRE_URL` | [commands](cli.md) that talk to a server | the server that is asked, as `--url` |
| `TIDEWIRE_TOKEN` | the same | a token or an API key, as `--token`, which everybody on the machine can read |
| `TIDEWIRE_CA` | the same | certificates in PEM that the server is trusted by, as `--ca` |
| `TIDEWIRE_ADMIN_PASSWORD` | `tidewire top` | a password of the console; with `_FILE`, a file that holds it |
| `TIDEWIRE_API_KEY` | the programs of `examples` | an API key; the server passes it over |
| `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES` | the server | sockets that systemd holds: [operations](operations.md#a-socket-that-outlives-the-process) |
| `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID` | the server | where systemd is told how the node is, and how often it wants to hear |
| `OTEL_…` | the server, built with `otlp` | which collector gets traces, and which: [operations](operations.md#traces) |
| `SSL_CERT_FILE`, `SSL_CERT_DIR` | all of them | the authorities that this machine trusts, where they are not in their usual place |
| `XDG_STATE_HOME`, `HOME` | the server | where the demonstrations keep what they must not forget |
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference::assert_written;

    #[test]
    fn the_page_of_the_environment_says_what_the_table_says() {
        assert_written("docs/environment.md", &environment());
    }

    #[test]
    fn the_page_of_the_environment_has_a_row_for_every_key() {
        let page = environment();
        for key in KEYS {
            assert!(page.contains(&format!("| `{}` |", key.name)), "{}", key.name);
        }
        for key in NAMESPACE_KEYS {
            assert!(page.contains(&format!("| `namespace.NAME.{}` |", key.name)), "{}", key.name);
        }
    }
}
