//! What may be fine on a desk and is not on the internet: `tidewire check --prod` (security rule S54).

use std::net::{IpAddr, SocketAddr};

use super::gate;
use super::keys::{KEYS, NAMESPACE_KEYS};
use super::machine;
use super::namespace::NamespaceSettings;
use super::place::Place;
use super::settings::Settings;
use super::show::literal;
use super::sources::{ConfigError, Resolved};

/// What a node in production would suffer from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What must not be.
    pub problems: Vec<ConfigError>,
    /// What should be looked at.
    pub warnings: Vec<ConfigError>,
}

/// Looks at settings as someone who attacks them would.
#[must_use]
pub fn inspect(resolved: &Resolved) -> Findings {
    let mut inspection = Inspection { resolved, findings: Findings::default() };
    inspection.modes();
    inspection.listeners();
    inspection.credentials();
    inspection.limits();
    inspection.surroundings(machine::clock_is_synchronised());
    inspection.findings
}

struct Inspection<'r> {
    resolved: &'r Resolved,
    findings: Findings,
}

impl<'r> Inspection<'r> {
    fn settings(&self) -> &'r Settings {
        &self.resolved.settings
    }

    fn finding(&self, key: &str, problem: String) -> ConfigError {
        ConfigError { place: self.resolved.places.of(key).map(Place::to_string), problem }
    }

    fn refuse(&mut self, key: &str, problem: impl Into<String>) {
        let finding = self.finding(key, problem.into());
        self.findings.problems.push(finding);
    }

    fn warn(&mut self, key: &str, warning: impl Into<String>) {
        let finding = self.finding(key, warning.into());
        self.findings.warnings.push(finding);
    }

    fn modes(&mut self) {
        let settings = self.settings();
        if settings.dev {
            self.refuse(
                "dev",
                "dev mode is on: whoever reaches this server may do everything; set something under `auth` that \
                 verifies credentials",
            );
            // Outside dev mode it is refused anyway, and this is what follows from leaving it.
            for unusable in gate::unusable(settings) {
                self.refuse(unusable.key(), unusable.to_string());
            }
        }
    }

    fn listeners(&mut self) {
        let settings = self.settings();
        if settings.tls.self_signed {
            self.refuse(
                "tls.self_signed",
                "`tls.self_signed` makes up a certificate that no client trusts; name one in `tls.cert` and `tls.key`",
            );
        }
        let is_reached_over_tls = settings.tls.is_on() && !settings.listen.ip().is_loopback();
        if settings.trusted_proxies.is_empty() && !is_reached_over_tls {
            let listen = settings.listen;
            self.warn(
                "listen",
                if listen.ip().is_loopback() {
                    format!(
                        "clients reach {listen} through a proxy on this machine: name it in `trusted_proxies`, or \
                         all of them count as one address"
                    )
                } else {
                    format!(
                        "clients reach {listen} without TLS: put a proxy that ends it in front, and name that in \
                         `trusted_proxies`"
                    )
                },
            );
        }
        for network in settings.trusted_proxies.iter().filter(|network| network.prefix_len() == 0) {
            self.warn(
                "trusted_proxies",
                format!("`trusted_proxies` holds {network}: every client may claim to be any other"),
            );
        }
        let (key, admin) = match settings.admin_listen {
            Some(admin) => ("admin_listen", admin),
            None => ("listen", settings.listen),
        };
        match reach(admin) {
            Reach::Machine if key == "listen" => self.warn(
                "admin_listen",
                format!(
                    "/metrics and the other pages for administrators answer on {admin}, as clients do: whoever comes \
                     through a proxy may read them; leave `admin_listen` out, or have the proxy refuse /metrics, /readyz, \
                     /livez and /admin"
                ),
            ),
            Reach::Machine => {}
            Reach::Network => self.warn(
                key,
                format!("/metrics and the other pages for administrators answer on {admin}, without TLS"),
            ),
            Reach::World if key == "listen" && settings.tls.is_on() => self.warn(
                key,
                format!("/metrics and the other pages for administrators answer on {admin}, for everybody"),
            ),
            Reach::World => self.refuse(
                key,
                format!(
                    "/metrics and the other pages for administrators answer on {admin}, for everybody and without \
                     TLS; set `admin_listen` to 127.0.0.1:9090, or to an address of a private network"
                ),
            ),
        }
    }

    fn credentials(&mut self) {
        let auth = &self.settings().auth;
        if auth.query_token {
            self.warn(
                "auth.query_token",
                "`auth.query_token` puts tokens into URLs, and URLs into logs: tickets do not last as long",
            );
        }
        if auth.origins.is_empty() && !self.settings().dev {
            self.warn(
                "auth.origins",
                "`auth.origins` is empty, so no page may come in: name those of yours, as in `https://app.example`",
            );
        }
        if auth.allows_every_origin() {
            self.warn("auth.origins", "`auth.origins` holds `*`: every page may come in with a token");
        }
        if auth.jwks_url.is_some() && auth.audience.is_none() {
            self.warn(
                "auth.jwks_url",
                "without `auth.audience`, tokens that `auth.jwks_url` signed for other services are good here, too",
            );
        }
        if auth.jwks_allow_private {
            self.warn(
                "auth.jwks_allow_private",
                "`auth.jwks_allow_private` lets a name of the network lead inside",
            );
        }
        let longest = self.resolved.defaults.auth.token_lifetime_max;
        if auth.token_lifetime_max > longest {
            let hours = longest.as_secs() / 3_600;
            self.warn(
                "auth.token_lifetime_max",
                format!("`auth.token_lifetime_max` is beyond {hours}h: a stolen token is good for as long"),
            );
        }
    }

    /// Lists what was loosened against the defaults, or switched off.
    fn limits(&mut self) {
        let Resolved { settings, defaults, .. } = self.resolved;
        // Intervals are no bounds: whether longer is looser depends on what one fears.
        let bounds = KEYS.iter().filter(|key| {
            key.name.starts_with("limits.") && (key.name.ends_with("_max") || key.name.ends_with("_budget"))
        });
        for key in bounds.filter(|key| (key.weight)(settings) > (key.weight)(defaults)) {
            let (now, usual) = ((key.show)(settings), (key.show)(defaults));
            self.loosened(key.name, &now, &usual);
        }
        for (name, own) in &settings.namespaces {
            let usual = NamespaceSettings {
                publishes_per_second_max: Some(settings.limits.channel_publishes_per_second_max),
                ..NamespaceSettings::default()
            };
            let bounds = NAMESPACE_KEYS.iter().filter(|key| (key.weight)(&usual).is_some());
            for key in bounds.filter(|key| (key.weight)(own) > (key.weight)(&usual)) {
                self.loosened(
                    &format!("namespace.{name}.{}", key.name),
                    &(key.show)(own),
                    &(key.show)(&usual),
                );
            }
        }
    }

    fn loosened(&mut self, key: &str, now: &serde_json::Value, usual: &serde_json::Value) {
        let off = [serde_json::json!(0), serde_json::json!("0"), serde_json::json!("0s")].contains(now);
        let (now, usual) = (literal(now), literal(usual));
        self.warn(
            key,
            if off {
                format!("`{key}` is switched off; {usual} is usual")
            } else {
                format!("`{key}` is {now}; {usual} is usual")
            },
        );
    }

    fn surroundings(&mut self, clock: Option<bool>) {
        if clock == Some(false) {
            self.findings.warnings.push(ConfigError {
                place: None,
                problem: "this machine's clock is not synchronised, and tokens end by the clock".into(),
            });
        }
        let secrets = KEYS.iter().filter(|key| key.form.is_secret());
        for key in secrets {
            let places = &self.resolved.places;
            let held = match places.of(key.name) {
                // One that could not be read is in a file that the configuration names, and is refused anyway.
                Some(Place::File { name, .. }) if !places.is_unread(key.name) => name,
                Some(Place::Content { path, .. }) => path,
                _ => continue,
            };
            if readable_by_everybody(held) {
                // Whoever owns it, and the group of the service, may have to read it on.
                let warning = format!(
                    "`{}` stands in a file that every user of this machine may read: chmod o= {held}",
                    key.name
                );
                self.warn(key.name, warning);
            }
        }
    }
}

