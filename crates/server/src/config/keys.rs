//! The table of keys: what each is called, what it means, where it goes. A new key is one row.

use std::net::SocketAddr;
use std::time::Duration;

use tidewire_hub::channel::Channel;

use super::settings::{Io, Settings};
use super::units;

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// As it stands in the file, sections before a dot. In the environment `limits.heartbeat` is
    /// `TIDEWIRE_LIMITS__HEARTBEAT`; on the command line, `--set limits.heartbeat=5s`.
    pub name: &'static str,
    /// What it means, its default, its unit.
    pub meaning: &'static str,
    /// Reads the value into the settings, or says what is wrong with it.
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Key {
    /// The key with this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The key that was most likely meant.
    #[must_use]
    pub fn nearest(name: &str) -> Option<&'static Key> {
        // Someone who forgot the section meant the last part.
        let distance = |key: &Key| {
            let tail = key.name.rsplit('.').next().unwrap_or(key.name);
            strsim::damerau_levenshtein(name, key.name).min(strsim::damerau_levenshtein(name, tail) + 1)
        };
        let (nearest, distance) =
            KEYS.iter().map(|key| (key, distance(key))).min_by_key(|(_, distance)| *distance)?;
        (distance <= name.len() / 3 + 1).then_some(nearest)
    }
}

/// In `limits`, 0 switches a bound off. So much is never reached, and leaves room to add to it.
const NO_BOUND: usize = usize::MAX / 8;
const NO_BOUND_32: u32 = u32::MAX / 8;
/// A year: beyond any connection's life, and small enough for every clock.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

macro_rules! keys {
    ($($name:literal, $settings:ident . $($field:ident).+ = $read:ident, $meaning:literal;)*) => {
        /// Every key, in the order of the manual.
        pub static KEYS: &[Key] = &[$(Key {
            name: $name,
            meaning: $meaning,
            set: |$settings, text| {
                $settings.$($field).+ = $read(text)?;
                Ok(())
            },
        },)*];
    };
}

keys! {
    "listen", s.listen = address, "Where clients connect. Default 127.0.0.1:8080.";
    "admin_listen", s.admin_listen = some_address, "Where /livez, /readyz and /metrics answer. Default: on `listen`.";
    "dev", s.dev = boolean, "Dev mode: loopback only, no credentials, everything in memory. Default true.";
    "dev_public", s.dev_public = boolean, "Lets other machines reach dev mode. Default false.";
    "demo", s.demo = boolean, "Serves and feeds the demo page at /. Default false.";
    "drain_within", s.drain_within = some_duration, "How long connections may take to leave. Default 10s; 2s in dev mode.";
    "log", s.log = text, "Log lines to standard error, as `level` or `target=level,…`. Default warn.";
    "history.messages_max", s.history.messages_max = count, "Messages kept per channel; 0 keeps none. Default 1000.";
    "history.ttl", s.history.ttl = plain_duration, "How long a message is kept. Default 1h.";
    "engine.io", s.io = io, "What drives the sockets: auto, epoll or tokio. Default auto.";
    "engine.shards", s.shards = shards, "Event loops, 1 to 64. Default: one per core.";
    "limits.message_bytes_max", s.limits.message_bytes_max = size, "The largest payload. Default 64KiB.";
    "limits.fragments_max", s.limits.fragments_max = count_32, "Frames of one fragmented WebSocket message. Default 64.";
    "limits.empty_fragments_max", s.limits.empty_fragments_max = count_32, "Empty continuation frames of one WebSocket message. Default 16.";
    "limits.control_frames_per_second_max", s.limits.control_frames_per_second_max = count_32, "WebSocket control frames a second from one client. Default 20.";
    "limits.incomplete_message_max", s.limits.incomplete_message_max = duration, "How long a WebSocket message may stay incomplete. Default 10s.";
    "limits.head_bytes_max", s.limits.head_bytes_max = size, "The largest request head. Default 16KiB.";
    "limits.headers_max", s.limits.headers_max = bound, "Header fields of a request. Default 100.";
    "limits.target_bytes_max", s.limits.target_bytes_max = size, "The longest request target. Default 8KiB.";
    "limits.first_byte_max", s.limits.first_byte_max = duration, "From accept to the first byte. Default 5s.";
    "limits.head_max", s.limits.head_max = duration, "From accept to the end of the head. Default 10s.";
    "limits.body_max", s.limits.body_max = duration, "From the end of the head to the end of the body. Default 30s.";
    "limits.keep_alive_max", s.limits.keep_alive_max = duration, "Idle time of a kept-alive connection. Default 75s.";
    "limits.queue_bytes_max", s.limits.queue_bytes_max = size, "Bytes queued for one subscriber. Default 1MiB.";
    "limits.queue_messages_max", s.limits.queue_messages_max = bound, "Messages queued for one subscriber. Default 1000.";
    "limits.queue_age_max", s.limits.queue_age_max = duration, "Age of the oldest message queued for one subscriber. Default 15s.";
    "limits.channels_per_connection_max", s.limits.channels_per_connection_max = bound, "Channels of one connection. Default 100.";
    "limits.joins_per_minute_max", s.limits.joins_per_minute_max = count_32, "Joins and leaves a minute on one connection. Default 1000.";
    "limits.batch_messages_max", s.limits.batch_messages_max = bound, "Messages in one batch. Default 100.";
    "limits.publishes_in_flight_max", s.limits.publishes_in_flight_max = bound, "Publishes being answered at once. Default 1024.";
    "limits.channel_publishes_per_second_max", s.limits.channel_publishes_per_second_max = count_32, "Messages a second on one channel. Default 10000.";
    "limits.address_connections_max", s.limits.address_connections_max = bound, "Connections at once from one client's address (/32, /64). Not counted in dev mode. Default 100.";
    "limits.address_arrivals_per_second_max", s.limits.address_arrivals_per_second_max = count_32, "New connections a second from one client's address. Not counted in dev mode. Default 20.";
    "limits.address_failures_per_minute_max", s.limits.address_failures_per_minute_max = count_32, "Wrong credentials a minute from one client's address. Not counted in dev mode. Default 10.";
    "limits.subject_channels_max", s.limits.subject_channels_max = bound, "Channels that all connections of one subject have together. Default 1000.";
    "limits.subject_publishes_per_second_max", s.limits.subject_publishes_per_second_max = count_32, "Messages a second that one subject or API key publishes. Default 1000.";
    "limits.tickets_per_second_max", s.limits.tickets_per_second_max = count_32, "Tickets a second for one subject. Default 10.";
    "limits.tickets_outstanding_max", s.limits.tickets_outstanding_max = bound, "Tickets of one subject that are neither spent nor over. Default 20.";
    "limits.connections_max", s.limits.connections_max = bound, "Connections at once. Default: 90 % of the open files allowed, less 64.";
    "limits.memory_budget", s.limits.memory_budget = size, "Bytes that histories and queues may take together. Default: 75 % of the memory.";
    "limits.channels_max", s.limits.channels_max = bound, "Channels that exist at once. Default 1000000.";
    "limits.keys_max", s.limits.keys_max = bound, "Idempotency keys remembered at once. Default 1000000.";
    "limits.key_ttl", s.limits.key_ttl = plain_duration, "How long an idempotency key is remembered. Default 5m.";
    "limits.heartbeat", s.limits.heartbeat = duration, "A quiet stream gets a heartbeat after this, give or take 20 %. Default 15s.";
    "limits.ping", s.limits.ping = duration, "A WebSocket gets a ping after this. Default 20s.";
    "limits.silence_max", s.limits.silence_max = duration, "A WebSocket silent for this long is ended. Default 45s.";
    "limits.poll_wait_max", s.limits.poll_wait_max = plain_duration, "The longest wait of a long poll. Default 60s.";
    "limits.retry", s.limits.retry = plain_duration, "The retry: that streams advise, give or take 50 %. Default 2s.";
    "limits.linger_max", s.limits.linger_max = plain_duration, "How long an orderly end may take after our last byte. Default 2s.";
    "limits.conflate", s.limits.conflate = names, "Namespaces, separated by commas, whose slow readers skip to the newest message of each channel. Default none: they are ended.";
}

fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn names(text: &str) -> Result<Vec<Box<str>>, String> {
    let namespace = |name: &str| match Channel::parse(name.trim()) {
        Ok(channel) if channel.namespace() == channel.as_str() => Ok(channel.as_str().into()),
        _ => Err(format!("`{name}` is not a namespace: the part of a channel name before its first `:`")),
    };
    text.split(',').filter(|name| !name.trim().is_empty()).map(namespace).collect()
}

fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{text}` is neither true nor false"))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let numeric = numeric.as_deref().unwrap_or(text);
    numeric
        .parse()
        .map_err(|_| format!("`{text}` is not an address and a port; write 127.0.0.1:8080 or [::1]:8080"))
}

fn some_address(text: &str) -> Result<Option<SocketAddr>, String> {
    address(text).map(Some)
}

fn plain_duration(text: &str) -> Result<Duration, String> {
    units::duration(text)
}

fn some_duration(text: &str) -> Result<Option<Duration>, String> {
    units::duration(text).map(Some)
}

fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map(|duration| if duration.is_zero() { NEVER } else { duration })
}

fn size(text: &str) -> Result<usize, String> {
    units::size(text).map(|size| if size == 0 { NO_BOUND } else { size })
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{text}` is not a whole number"))
}

fn bound(text: &str) -> Result<usize, String> {
    count(text).map(|count| if count == 0 { NO_BOUND } else { count })
}

fn count_32(text: &str) -> Result<u32, String> {
    let count: u32 = text.parse().map_err(|_| format!("`{text}` is not a whole number below 2^32"))?;
    Ok(if count == 0 { NO_BOUND_32 } else { count })
}

fn shards(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(shards @ 1..=64) => Ok(shards),
        _ => Err(format!("`{text}` is not a number from 1 to 64")),
    }
}

fn io(text: &str) -> Result<Io, String> {
    match text {
        "auto" => Ok(Io::Auto),
        "epoll" => Ok(Io::Epoll),
        "tokio" => Ok(Io::Tokio),
        _ => Err(format!("`{text}` is not one of auto, epoll, tokio")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_finds_the_one_that_was_meant() {
        let nearest = |name| Key::nearest(name).map(|key| key.name);
        assert_eq!(nearest("listn"), Some("listen"));
        assert_eq!(nearest("limits.heart_beat"), Some("limits.heartbeat"));
        assert_eq!(nearest("heartbeat"), Some("limits.heartbeat"));
        assert_eq!(nearest("messages_max"), Some("history.messages_max"));
        assert_eq!(nearest("colour"), None);
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
        let set =
            |settings: &mut Settings, name, value| (Key::find(name).unwrap().set)(settings, value).unwrap();
        set(&mut settings, "limits.connections_max", "0");
        set(&mut settings, "limits.heartbeat", "0");
        set(&mut settings, "history.messages_max", "0");
        assert_eq!(settings.limits.connections_max, NO_BOUND);
        assert_eq!(settings.limits.heartbeat, NEVER);
        assert_eq!(settings.history.messages_max, 0, "a history of nothing is a history, not a bound");
    }
}
