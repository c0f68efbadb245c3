//! Channel names and event names: what is accepted keeps to its alphabet (security rules S45, S46 and S47).

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_hub::channel::{CHANNEL_BYTES_MAX, Channel, ChannelSet};
use tidewire_hub::message::{EVENT_NAME_BYTES_MAX, EventName};

fuzz_target!(|text: &str| {
    if let Ok(channel) = Channel::parse(text) {
        assert!((1..=CHANNEL_BYTES_MAX).contains(&text.len()) && text.is_ascii());
        assert!(
            !text.contains(['/', ',', '%', '$', '{', '}', '*', '?', '#', ' ', '"', '\\', '\r', '\n', '\0'])
        );
        assert!(text.starts_with(channel.namespace()));
    }
    if let Ok(set) = ChannelSet::parse(text, 8) {
        assert!(set.len() <= 8);
        let names: Vec<&str> = set.iter().map(Channel::as_str).collect();
        assert_eq!(ChannelSet::parse(&names.join(","), 8), Ok(set.clone()));
    }
    if EventName::parse(text).is_ok() {
        assert!((1..=EVENT_NAME_BYTES_MAX).contains(&text.len()));
        assert!(!text.contains(char::is_control) && !text.starts_with('$'));
    }
});
