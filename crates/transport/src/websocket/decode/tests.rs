//! Every rule of S30 at every split of the bytes, and another library's opinion.

use super::*;
use proptest::prelude::*;
use std::io::{Cursor, Read, Write};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

fn limits() -> Limits {
    Limits { message_bytes_max: 70_000, fragments_max: 8, empty_fragments_max: 3, ..Limits::default() }
}

/// A client's frame, masked, with the shortest header.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn text(text: &str) -> Item {
    Item::Text(Bytes::copy_from_slice(text.as_bytes()))
}

fn binary(bytes: &[u8]) -> Item {
    Item::Binary(Bytes::copy_from_slice(bytes))
}

fn decode(decoder: &mut Decoder, pieces: &[&[u8]]) -> (Vec<Item>, Result<(), Fault>) {
    let mut items = Vec::new();
    let outcome =
        pieces.iter().try_for_each(|piece| decoder.push(&mut piece.to_vec(), &limits(), &mut items));
    (items, outcome)
}

/// Decodes `input` whole, byte by byte and cut in two at every place, and expects the same of all.
fn check(input: &[u8]) -> (Vec<Item>, Result<(), Fault>) {
    let whole = decode(&mut Decoder::default(), &[input]);
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(decode(&mut Decoder::default(), &bytes), whole, "byte by byte");
    for at in 0..input.len().min(600) {
        let (first, second) = input.split_at(at);
        assert_eq!(decode(&mut Decoder::default(), &[first, second]), whole, "cut at {at}");
    }
    whole
}

fn items(input: &[u8]) -> Vec<Item> {
    let (items, outcome) = check(input);
    assert_eq!(outcome, Ok(()));
    items
}

/// Expects a fault, and the same fault after a message that is delivered before it.
fn fault(input: &[u8]) -> u16 {
    let (none, outcome) = check(input);
    assert_eq!(none, []);
    let fault = outcome.unwrap_err();
    assert_eq!(
        check(&[frame(FIN | TEXT, b"before"), input.to_vec()].concat()),
        (vec![text("before")], Err(fault))
    );
    fault.close_code
}

#[test]
fn messages_of_any_length_are_read() {
    for len in [0, 1, 2, 3, 4, 7, 8, 9, 125, 126, 127, 4_096, 65_535, 65_536, 70_000] {
        let payload: Vec<u8> = (0..len).map(|byte: u32| byte as u8).collect();
        assert_eq!(items(&frame(FIN | BINARY, &payload)), [binary(&payload)]);
    }
    assert_eq!(items(&frame(FIN | TEXT, "κόσμε".as_bytes())), [text("κόσμε")]);
}

#[test]
fn fragments_become_one_message_with_control_frames_in_between() {
    let input = [
        frame(TEXT, b"\xe2"),
        frame(FIN | PING, b"p"),
        frame(CONTINUATION, b""),
        frame(FIN | PONG, b"unasked"),
        frame(FIN | CONTINUATION, b"\x82\xac"),
        frame(FIN | PING, b""),
    ];
    assert_eq!(
        items(&input.concat()),
        [Item::Ping(b"p".to_vec()), Item::Pong, text("€"), Item::Ping(Vec::new())]
    );
}

#[test]
fn s30_an_unmasked_frame_is_refused() {
    assert_eq!(fault(&[FIN | TEXT, 0x02]), 1002);
}

#[test]
fn s30_reserved_bits_and_opcodes_are_refused_at_the_first_byte() {
    for bit in [0x40, 0x20, 0x10] {
        assert_eq!(fault(&[FIN | TEXT | bit]), 1002);
    }
    for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        assert_eq!(fault(&[FIN | opcode]), 1002);
    }
}

#[test]
fn s30_a_control_frame_is_short_and_whole() {
    for opcode in [CLOSE, PING, PONG] {
        assert_eq!(fault(&[opcode]), 1002, "fragmented");
        assert_eq!(fault(&[FIN | opcode, 0x80 | 126]), 1002, "126 bytes");
        assert_eq!(fault(&[FIN | opcode, 0x80 | 127]), 1002, "more");
    }
    assert_eq!(items(&frame(FIN | PING, &[b'x'; 125])), [Item::Ping(vec![b'x'; 125])]);
}

