use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::Router;
use futures_util::{FutureExt as _, StreamExt};
use tidewire::{Cursor, Delivery, Tidewire};
use tokio::time::timeout;

use super::rig::{Client, PATIENCE, next, open, serve};

#[tokio::test]
async fn everybody_hears_the_same_messages_in_the_same_order() {
    let live = open().start().await.unwrap();
    let mut subscribers = Vec::new();
    for _ in 0..3 {
        subscribers.push(live.subscribe(["a", "b"]).capacity(10_000).await.unwrap());
    }
    let publishers = (0..4).map(|who| {
        let live = live.clone();
        tokio::spawn(async move {
            for number in 0..250 {
                let channel = if number % 2 == 0 { "a" } else { "b" };
                live.publish(channel, format!("{who}.{number}")).await.unwrap();
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    let mut heard = Vec::new();
    for mut subscriber in subscribers {
        let mut all = Vec::new();
        for _ in 0..1_000 {
            all.push(next(&mut subscriber).await);
        }
        heard.push(all);
    }
    assert!(heard[0] == heard[1] && heard[1] == heard[2]);
    assert_eq!(heard[0].iter().collect::<HashSet<_>>().len(), 1_000, "each came once");
}

#[tokio::test]
async fn who_comes_back_with_a_cursor_misses_nothing() {
    let live = open().start().await.unwrap();
    let mut first = live.subscribe(["a"]).await.unwrap();
    let receipt = live.publish("a", "1").event("tick").await.unwrap();
    assert_eq!(receipt.receivers.websocket, 1);
    let Some(Delivery::Message(message)) = first.next().await else { panic!("a message") };
    assert_eq!((message.event(), message.id()), (Some("tick"), receipt.id));
    let cursor = first.cursor().unwrap();
    drop(first);
    for number in 2..=600 {
        live.publish("a", number.to_string()).await.unwrap();
    }
    let mut second = live.subscribe(["a"]).cursor(cursor).await.unwrap();
    for number in 2..=600 {
        assert_eq!(next(&mut second).await, number.to_string(), "more than two pages of it");
    }
    live.publish("a", "live").await.unwrap();
    assert_eq!(next(&mut second).await, "live");
    assert_eq!(next(&mut live.subscribe(["a"]).tail(2).await.unwrap()).await, "600");
    assert_eq!(next(&mut live.subscribe(["a"]).earliest().await.unwrap()).await, "1");
}

#[tokio::test]
async fn what_was_trimmed_is_a_gap_and_so_is_a_cursor_that_nobody_can_read() {
    let live = open().history(3, Duration::from_secs(60)).start().await.unwrap();
    let cursor = live.publish("a", "0").await.unwrap().id.unwrap();
    for number in 1..=9 {
        live.publish("a", number.to_string()).await.unwrap();
    }
    let mut late = live.subscribe(["a"]).cursor(cursor).await.unwrap();
    assert_eq!(next(&mut late).await, "gap Trimmed");
    assert_eq!(next(&mut late).await, "7");
    let mut lost = live.subscribe(["a"]).cursor(Cursor::parse("what?")).await.unwrap();
    assert_eq!(next(&mut lost).await, "gap Epoch");
}

#[tokio::test]
async fn who_falls_behind_goes_on_from_the_log_and_misses_nothing_that_it_keeps() {
    let live = open().start().await.unwrap();
    let mut slow = live.subscribe(["a"]).capacity(5).await.unwrap();
    for number in 0..500 {
        live.publish("a", number.to_string()).await.unwrap();
    }
    for number in 0..500 {
        assert_eq!(next(&mut slow).await, number.to_string());
    }
    live.publish("a", "live again").await.unwrap();
    assert_eq!(next(&mut slow).await, "live again");
}

#[tokio::test]
async fn who_falls_behind_what_the_log_keeps_hears_of_a_gap_and_not_of_nothing() {
    let none = |namespace: tidewire::Namespace| namespace.history(0, Duration::from_secs(60));
    let live = open().history(10, Duration::from_secs(60)).namespace("n", none).start().await.unwrap();
    for channel in ["a", "n:1"] {
        let mut slow = live.subscribe([channel]).capacity(5).await.unwrap();
        for number in 0..100 {
            live.publish(channel, number.to_string()).await.unwrap();
        }
        for number in 0..5 {
            assert_eq!(next(&mut slow).await, number.to_string());
        }
        assert_eq!(next(&mut slow).await, "gap Trimmed", "{channel}");
        let kept: Vec<u32> = if channel == "a" { (90..100).collect() } else { Vec::new() };
        for number in kept {
            assert_eq!(next(&mut slow).await, number.to_string());
        }
        // A gap is heard while it is being resumed from; what is published behind it is heard as well.
        let published = live.publish(channel, "on").await.unwrap();
        assert!(published.id.is_some());
        let mut last = next(&mut slow).await;
        while last != "on" {
            assert!(last.starts_with("gap"), "{last}");
            last = next(&mut slow).await;
        }
    }
}

#[tokio::test]
async fn a_slow_subscriber_holds_up_nobody() {
    let live = open().start().await.unwrap();
    let _never_awaited = live.subscribe(["a"]).capacity(1).await.unwrap();
    let mut quick = live.subscribe(["a"]).capacity(10_000).await.unwrap();
    for number in 0..2_000 {
        live.publish("a", number.to_string()).await.unwrap();
    }
    for number in 0..2_000 {
        assert_eq!(next(&mut quick).await, number.to_string());
    }
}

#[tokio::test]
async fn a_key_makes_a_repetition_harmless_and_another_message_with_it_is_refused() {
    let live = open().start().await.unwrap();
    let mut subscriber = live.subscribe(["a"]).await.unwrap();
    let first = live.publish("a", "once").key("k").await.unwrap();
    assert_eq!(live.publish("a", "once").key("k").await.unwrap().id, first.id);
    assert_eq!(live.publish("a", "other").key("k").await.unwrap_err().code(), "key_reused");
    live.publish("a", "end").await.unwrap();
    assert_eq!([next(&mut subscriber).await, next(&mut subscriber).await], ["once", "end"]);
}

#[tokio::test]
async fn what_is_out_of_bounds_is_refused_and_named() {
    let slow = |namespace: tidewire::Namespace| namespace.messages_per_second_max(NonZeroU32::MIN);
    let live = open().message_bytes_max(1_000).namespace("slow", slow).start().await.unwrap();
    let code = |outcome: Result<tidewire::Receipt, tidewire::Error>| outcome.unwrap_err().code();
    let refused = live.publish("a b", "x").await.unwrap_err();
    assert!(refused.code() == "channel_invalid" && refused.detail().contains("`a b`"), "{refused}");
    assert_eq!(code(live.publish("$own", "x").await), "channel_invalid");
    assert_eq!(code(live.publish("a", "x").event("error").await), "event_invalid");
    assert_eq!(code(live.publish("a", "x").key("no space").await), "bad_request");
    assert_eq!(code(live.publish("a", vec![0_u8; 1_001]).await), "too_large");
    live.publish("slow:1", "x").await.unwrap();
    assert_eq!(code(live.publish("slow:1", "x").await), "rate_limited");
    assert_eq!(live.subscribe([""; 0]).await.unwrap_err().code(), "channel_count");
    let many = (0..101).map(|number| format!("c{number}"));
    assert_eq!(live.subscribe(many).await.unwrap_err().code(), "channel_count");
}

#[tokio::test]
async fn a_subscriber_that_the_broker_refuses_is_told_why_when_it_is_awaited() {
    let folder = std::env::temp_dir().join(format!("tidewire-refused-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("tidewire.toml");
    std::fs::write(&file, "[limits]\nchannels_max = 1\n").unwrap();
    let live = open().config_file(&file).start().await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let _first = live.subscribe(["a"]).await.unwrap();
    assert_eq!(live.subscribe(["b"]).await.unwrap_err().code(), "channels_full");
    assert_eq!(live.publish("b", "x").await.unwrap_err().code(), "channels_full");
}

#[tokio::test]
async fn text_stays_text_and_bytes_stay_bytes() {
    let live = open().start().await.unwrap();
    let mut subscriber = live.subscribe(["a"]).await.unwrap();
    live.publish("a", "é").await.unwrap();
    live.publish("a", vec![0xff_u8, 0]).await.unwrap();
    let Some(Delivery::Message(text)) = subscriber.next().await else { panic!("a message") };
    let Some(Delivery::Message(bytes)) = subscriber.next().await else { panic!("a message") };
    assert_eq!((text.text(), text.bytes().len()), (Some("é"), 2));
    assert_eq!((bytes.text(), &bytes.bytes()[..]), (None, &[0xff, 0][..]));
}

#[tokio::test]
async fn a_future_that_is_dropped_loses_nothing_that_the_next_one_would_have_heard() {
    let live = open().start().await.unwrap();
    let mut subscriber = live.subscribe(["a"]).await.unwrap();
    for number in 0..50 {
        // Polled once, and dropped.
        assert!(subscriber.next().now_or_never().is_none());
        drop(live.subscribe(["a"]));
        live.publish("a", number.to_string()).await.unwrap();
        assert_eq!(next(&mut subscriber).await, number.to_string());
    }
    let as_stream = tokio::spawn(async move { StreamExt::next(&mut subscriber).await.is_some() });
    live.publish("a", "x").await.unwrap();
    assert!(as_stream.await.unwrap(), "it is a stream as well");
}

#[tokio::test]
async fn history_is_read_in_pages_and_nobody_inside_is_counted_as_present() {
    let live = open().namespace("room", |namespace| namespace.presence(true)).start().await.unwrap();
    let _inside = live.subscribe(["room:1"]).await.unwrap();
    for number in 0..5 {
        live.publish("room:1", number.to_string()).await.unwrap();
    }
    let page = live.history("room:1").limit(2).await.unwrap();
    let texts = |page: &tidewire::Page| {
        page.messages.iter().map(|message| message.text().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert!(page.more && page.gap.is_none());
    assert_eq!(texts(&page), ["0", "1"]);
    let rest = live.history("room:1").cursor(page.cursor).await.unwrap();
    assert_eq!((texts(&rest).concat().as_str(), rest.more), ("234", false));
    assert_eq!(texts(&live.history("room:1").tail(1).await.unwrap()), ["4"]);
    assert_eq!(live.presence("room:1").await.unwrap().count, 0);
    assert_eq!(live.presence("elsewhere").await.unwrap_err().code(), "bad_request");
}

#[tokio::test]
async fn the_last_clone_of_all_ends_it_and_a_subscriber_is_one() {
    let live = open().start().await.unwrap();
    let mut subscriber = live.subscribe(["a"]).await.unwrap();
    live.publish("a", "1").await.unwrap();
    drop(live);
    assert_eq!(next(&mut subscriber).await, "1");
    let pending = timeout(Duration::from_millis(20), subscriber.next()).await;
    assert!(pending.is_err(), "it goes on while somebody listens");
}

#[tokio::test]
async fn after_a_shutdown_everything_has_an_end_and_a_name() {
    let live = open().start().await.unwrap();
    let mut subscriber = live.subscribe(["a"]).await.unwrap();
    live.publish("a", "1").await.unwrap();
    assert!(live.is_ready());
    assert_eq!(
        timeout(PATIENCE, live.shutdown(Duration::from_secs(5))).await.unwrap(),
        tidewire::Drained::Empty
    );
    assert_eq!([next(&mut subscriber).await, next(&mut subscriber).await], ["1", "end"]);
    assert!(subscriber.error().is_none() && !live.is_ready());
    assert_eq!(live.publish("a", "2").await.unwrap_err().code(), "draining");
    assert_eq!(live.subscribe(["a"]).await.unwrap_err().code(), "draining");
    live.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn a_shutdown_that_nobody_awaits_ends_all_the_same_and_whoever_asks_again_is_told_how() {
    let live = open().start().await.unwrap();
    let at = serve(Router::new().merge(live.router()), true).await;
    let mut stream = Client::ask(at, "GET /c/a", &["Accept: text/event-stream"], "").await;
    stream.until("$ready").await;
    // Polled once, and dropped. Everybody has left long before the time is over, which is more than a clock can name.
    assert!(live.shutdown(Duration::MAX).now_or_never().is_none());
    drop(stream);
    assert_eq!(timeout(PATIENCE, live.shutdown(Duration::ZERO)).await.unwrap(), tidewire::Drained::Empty);
    assert_eq!(timeout(PATIENCE, live.shutdown(Duration::ZERO)).await.unwrap(), tidewire::Drained::Empty);
    let refused = live.publish("a", "x").await.unwrap_err();
    assert!(refused.detail().contains("has shut down"), "its threads have ended: {refused}");
}

#[tokio::test]
async fn nothing_is_open_by_default() {
    let refused = Tidewire::builder().start().await.unwrap_err();
    assert!(matches!(refused, tidewire::StartError::NobodyDecides));
    assert!(refused.to_string().contains("on_authorize"), "{refused}");
}

#[test]
fn without_a_runtime_it_says_so_rather_than_panic() {
    let outcome = open().start().now_or_never();
    assert!(matches!(outcome, Some(Err(tidewire::StartError::NoRuntime))));
}
