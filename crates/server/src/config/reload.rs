//! Reloading: what of new settings a running node takes over, and what it says about that.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::keys::{KEYS, Key, NAMESPACE, NAMESPACE_KEYS, When};
use super::place::Places;
use super::settings::Settings;
use super::show::literal;
use super::sources::ConfigError;

/// One setting that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its key.
    pub key: String,
    /// What it was, as the file would have it; masked where it is a secret.
    pub from: String,
    /// What it is to be, likewise.
    pub to: String,
    /// When it takes effect.
    pub when: When,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { key, from, to, when } = self;
        if from == to {
            // Both are masked, or too alike to show.
            write!(f, "{key}: changed")?;
        } else {
            write!(f, "{key}: {from} -> {to}")?;
        }
        f.write_str(if *when == When::Restart { " (takes a restart)" } else { "" })
    }
}

impl Settings {
    /// Settings with everything of `new` that may change while these run, and every difference between the two.
    ///
    /// What takes a restart stays as it is. What comes of it may contradict itself, as when credentials leave a node
    /// that runs outside dev mode.
    ///
    /// # Errors
    /// Every contradiction. Then the running settings stay.
    pub fn reload(&self, new: &Settings) -> Result<(Settings, Vec<Change>), Vec<ConfigError>> {
        let mut next = self.clone();
        let mut changes = Vec::new();
        for key in KEYS {
            changes.extend(take(key, "", &mut next, new));
        }
        let names: BTreeSet<_> = self.namespaces.keys().chain(new.namespaces.keys()).cloned().collect();
        for name in names {
            let theirs = new.namespaces.get(&name).cloned().unwrap_or_default();
            let prefix = format!("{NAMESPACE}{name}.");
            let ours = next.namespaces.entry(name).or_default();
            for key in NAMESPACE_KEYS {
                changes.extend(take(key, &prefix, ours, &theirs));
            }
        }
        next.namespaces.retain(|_, namespace| *namespace != Default::default());
        let places = Places::default();
        let wrong: Vec<_> =
            next.contradictions().into_iter().filter_map(|found| found.locate(&places)).collect();
        if wrong.is_empty() { Ok((next, changes)) } else { Err(wrong) }
    }
}

/// Takes over one value if it may change now, and says whether it differs.
fn take<S>(key: &Key<S>, prefix: &str, ours: &mut S, theirs: &S) -> Option<Change> {
    if (key.same)(ours, theirs) {
        return None;
    }
    let shown = |value: Value| literal(&value);
    let change = Change {
        key: format!("{prefix}{}", key.name),
        from: shown((key.show)(ours)),
        to: shown((key.show)(theirs)),
        when: key.when,
    };
    if key.when == When::Live {
        (key.take)(ours, theirs);
    }
    Some(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use std::time::Duration;

    const SECRET: &str = "3q2-7wAAlm9fXr0bQ8uJt6vYkPz1cNdEsGhLoRiTxWu";
    const OTHER: &str = "Zk1-9xBBnm8gYs1cR9vKu7wZlQa2dOeFtHiMpSjUyXv";

    fn settings(file: &str) -> Settings {
        let sources = Sources { file: Some(("tidewire.toml".into(), file.into())), ..Sources::default() };
        sources.resolve(Settings::for_this_machine()).unwrap().settings
    }

    fn with_secret(rest: &str) -> Settings {
        settings(&format!("{rest}\n[auth]\nhs256_secret = \"{SECRET}\"\n"))
    }

    fn told(changes: &[Change]) -> Vec<String> {
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_may_change_changes_and_is_told() {
        let running = with_secret("");
        let new = with_secret(
            "log = \"info\"\ntrusted_proxies = [\"10.0.0.0/8\"]\n[limits]\nheartbeat = \"5s\"\n[history]\nttl = 60",
        );
        let (next, changes) = running.reload(&new).unwrap();
        assert_eq!(next, new);
        assert_eq!(
            told(&changes),
            [
                "log: \"warn\" -> \"info\"",
                "trusted_proxies: [] -> [\"10.0.0.0/8\"]",
                "history.ttl: \"1h\" -> \"1m\"",
                "limits.heartbeat: \"15s\" -> \"5s\"",
            ]
        );
        assert!(next.reload(&new).unwrap().1.is_empty(), "the same again is no change");
    }

    #[test]
    fn what_takes_a_restart_stays_and_is_told() {
        let running = with_secret("");
        let new = with_secret("listen = \"127.0.0.1:1\"\n[limits]\nconnections_max = 0\nping = \"1s\"");
        let (next, changes) = running.reload(&new).unwrap();
        assert_eq!(
            (next.listen, next.limits.connections_max),
            (running.listen, running.limits.connections_max)
        );
        assert_eq!(next.limits.ping, Duration::from_secs(1));
        assert_eq!(told(&changes)[0], "listen: \"127.0.0.1:8080\" -> \"127.0.0.1:1\" (takes a restart)");
        assert_eq!(changes.iter().filter(|change| change.when == When::Restart).count(), 2);
    }

    #[test]
    fn namespaces_come_change_and_go() {
        let running = with_secret("[namespace.a]\nttl = 60\n[namespace.b]\nttl = 60");
        let new = with_secret("[namespace.b]\nttl = 90\n[namespace.c]\nslow_reader = \"conflate\"");
        let (next, changes) = running.reload(&new).unwrap();
        assert_eq!(next, new);
        let told = told(&changes);
        for change in [
            "namespace.a.ttl: \"1m\" -> \"auto\"",
            "namespace.b.ttl: \"1m\" -> \"90s\"",
            "namespace.c.slow_reader: \"auto\" -> \"conflate\"",
            "limits.conflate: [] -> [\"c\"]",
        ] {
            assert!(told.iter().any(|told| told == change), "{change}\n{told:#?}");
        }
    }

    #[test]
    fn s49_a_new_secret_is_told_as_a_change_alone() {
        let new = settings(&format!("[auth]\nhs256_secret = \"{OTHER}\"\n"));
        let (next, changes) = with_secret("").reload(&new).unwrap();
        assert_eq!(next.auth.hs256_secret.unwrap().expose(), OTHER.as_bytes());
        assert_eq!(told(&changes), ["auth.hs256_secret: changed"]);
        assert!(!format!("{changes:?}").contains(OTHER));
    }

    #[test]
    fn a_node_does_not_lose_its_last_credential_while_it_runs() {
        // The new settings are those of dev mode, which they may be: but dev mode takes a restart.
        let wrong = with_secret("").reload(&settings("")).unwrap_err();
        assert!(wrong[0].problem.contains("nothing can verify credentials"), "{wrong:?}");
    }
}