#[test]
fn s30_fragments_come_in_order() {
    assert_eq!(fault(&[FIN | CONTINUATION]), 1002);
    assert_eq!(fault(&[CONTINUATION]), 1002);
    assert_eq!(fault(&[frame(TEXT, b"a"), vec![FIN | TEXT]].concat()), 1002);
    assert_eq!(fault(&[frame(BINARY, b""), vec![BINARY]].concat()), 1002);
    let finished = [frame(TEXT, b"a"), frame(FIN | CONTINUATION, b"b"), vec![CONTINUATION]].concat();
    let (before, outcome) = check(&finished);
    assert_eq!((before, outcome.unwrap_err().close_code), (vec![text("ab")], 1002));
}

#[test]
fn s30_a_length_is_minimal_and_positive() {
    assert_eq!(fault(&[FIN | BINARY, 0xfe, 0, 125]), 1002);
    assert_eq!(fault(&[FIN | BINARY, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), 1002);
    assert_eq!(fault(&[FIN | BINARY, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), 1002);
}

#[test]
fn s30_a_message_beyond_the_limit_is_refused_by_its_header() {
    assert_eq!(fault(&[FIN | BINARY, 0xff, 0, 0, 0, 0, 0, 1, 0x11, 0x71]), 1009, "70 001 bytes");
    assert_eq!(fault(&[FIN | BINARY, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), 1009);
    let fragments = [frame(BINARY, &[0; 60_000]), vec![FIN | CONTINUATION, 0xfe, 0x27, 0x11]].concat();
    assert_eq!(
        decode(&mut Decoder::default(), &[&fragments]).1.unwrap_err().close_code,
        1009,
        "60 000 + 10 001"
    );
}

#[test]
fn s30_fragments_are_counted() {
    let fragments =
        |count: usize| [frame(BINARY, b"x"), frame(CONTINUATION, b"x").repeat(count - 1)].concat();
    assert_eq!(fault(&[fragments(8), frame(FIN | CONTINUATION, b"x")].concat()), 1009);
    assert_eq!(items(&[fragments(7), frame(FIN | CONTINUATION, b"x")].concat()), [binary(b"xxxxxxxx")]);
    let empty = |count: usize| [frame(TEXT, b""), frame(CONTINUATION, b"").repeat(count)].concat();
    assert_eq!(fault(&empty(4)), 1009);
    assert_eq!(items(&[empty(3), frame(FIN | CONTINUATION, b"x")].concat()), [text("x")]);
}

#[test]
fn s30_text_is_refused_at_its_first_wrong_byte() {
    let wrong = b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80more";
    let whole = frame(FIN | TEXT, wrong);
    let header = whole.len() - wrong.len();
    let mut decoder = Decoder::default();
    assert_eq!(decode(&mut decoder, &[&whole[..header + 6]]), (vec![], Ok(())), "F4 may still become right");
    assert_eq!(
        decode(&mut decoder, &[&whole[header + 6..header + 7]]).1.unwrap_err().close_code,
        1007,
        "F4 90 not"
    );
    assert_eq!(fault(&frame(TEXT, wrong)), 1007, "before the message is whole");
    assert_eq!(fault(&frame(FIN | TEXT, b"\xe2\x82")), 1007, "the end is inside a character");
    assert_eq!(fault(&[frame(TEXT, b"\xe2"), frame(CONTINUATION, b"A")].concat()), 1007, "across fragments");
    assert_eq!(items(&frame(FIN | BINARY, wrong)), [binary(wrong)]);
}

#[test]
fn s30_a_close_has_a_code_that_may_be_sent() {
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4408, 4999_u16] {
        let payload = [&code.to_be_bytes()[..], "bye €".as_bytes()].concat();
        assert_eq!(items(&frame(FIN | CLOSE, &payload)), [Item::Close(Some((code, "bye €".into())))]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
        assert_eq!(fault(&frame(FIN | CLOSE, &code.to_be_bytes())), 1002, "{code}");
    }
    assert_eq!(items(&frame(FIN | CLOSE, b"")), [Item::Close(None)]);
    assert_eq!(fault(&frame(FIN | CLOSE, b"\x03")), 1002);
    assert_eq!(fault(&frame(FIN | CLOSE, b"\x03\xe8\xff")), 1007);
}

#[test]
fn nothing_comes_after_a_close() {
    let input = [frame(TEXT, b"a"), frame(FIN | CLOSE, b""), frame(FIN | PING, b""), vec![0xff; 9]].concat();
    assert_eq!(items(&input), [Item::Close(None)]);
    let mut decoder = Decoder::default();
    assert_eq!(decode(&mut decoder, &[&input]), (vec![Item::Close(None)], Ok(())));
    assert!(!decoder.is_idle() && !decoder.has_partial_message());
}

#[test]
fn a_fault_stays() {
    let mut decoder = Decoder::default();
    let fault = decode(&mut decoder, &[&[0xff]]).1.unwrap_err();
    assert_eq!(decode(&mut decoder, &[&frame(FIN | TEXT, b"a")]), (vec![], Err(fault)));
    assert!(!decoder.is_idle() && !decoder.has_partial_message());
}

#[test]
fn a_decoder_is_idle_only_between_messages() {
    let input = [frame(TEXT, b"ab"), frame(FIN | PING, b"p"), frame(FIN | CONTINUATION, b"c")].concat();
    let mut decoder = Decoder::default();
    assert!(decoder.is_idle() && !decoder.has_partial_message());
    for (index, byte) in input.iter().enumerate() {
        assert_eq!(decode(&mut decoder, &[&[*byte]]).1, Ok(()));
        let whole = index + 1 == input.len();
        assert_eq!((decoder.is_idle(), decoder.has_partial_message()), (whole, !whole), "after byte {index}");
    }
}

#[test]
fn s30_a_message_is_fresh_when_its_first_byte_came_last() {
    let mut decoder = Decoder::default();
    let mut fresh = |pieces: &[&[u8]]| {
        assert_eq!(decode(&mut decoder, &[&pieces.concat()]).1, Ok(()));
        decoder.has_fresh_message()
    };
    let (whole, ping) = (frame(FIN | TEXT, b"whole"), frame(FIN | PING, b"?"));
    let (begun, ended) = whole.split_at(7);
    let (asked, rest) = ping.split_at(1);
    assert!(fresh(&[begun]));
    assert!(!fresh(&[&ended[..1]]), "it goes on");
    assert!(fresh(&[&ended[1..], begun]), "the next began where it ended");
    assert!(!fresh(&[ended]), "nothing is partial");
    assert!(fresh(&[asked]) && fresh(&[rest, asked]) && fresh(&[rest, &whole, begun]));
    assert!(fresh(&[ended, &frame(BINARY, b"a")]));
    assert!(!fresh(&[&ping, asked]), "a control frame in between begins no message");
    assert!(!fresh(&[rest, &frame(CONTINUATION, b"b"), asked]));
}

#[test]
fn s30_a_declared_length_allocates_nothing() {
    let mut decoder = Decoder::default();
    let header = &frame(BINARY, &[0; 70_000])[..14];
    assert_eq!(decode(&mut decoder, &[header]), (vec![], Ok(())));
    assert_eq!(decoder.message.as_ref().unwrap().bytes.capacity(), 0);
    assert_eq!(decode(&mut decoder, &[&[0; 100]]), (vec![], Ok(())));
    assert!(decoder.message.as_ref().unwrap().bytes.capacity() <= 128);
}

#[test]
fn s49_debug_output_shows_no_payload() {
    for item in [text("canary"), binary(b"canary"), Item::Ping(b"canary".to_vec())] {
        assert!(!format!("{item:?}").contains("canary"));
    }
}

/// A frame that may break any rule, with the rules kept often enough for streams to get somewhere.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![FIN | TEXT, FIN | BINARY, FIN | PING, FIN | PONG]),
        6 => prop::sample::select(vec![TEXT, BINARY, CONTINUATION, FIN | CONTINUATION]),
        1 => Just(FIN | CLOSE),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        3 => any::<String>().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..140),
        1 => prop::sample::select(vec![&b""[..], b"\xe2", b"\x82\xac", b"\x03\xe8", b"\x03\xe8bye"]).prop_map(<[u8]>::to_vec),
    ];
    (first, payload).prop_map(|(first, payload)| frame(first, &payload))
}

