//! Sockets: R24, R27 to R29 and S39.

use std::time::Duration;

use tidewire_engine::kernel::Ready;
use tidewire_sim::ear::Dialect;
use tidewire_sim::kernel::Mischief;
use tidewire_sim::speech;

use crate::rig::{ROOMY, Rig, head};

#[test]
fn r24_a_stale_token_reaches_nobody() {
    let mut rig = Rig::new();
    let first = rig.sse("a");
    let stale = rig.node.nets[0].token(first.fd).unwrap();
    first.finish(&mut rig);
    assert!(first.is_closed());
    let second = rig.sse("a");
    assert_eq!(rig.node.nets[0].token(second.fd).unwrap() as u32, stale as u32, "it stands in the same slot");
    let (readable, writable, finished, broken) = (true, true, true, true);
    rig.node.nets[0].report(Ready::Socket { token: stale, readable, writable, finished, broken });
    rig.settle();
    rig.publish("a", "still here");
    assert_eq!(second.hears(), ["ready 0", "still here @1"]);
}

#[test]
fn r27_a_hand_off_carries_every_byte_and_what_is_left_of_its_time() {
    let mut rig = Rig::new();
    let peer = rig.connect(0, Dialect::Poll, ROOMY);
    rig.say(&peer, b"POST /v1/publish HTTP/1.1\r\nHost: loc");
    rig.pass(Duration::from_secs(4));
    rig.say(&peer, b"alhost\r\nContent-Length: 5\r\n\r\nhel");
    let handed_off = rig.node.nets[0].handed_off();
    let [(fd, bytes, deadline_ms)] = handed_off.as_slice() else { panic!("{handed_off:?}") };
    assert_eq!(*fd, peer.fd);
    assert!(bytes.starts_with(b"POST /v1/publish") && bytes.ends_with(b"\r\n\r\nhel"));
    assert!((5_900..=6_100).contains(deadline_ms), "{deadline_ms}");
}

#[test]
fn r27_a_hand_off_waits_for_the_answer_before_it() {
    let mut rig = Rig::new();
    rig.publish("a", "x");
    let peer = rig.connect(0, Dialect::Poll, 100);
    let mut both = head("a").query("tail=1").bytes();
    both.extend(b"POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    rig.say(&peer, &both);
    assert!(rig.node.nets[0].handed_off().is_empty());
    assert_eq!(peer.hears_all(&mut rig), ["page [x @1] 1"]);
    assert_eq!(rig.node.nets[0].handed_off().len(), 1);
}

#[test]
fn r28_what_is_not_read_in_one_turn_is_remembered() {
    let mut rig = Rig::with(|setup| setup.retention.messages_max = 10_000);
    let peer = rig.raw("a");
    peer.hears();
    let text = "x".repeat(1_000);
    let frames: Vec<u8> = (0..600).flat_map(|_| speech::frame(speech::TEXT, text.as_bytes())).collect();
    assert!(frames.len() > 2 * 4 * (64 << 10), "more than two turns read");
    // It arrives at once, so that no later edge reminds the shard of it.
    rig.say(&peer, &frames);
    assert_eq!(peer.hears().len(), 600);
}

#[test]
fn r28_everybody_in_the_queue_is_accepted_though_a_turn_takes_few() {
    let mut rig = Rig::new();
    let peers: Vec<_> = (0..200).map(|_| rig.connect(0, Dialect::Raw, ROOMY)).collect();
    rig.settle();
    assert_eq!(rig.counter("open"), 200);
    drop(peers);
}

#[test]
fn r29_the_end_of_a_clients_stream_ends_a_stream_but_not_an_unanswered_poll() {
    let mut rig = Rig::new();
    let (sse, poll) = (rig.sse("a"), rig.poll("a", "wait=30"));
    sse.finish(&mut rig);
    poll.finish(&mut rig);
    assert!(sse.is_closed());
    rig.publish("a", "late");
    assert_eq!(poll.hears(), ["page [late @1] 1"]);
    rig.settle();
    assert!(poll.is_ended());
}

#[test]
fn r29_an_orderly_end_waits_for_the_peer_and_reads_what_it_still_says() {
    let mut rig = Rig::new();
    let peer = rig.raw("a");
    rig.say(&peer, &speech::frame(speech::CLOSE, &1000_u16.to_be_bytes()));
    assert_eq!(peer.hears(), ["closed 1000 "]);
    assert!(peer.is_ended() && !peer.is_closed(), "closing now would reset what it has not read");
    rig.say(&peer, b"whatever");
    assert!(!peer.is_closed());
    rig.pass(Duration::from_millis(2_100));
    assert!(peer.is_closed());
    assert_eq!(rig.counter("open"), 0);
}

#[test]
fn s39_accepting_backs_off_when_no_descriptor_is_left_and_recovers() {
    let mut rig = Rig::new();
    let before = rig.sse("a");
    rig.node.nets[0].behave(Mischief { emfile: 1_000, ..Mischief::default() });
    let late = rig.connect(0, Dialect::Raw, ROOMY);
    rig.say(&late, &head("a").websocket(false).bytes());
    rig.pass(Duration::from_millis(950));
    let errors = rig.node.nets[0].accept_errors();
    assert!((2..=12).contains(&errors), "{errors}: neither deaf nor spinning");
    rig.publish("a", "1");
    assert_eq!(before.hears(), ["ready 0", "1 @1"], "those who are in are served");
    rig.node.nets[0].behave(Mischief::default());
    rig.pass(Duration::from_millis(200));
    rig.publish("a", "2");
    assert_eq!(late.hears(), ["2 @-"]);
}

#[test]
fn s39_beyond_the_most_connections_the_queue_waits() {
    let mut rig = Rig::with(|setup| setup.limits.connections_max = 2);
    let peers = [rig.sse("a"), rig.sse("a"), rig.sse("a")];
    assert_eq!(rig.counter("open"), 2);
    peers[0].finish(&mut rig);
    rig.pass(Duration::from_millis(200));
    assert_eq!(peers[2].hears(), ["ready 0"]);
}
