//! Posts: what a publish over HTTP says of itself. One reading for the engine's heads and hyper's.

use bytes::Bytes;
use tidewire_hub::channel::Channel;
use tidewire_hub::grant::Grant;
use tidewire_hub::message::{EventName, Payload};
use tidewire_hub::publish::{Key, Publish};
use tidewire_hub::reason::Reason;
use tidewire_hub::trace::TraceParent;
use tidewire_transport::refusal::Refusal;

use crate::refusals;

/// What the fields of a publish say about its body. What is wrong with them is told only to who may publish at all.
#[derive(Debug)]
pub(crate) struct Said {
    event: Result<Option<EventName>, Refusal>,
    key: Result<Option<Key>, Refusal>,
    binary: bool,
    trace: Option<TraceParent>,
}

impl Said {
    /// Reads the fields of one request. `values` gives every value of the field of a name.
    pub(crate) fn read<'b, I>(values: impl Fn(&'static str) -> I) -> Said
    where
        I: Iterator<Item = &'b [u8]>,
    {
        Said {
            event: event(only(values("tidewire-event"), "tidewire-event")),
            key: key(only(values("idempotency-key"), "idempotency-key")),
            binary: values("content-type").next().is_some_and(is_binary),
            trace: trace(values("traceparent")),
        }
    }

    /// The publish, if `grant` allows it. A body that could not be read matters last.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub(crate) fn publish(
        self,
        grant: &Grant,
        channel: Channel,
        body: Result<Bytes, Refusal>,
    ) -> Result<Publish, Refusal> {
        refusals::may_publish(grant, &channel)?;
        let (event, key) = (self.event?, self.key?);
        let payload = payload(body?, self.binary)?;
        Ok(Publish { channel, event, payload, key, publisher: grant.holder.publisher(), trace: self.trace })
    }
}

/// The trace that a publish is part of. What is no `traceparent`, or came more than once, is none (W3C Trace Context, section
/// 4.3): a publish is never refused for it.
pub(crate) fn trace<'b>(mut values: impl Iterator<Item = &'b [u8]>) -> Option<TraceParent> {
    match (values.next(), values.next()) {
        (Some(value), None) => TraceParent::parse(value),
        _ => None,
    }
}

/// An idempotency key as a client wrote it.
///
/// # Errors
/// `bad_request` where it is none.
pub(crate) fn read_key(key: &str) -> Result<Key, Refusal> {
    let wrong = || Refusal::new(Reason::BadRequest, "an idempotency key is 1 to 256 bytes of visible ASCII");
    Key::parse(key).ok_or_else(wrong)
}

/// Text must be UTF-8; bytes may be anything.
fn payload(bytes: Bytes, binary: bool) -> Result<Payload, Refusal> {
    if binary {
        return Ok(Payload::binary(bytes));
    }
    Payload::text(bytes)
        .map_err(|_| Refusal::new(Reason::NotUtf8, "the body is sent as text and is not UTF-8"))
}

fn event(value: Result<Option<&[u8]>, Refusal>) -> Result<Option<EventName>, Refusal> {
    let Some(value) = value? else { return Ok(None) };
    let invalid = |_| Refusal::new(Reason::EventInvalid, "the event name is not UTF-8");
    let name = std::str::from_utf8(value).map_err(invalid)?;
    Ok(Some(refusals::event(name)?))
}

fn key(value: Result<Option<&[u8]>, Refusal>) -> Result<Option<Key>, Refusal> {
    let Some(value) = value? else { return Ok(None) };
    Ok(Some(read_key(std::str::from_utf8(value).unwrap_or_default())?))
}

fn only<'b>(mut values: impl Iterator<Item = &'b [u8]>, name: &str) -> Result<Option<&'b [u8]>, Refusal> {
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Refusal::new(Reason::BadRequest, format!("`{name}` came more than once"))),
    }
}

/// Whether a body of this type is bytes: every type but text, JSON and what `curl -d` and plain forms send.
fn is_binary(content_type: &[u8]) -> bool {
    let is_text = |byte: &u8| *byte == b'\t' || (b' '..=b'~').contains(byte);
    if !content_type.iter().all(is_text) {
        return true;
    }
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let begins = |with: &[u8]| media_type.get(..with.len()).is_some_and(|it| it.eq_ignore_ascii_case(with));
    let ends = |with: &[u8]| {
        let from = media_type.len().checked_sub(with.len());
        from.is_some_and(|from| media_type[from..].eq_ignore_ascii_case(with))
    };
    !(media_type.is_empty()
        || begins(b"text/")
        || media_type.eq_ignore_ascii_case(b"application/json")
        || ends(b"+json")
        || media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_says_whether_a_payload_is_text() {
        for text in [
            "text/plain",
            "TEXT/HTML; charset=utf-8",
            "application/json",
            "application/ld+json;profile=x",
            "application/x-www-form-urlencoded",
            "",
        ] {
            assert!(!is_binary(text.as_bytes()), "{text:?}");
        }
        for bytes in [
            "application/octet-stream",
            "image/png",
            "application/jsonp",
            "multipart/form-data",
            "json",
            "text/pläin",
        ] {
            assert!(is_binary(bytes.as_bytes()), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_one_order_and_only_to_who_may_publish() {
        let channel = || Channel::parse("a").unwrap();
        let wrong = || {
            let fields: [(&str, &[u8]); 3] =
                [("tidewire-event", b"open"), ("idempotency-key", b""), ("content-type", b"text/plain")];
            Said::read(move |name| {
                fields.into_iter().filter(move |(of, _)| *of == name).map(|(_, value)| value)
            })
        };
        let reason = |said: Said, grant: &Grant, body: &'static [u8]| {
            said.publish(grant, channel(), Ok(Bytes::from_static(body))).unwrap_err().reason
        };
        let nothing = Grant { publish: tidewire_hub::grant::Scope::none(), ..Grant::everything() };
        assert_eq!(reason(wrong(), &nothing, b"\xff"), Reason::Forbidden);
        assert_eq!(reason(wrong(), &Grant::everything(), b"\xff"), Reason::EventInvalid);
        let plain = Said { event: Ok(None), ..wrong() };
        assert_eq!(reason(plain, &Grant::everything(), b"\xff"), Reason::BadRequest);
        let plain = Said { event: Ok(None), key: Ok(None), ..wrong() };
        assert_eq!(reason(plain, &Grant::everything(), b"\xff"), Reason::NotUtf8);
    }
}
