//! Request heads: the outcome does not depend on the cuts, and httparse reads what is accepted in the same way.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_hub::limits::Limits;
use tidewire_transport::http1::parse_head;

fuzz_target!(|bytes: &[u8]| {
    // Small limits, so that they are met; the last one lets every prefix be tried.
    let limits = Limits { target_bytes_max: 64, headers_max: 8, head_bytes_max: 512, ..Limits::default() };
    let whole = parse_head(bytes, &limits);
    let prefixes = 0..=bytes.len().min(limits.head_bytes_max + 1);
    let cut = prefixes.map(|end| parse_head(&bytes[..end], &limits)).find(|outcome| outcome != &Ok(None));
    assert_eq!(cut.unwrap_or(Ok(None)), whole);

    if let Ok(Some(head)) = whole {
        let mut fields = [httparse::EMPTY_HEADER; 8];
        let mut other = httparse::Request::new(&mut fields);
        assert_eq!(other.parse(bytes), Ok(httparse::Status::Complete(head.len)));
        assert_eq!((other.method, other.path), (Some(head.method), Some(head.target)));
        assert_eq!(other.version, Some(head.minor_version));
        assert!(other.headers.iter().map(|field| (field.name, field.value)).eq(head.headers.iter().copied()));
        let line_feeds = bytes[..head.len].iter().filter(|byte| **byte == b'\n').count();
        let line_ends = bytes[..head.len].windows(2).filter(|pair| pair == b"\r\n").count();
        assert_eq!(line_feeds, line_ends, "S42: a bare line feed was accepted");
    }
});
