//! Requests: whatever a well-formed head asks for is in bounds when it is accepted.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_hub::limits::Limits;
use tidewire_hub::position::Start;
use tidewire_transport::http1::parse_head;
use tidewire_transport::request::{Protocol, Route, TAIL_MAX, Wants, route};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let Ok(Some(head)) = parse_head(bytes, &limits) else { return };
    let Ok(Route::Subscribe(request)) = route(&head, &limits) else { return };
    assert_eq!(head.method, "GET");
    assert!(request.channels.len() <= limits.channels_per_connection_max);
    match request.wants {
        Wants::WebSocket { accept_key, protocol } => {
            assert!(accept_key.is_ascii());
            assert!(protocol == Protocol::V1 || !request.channels.is_empty());
        }
        Wants::LongPoll { wait } => assert!(wait <= limits.poll_wait_max && !request.channels.is_empty()),
        Wants::Sse { .. } | Wants::ShortPoll => assert!(!request.channels.is_empty()),
    }
    if let Start::Tail(count) = request.start {
        assert!((1..=TAIL_MAX).contains(&u64::from(count)));
    }
    let _ = format!("{request:?}");
});
