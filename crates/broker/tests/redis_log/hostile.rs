//! Junk, wrong passwords, old servers, and calls that are dropped half-way.

use std::sync::Arc;
use std::time::Duration;

use tidewire_broker::redis::{Envelope, Error, Junk, NodeId, Past, Placing, Request};
use tidewire_hub::publish::Publish;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::node::{HOUR, Node, channel, dial, fresh, keyed, random, seqs};
use crate::server::Server;

#[tokio::test]
async fn s53_dropped_calls_never_shift_answers() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    let messages: Vec<Publish> = (0..500).map(|at| keyed("a", &at.to_string(), &format!("k{at}"))).collect();
    let placed = node.publish_all(&messages.iter().collect::<Vec<_>>()).await;
    let (log, fence, id, retention) = (node.log, node.fence, node.past.node(), node.retention);
    let (messages, placed) = (Arc::new(messages), Arc::new(placed));
    let mut tasks = Vec::new();
    for task in 0..8 {
        let (log, fence, messages, placed) = (log.clone(), fence.clone(), messages.clone(), placed.clone());
        tasks.push(tokio::spawn(async move {
            let mut answered = 0;
            for round in 0..2_000 {
                let at = (task * 61 + round * 7) % messages.len();
                let publish = &messages[at];
                let request = [Request { publish, time_ms: 0, retention, key_ttl: HOUR }];
                let call = log.publish(&fence, id, &request);
                // Every third is given up at a moment of its own: before it is sent, and while it is under way.
                let patience =
                    Duration::from_micros(if round % 3 == 0 { round as u64 % 900 } else { 5_000_000 });
                let Ok(outcome) = tokio::time::timeout(patience, call).await else { continue };
                let Ok(Placing::Placed(position)) = placed[at] else { panic!() };
                assert_eq!(outcome, [Ok(Placing::Repeated(position))]);
                answered += 1;
            }
            answered
        }));
    }
    let mut answered = 0;
    for task in tasks {
        answered += task.await.unwrap();
    }
    println!("{answered} answers of 16 000 calls, each its own");
    assert!((10_000..16_000).contains(&answered), "{answered}");
}

#[tokio::test]
async fn s53_a_wrong_password_is_told_apart_from_a_broken_link() {
    let server = Server::start(&["--requirepass", "right"]).await;
    assert_eq!(dial(&server.url()).await.unwrap_err(), Error::Auth);
    let error = dial(&server.url_as("default", "hunter2")).await.unwrap_err();
    assert_eq!(error, Error::Auth);
    assert!(!format!("{error:?} {error}").contains("hunter2"));
    let log = dial(&server.url_as("default", "right")).await.unwrap();
    assert!(!format!("{log:?}").contains("right"));

    let nobody = format!(
        "redis://127.0.0.1:{}",
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    );
    assert_eq!(dial(&nobody).await.unwrap_err(), Error::Broken);
}

#[tokio::test]
async fn an_old_redis_is_refused_by_its_version_where_it_says_one() {
    // Before 6.0 there is no HELLO; before 7.0 the script finds no version to compare.
    let refusal = "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n";
    assert_eq!(dial(&says(&[refusal]).await).await.unwrap_err(), Error::TooOld { version: "".into() });

    let greeting = "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n6.2.14\r\n";
    let log = dial(&says(&[greeting, "*2\r\n$7\r\nTOO OLD\r\n$6\r\n6.2.14\r\n"]).await).await.unwrap();
    let error = log.handshake(&Past::new(NodeId::from_random(random())), fresh()).await.unwrap_err();
    assert_eq!(error, Error::TooOld { version: "6.2.14".into() });
    assert_eq!(error.to_string(), "Redis 6.2.14 is too old; 7.0 is needed");
}

/// Where somebody answers the first question with the first answer, and so on, the last again and again.
async fn says(answers: &[&'static str]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let mut answers: Vec<_> = answers.iter().rev().copied().collect();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 16 << 10];
        while socket.read(&mut buffer).await.is_ok_and(|count| count > 0) {
            let answer = if answers.len() > 1 { answers.pop().unwrap() } else { answers[0] };
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn f33_junk_on_our_channels_and_in_our_streams_is_named_and_left_out() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    let name = node.log.names().told(&channel("a"));
    let mut heard = server.subscribe(&[&name]).await;
    for junk in ["", "hello", "1 a 1 0 +\n", "{\"channel\":\"a\"}", "1 \n", "2 a 1 0 +\nx"] {
        server.ask(&["PUBLISH", &name, junk]).await;
        let (_, bytes) = heard.next().await;
        let read = Envelope::decode(channel("a"), bytes.into());
        assert!(matches!(read, Err(Junk::Head | Junk::Body | Junk::Version)), "{junk:?}");
    }
    node.places("a", "1").await;
    let streams: Vec<String> = redis::from_redis_value(server.ask(&["KEYS", "*:s:a"]).await).unwrap();
    server.ask(&["XADD", &streams[0], "1-5", "x", "y"]).await;
    node.places("a", "2").await;
    server.ask(&["XADD", &streams[0], "2-5", "p", "2", "m", "junk"]).await;
    node.places("a", "3").await;
    let slice = node.slice("a", 0).await;
    assert_eq!(seqs(&slice), [(1, 0), (2, 1), (3, 2)]);
    // A body that nobody can read is a loss, and is announced as one.
    server.ask(&["HSET", "{tidewire:0}:fence", "seq", "4"]).await;
    server.ask(&["XADD", &streams[0], "4-0", "p", "3", "m", "junk"]).await;
    let slice = node.slice("a", 0).await;
    assert_eq!((slice.base, slice.junk, slice.messages.len()), (4, 1, 3));
}
