//! Layers, their order, and what is said about what stands in them.

use super::*;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tidewire_hub::channel::Channel;
use tidewire_hub::limits::Retention;

use crate::config::keys;
use crate::config::namespace::{Publishers, SlowReader};
use crate::config::production;
use crate::config::show::Shown;

const GOOD: &str = "3q2-7wAAlm9fXr0bQ8uJt6vYkPz1cNdEsGhLoRiTxWu";

fn sources(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let flag = |(key, value): &(&str, &str)| Flag {
        key: (*key).into(),
        value: (*value).into(),
        typed: format!("--set {key}"),
    };
    Sources {
        file: (!file.is_empty()).then(|| ("tidewire.toml".into(), file.into())),
        environment: environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        flags: flags.iter().map(flag).collect(),
    }
}

fn resolved(sources: &Sources) -> Result<Resolved, Vec<String>> {
    let resolved = sources.resolve(Settings::for_this_machine());
    resolved.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn resolve(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, String> {
    resolved(&sources(file, environment, flags))
        .map(|resolved| resolved.settings)
        .map_err(|problems| problems.join("\n"))
}

/// A file of this test's own, gone with the value.
struct Temporary(PathBuf);

impl Temporary {
    fn holding(name: &str, text: &[u8]) -> Temporary {
        let path = std::env::temp_dir().join(format!("tidewire-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Temporary(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
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
fn every_value_knows_where_it_came_from() {
    let file = "\n[limits]\nheartbeat = \"1s\"\nretry = \"3s\"\n";
    let environment = [("TIDEWIRE_LIMITS__PING", "4s")];
    let shown = resolved(&sources(file, &environment, &[("limits.retry", "6s")])).unwrap().shown();
    let place = |key: &str| shown.iter().find(|shown| shown.key == key).unwrap().place.clone();
    assert_eq!(place("limits.heartbeat"), "tidewire.toml:3");
    assert_eq!(place("limits.ping"), "TIDEWIRE_LIMITS__PING");
    assert_eq!(place("limits.retry"), "--set limits.retry");
    assert_eq!(place("listen"), "default");
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
    assert_eq!(error, "--set history.ttll: there is no key `history.ttll`; did you mean `history.ttl`?");
}

#[test]
fn every_problem_is_told_and_not_the_first_alone() {
    let file = "listn = \"x\"\n[limits]\nretry = \"soon\"\nheartbeat = 1.5\nping = \"60s\"\n";
    let problems =
        resolved(&sources(file, &[("TIDEWIRE_DEMO", "maybe")], &[("engine.io", "magic")])).unwrap_err();
    let begins = [
        "tidewire.toml:1: there is no key `listn`",
        "tidewire.toml:3: `limits.retry`: `soon` is not a duration",
        "tidewire.toml:4: `limits.heartbeat`: expected",
        "TIDEWIRE_DEMO: `demo`: `maybe` is neither",
        "--set engine.io: `engine.io`: `magic` is not one of",
        "tidewire.toml:5: `limits.ping` must be shorter",
    ];
    assert_eq!(problems.len(), begins.len(), "{problems:#?}");
    for (problem, begin) in problems.iter().zip(begins) {
        assert!(problem.starts_with(begin), "{problem}");
    }
}

#[test]
fn what_cannot_be_read_is_not_blamed_a_second_time() {
    let problems =
        resolved(&sources("", &[("TIDEWIRE_AUTH__JWKS_URL", "http://id.example")], &[])).unwrap_err();
    assert_eq!(problems.len(), 1, "nothing verifies credentials, but only because of this: {problems:#?}");
}

#[test]
fn every_syntax_error_of_the_file_is_told_with_its_line() {
    let problems = resolved(&sources("listen = \ndev = maybe\n", &[], &[("demo", "x")])).unwrap_err();
    assert!(problems[0].starts_with("tidewire.toml:1: "), "{problems:#?}");
    assert!(problems.iter().any(|problem| problem.starts_with("tidewire.toml:2: ")), "{problems:#?}");
    assert!(problems.iter().any(|problem| problem.starts_with("--set demo: ")), "{problems:#?}");
}

#[test]
fn a_list_is_written_with_brackets_in_the_file_and_with_commas_elsewhere() {
    let in_file = resolve("[limits]\nconflate = [\"ticks\", \"cursors\"]\n", &[], &[]).unwrap();
    let in_flag = resolve("", &[], &[("limits.conflate", "cursors,ticks")]).unwrap();
    assert_eq!(in_file, in_flag);
    assert_eq!(in_file.limits.conflate.len(), 2);
    let error =
        resolve("[auth]\norigins = [\"https://a.example,https://b.example\"]\n", &[], &[]).unwrap_err();
    assert!(error.contains("a comma separates the items"), "{error}");
}

#[test]
fn a_value_that_cannot_be_read_names_its_place_and_what_would_do() {
    let error = resolve("[history]\nttl = \"soon\"\n", &[], &[]).unwrap_err();
    assert!(error.starts_with("tidewire.toml:2: `history.ttl`: `soon` is not a duration; write"), "{error}");
    let error = resolve("listen = [1]\n", &[], &[]).unwrap_err();
    assert!(error.starts_with("tidewire.toml:1: `listen`: expected a string"), "{error}");
    let error = resolve("[auth]\norigins = [1]\n", &[], &[]).unwrap_err();
    assert!(error.starts_with("tidewire.toml:2: `auth.origins`: expected a list of strings"), "{error}");
}

#[test]
fn numbers_may_have_underscores_in_the_file() {
    assert_eq!(
        resolve("[limits]\nchannels_max = 2_000_000\n", &[], &[]).unwrap().limits.channels_max,
        2_000_000
    );
}

#[test]
fn the_variables_of_the_command_line_and_of_strangers_are_left_alone() {
    // The last ones are what Kubernetes sets in every container beside a service called `tidewire`.
    for name in [
        "TIDEWIRE_URL",
        "TIDEWIRE_TOKEN",
        "TIDEWIRE_API_KEY",
        "TIDEWIRE_BIN",
        "TIDEWIRE_SERVICE_HOST",
        "TIDEWIRE_SERVICE_PORT",
        "TIDEWIRE_SERVICE_PORT_HTTP",
        "TIDEWIRE_PORT",
        "TIDEWIRE_PORT_8080_TCP",
        "TIDEWIRE_PORT_8080_TCP_ADDR",
        "TIDEWIRE_PORT_8080_TCP_PORT",
        "TIDEWIRE_PORT_8080_TCP_PROTO",
    ] {
        assert_eq!(resolve("", &[(name, "x")], &[]), Ok(Settings::for_this_machine()), "{name}");
    }
    assert!(resolve("", &[("TIDEWIRE_LIMITS__NOTHING_LIKE_IT", "x")], &[]).is_err());
}

#[test]
fn a_later_layer_may_go_back_to_the_default() {
    let file = format!("[auth]\nhs256_secret = \"{GOOD}\"\n[limits]\nconnections_max = 7\n");
    let back = [("TIDEWIRE_AUTH__HS256_SECRET", "none"), ("TIDEWIRE_LIMITS__CONNECTIONS_MAX", "auto")];
    assert_eq!(resolve(&file, &back, &[]), Ok(Settings::for_this_machine()));
}

#[test]
fn an_empty_value_switches_nothing_off() {
    // What is left of `"$SECRET"` where there is no such variable. It must not end in dev mode.
    for key in ["AUTH__HS256_SECRET", "AUTH__API_KEYS", "AUTH__JWKS_URL", "LISTEN", "LOG"] {
        let error = resolve("", &[(&format!("TIDEWIRE_{key}"), "")], &[]).unwrap_err();
        assert!(error.contains("there is nothing in it"), "{error}");
    }
}

#[test]
fn any_variable_may_name_a_file_with_the_value() {
    let secret = Temporary::holding("a-secret", format!("{GOOD}\n").as_bytes());
    let listen = Temporary::holding("an-address", b"127.0.0.1:7\r\n");
    let environment =
        [("TIDEWIRE_AUTH__HS256_SECRET_FILE", secret.path()), ("TIDEWIRE_LISTEN_FILE", listen.path())];
    let sources = sources("", &environment, &[]);
    let Resolved { settings, places, .. } = resolved(&sources).unwrap();
    assert_eq!(settings.auth.hs256_secret.unwrap().expose(), GOOD.as_bytes(), "without the line end");
    assert_eq!(settings.listen, SocketAddr::from(([127, 0, 0, 1], 7)));
    let place = places.of("auth.hs256_secret").unwrap().to_string();
    assert_eq!(place, format!("{}, which TIDEWIRE_AUTH__HS256_SECRET_FILE names", secret.path()));
}

#[test]
fn a_secret_may_stand_in_a_file_beside_the_configuration() {
    let secret = Temporary::holding("beside", GOOD.as_bytes());
    let folder = secret.0.parent().unwrap();
    let name = secret.0.file_name().unwrap().to_str().unwrap();
    let file = (
        folder.join("tidewire.toml").display().to_string(),
        format!("[auth]\nhs256_secret_file = \"{name}\"\n"),
    );
    let settings = resolved(&Sources { file: Some(file), ..Sources::default() }).unwrap().settings;
    assert_eq!(settings.auth.hs256_secret.unwrap().expose(), GOOD.as_bytes());
    assert!(resolve("listen_file = \"x\"\n", &[], &[]).is_err(), "in the file that is for secrets alone");
}

#[test]
fn the_address_of_a_redis_may_stand_in_a_file_since_it_holds_a_password() {
    let url = Temporary::holding("redis.url", b"redis://user:password@10.0.0.1:6379\n");
    let settings = resolve(&format!("[broker]\nurl_file = \"{}\"\n", url.path()), &[], &[]).unwrap();
    assert!(settings.broker.url.is_some());
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_where_it_is_named() {
    let error = resolve("", &[("TIDEWIRE_LISTEN_FILE", "/there/is/none")], &[]).unwrap_err();
    assert!(error.starts_with("TIDEWIRE_LISTEN_FILE: `listen`: cannot read /there/is/none: "), "{error}");
    let long = Temporary::holding("long", &vec![b'x'; (64 << 10) + 1]);
    let error = resolve("", &[("TIDEWIRE_LOG_FILE", long.path())], &[]).unwrap_err();
    assert!(error.contains("more than 64 KiB"), "{error}");
    let bytes = Temporary::holding("bytes", b"\xff\xfe");
    assert!(resolve("", &[("TIDEWIRE_LOG_FILE", bytes.path())], &[]).is_err());
    let error = resolve("[auth]\nkeys = [\"ES256:none.pem\"]\n", &[], &[]).unwrap_err();
    assert!(
        error.starts_with("tidewire.toml:2: `auth.keys`: ES256:none.pem: cannot read none.pem"),
        "{error}"
    );
}

#[test]
fn a_value_beside_the_file_that_holds_it_is_one_too_many() {
    let secret = Temporary::holding("twice", GOOD.as_bytes());
    let environment =
        [("TIDEWIRE_AUTH__HS256_SECRET", GOOD), ("TIDEWIRE_AUTH__HS256_SECRET_FILE", secret.path())];
    let error = resolve("", &environment, &[]).unwrap_err();
    assert!(error.contains("is set at TIDEWIRE_AUTH__HS256_SECRET, too"), "{error}");
    assert!(resolve("", &environment[..1], &[("auth.hs256_secret", GOOD)]).is_ok(), "another layer beats it");
}

#[test]
fn dev_mode_does_not_listen_where_others_can_reach_it() {
    let error = resolve("", &[], &[("listen", "0.0.0.0:8080")]).unwrap_err();
    assert!(error.contains("--dev-public"), "{error}");
    assert!(resolve("", &[], &[("admin_listen", "0.0.0.0:9090")]).is_err());
    assert!(resolve("", &[], &[("listen", "0.0.0.0:8080"), ("dev_public", "true")]).is_ok());
    assert!(resolve("", &[], &[("listen", "[::1]:8080")]).is_ok());
}

#[test]
fn the_demonstrations_are_for_dev_mode() {
    assert!(resolve("", &[], &[("demo", "true")]).is_ok());
    let error = resolve("", &[("TIDEWIRE_AUTH__HS256_SECRET", GOOD)], &[("demo", "true")]).unwrap_err();
    assert!(error.starts_with("--set demo: the demonstrations are for dev mode"), "{error}");
}

#[test]
fn outside_dev_mode_something_verifies_credentials() {
    let error = resolve("", &[], &[("dev", "false")]).unwrap_err();
    assert!(error.starts_with("--set dev: dev mode is off, and nothing can verify credentials"), "{error}");
    let error = resolve("[auth]\norigins = [\"https://a.example\"]\n", &[], &[]).unwrap_err();
    assert!(error.starts_with("because `auth.origins` is set: dev mode is off"), "{error}");
}

#[test]
fn whatever_is_set_under_auth_ends_dev_mode() {
    let Resolved { settings, places, .. } =
        resolved(&sources("", &[("TIDEWIRE_AUTH__HS256_SECRET", GOOD)], &[])).unwrap();
    assert!(!settings.dev);
    assert_eq!(settings.admin_listen, Some(([127, 0, 0, 1], 9090).into()));
    assert_eq!(settings.drain_within(), Duration::from_secs(10));
    assert_eq!(places.of("dev").unwrap().to_string(), "because `auth.hs256_secret` is set");
    let stays = resolve("", &[("TIDEWIRE_AUTH__HS256_SECRET", GOOD)], &[("dev", "true")]).unwrap();
    assert!(stays.dev && stays.admin_listen.is_none());
}

#[test]
fn one_listener_serves_both_where_that_is_said() {
    let secret = ("auth.hs256_secret", GOOD);
    assert_eq!(resolve("", &[], &[secret, ("admin_listen", "same")]).unwrap().admin_listen, None);
    let error = resolve("", &[], &[secret, ("listen", "127.0.0.1:9090")]).unwrap_err();
    assert!(error.contains("or say `same`"), "{error}");
    assert!(
        resolve("", &[], &[secret, ("listen", "0.0.0.0:9090")]).is_err(),
        "everywhere includes 127.0.0.1"
    );
}

#[test]
fn s3_every_origin_does_not_go_with_cookies() {
    let star = ("auth.origins", "*");
    for cookies in [("auth.cookie", "session"), ("auth.credentials", "true")] {
        let error = resolve("", &[], &[("auth.hs256_secret", GOOD), star, cookies]).unwrap_err();
        assert!(error.contains("allows every page"), "{error}");
    }
    assert!(resolve("", &[], &[("auth.hs256_secret", GOOD), star]).is_ok());
}

#[test]
fn s15_a_weak_secret_is_refused_outside_dev_mode() {
    let weak = [("TIDEWIRE_AUTH__HS256_SECRET", "canary-7f3a")];
    let error = resolve("", &weak, &[]).unwrap_err();
    assert!(
        error.starts_with("TIDEWIRE_AUTH__HS256_SECRET: `auth.hs256_secret`: the secret has 11 bytes"),
        "{error}"
    );
    let dev = resolved(&sources("", &weak, &[("dev", "true")])).unwrap();
    assert_eq!(dev.warnings.len(), 2, "it is weak, and nobody is asked for it: {:?}", dev.warnings);
}

#[test]
fn everything_that_the_gate_would_refuse_is_said_with_its_place() {
    let (key, ca) = (Temporary::holding("a.pem", b"no key"), Temporary::holding("ca.pem", b"nobody"));
    let file = format!(
        "[auth]\norigins = [\"https://a.example\"]\nkeys = [\"ES256:{0}\", \"RS256:none.pem\"]\n\
         jwks_url = \"https://id.example/keys\"\njwks_ca = \"{1}\"\nhs256_secret = \"changeme\"\n",
        key.path(),
        ca.path()
    );
    let problems = resolved(&sources(&file, &[], &[])).unwrap_err();
    for (place, words) in [
        ("tidewire.toml:3: `auth.keys`: ES256:", "there is no `BEGIN PUBLIC KEY` in it"),
        ("tidewire.toml:3: `auth.keys`: RS256:none.pem: cannot read", "none.pem"),
        ("tidewire.toml:5: `auth.jwks_ca`: ", "authorities"),
        ("tidewire.toml:6: `auth.hs256_secret`: ", "sample"),
    ] {
        let said = problems.iter().any(|problem| problem.starts_with(place) && problem.contains(words));
        assert!(said, "{place}\n{problems:#?}");
    }
    assert_eq!(problems.len(), 4, "{problems:#?}");
    let dev = resolved(&sources(&file, &[], &[("dev", "true")])).unwrap();
    assert_eq!(dev.warnings.len(), 5, "it is wrong, and nobody is asked for it: {:#?}", dev.warnings);
}

#[test]
fn s16_a_key_set_in_the_own_network_has_to_be_allowed() {
    let url = [("auth.jwks_url", "https://10.0.0.1/keys")];
    let error = resolve("", &[], &url).unwrap_err();
    assert!(error.starts_with("--set auth.jwks_url: ") && error.contains("private"), "{error}");
    assert!(resolve("[auth]\njwks_allow_private = true\n", &[], &url).is_ok());
}

#[test]
fn cookies_allow_credentials_unless_told_otherwise() {
    let cookie = [("auth.hs256_secret", GOOD), ("auth.cookie", "session")];
    assert!(resolve("", &[], &cookie).unwrap().auth.credentials);
    assert!(!resolve("[auth]\ncredentials = false\n", &[], &cookie).unwrap().auth.credentials);
}

#[test]
fn names_that_should_be_different_are() {
    let hash = "0".repeat(64);
    let error =
        resolve("", &[], &[("auth.api_keys", &format!("a:publish:{hash},a:admin:{hash}"))]).unwrap_err();
    assert!(error.contains("API key 2 has a name that came before"), "{error}");
    assert!(error.contains("API key 2 has a key that came before"), "{error}");
    let key = Temporary::holding("key.pem", b"x");
    let keys = format!("ES256:k:{0},EdDSA:k:{0}", key.path());
    let error = resolve("", &[], &[("auth.keys", &keys)]).unwrap_err();
    assert!(error.contains("two keys have the id `k`"), "{error}");
}

#[test]
fn a_namespace_is_set_in_every_layer() {
    let file =
        "[namespace.chat]\nttl = \"1m\"\nmessages_max = 10\n[namespace.ticks]\nslow_reader = \"conflate\"\n";
    let environment = [("TIDEWIRE_NAMESPACE__CHAT__TTL", "2m")];
    let settings = resolve(file, &environment, &[("namespace.chat.publish", "keys")]).unwrap();
    let chat = &settings.namespaces["chat"];
    assert_eq!(chat.ttl, Some(Duration::from_secs(120)));
    assert_eq!(chat.messages_max, Some(10));
    assert_eq!(chat.publish, Some(Publishers::Keys));
    assert_eq!(chat.publishes_per_second_max, None);
    assert_eq!(settings.namespaces["ticks"].slow_reader, Some(SlowReader::Conflate));
    let kept = |channel| settings.retentions().of(&Channel::parse(channel).unwrap());
    let own = Retention { messages_max: 10, ttl: Duration::from_secs(120) };
    assert_eq!([kept("chat:1"), kept("ticks"), kept("chats")], [own, settings.history, settings.history]);
    assert_eq!(settings.limits.conflate, [Box::<str>::from("ticks")], "what the hub looks at");
    let error = resolve("[namespace.chat]\ntll = 5\n", &[], &[]).unwrap_err();
    assert!(error.starts_with("tidewire.toml:2: ") && error.contains("`namespace.chat.ttl`?"), "{error}");
}

#[test]
fn the_short_form_of_slow_readers_yields_to_the_namespace() {
    let file = "[limits]\nconflate = [\"ticks\", \"chat\"]\n[namespace.chat]\nslow_reader = \"disconnect\"\n";
    let settings = resolve(file, &[], &[]).unwrap();
    assert_eq!(settings.namespaces["chat"].slow_reader, Some(SlowReader::Disconnect));
    assert_eq!(settings.limits.conflate, [Box::<str>::from("ticks")]);
}

#[test]
fn a_namespace_takes_no_larger_messages_than_the_rest() {
    let error = resolve("[namespace.chat]\nmessage_bytes_max = \"1MiB\"\n", &[], &[]).unwrap_err();
    assert!(error.contains("beyond `limits.message_bytes_max`"), "{error}");
    let wider = [("limits.message_bytes_max", "0")];
    assert!(resolve("[namespace.chat]\nmessage_bytes_max = \"1MiB\"\n", &[], &wider).is_ok());
}

#[test]
fn the_proxy_protocol_needs_a_proxy_to_trust() {
    assert!(resolve("proxy_protocol = true\n", &[], &[]).is_err());
    assert!(resolve("proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\"]\n", &[], &[]).is_ok());
}

#[test]
fn s49_no_secret_is_told_again() {
    const CANARY: &str = "canary-7f3a";
    let file = Temporary::holding("canary", CANARY.as_bytes());
    let toml = format!("[auth]\nhs256_secret = \"{CANARY}\nx = 1\n");
    for broken in [
        sources("", &[("TIDEWIRE_AUTH__HS256_SECRET", CANARY)], &[]),
        sources("", &[("TIDEWIRE_AUTH__HS256_SECRT", CANARY)], &[]),
        sources("", &[("TIDEWIRE_AUTH__HS256_SECRET_FILE", file.path())], &[]),
        sources("", &[], &[("auth.hs256_secret", CANARY)]),
        sources("", &[], &[("auth.hs256_secrt", CANARY)]),
        sources("", &[], &[("auth.api_keys", CANARY)]),
        sources("", &[], &[("auth.jwks_url", &format!("https://user:{CANARY}@id.example"))]),
        sources(&format!("[auth]\nhs256_secret = [\"{CANARY}\"]\n"), &[], &[]),
        sources(&format!("[auth]\nhs256_secret = {CANARY}\n"), &[], &[]),
        sources(&toml, &[], &[]),
    ] {
        let (resolved, problems) = broken.look(Settings::for_this_machine());
        assert!(!problems.is_empty());
        let said = format!("{problems:?} {resolved:?} {broken:?} {:?}", resolved.shown());
        assert!(!said.contains(CANARY), "{said}");
        assert!(!format!("{:?}", production::inspect(&resolved)).contains(CANARY));
    }
    let shown = resolved(&sources("", &[("TIDEWIRE_AUTH__HS256_SECRET", GOOD)], &[])).unwrap().shown();
    let secret = shown.iter().find(|shown| shown.key == "auth.hs256_secret").map(Shown::line);
    assert_eq!(secret.as_deref(), Some("auth.hs256_secret = \"***\""));
}

#[test]
fn a_secret_on_the_command_line_is_warned_of() {
    let warnings = resolved(&sources("", &[], &[("auth.hs256_secret", GOOD)])).unwrap().warnings;
    assert!(warnings[0].problem.contains("TIDEWIRE_AUTH__HS256_SECRET_FILE"), "{warnings:?}");
}

#[test]
fn what_is_shown_can_be_read_again() {
    let file = "[auth]\norigins = [\"https://a.example\"]\ncookie = \"s\"\n[namespace.\"a@b.c\"]\nttl = 90\n";
    let first = resolved(&sources(file, &[], &[("dev", "true")])).unwrap();
    let text: Vec<String> = first.shown().iter().map(Shown::line).collect();
    let again = resolve(&text.join("\n"), &[], &[]).unwrap();
    assert_eq!(again, first.settings);
}

#[test]
fn s49_the_query_of_a_key_sets_address_is_not_shown() {
    let settings = resolve("", &[], &[("auth.jwks_url", "https://id.example/keys?token=abc")]).unwrap();
    let key = keys::KEYS.iter().find(|key| key.name == "auth.jwks_url").unwrap();
    let shown = (key.show)(&settings);
    assert_eq!(shown, "https://id.example/keys?***");
}
