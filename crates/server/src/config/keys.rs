//! The table of keys: what each is called, what it means, where it goes. A new key is one row here, and a few lines in
//! the manual, `tidewire.toml`.

use std::path::Path;

use serde_json::Value;

use super::broker::{Ack, Channels, Prefix, RedisUrl};
use super::console::Password;
use super::credentials::{ApiKeys, CookieName, Hosts, HttpsUrl, KeyFiles, Networks, Origins, TicketTtl};
use super::kinds::{
    Address, Boolean, Bound, Count, Deadline, File, Form, Inherited, Kind, Maybe, Namespaces, OtherAddress,
    Plain, Rate, Shards, Size, Text, namespace,
};
use super::namespace::{NamespaceSettings, Publishers, SlowReader};
use super::secret::Secret;
use super::settings::{Io, LogFormat, Settings};
use super::tls::{AcmeUrl, Files, Mailboxes, Names};

/// One configuration key, of a node or of a namespace.
#[derive(Debug)]
pub struct Key<S: 'static = Settings> {
    /// As it stands in the file, sections before a dot; for a key of a namespace the part after the namespace. In the
    /// environment `limits.heartbeat` is `TIDEWIRE_LIMITS__HEARTBEAT`; on the command line, `--set limits.heartbeat=5s`.
    pub name: &'static str,
    /// How its value is written.
    pub form: Form,
    /// Its default, as it could be written: `auto` where it depends on something else, `none` where there is none.
    pub default: &'static str,
    /// When a change of it takes effect.
    pub when: When,
    /// What it means, in one line.
    pub meaning: &'static str,
    /// Reads the value into the settings, or says what is wrong with it. Relative paths begin in the folder.
    pub(super) set: fn(&mut S, &str, &Path) -> Result<(), String>,
    /// Shows the value; secrets are masked.
    pub(super) show: fn(&S) -> Value,
    /// How much it allows, where it is a bound.
    pub(super) weight: fn(&S) -> Option<u128>,
    /// Whether two settings have the same value of it.
    pub(super) same: fn(&S, &S) -> bool,
    /// Takes over the value from other settings.
    pub(super) take: fn(&mut S, &S),
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// With SIGHUP.
    Live,
    /// With the next start: something is built or sized by it.
    Restart,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Found {
    /// A key of the node.
    Node(&'static Key),
    /// A key of the namespace with this name.
    Namespace(Box<str>, &'static Key<NamespaceSettings>),
}

impl Found {
    /// How its value is written.
    #[must_use]
    pub fn form(&self) -> Form {
        match self {
            Found::Node(key) => key.form,
            Found::Namespace(_, key) => key.form,
        }
    }
}

/// Whether a file of its own may hold the value in place of the configuration file: a secret, or an address with a password
/// in it, which is shown with that part masked.
#[must_use]
pub fn may_hold_a_secret(name: &str, form: Form) -> bool {
    form.is_secret() || name == "broker.url"
}

/// Finds the key that is called `name`.
///
/// # Errors
/// Says that there is none, and which one was most likely meant.
pub fn find(name: &str) -> Result<Found, String> {
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        return Ok(Found::Node(key));
    }
    let meant = match name.strip_prefix(NAMESPACE) {
        // The name of a namespace may have dots; that of a key has none.
        Some(rest) => match rest.rsplit_once('.') {
            Some((space, last)) => match NAMESPACE_KEYS.iter().find(|key| key.name == last) {
                Some(key) => return Ok(Found::Namespace(namespace(space)?, key)),
                None => closest(last, NAMESPACE_KEYS).map(|key| format!("{NAMESPACE}{space}.{key}")),
            },
            None => return Err(format!("`{name}` is no key: write {NAMESPACE}{rest}.ttl, for example")),
        },
        None => nearest(name).map(Into::into),
    };
    let meant = meant.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
    Err(format!("there is no key `{name}`{meant}"))
}

/// The key of the node that was most likely meant.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    closest(name, KEYS)
}

