//! Reading: what is kept, what is gone, and pages.

use tidewire_broker::redis::Envelope;
use tidewire_hub::limits::{POLL_PAGE, PageLimit};

use crate::node::{LEASE, Node, channel, seqs};
use crate::server::Server;

#[tokio::test]
async fn r20_without_a_record_prev_is_what_the_stream_still_holds_or_the_floor() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    node.retention.messages_max = 2;
    for text in ["1", "2", "3"] {
        node.places("a", text).await;
    }
    node.places("b", "4").await;
    let name = node.log.names().told(&channel("a"));
    let mut heard = server.subscribe(&[&name]).await;
    let records: Vec<String> = redis::from_redis_value(server.ask(&["KEYS", "*:r:*"]).await).unwrap();
    for record in &records {
        // They outlive history by a week and more.
        let left: u64 = server.text(&["PTTL", record]).await.parse().unwrap();
        assert!(left > 3_600_000 + 7 * 86_400_000, "{left}");
        server.ask(&["DEL", record]).await;
    }
    node.places("a", "5").await;
    let envelope = Envelope::decode(channel("a"), heard.next().await.1.into()).unwrap();
    assert_eq!((envelope.message.prev, envelope.chained), (3, false));
    // Whoever saw the second has lost nothing; whoever saw only the first has.
    let slice = node.slice("a", 0).await;
    assert_eq!((slice.base, seqs(&slice)), (2, vec![(3, 2), (5, 3)]));

    // A channel that never was has nothing below the floor, which a note of the hour raises after a week.
    assert_eq!(node.slice("never", 0).await.base, 0);
    assert_eq!(node.slice("never", 0).await.last, None);
    let notes = "{tidewire:0}:notes";
    server.ask(&["DEL", notes]).await;
    let now: u64 =
        redis::from_redis_value::<Vec<String>>(server.ask(&["TIME"]).await).unwrap()[0].parse().unwrap();
    for (age_s, seq) in [(8 * 86_400, 1), (6 * 86_400, 3), (7_200, 4)] {
        server.ask(&["RPUSH", notes, &format!("{} {seq}", (now - age_s) * 1_000)]).await;
    }
    node.renews(LEASE).await.unwrap();
    assert_eq!(node.slice("never", 0).await.base, 3);
    assert_eq!(server.text(&["LLEN", notes]).await, "3");
    node.places("new", "6").await;
    assert_eq!(seqs(&node.slice("new", 3).await), [(6, 3)]);
}

#[tokio::test]
async fn r17_a_cursor_below_what_is_kept_has_lost_something_and_one_at_it_has_not() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    node.retention.messages_max = 3;
    for text in ["1", "2", "3", "4", "5"] {
        node.places("a", text).await;
    }
    let slice = node.slice("a", 2).await;
    assert_eq!((slice.base, seqs(&slice), slice.more), (2, vec![(3, 2), (4, 3), (5, 4)], false));
    // What lies in the middle is gone too if somebody takes it out.
    let streams: Vec<String> = redis::from_redis_value(server.ask(&["KEYS", "*:s:a"]).await).unwrap();
    server.ask(&["XDEL", &streams[0], "4-0"]).await;
    assert_eq!(node.slice("a", 2).await.base, 4);
    assert_eq!(node.slice("a", 4).await.base, 2);
    // History expires before the record does.
    server.ask(&["DEL", &streams[0]]).await;
    let slice = node.slice("a", 2).await;
    assert_eq!((slice.base, slice.last, slice.messages.len()), (5, Some(5), 0));
    // A channel without history has places, and its cursor is good only at its end (R8).
    node.retention.messages_max = 0;
    node.places("a", "6").await;
    let slice = node.slice("a", 5).await;
    assert_eq!((slice.base, slice.last, slice.messages.len()), (6, Some(6), 0));
}

#[tokio::test]
async fn r18_history_comes_in_pages_that_leave_nothing_out() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    let large = "x".repeat(3_000);
    for at in 0..40 {
        node.places(["a", "b", "c"][at % 3], if at % 5 == 0 { &large } else { "small" }).await;
    }
    for page in [
        PageLimit { messages_max: 1, bytes_max: 1 },
        PageLimit { messages_max: 7, bytes_max: 1 << 20 },
        PageLimit { messages_max: 1_000, bytes_max: 5_000 },
        POLL_PAGE,
    ] {
        let (mut read, mut after) = (Vec::new(), 0);
        while after < 40 {
            let history =
                node.reads(&[("a", after), ("b", after), ("c", after), ("none", after)], page).await;
            let horizon = history.horizon();
            assert!(horizon > after, "a page always goes on");
            read.extend(history.merged().iter().map(|message| message.position.seq));
            after = horizon;
        }
        assert_eq!(read, (1..=40).collect::<Vec<u64>>(), "{page:?}");
    }
}

#[tokio::test]
async fn a_tail_goes_back_over_all_channels_together() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    for at in 0..60 {
        node.places(["a", "b", "other"][at % 3], "x").await;
    }
    let (a, b, none) = (channel("a"), channel("b"), channel("none"));
    for (channels, count, before) in [
        (&[a.clone(), b.clone()][..], 0, 60),
        (&[a.clone(), b.clone()], 1, 58),
        (&[a.clone(), none.clone(), b.clone()], 5, 52),
        (&[a.clone(), b], 39, 1),
        (std::slice::from_ref(&a), 18, 6),
        (std::slice::from_ref(&a), 1_000_000, 0),
        (&[none], 5, 60),
    ] {
        let found = node.log.before_newest(&node.fence, channels, count).await.unwrap();
        assert_eq!((found.0, found.1.seq), (before, 60), "{channels:?} {count}");
    }
}
