//! Names in Redis: keys and Pub/Sub channels.
//!
//! ```text
//! {tidewire:0}:fence                    the partition: generation, seq, era, replication id, floor, nodes
//! {tidewire:0}:lineage, :awaited …      what the handshake remembers (decision 13)
//! {tidewire:0}:<era>:s:<channel>        a channel's stream
//! {tidewire:0}:<era>:r:<channel>        its record: the seq of its newest message
//! {tidewire:0}:<era>:k:<32 hex>         an idempotency key
//! {tidewire:0}:<db>:<channel>           Pub/Sub
//! {tidewire:0}:<db>:!trace              Pub/Sub: the traces of messages, each just before its message
//! ```
//!
//! One hash tag a partition, so that a script may touch all of it in a cluster too. The era is the generation that an
//! empty store began with: what a lost fence leaves behind is never written to again, and expires (fault F14).

use std::fmt;

use sha2::{Digest, Sha256};
use tidewire_hub::channel::Channel;
use tidewire_hub::message::{EventName, Payload};
use tidewire_hub::position::Gen;
use tidewire_hub::publish::Key;

/// The longest prefix, in bytes.
pub const PREFIX_BYTES_MAX: usize = 64;

/// The names of one partition in one database.
///
/// Nothing that a user chose stands in the hash tag or could be read as a pattern, since channel names have neither
/// braces nor `*?[` in their alphabet; every name has at most 256 bytes (security rule S47).
#[derive(Clone, PartialEq, Eq)]
pub struct Names {
    tag: Box<str>,
    database: u32,
}

impl Names {
    /// The names of `partition` under `prefix`: 1 to [`PREFIX_BYTES_MAX`] bytes of `A-Za-z0-9._-`; nothing otherwise.
    ///
    /// Pub/Sub is shared by all databases of a server, so those names carry `database` (delivery rule R21).
    #[must_use]
    pub fn new(prefix: &str, partition: u16, database: u32) -> Option<Names> {
        let in_bounds = (1..=PREFIX_BYTES_MAX).contains(&prefix.len());
        let plain = prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        // A `:` ends the prefix, so that one prefix is never the beginning of another's names.
        (in_bounds && plain).then(|| Names { tag: format!("{{{prefix}:{partition}}}").into(), database })
    }

    /// Where messages of `channel` are told.
    #[must_use]
    pub fn told(&self, channel: &Channel) -> String {
        format!("{}{channel}", self.told_prefix())
    }

    /// Where the traces of messages are told, just before each: to nodes that know of them, so that the messages themselves
    /// are what nodes of every version read. No channel has such a name.
    pub(super) fn traces(&self) -> String {
        format!("{}!trace", self.told_prefix())
    }

    /// The channel that a Pub/Sub name stands for; nothing where it is not one of ours.
    #[must_use]
    pub fn channel_of(&self, told: &str) -> Option<Channel> {
        Channel::parse_among_servers(told.strip_prefix(&*self.told_prefix())?).ok()
    }

    pub(super) fn fence(&self) -> String {
        self.of_partition("fence")
    }

    pub(super) fn lineage(&self) -> String {
        self.of_partition("lineage")
    }

    pub(super) fn awaited(&self) -> String {
        self.of_partition("awaited")
    }

    pub(super) fn dead(&self) -> String {
        self.of_partition("dead")
    }

    pub(super) fn notes(&self) -> String {
        self.of_partition("notes")
    }

    pub(super) fn stream(&self, era: Gen, channel: &Channel) -> String {
        format!("{}:{era}:s:{channel}", self.tag)
    }

    pub(super) fn record(&self, era: Gen, channel: &Channel) -> String {
        format!("{}:{era}:r:{channel}", self.tag)
    }

    /// A key belongs to publisher and channel (delivery rule R22). Subjects have any bytes and length, so the three are
    /// hashed, each behind its length; to find a second triple with this name is 2^128 work.
    pub(super) fn idempotency(&self, era: Gen, publisher: &str, channel: &Channel, key: &Key) -> String {
        let owner = digest(&[publisher.as_bytes(), channel.as_str().as_bytes(), key.as_str().as_bytes()]);
        format!("{}:{era}:k:{owner}", self.tag)
    }