fn closest<S>(name: &str, keys: &'static [Key<S>]) -> Option<&'static str> {
    // Someone who forgot the section meant the last part.
    let distance = |key: &Key<S>| {
        let tail = key.name.rsplit('.').next().unwrap_or(key.name);
        strsim::damerau_levenshtein(name, key.name).min(strsim::damerau_levenshtein(name, tail) + 1)
    };
    let (nearest, distance) =
        keys.iter().map(|key| (key.name, distance(key))).min_by_key(|(_, distance)| *distance)?;
    (distance <= name.len() / 3 + 1).then_some(nearest)
}

/// What the keys of a namespace begin with: `namespace.chat.ttl`.
pub const NAMESPACE: &str = "namespace.";

macro_rules! keys {
    ($(#[$doc:meta])* $table:ident of $settings:ty;
     $($name:literal, $($field:ident).+: $kind:ty, $default:literal, $when:ident, $meaning:literal;)*) => {
        $(#[$doc])*
        pub static $table: &[Key<$settings>] = &[$(Key {
            name: $name,
            form: <$kind as Kind>::FORM,
            default: $default,
            when: When::$when,
            meaning: $meaning,
            set: |to, text, folder| {
                to.$($field).+ = <$kind as Kind>::read(text, folder)?;
                Ok(())
            },
            show: |of| <$kind as Kind>::show(&of.$($field).+),
            weight: |of| <$kind as Kind>::weight(&of.$($field).+),
            same: |one, other| one.$($field).+ == other.$($field).+,
            take: |to, from| Clone::clone_from(&mut to.$($field).+, &from.$($field).+),
        },)*];
    };
}

keys! {
    /// Every key of a node, in the order of the manual.
    KEYS of Settings;
    "listen", listen: Address, "127.0.0.1:8080", Restart, "Where clients connect.";
    "admin_listen", admin_listen: OtherAddress, "auto", Restart, "Where /livez, /readyz, /metrics and /admin answer; `same` means on `listen`. Default: 127.0.0.1:9090, and `same` in dev mode.";
    "dev", dev: Boolean, "auto", Restart, "Dev mode: loopback only, no credentials, everything in memory. Default: on while nothing under `auth` is set.";
    "dev_public", dev_public: Boolean, "false", Restart, "Lets other machines reach dev mode.";
    "demo", demo: Boolean, "false", Restart, "Serves the demonstrations at /, in dev mode.";
    "demo_store", demo_store: Maybe<File>, "none", Restart, "The file that keeps what the demonstrations must not forget. Default: one below $XDG_STATE_HOME.";
    "drain_within", drain_within: Plain, "auto", Restart, "How long connections may take to leave. Default: 10s, and 2s in dev mode.";
    "log", log: Text, "warn", Live, "Log lines to standard error, as `level` or `target=level,…`.";
    "log_format", log_format: LogFormat, "auto", Restart, "How log lines are written: `text` for people, `json` for machines.";
    "trusted_proxies", trusted_proxies: Networks, "none", Live, "Networks of proxies that are believed when they say who a client is.";
    "proxy_protocol", proxy_protocol: Boolean, "false", Restart, "Connections of trusted proxies begin with a PROXY protocol header, version 2.";
    "tls.cert", tls.cert: Files, "none", Restart, "Files with certificates in PEM. With them, `listen` speaks TLS.";
    "tls.key", tls.key: Files, "none", Restart, "Files with the private keys of `tls.cert` in PEM, in the same order.";
    "tls.self_signed", tls.self_signed: Boolean, "false", Restart, "Makes up a certificate at start, for development. With it, `listen` speaks TLS.";
    "tls.acme", tls.acme: Names, "none", Restart, "Names that a certificate is had for from an ACME server, and renewed. With them, `listen` speaks TLS.";
    "tls.acme_contact", tls.acme_contact: Mailboxes, "none", Restart, "Mail addresses that the ACME server may write to.";
    "tls.acme_directory", tls.acme_directory: AcmeUrl, "https://acme-v02.api.letsencrypt.org/directory", Restart, "Where the ACME server is.";
    "tls.acme_cache", tls.acme_cache: Maybe<File>, "none", Restart, "The folder that keeps the account's key and the certificate. `tls.acme` needs one.";
    "tls.acme_ca", tls.acme_ca: Maybe<File>, "none", Restart, "Certificates in PEM that the ACME server is trusted by, in place of those that this machine trusts.";
    "broker.url", broker.url: Maybe<RedisUrl>, "none", Restart, "Where the Redis is that nodes share. Default: messages are kept in this process, which is the only node.";
    "broker.prefix", broker.prefix: Prefix, "tidewire", Restart, "What keys and Pub/Sub names in Redis begin with.";
    "broker.ca", broker.ca: Maybe<File>, "none", Restart, "Certificates in PEM that a `rediss://` server is trusted by, in place of the public ones.";
    "broker.ack", broker.ack: Ack, "stored", Restart, "When a publish is answered: once Redis has it, or once a replica of it has it as well.";
    "broker.bridge", broker.bridge: Channels, "none", Restart, "Plain Redis channels whose messages are relayed as they are published.";
    "broker.bridge_publish", broker.bridge_publish: Channels, "none", Restart, "Those of `broker.bridge` that clients may publish to.";
    "readyz.strict", strict_readiness: Boolean, "false", Restart, "Has /readyz say 503 also while the broker is away for everybody.";
    "auth.origins", auth.origins: Origins, "none", Live, "Origins of the pages that may come in.";
    "auth.hosts", auth.hosts: Hosts, "none", Live, "Names that this server may be called by. Empty: any.";
    "auth.hs256_secret", auth.hs256_secret: Maybe<Secret>, "none", Live, "Verifies tokens signed with HS256. At least 32 bytes.";
    "auth.keys", auth.keys: KeyFiles, "none", Live, "Files with keys that verify tokens of one algorithm each.";
    "auth.jwks_url", auth.jwks_url: Maybe<HttpsUrl>, "none", Live, "Where a set of keys is fetched and kept fresh.";
    "auth.jwks_ca", auth.jwks_ca: Maybe<File>, "none", Live, "Certificates in PEM that `auth.jwks_url` is trusted by, in place of the public ones.";
    "auth.jwks_allow_private", auth.jwks_allow_private: Boolean, "false", Live, "Lets `auth.jwks_url` lead to a private address.";
    "auth.issuer", auth.issuer: Maybe<Text>, "none", Live, "What `iss` of a token has to be.";
    "auth.audience", auth.audience: Maybe<Text>, "none", Live, "What `aud` of a token has to be, or to hold.";
    "auth.api_keys", auth.api_keys: ApiKeys, "none", Live, "Keys of backends, as hashes, with what each is good for.";
    "auth.cookie", auth.cookie: Maybe<CookieName>, "none", Live, "The name of a cookie that holds a token.";
    "auth.credentials", auth.credentials: Boolean, "auto", Live, "Lets pages of other allowed origins send cookies. Default: when `auth.cookie` is set.";
    "auth.query_token", auth.query_token: Boolean, "false", Live, "Takes a token from the query, as `?access_token=`.";
    "auth.token_lifetime_max", auth.token_lifetime_max: Deadline, "24h", Live, "The longest life of a token.";
    "auth.ticket_ttl", auth.ticket_ttl: TicketTtl, "30s", Live, "How long a ticket waits to be spent, 120s at most.";
    "auth.ticket_binds_address", auth.ticket_binds_address: Boolean, "false", Live, "A ticket is good only where it was bought: at the same /24, or /64 of IPv6.";
    "admin.password", console.password: Maybe<Password>, "none", Live, "Opens the console at /admin, which is off without one. In dev mode one is made up.";
    "admin.viewer_password", console.viewer_password: Maybe<Password>, "none", Live, "Opens the console to look, and to do nothing.";
    "history.messages_max", history.messages_max: Count, "1000", Live, "Messages kept per channel; 0 keeps none.";
    "history.ttl", history.ttl: Plain, "1h", Live, "How long a message is kept.";
    "engine.io", io: Io, "auto", Restart, "What drives the sockets. Default: io_uring or else epoll on Linux, tokio elsewhere.";
    "engine.shards", shards: Shards, "auto", Restart, "Event loops. Default: one per core.";
    "limits.message_bytes_max", limits.message_bytes_max: Size, "64KiB", Live, "The largest payload.";
    "limits.fragments_max", limits.fragments_max: Rate, "64", Live, "Frames of one fragmented WebSocket message.";
    "limits.empty_fragments_max", limits.empty_fragments_max: Rate, "16", Live, "Empty continuation frames of one WebSocket message.";
    "limits.control_frames_per_second_max", limits.control_frames_per_second_max: Rate, "20", Live, "WebSocket control frames a second from one client.";
    "limits.incomplete_message_max", limits.incomplete_message_max: Deadline, "10s", Live, "How long a WebSocket message may stay incomplete.";
    "limits.head_bytes_max", limits.head_bytes_max: Size, "16KiB", Live, "The largest request head.";
    "limits.headers_max", limits.headers_max: Bound, "100", Live, "Header fields of a request.";
    "limits.target_bytes_max", limits.target_bytes_max: Size, "8KiB", Live, "The longest request target.";
    "limits.first_byte_max", limits.first_byte_max: Deadline, "5s", Live, "From accept to the first byte.";
    "limits.head_max", limits.head_max: Deadline, "10s", Live, "From accept to the end of the head.";
    "limits.body_max", limits.body_max: Deadline, "30s", Live, "From the end of the head to the end of the body.";
    "limits.keep_alive_max", limits.keep_alive_max: Deadline, "75s", Live, "Idle time of a kept-alive connection.";
    "limits.streams_per_connection_max", limits.streams_per_connection_max: Bound, "256", Live, "Requests and streams at once on one HTTP/2 connection.";
    "limits.queue_bytes_max", limits.queue_bytes_max: Size, "1MiB", Live, "Bytes queued for one subscriber.";
    "limits.queue_messages_max", limits.queue_messages_max: Bound, "1000", Live, "Messages queued for one subscriber.";
    "limits.queue_age_max", limits.queue_age_max: Deadline, "15s", Live, "Age of the oldest message queued for one subscriber.";
    "limits.conflate", limits.conflate: Namespaces, "none", Live, "Namespaces whose slow readers skip to the newest message of each channel: short for their `slow_reader`.";
    "limits.channels_per_connection_max", limits.channels_per_connection_max: Bound, "100", Live, "Channels of one connection.";
    "limits.joins_per_minute_max", limits.joins_per_minute_max: Rate, "1000", Live, "Joins and leaves a minute on one connection.";
    "limits.subject_channels_max", limits.subject_channels_max: Bound, "1000", Live, "Channels that all connections of one subject have together.";
    "limits.address_connections_max", limits.address_connections_max: Bound, "100", Live, "Connections at once from one address: a /32, or a /64 of IPv6. Not counted in dev mode.";
    "limits.address_arrivals_per_second_max", limits.address_arrivals_per_second_max: Rate, "20", Live, "New connections a second from one address. Not counted in dev mode.";
    "limits.address_failures_per_minute_max", limits.address_failures_per_minute_max: Rate, "10", Live, "Refused credentials a minute from one address. Not counted in dev mode.";
    "limits.batch_messages_max", limits.batch_messages_max: Bound, "100", Live, "Messages in one batch.";
    "limits.publishes_in_flight_max", limits.publishes_in_flight_max: Bound, "1024", Restart, "Publishes being answered at once.";
    "limits.channel_publishes_per_second_max", limits.channel_publishes_per_second_max: Rate, "10000", Live, "Messages a second on one channel.";
    "limits.subject_publishes_per_second_max", limits.subject_publishes_per_second_max: Rate, "1000", Live, "Messages a second from one subject.";
    "limits.key_publishes_per_second_max", limits.key_publishes_per_second_max: Rate, "100000", Live, "Messages a second with one API key.";
    "limits.tickets_per_second_max", limits.tickets_per_second_max: Rate, "10", Live, "Tickets a second for one subject.";
    "limits.tickets_outstanding_max", limits.tickets_outstanding_max: Bound, "20", Live, "Tickets of one subject that wait to be spent.";
    "limits.connections_max", limits.connections_max: Bound, "auto", Restart, "Connections at once. Default: 90 % of the open files allowed, less 64.";
    "limits.arrivals_per_second_max", limits.arrivals_per_second_max: Rate, "10000", Live, "Streams, WebSockets and long polls that the node lets in a second.";
    "limits.memory_budget", limits.memory_budget: Size, "auto", Restart, "Bytes that histories and queues may take together. Default: 75 % of the memory.";
    "limits.channels_max", limits.channels_max: Bound, "1000000", Restart, "Channels that exist at once.";
    "limits.keys_max", limits.keys_max: Bound, "1000000", Restart, "Idempotency keys remembered at once.";
    "limits.key_ttl", limits.key_ttl: Plain, "5m", Restart, "How long an idempotency key is remembered.";
    "limits.heartbeat", limits.heartbeat: Deadline, "15s", Live, "A quiet stream gets a heartbeat after this, give or take 20 %.";
    "limits.ping", limits.ping: Deadline, "20s", Live, "A WebSocket gets a ping after this.";
    "limits.silence_max", limits.silence_max: Deadline, "45s", Live, "A WebSocket silent for this long is ended.";
    "limits.connection_age_max", limits.connection_age_max: Deadline, "0s", Live, "How old a stream or WebSocket gets, give or take 10 %.";
    "limits.poll_wait_max", limits.poll_wait_max: Plain, "60s", Live, "The longest wait of a long poll.";
    "limits.retry", limits.retry: Plain, "2s", Live, "The `retry:` that streams advise, give or take 50 %.";
    "limits.linger_max", limits.linger_max: Plain, "2s", Live, "How long an orderly end may take after our last byte.";
    "limits.presence_grace", limits.presence_grace: Plain, "5s", Live, "How long a member without a connection stays one.";
}

keys! {
    /// Every key of a namespace, in the order of the manual. `auto` means what holds for every channel.
    NAMESPACE_KEYS of NamespaceSettings;
    "messages_max", messages_max: Inherited<Count>, "auto", Live, "Messages kept per channel. Default: `history.messages_max`.";
    "ttl", ttl: Inherited<Plain>, "auto", Live, "How long a message is kept. Default: `history.ttl`.";
    "slow_reader", slow_reader: Inherited<SlowReader>, "auto", Live, "`disconnect` ends a slow reader, `conflate` lets it skip to the newest message. Default: `disconnect`.";
    "publish", publish: Inherited<Publishers>, "auto", Live, "Who may publish: whoever has a grant that says so, or API keys alone. Default: `granted`.";
    "publishes_per_second_max", publishes_per_second_max: Inherited<Rate>, "auto", Live, "Messages a second on one channel. Default: `limits.channel_publishes_per_second_max`.";
    "message_bytes_max", message_bytes_max: Inherited<Size>, "auto", Live, "The largest payload. Default, and the most: `limits.message_bytes_max`.";
    "presence", presence: Inherited<Boolean>, "auto", Restart, "Whether presence is kept: who is connected to a channel. Default: false.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::kinds::{NEVER, NO_BOUND};

    #[test]
    fn a_mistyped_key_finds_the_one_that_was_meant() {
        assert_eq!(nearest("listn"), Some("listen"));
        assert_eq!(nearest("limits.heart_beat"), Some("limits.heartbeat"));
        assert_eq!(nearest("heartbeat"), Some("limits.heartbeat"));
        assert_eq!(nearest("messages_max"), Some("history.messages_max"));
        assert_eq!(nearest("jwks_url"), Some("auth.jwks_url"));
        assert_eq!(nearest("colour"), None);
        let wrong = find("namespace.chat.tttl").unwrap_err();
        assert!(wrong.ends_with("did you mean `namespace.chat.ttl`?"), "{wrong}");
    }

    #[test]
    fn the_name_of_a_namespace_may_have_dots() {
        let Ok(Found::Namespace(name, key)) = find("namespace.eu.chat.ttl") else { panic!("not found") };
        assert_eq!((&*name, key.name), ("eu.chat", "ttl"));
        for bad in ["namespace.ttl", "namespace.a:b.ttl", "namespace.$sys.ttl", "namespace..ttl"] {
            assert!(find(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_limit_has_a_key() {
        // `Debug` lists the fields, so a new field without a row fails here.
        let shown = format!("{:?}", tidewire_hub::limits::Limits::default());
        let fields = shown.matches(": ").count();
        assert_eq!(KEYS.iter().filter(|key| key.name.starts_with("limits.")).count(), fields);
    }

    #[test]
    fn keys_have_one_row_each() {
        let names: std::collections::HashSet<_> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), KEYS.len());
    }

    #[test]
    fn zero_switches_a_limit_off() {
        let mut settings = Settings::for_this_machine();
        let set = |settings: &mut Settings, name, value| {
            let Ok(Found::Node(key)) = find(name) else { panic!("{name}") };
            (key.set)(settings, value, Path::new("")).unwrap();
        };
        set(&mut settings, "limits.connections_max", "0");
        set(&mut settings, "limits.heartbeat", "0");
        set(&mut settings, "history.messages_max", "0");
        assert_eq!(settings.limits.connections_max, NO_BOUND);
        assert_eq!(settings.limits.heartbeat, NEVER);
        assert_eq!(settings.history.messages_max, 0, "a history of nothing is a history, not a bound");
    }

    #[test]
    fn every_row_holds_its_own_default() {
        fn check<S: Clone>(keys: &[Key<S>], defaults: &S) {
            for key in keys.iter().filter(|key| !["auto", "none"].contains(&key.default)) {
                let mut settings = defaults.clone();
                (key.set)(&mut settings, key.default, Path::new("")).unwrap();
                assert!((key.same)(&settings, defaults), "{}: {} is not its default", key.name, key.default);
            }
        }
        check(KEYS, &Settings::for_this_machine());
        check(NAMESPACE_KEYS, &NamespaceSettings::default());
    }

    #[test]
    fn s49_every_key_whose_name_says_secret_or_password_is_masked() {
        for key in KEYS {
            let says = ["secret", "password"].iter().any(|word| key.name.contains(word));
            assert_eq!(says, key.form.is_secret(), "{}", key.name);
        }
    }
}