/// A stream that reads what it is given and keeps what is written.
struct Wire {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn tungstenite(role: Role, input: Vec<u8>) -> WebSocket<Wire> {
    let config = WebSocketConfig::default().max_message_size(Some(1 << 20)).max_frame_size(Some(1 << 20));
    WebSocket::from_raw_socket(Wire { input: Cursor::new(input), output: Vec::new() }, role, Some(config))
}

fn as_item(message: Message) -> Item {
    match message {
        Message::Text(text) => Item::Text(Bytes::copy_from_slice(text.as_bytes())),
        Message::Binary(bytes) => Item::Binary(bytes),
        Message::Ping(payload) => Item::Ping(payload.to_vec()),
        Message::Pong(_) => Item::Pong,
        Message::Close(close) => {
            Item::Close(close.map(|close| (close.code.into(), close.reason.as_str().to_owned())))
        }
        Message::Frame(_) => panic!("reading gives no raw frames"),
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_items_and_the_same_fault(
        frames in prop::collection::vec(any_frame(), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let input = frames.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect();
        let whole = decode(&mut Decoder::default(), &[&input]);
        prop_assert_eq!(decode(&mut Decoder::default(), &pieces), whole);
    }

    #[test]
    fn s40_no_bytes_make_it_panic(input in any::<Vec<u8>>()) {
        let whole = decode(&mut Decoder::default(), &[&input]);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(decode(&mut Decoder::default(), &bytes), whole);
    }

    #[test]
    fn what_is_accepted_tungstenite_reads_alike(frames in prop::collection::vec(any_frame(), 0..8)) {
        let input = frames.concat();
        let (items, outcome) = decode(&mut Decoder::default(), &[&input]);
        let mut other = tungstenite(Role::Server, input);
        for item in items {
            prop_assert_eq!(as_item(other.read().unwrap()), item);
        }
        if outcome.is_ok() {
            // Nothing more was whole: the other library meets the end of the stream, or answered a Close.
            prop_assert!(other.read().is_err());
        }
    }

    #[test]
    fn what_tungstenite_sends_is_read(
        contents in prop::collection::vec((0..4, prop::collection::vec(any::<u8>(), 0..300), any::<String>()), 0..6),
    ) {
        let mut client = tungstenite(Role::Client, Vec::new());
        let mut sent = Vec::new();
        for (kind, mut bytes, string) in contents {
            let message = match kind {
                0 => Message::Text(string.into()),
                1 => Message::Binary(bytes.into()),
                _ => {
                    bytes.truncate(125);
                    if kind == 2 { Message::Ping(bytes.into()) } else { Message::Pong(bytes.into()) }
                }
            };
            client.write(message.clone()).unwrap();
            client.flush().unwrap();
            sent.push(as_item(message));
        }
        let output = std::mem::take(&mut client.get_mut().output);
        prop_assert_eq!(decode(&mut Decoder::default(), &[&output]), (sent, Ok(())));
    }

    #[test]
    fn what_we_send_tungstenite_reads(bytes in prop::collection::vec(any::<u8>(), 0..300), string in any::<String>()) {
        use crate::websocket::frame as ours;
        let mut out = Vec::new();
        ours::write(Opcode::Text, string.as_bytes(), &mut out);
        ours::write(Opcode::Binary, &bytes, &mut out);
        ours::write(Opcode::Ping, &bytes[..bytes.len().min(125)], &mut out);
        ours::close(4408, &string, &mut out);
        let mut client = tungstenite(Role::Client, out);
        prop_assert_eq!(as_item(client.read().unwrap()), text(&string));
        prop_assert_eq!(as_item(client.read().unwrap()), binary(&bytes));
        prop_assert_eq!(as_item(client.read().unwrap()), Item::Ping(bytes[..bytes.len().min(125)].to_vec()));
        let Item::Close(Some((code, reason))) = as_item(client.read().unwrap()) else { panic!("a close") };
        prop_assert!(code == 4408 && string.starts_with(&reason) && reason.len() <= 123);
    }

    #[test]
    fn unmasking_twice_changes_nothing(mut bytes in any::<Vec<u8>>(), mask in any::<[u8; 4]>()) {
        let before = bytes.clone();
        unmask(&mut bytes, mask);
        for (index, byte) in bytes.iter().enumerate() {
            prop_assert_eq!(*byte, before[index] ^ mask[index % 4]);
        }
        unmask(&mut bytes, mask);
        prop_assert_eq!(bytes, before);
    }
}