/// Who may reach an address.
enum Reach {
    Machine,
    Network,
    World,
}

fn reach(address: SocketAddr) -> Reach {
    let near = match address.ip().to_canonical() {
        ip if ip.is_loopback() => return Reach::Machine,
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    if near { Reach::Network } else { Reach::World }
}

fn readable_by_everybody(path: &str) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o004 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    const GOOD: &str = "trusted_proxies = [\"127.0.0.1\"]\n[auth]\n\
                        hs256_secret = \"3q2-7wAAlm9fXr0bQ8uJt6vYkPz1cNdEsGhLoRiTxWu\"\n";

    /// In its section `auth`.
    const PAGES: &str = "origins = [\"https://app.example\"]\n";

    fn inspected(file: &str) -> (Vec<String>, Vec<String>) {
        let sources = Sources { file: Some(("t.toml".into(), file.into())), ..Sources::default() };
        let (resolved, _) = sources.look(Settings::for_this_machine());
        let mut inspection = Inspection { resolved: &resolved, findings: Findings::default() };
        inspection.modes();
        inspection.listeners();
        inspection.credentials();
        inspection.limits();
        let Findings { problems, warnings } = inspection.findings;
        let said = |findings: Vec<ConfigError>| findings.iter().map(ToString::to_string).collect();
        (said(problems), said(warnings))
    }

    #[track_caller]
    fn refuses(file: &str, words: &str) {
        let (problems, _) = inspected(file);
        assert!(problems.iter().any(|problem| problem.contains(words)), "{words}: {problems:#?}");
    }

    #[track_caller]
    fn warns(file: &str, words: &str) {
        let (problems, warnings) = inspected(file);
        assert_eq!(problems, [""; 0]);
        assert!(warnings.iter().any(|warning| warning.contains(words)), "{words}: {warnings:#?}");
    }

    #[test]
    fn s54_good_settings_are_fine() {
        assert_eq!(inspected(&format!("{GOOD}{PAGES}")), (vec![], vec![]));
    }

    #[test]
    fn s54_dev_mode_and_its_secrets_are_not_for_production() {
        refuses("", "dev mode is on");
        refuses(
            "dev = true\n[auth]\nhs256_secret = \"canary\"\n",
            "t.toml:3: `auth.hs256_secret`: the secret has 6 bytes",
        );
    }

    #[test]
    fn s54_pages_for_administrators_are_not_public_without_tls() {
        refuses(&format!("admin_listen = \"0.0.0.0:9090\"\n{GOOD}"), "t.toml:1: /metrics");
        refuses(&format!("admin_listen = \"[2001:db8::1]:9090\"\n{GOOD}"), "for everybody");
        refuses(
            &format!("listen = \"203.0.113.1:80\"\nadmin_listen = \"same\"\n{GOOD}"),
            "t.toml:1: /metrics",
        );
        warns(&format!("admin_listen = \"10.0.0.7:9090\"\n{GOOD}"), "without TLS");
        warns(&format!("admin_listen = \"same\"\n{GOOD}"), "t.toml:1: /metrics");
    }

    #[test]
    fn s54_a_listener_without_a_proxy_or_tls_is_warned_of() {
        let alone = GOOD.replace("trusted_proxies = [\"127.0.0.1\"]", "");
        warns(&alone, "count as one address");
        warns(&format!("listen = \"0.0.0.0:80\"\n{alone}"), "without TLS");
        warns(&GOOD.replace("127.0.0.1", "0.0.0.0/0"), "may claim to be any other");
        refuses(&format!("{GOOD}[tls]\nself_signed = true\n"), "no client trusts");
    }

    #[test]
    fn a_list_of_origins_that_lets_in_no_page_is_warned_of() {
        warns(GOOD, "no page may come in");
    }

    #[test]
    fn s54_every_loosened_limit_is_listed() {
        let (problems, warnings) = inspected(&format!(
            "{GOOD}{PAGES}[limits]\nmessage_bytes_max = \"1MiB\"\nheaders_max = 0\nhead_max = \"20s\"\n\
             queue_messages_max = 10\n[namespace.chat]\npublishes_per_second_max = 0\n"
        ));
        assert_eq!(problems, [""; 0]);
        assert_eq!(
            warnings,
            [
                "t.toml:6: `limits.message_bytes_max` is \"1MiB\"; \"64KiB\" is usual",
                "t.toml:7: `limits.headers_max` is switched off; 100 is usual",
                "t.toml:8: `limits.head_max` is \"20s\"; \"10s\" is usual",
                "t.toml:11: `namespace.chat.publishes_per_second_max` is switched off; 10000 is usual",
            ]
        );
    }

    #[test]
    fn s54_ways_in_that_are_wider_than_they_look_are_warned_of() {
        warns(&format!("{GOOD}query_token = true\n"), "`auth.query_token`");
        warns(&format!("{GOOD}origins = [\"*\"]\n"), "every page");
        warns(&format!("{GOOD}jwks_url = \"https://id.example/jwks\"\n"), "without `auth.audience`");
        warns(&format!("{GOOD}token_lifetime_max = 0\n"), "beyond 24h");
    }

    #[test]
    fn s54_a_clock_that_is_not_right_is_warned_of() {
        let sources = Sources { file: Some(("t.toml".into(), GOOD.into())), ..Sources::default() };
        let resolved = sources.resolve(Settings::for_this_machine()).unwrap();
        for (clock, count) in [(Some(false), 1), (Some(true), 0), (None, 0)] {
            let mut inspection = Inspection { resolved: &resolved, findings: Findings::default() };
            inspection.surroundings(clock);
            assert_eq!(inspection.findings.warnings.len(), count, "{clock:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn s54_a_secret_in_a_file_for_everybody_is_warned_of() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("tidewire-prod-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let may = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let warned = |config: &std::path::Path, text: &str| {
            std::fs::write(config, text).unwrap();
            let file = Some((config.display().to_string(), text.to_owned()));
            let resolved =
                Sources { file, ..Sources::default() }.resolve(Settings::for_this_machine()).unwrap();
            let mut inspection = Inspection { resolved: &resolved, findings: Findings::default() };
            inspection.surroundings(None);
            let warnings = inspection.findings.warnings.into_iter();
            warnings.map(|warning| warning.to_string()).collect::<Vec<_>>()
        };
        let (config, secret) = (folder.join("tidewire.toml"), folder.join("tidewire.secret"));
        std::fs::write(&config, "").unwrap();
        std::fs::write(&secret, "3q2-7wAAlm9fXr0bQ8uJt6vYkPz1cNdEsGhLoRiTxWu").unwrap();
        may(&secret, 0o640);
        for (mode, count) in [(0o644, 1), (0o640, 0)] {
            may(&config, mode);
            let found = warned(&config, GOOD);
            assert_eq!(found.len(), count, "{mode:o}");
            assert!(found.iter().all(|warning| warning.ends_with(&format!("chmod o= {}", config.display()))));
        }
        // Everybody may know which file it is in, and not what is in it.
        may(&config, 0o644);
        let named = "[auth]\nhs256_secret_file = \"tidewire.secret\"\n";
        assert_eq!(warned(&config, named), Vec::<String>::new());
        may(&secret, 0o644);
        let found = warned(&config, named);
        assert!(
            found.len() == 1 && found[0].ends_with(&format!("chmod o= {}", secret.display())),
            "{found:?}"
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
