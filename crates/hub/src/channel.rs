//! Channels: the names that publishers write to and subscribers listen on.

use std::fmt;
use std::sync::Arc;

/// The longest channel name, in bytes.
pub const CHANNEL_BYTES_MAX: usize = 128;

/// The name of a channel: 1 to 128 bytes of `A-Za-z0-9._:@=+~-`.
///
/// The alphabet needs no escaping in a URL path, in an SSE field, in JSON or in a Redis key (security rule S47).
/// Segments are separated by `:`; the first is the namespace. Cloning shares the name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(Arc<str>);

impl Channel {
    /// Accepts `name` if it is a channel that clients may use.
    ///
    /// # Errors
    /// Names what is wrong with it, the position of the first bad byte included.
    pub fn parse(name: &str) -> Result<Channel, ChannelError> {
        if name.is_empty() {
            return Err(ChannelError::Empty);
        }
        if name.starts_with('$') {
            return Err(ChannelError::Reserved);
        }
        if name.len() > CHANNEL_BYTES_MAX {
            return Err(ChannelError::TooLong { bytes: name.len() });
        }
        match name.bytes().position(|byte| !is_channel_byte(byte)) {
            Some(at) => Err(ChannelError::Byte { at }),
            None => Ok(Channel(name.into())),
        }
    }

    /// Accepts `name` as servers write it to each other: also one that begins with `$`, which no client may use (security
    /// rule S46).
    ///
    /// # Errors
    /// Those of [`Channel::parse`] but for [`ChannelError::Reserved`]; positions are counted behind the `$`.
    pub fn parse_among_servers(name: &str) -> Result<Channel, ChannelError> {
        match name.strip_prefix('$') {
            None => Channel::parse(name),
            Some(_) if name.len() > CHANNEL_BYTES_MAX => Err(ChannelError::TooLong { bytes: name.len() }),
            Some(rest) => Channel::parse(rest).map(|_| Channel(name.into())),
        }
    }

    /// Whether it is one of the server's own, which clients neither see nor use.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment: `orders` for `orders:42`, the whole name where there is no `:`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.split(':').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a name is not a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelError {
    /// There is no name.
    Empty,
    /// The name begins with `$`, which is the server's own.
    Reserved,
    /// The name has more than [`CHANNEL_BYTES_MAX`] bytes.
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// A byte is not in the alphabet.
    Byte {
        /// Where the first such byte stands, from 0.
        at: usize,
    },
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelError::Empty => write!(f, "the channel name is empty"),
            ChannelError::Reserved => write!(f, "channel names beginning with `$` are the server's own"),
            ChannelError::TooLong { bytes } => {
                write!(f, "the channel name has {bytes} bytes; {CHANNEL_BYTES_MAX} is the most")
            }
            ChannelError::Byte { at } => {
                write!(f, "byte {at} of the channel name is not one of A-Z a-z 0-9 . _ : @ = + ~ -")
            }
        }
    }
}

impl std::error::Error for ChannelError {}

/// The channels of one request or connection: a set, in the order asked (delivery rule R11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSet(Arc<[Channel]>);

impl ChannelSet {
    /// Keeps the first mention of every channel.
    #[must_use]
    pub fn new(channels: impl IntoIterator<Item = Channel>) -> ChannelSet {
        let mut unique: Vec<Channel> = Vec::new();
        for channel in channels {
            // Sets hold at most `Limits::channels_per_connection_max` names, so a scan beats a hash.
            if !unique.contains(&channel) {
                unique.push(channel);
            }
        }
        ChannelSet(unique.into())
    }

    /// Reads `a,b,c` as it stands in a URL path. The empty string is the empty set.
    ///
    /// # Errors
    /// The first name that is not a channel, or the count when there are more than `channels_max`.
    pub fn parse(list: &str, channels_max: usize) -> Result<ChannelSet, ChannelSetError> {
        if list.is_empty() {
            return Ok(ChannelSet::new([]));
        }
        let count = list.split(',').count();
        if count > channels_max {
            return Err(ChannelSetError::TooMany { count, channels_max });
        }
        let channels: Result<Vec<Channel>, ChannelError> = list.split(',').map(Channel::parse).collect();
        Ok(ChannelSet::new(channels.map_err(ChannelSetError::Channel)?))
    }

    /// The channels, in the order asked.
    #[must_use]
    pub fn as_slice(&self) -> &[Channel] {
        &self.0
    }
}

impl std::ops::Deref for ChannelSet {
    type Target = [Channel];

    fn deref(&self) -> &[Channel] {
        &self.0
    }
}

/// Why a list is not a set of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelSetError {
    /// One of the names is no channel.
    Channel(ChannelError),
    /// The list is longer than a connection may subscribe to.
    TooMany {
        /// How many were asked.
        count: usize,
        /// How many are allowed.
        channels_max: usize,
    },
}

impl fmt::Display for ChannelSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelSetError::Channel(error) => error.fmt(f),
            ChannelSetError::TooMany { count, channels_max } => {
                write!(f, "{count} channels were asked for; one connection may have {channels_max}")
            }
        }
    }
}

impl std::error::Error for ChannelSetError {}

pub(crate) fn is_channel_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'@' | b'=' | b'+' | b'~' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s46_among_themselves_servers_have_channels_that_no_client_can_name() {
        let own = Channel::parse_among_servers("$console").unwrap();
        assert!(own.is_reserved() && own.as_str() == "$console" && own.namespace() == "$console");
        assert!(!Channel::parse_among_servers("prices").unwrap().is_reserved());
        for bad in ["", "$", "$$a", "$a b", &format!("${}", "x".repeat(128))] {
            assert!(Channel::parse_among_servers(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn s47_a_channel_name_keeps_to_its_alphabet_and_length() {
        for good in ["a", "orders:42", "user:a@b.c", "A-Z_.~+=", &"x".repeat(128)] {
            assert_eq!(Channel::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(Channel::parse(""), Err(ChannelError::Empty));
        assert_eq!(Channel::parse("$sys"), Err(ChannelError::Reserved));
        assert_eq!(Channel::parse(&"x".repeat(129)), Err(ChannelError::TooLong { bytes: 129 }));
        for bad in ["a b", "a/b", "a\nb", "a%20", "é", "a{b}", "a*", "a,b"] {
            assert!(matches!(Channel::parse(bad), Err(ChannelError::Byte { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_namespace_is_the_first_segment() {
        assert_eq!(Channel::parse("orders:42:eu").unwrap().namespace(), "orders");
        assert_eq!(Channel::parse("prices").unwrap().namespace(), "prices");
    }

    #[test]
    fn r11_a_channel_set_drops_repeats_and_keeps_order() {
        let set = ChannelSet::parse("b,a,b", 3).unwrap();
        assert_eq!(set.iter().map(Channel::as_str).collect::<Vec<_>>(), ["b", "a"]);
        assert!(matches!(ChannelSet::parse("a,b,c", 2), Err(ChannelSetError::TooMany { count: 3, .. })));
        assert!(matches!(ChannelSet::parse("a,,b", 9), Err(ChannelSetError::Channel(ChannelError::Empty))));
        assert!(ChannelSet::parse("", 9).unwrap().is_empty());
    }
}
