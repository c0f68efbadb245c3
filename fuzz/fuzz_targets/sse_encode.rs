//! Event streams: a browser dispatches one event with what was published, whatever was published (security rule S45).
//!
//! The first line of the input is the event name, the rest the payload.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidewire_fuzz::event_stream::{self, Dispatched};
use tidewire_hub::channel::Channel;
use tidewire_hub::message::{EventName, Message, Payload};
use tidewire_hub::position::{Gen, Position};
use tidewire_transport::encoding::{Encoding, encode};

fuzz_target!(|input: &str| {
    let (name, content) = input.split_once('\n').unwrap_or(("", input));
    let event = EventName::parse(name).ok();
    let position = Position { generation: Gen::from_random(content.len() as u64), seq: name.len() as u64 };
    let message = Message {
        channel: Channel::parse("orders:42").expect("it is in the alphabet"),
        position,
        prev: 0,
        event: event.clone(),
        payload: Payload::text(Bytes::copy_from_slice(content.as_bytes())).expect("a string is UTF-8"),
        time_ms: 0,
        taken_us: 0,
        bridged: false, trace: None,
};
    let expected = |event: &str, data: String| Dispatched {
        event: event.into(),
        data,
        last_event_id: position.to_string(),
    };
    // The format has no way to tell one line break from another.
    let data = content.replace("\r\n", "\n").replace('\r', "\n");

    let single = encode(&message, Encoding::SseSingle);
    let name = event.as_ref().map_or("message", EventName::as_str);
    assert_eq!(read(&single), [expected(name, data.clone())]);
    let multi = encode(&message, Encoding::SseMulti);
    assert_eq!(read(&multi), [expected("orders:42", data)]);
    let envelope = encode(&message, Encoding::SseEnvelope);
    let events = read(&envelope);
    assert_eq!(events.len(), 1);
    assert!(!events[0].data.contains('\n'));

    for (plain, chunked) in [
        (single, Encoding::SseSingleChunked),
        (multi, Encoding::SseMultiChunked),
        (envelope, Encoding::SseEnvelopeChunked),
    ] {
        let chunk = [format!("{:x}\r\n", plain.len()).as_bytes(), &plain, b"\r\n"].concat();
        assert_eq!(encode(&message, chunked), chunk);
    }
});

fn read(stream: &[u8]) -> Vec<Dispatched> {
    event_stream::read(std::str::from_utf8(stream).expect("an event stream is UTF-8"))
}