    fn of_partition(&self, what: &str) -> String {
        format!("{}:{what}", self.tag)
    }

    fn told_prefix(&self) -> String {
        format!("{}:{}:", self.tag, self.database)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Names({} in database {})", self.tag, self.database)
    }
}

/// What an idempotency key stands for: payload, event and type, as 32 hex digits (delivery rule R22). Every node must find
/// the same, so there is no secret in it.
pub(super) fn fingerprint(event: Option<&EventName>, payload: &Payload) -> String {
    let kind: &[u8] = match (payload.is_binary(), event) {
        (false, None) => b"t",
        (true, None) => b"b",
        (false, Some(_)) => b"te",
        (true, Some(_)) => b"be",
    };
    digest(&[kind, event.map_or(b"", |event| event.as_str().as_bytes()), payload.as_bytes()])
}

/// The first 128 bits of a SHA-256 over parts that cannot run into each other.
fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digits = b"0123456789abcdef";
    let hex = |byte: &u8| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]];
    hash.finalize()[..16].iter().flat_map(hex).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn names() -> Names {
        Names::new("tidewire", 3, 2).unwrap()
    }

    #[test]
    fn r21_a_pubsub_name_carries_prefix_and_database_and_is_read_back() {
        let channel = Channel::parse("orders:42").unwrap();
        assert_eq!(names().told(&channel), "{tidewire:3}:2:orders:42");
        assert_eq!(names().channel_of("{tidewire:3}:2:orders:42"), Some(channel));
        for foreign in
            ["{tidewire:3}:1:a", "{tidewire:4}:2:a", "{tidewire2:3}:2:a", "{tidewire:3}:2:", "a", ""]
        {
            assert_eq!(names().channel_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn s47_a_prefix_holds_no_braces_and_no_patterns() {
        for bad in ["", "a{b", "a}b", "a*", "a?", "a[b]", "a:b", "a b", "a\0", &"x".repeat(65)] {
            assert_eq!(Names::new(bad, 0, 0), None, "{bad:?}");
        }
    }

    #[test]
    fn s47_names_are_bounded_and_their_only_tag_is_ours() {
        let names = Names::new(&"x".repeat(64), u16::MAX, u32::MAX).unwrap();
        let channel = Channel::parse(&"c".repeat(128)).unwrap();
        let era = Gen::from_random(u64::MAX);
        let key = Key::parse(&"{}k".repeat(80)).unwrap();
        let all = [
            names.stream(era, &channel),
            names.record(era, &channel),
            names.told(&channel),
            names.idempotency(era, "{evil}\r\n*", &channel, &key),
        ];
        for name in all {
            assert!(name.len() <= 256 && name.matches(['{', '}']).count() == 2, "{name}");
        }
    }

    #[test]
    fn r22_a_key_belongs_to_publisher_and_channel() {
        let (a, b) = (Channel::parse("a").unwrap(), Channel::parse("ab").unwrap());
        let name = |publisher, channel, key| {
            names().idempotency(Gen::from_random(1), publisher, channel, &Key::parse(key).unwrap())
        };
        // Joined without their lengths, each of these would be one name.
        let all = [name("x", &a, "bk"), name("x", &b, "k"), name("xa", &a, "bk"), name("xa", &b, "k")];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one));
        }
    }

    #[test]
    fn r22_payload_event_and_type_are_told_apart() {
        let event = EventName::parse("e").unwrap();
        let text = |text: &'static str| Payload::text(Bytes::from_static(text.as_bytes())).unwrap();
        let binary = Payload::binary(Bytes::from_static(b"x"));
        let all = [
            fingerprint(None, &text("x")),
            fingerprint(None, &binary),
            fingerprint(Some(&event), &text("x")),
            fingerprint(Some(&event), &binary),
            fingerprint(None, &text("ex")),
            fingerprint(Some(&event), &text("")),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(one.len() == 32 && all.iter().skip(at + 1).all(|other| other != one));
        }
    }
}
