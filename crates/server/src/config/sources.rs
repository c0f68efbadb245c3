//! Where settings come from, and how the layers are laid over each other.

use std::fmt;

use toml::de::{DeTable, DeValue};

use super::keys::Key;
use super::settings::Settings;

/// The raw settings of one start. Later layers beat earlier ones: file, environment, flags.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The name and the text of the configuration file, where there is one.
    pub file: Option<(String, String)>,
    /// Environment variables; those that do not begin with `TIDEWIRE_` are passed over.
    pub environment: Vec<(String, String)>,
    /// Flags: the key, the value, and the flag as it was typed.
    pub flags: Vec<Flag>,
}

/// One flag of the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The key it sets.
    pub key: String,
    /// To what.
    pub value: String,
    /// As the user typed it, for messages.
    pub typed: String,
}

/// A setting that cannot be used: where it stands and what is wrong with it. Exit code 78.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file and line, the variable, or the flag; nothing where several settings contradict each other.
    pub place: Option<String>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Environment variables of the command line's own, which are no settings of a server.
const NOT_SETTINGS: [&str; 3] = ["TIDEWIRE_URL", "TIDEWIRE_TOKEN", "TIDEWIRE_CONFIG"];

impl Sources {
    /// Lays the layers over `settings`.
    ///
    /// # Errors
    /// The first setting that does not exist, cannot be read, or contradicts another.
    pub fn resolve(&self, mut settings: Settings) -> Result<Settings, ConfigError> {
        if let Some((name, text)) = &self.file {
            lay_file(&mut settings, name, text)?;
        }
        for (name, value) in &self.environment {
            lay_variable(&mut settings, name, value)?;
        }
        for flag in &self.flags {
            lay(&mut settings, &flag.key, &flag.value, || flag.typed.clone())?;
        }
        match settings.contradiction() {
            Some(problem) => Err(ConfigError { place: None, problem }),
            None => Ok(settings),
        }
    }
}

fn lay(
    settings: &mut Settings,
    name: &str,
    value: &str,
    place: impl Fn() -> String,
) -> Result<(), ConfigError> {
    let wrong = |problem| ConfigError { place: Some(place()), problem };
    let Some(key) = Key::find(name) else {
        let meant =
            Key::nearest(name).map(|key| format!("; did you mean `{}`?", key.name)).unwrap_or_default();
        return Err(wrong(format!("there is no key `{name}`{meant}")));
    };
    (key.set)(settings, value).map_err(|problem| wrong(format!("`{name}`: {problem}")))
}

fn lay_variable(settings: &mut Settings, name: &str, value: &str) -> Result<(), ConfigError> {
    let Some(rest) = name.strip_prefix("TIDEWIRE_").filter(|_| !NOT_SETTINGS.contains(&name)) else {
        return Ok(());
    };
    let key = rest.replace("__", ".").to_lowercase();
    // Other programs may keep variables of their own under our prefix. Only what looks like a key is held to be one.
    if Key::find(&key).is_none() && !key.contains('.') && Key::nearest(&key).is_none() {
        return Ok(());
    }
    lay(settings, &key, value, || name.to_owned())
}

