//! Cookies: a naive reader finds the same value, and what is written is read back and carries nothing else (rule S45).
//!
//! The first line of the input is the name, the second the value, the rest the header that a client sent.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tidewire_transport::cookie::{Ambiguous, SameSite, SetCookie, get};

fuzz_target!(|text: &str| {
    let mut parts = text.splitn(3, '\n');
    let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let header = parts.next().unwrap_or_default();
    assert_eq!(get(header, name), naive(header, name));

    let secure = value.len() % 2 == 0;
    let max_age = Some(Duration::from_secs(60));
    let cookie = SetCookie { name, value, path: "/", max_age, secure, same_site: SameSite::Strict };
    if let Ok(written) = cookie.to_header() {
        assert!(!written.contains(char::is_control) && written.is_ascii());
        assert_eq!(written.matches(';').count(), if secure { 5 } else { 4 });
        let (pair, _) = written.split_once(';').expect("attributes follow");
        assert_eq!(get(pair, name), Ok(Some(value)));
        let beside = format!("{pair}; {header}");
        let expected = if naive(header, name) == Ok(None) { Ok(Some(value)) } else { Err(Ambiguous) };
        assert_eq!(get(&beside, name), expected);
    }
});

fn naive<'a>(header: &'a str, name: &str) -> Result<Option<&'a str>, Ambiguous> {
    let blank = |char: char| char == ' ' || char == '\t';
    let pairs = header.split(';').filter_map(|pair| pair.split_once('='));
    let named = pairs.filter(|(key, _)| key.trim_matches(blank) == name);
    let values: Vec<&str> = named.map(|(_, value)| value.trim_matches(blank)).collect();
    match values[..] {
        [] => Ok(None),
        [value] if value.len() >= 2 && value.starts_with('"') && value.ends_with('"') => {
            Ok(Some(&value[1..value.len() - 1]))
        }
        [value] => Ok(Some(value)),
        _ => Err(Ambiguous),
    }
}