fn lay_file(settings: &mut Settings, name: &str, text: &str) -> Result<(), ConfigError> {
    let line = |at: usize| text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        ConfigError { place: Some(format!("{name}:{}", line(at))), problem: error.message().to_owned() }
    })?;
    let mut tables = vec![(String::new(), document.get_ref())];
    while let Some((section, table)) = tables.pop() {
        for (key, value) in table {
            let path = format!("{section}{}", key.get_ref());
            let place = || format!("{name}:{}", line(key.span().start));
            match value.get_ref() {
                DeValue::Table(table) => tables.push((format!("{path}."), table)),
                DeValue::String(value) => lay(settings, &path, value, place)?,
                DeValue::Integer(value) => lay(settings, &path, &value.to_string(), place)?,
                DeValue::Boolean(value) => lay(settings, &path, &value.to_string(), place)?,
                other => {
                    // A list is written with brackets here and with commas elsewhere; past this point it is the same.
                    let wrong = || {
                        let problem = format!(
                            "`{path}`: expected a string, a list of strings, a whole number, true or false"
                        );
                        ConfigError { place: Some(place()), problem }
                    };
                    let items =
                        other.as_array().ok_or_else(wrong)?.iter().map(|item| item.get_ref().as_str());
                    let items: Option<Vec<&str>> = items.collect();
                    lay(settings, &path, &items.ok_or_else(wrong)?.join(","), place)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn resolve(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, String> {
        let sources = Sources {
            file: (!file.is_empty()).then(|| ("tidewire.toml".into(), file.into())),
            environment: environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            flags: flags
                .iter()
                .map(|(key, value)| Flag {
                    key: (*key).into(),
                    value: (*value).into(),
                    typed: format!("--set {key}={value}"),
                })
                .collect(),
        };
        sources.resolve(Settings::for_this_machine()).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_beat_the_environment_beats_the_file_beats_the_default() {
        let file = "[limits]\nheartbeat = \"1s\"\nping = 2\nretry = \"3s\"\n";
        let environment = [("TIDEWIRE_LIMITS__PING", "4s"), ("TIDEWIRE_LIMITS__RETRY", "5s"), ("HOME", "x")];
        let settings = resolve(file, &environment, &[("limits.retry", "6s")]).unwrap();
        assert_eq!(settings.limits.heartbeat, Duration::from_secs(1));
        assert_eq!(settings.limits.ping, Duration::from_secs(4));
        assert_eq!(settings.limits.retry, Duration::from_secs(6));
        assert_eq!(settings.limits.silence_max, Duration::from_secs(45));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_place_and_a_suggestion() {
        let error = resolve("listen = \"127.0.0.1:1\"\n\n[limits]\nheart_beat = 5\n", &[], &[]).unwrap_err();
        assert_eq!(
            error,
            "tidewire.toml:4: there is no key `limits.heart_beat`; did you mean `limits.heartbeat`?"
        );
        let error = resolve("", &[("TIDEWIRE_LISTN", "x")], &[]).unwrap_err();
        assert_eq!(error, "TIDEWIRE_LISTN: there is no key `listn`; did you mean `listen`?");
        let error = resolve("", &[], &[("history.ttll", "1s")]).unwrap_err();
        assert_eq!(
            error,
            "--set history.ttll=1s: there is no key `history.ttll`; did you mean `history.ttl`?"
        );
    }

    #[test]
    fn a_list_is_written_with_brackets_in_the_file_and_with_commas_elsewhere() {
        let in_file = resolve("[limits]\nconflate = [\"ticks\", \"cursors\"]\n", &[], &[]).unwrap();
        let in_flag = resolve("", &[], &[("limits.conflate", "ticks,cursors")]).unwrap();
        assert_eq!(in_file.limits.conflate, in_flag.limits.conflate);
        assert_eq!(in_file.limits.conflate.len(), 2);
    }

    #[test]
    fn a_value_that_cannot_be_read_names_its_place_and_what_would_do() {
        let error = resolve("[history]\nttl = \"soon\"\n", &[], &[]).unwrap_err();
        assert!(
            error.starts_with("tidewire.toml:2: `history.ttl`: `soon` is not a duration; write"),
            "{error}"
        );
        let error = resolve("listen = [1]\n", &[], &[]).unwrap_err();
        assert!(error.starts_with("tidewire.toml:1: `listen`: expected a string"), "{error}");
        assert!(resolve("listen = \n", &[], &[]).unwrap_err().starts_with("tidewire.toml:1: "));
    }

    #[test]
    fn the_variables_of_the_command_line_and_of_strangers_are_left_alone() {
        let environment = [("TIDEWIRE_URL", "x"), ("TIDEWIRE_TOKEN", "x"), ("TIDEWIRE_BIN", "x")];
        assert!(resolve("", &environment, &[]).is_ok());
        assert!(resolve("", &[("TIDEWIRE_LIMITS__NOTHING_LIKE_IT", "x")], &[]).is_err());
    }

    #[test]
    fn dev_mode_does_not_listen_where_others_can_reach_it() {
        let error = resolve("", &[], &[("listen", "0.0.0.0:8080")]).unwrap_err();
        assert!(error.contains("--dev-public"), "{error}");
        assert!(resolve("", &[], &[("listen", "0.0.0.0:8080"), ("dev_public", "true")]).is_ok());
        assert!(resolve("", &[], &[("listen", "[::1]:8080")]).is_ok());
        assert!(resolve("", &[], &[("dev", "false")]).is_err());
    }
}
