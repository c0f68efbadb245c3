//! Frames to a client, each one JSON text.

use tidewire_hub::admit::{Gap, Page};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::message::Message;
use tidewire_hub::position::Position;
use tidewire_hub::presence::{Members, News};
use tidewire_hub::publish::Receipt;
use tidewire_hub::reason::Reason;

use super::client::ID_BYTES_MAX;
use crate::{envelope, presence as list};

/// `message`: one message, as an envelope.
#[must_use]
pub fn message(message: &Message) -> String {
    frame("message", envelope::capacity(message), |out| {
        out.push(b',');
        envelope::write_fields(message, out);
    })
}

/// `ready`: interest is confirmed, and what follows begins at `cursor`, if that has an id.
#[must_use]
pub fn ready(channels: &ChannelSet, cursor: Option<Position>) -> String {
    frame("ready", 64, |out| {
        out.push(b',');
        envelope::write_ready_fields(channels, cursor, out);
    })
}

/// `gap`: messages may be missing.
#[must_use]
pub fn gap(gap: &Gap) -> String {
    frame("gap", 96, |out| {
        out.push(b',');
        envelope::write_gap_fields(gap, out);
    })
}

/// `presence`: who has come to a channel, or gone.
#[must_use]
pub fn presence(news: &News) -> String {
    frame("presence", 256, |out| {
        out.push(b',');
        list::write_news_fields(news, out);
    })
}

/// `expired`: the rights of this connection ended, and so does it; `reason` says how.
#[must_use]
pub fn expired(reason: Reason) -> String {
    frame("expired", 32, |out| {
        out.extend_from_slice(b",\"reason\":\"");
        out.extend_from_slice(reason.code().as_bytes());
        out.push(b'"');
    })
}

/// `expired` with channels: the rights to these ended, and the connection goes on without them.
#[must_use]
pub fn expired_channels(channels: &[Channel]) -> String {
    frame("expired", 64, |out| {
        out.extend_from_slice(b",\"channels\":");
        envelope::write_channels(channels, out);
    })
}

/// `ack`: it is done. `id` is a [`Tagged::id`](super::Tagged::id).
#[must_use]
pub fn ack(id: Option<&str>) -> String {
    frame("ack", ID_BYTES_MAX, |out| write_id(id, out))
}

/// `ack` of a publish: the message has its place.
#[must_use]
pub fn ack_publish(id: Option<&str>, receipt: &Receipt, channel: &Channel) -> String {
    frame("ack", 384, |out| {
        write_id(id, out);
        // `id` is the frame's own here, so the message's has a longer name.
        out.extend_from_slice(b",\"message_id\":");
        envelope::write_id(receipt.position, out);
        out.extend_from_slice(b",\"channel\":");
        envelope::write_channel(channel, out);
        for (name, count) in [
            (&b",\"receivers\":{\"sse\":"[..], receipt.receivers.sse),
            (b",\"ws\":", receipt.receivers.ws),
            (b",\"poll\":", receipt.receivers.poll),
        ] {
            out.extend_from_slice(name);
            envelope::write_number(u64::from(count), out);
        }
        out.push(b'}');
    })
}

/// `ack` of a subscribe: what a poll would answer. It names a cursor only if the channels have joined (delivery rule
/// R11); until then the client asks again with the id of the last message.
#[must_use]
pub fn ack_subscribe(id: Option<&str>, page: &Page, joined: bool) -> String {
    let capacity = page.messages.iter().map(|message| envelope::capacity(message) + 1).sum::<usize>();
    frame("ack", capacity + 256, |out| {
        write_id(id, out);
        out.extend_from_slice(b",\"messages\":");
        envelope::write_messages(page.messages.iter().map(AsRef::as_ref), out);
        out.extend_from_slice(if page.more {
            b",\"more\":true,\"gap\":"
        } else {
            b",\"more\":false,\"gap\":"
        });
        match &page.gap {
            Some(gap) => envelope::write_gap(gap, out),
            None => out.extend_from_slice(b"null"),
        }
        if joined {
            out.extend_from_slice(b",\"cursor\":\"");
            envelope::write_position(page.cursor, out);
            out.push(b'"');
        }
    })
}

/// `ack` of a presence: who is connected to the channel.
#[must_use]
pub fn ack_presence(id: Option<&str>, channel: &Channel, members: &Members) -> String {
    frame("ack", 256 + members.listed.len() * 64, |out| {
        write_id(id, out);
        out.push(b',');
        list::write_members_fields(channel, members, out);
    })
}

/// `error`: it is not done, and why. `detail` must hold no secret.
#[must_use]
pub fn error(id: Option<&str>, reason: Reason, detail: &str) -> String {
    frame("error", 192 + detail.len(), |out| {
        write_id(id, out);
        out.extend_from_slice(b",\"code\":\"");
        out.extend_from_slice(reason.code().as_bytes());
        out.extend_from_slice(b"\",\"detail\":");
        envelope::write_string(detail, out);
    })
}

/// `pong`: the answer to a `ping`.
#[must_use]
pub fn pong(id: Option<&str>) -> String {
    frame("pong", ID_BYTES_MAX, |out| write_id(id, out))
}

fn frame(kind: &str, capacity: usize, write_fields: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::with_capacity(capacity + 32);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
    write_fields(&mut out);
    out.push(b'}');
    String::from_utf8(out).expect("names, numbers, escaped strings and ids that came as text are UTF-8")
}

fn write_id(id: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"id\":");
    out.extend_from_slice(id.unwrap_or("null").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::tests::{message as example, position, text};
    use serde_json::{Value, json};
    use std::sync::Arc;
    use tidewire_hub::admit::GapReason;
    use tidewire_hub::presence::{Change, Subject};
    use tidewire_hub::publish::Receivers;

    fn read(frame: &str) -> Value {
        serde_json::from_str(frame).unwrap()
    }

    fn channel() -> Channel {
        Channel::parse("orders:42").unwrap()
    }

    fn page() -> Page {
        Page {
            gap: None,
            start: Some(position(1)),
            messages: vec![Arc::new(example(None, text("\"hi\"")))],
            cursor: position(50),
            more: false,
            whole: Some(position(40)),
            newest: position(46),
        }
    }

    #[test]
    fn a_message_is_an_envelope_with_a_type() {
        assert_eq!(
            message(&example(Some("trade"), text("\"hi\""))),
            r#"{"type":"message","channel":"orders:42","id":"73f80m6kc.1a","event":"trade","data":"\"hi\"","time":1700000000000}"#
        );
    }

    #[test]
    fn r6_ready_names_where_the_stream_starts_or_null() {
        let channels = ChannelSet::new([channel()]);
        let frame = json!({"type": "ready", "channels": ["orders:42"], "cursor": position(9).to_string()});
        assert_eq!(read(&ready(&channels, Some(position(9)))), frame);
        assert_eq!(read(&ready(&channels, None))["cursor"], Value::Null);
    }

    #[test]
    fn a_gap_names_channels_reason_and_cursor() {
        let missing = Gap { channels: vec![channel()], reason: GapReason::SlowConsumer, cursor: position(5) };
        let cursor = position(5).to_string();
        let frame =
            json!({"type": "gap", "channels": ["orders:42"], "reason": "slow_consumer", "cursor": cursor});
        assert_eq!(read(&gap(&missing)), frame);
    }

    #[test]
    fn an_answer_carries_the_id_as_it_came_or_null() {
        assert_eq!(ack(Some("1.0")), r#"{"type":"ack","id":1.0}"#);
        assert_eq!(pong(Some(r#""a""#)), r#"{"type":"pong","id":"a"}"#);
        assert_eq!(pong(None), r#"{"type":"pong","id":null}"#);
        assert_eq!(expired(Reason::Revoked), r#"{"type":"expired","reason":"revoked"}"#);
        let channels = [Channel::parse("a").unwrap()];
        assert_eq!(expired_channels(&channels), r#"{"type":"expired","channels":["a"]}"#);
        let refused = json!({"type": "error", "id": 7, "code": "forbidden", "detail": "not \"a\""});
        assert_eq!(read(&error(Some("7"), Reason::Forbidden, "not \"a\"")), refused);
    }

    #[test]
    fn presence_is_told_and_listed() {
        let (channel, members) = (list::tests::chat(), list::tests::two_of_three());
        let news = News { channel: channel.clone(), change: Change::Leave(Subject::told("b")) };
        let told = json!({"type": "presence", "channel": "chat:1", "event": "leave", "subject": "b"});
        assert_eq!(read(&presence(&news)), told);
        let ack = read(&ack_presence(Some("1"), &channel, &members));
        assert_eq!((&ack["type"], &ack["id"], &ack["count"]), (&json!("ack"), &json!(1), &json!(3)));
        assert_eq!(ack["members"][1], json!({"subject": "b", "sessions": 0}));
    }

    #[test]
    fn an_acknowledged_publish_names_the_message_and_who_heard_it() {
        let receivers = Receivers { sse: 1, ws: 2, poll: 3 };
        let receipt = Receipt { position: Some(position(46)), receivers };
        let frame = json!({
            "type": "ack", "id": 1, "message_id": position(46).to_string(), "channel": "orders:42",
            "receivers": {"sse": 1, "ws": 2, "poll": 3},
        });
        assert_eq!(read(&ack_publish(Some("1"), &receipt, &channel())), frame);
        let bridged = read(&ack_publish(Some("1"), &Receipt { position: None, ..receipt }, &channel()));
        assert_eq!(bridged["message_id"], Value::Null);
    }

    #[test]
    fn r11_an_acknowledged_subscribe_names_a_cursor_only_once_joined() {
        let joined = read(&ack_subscribe(Some("1"), &page(), true));
        assert_eq!(joined["cursor"], position(50).to_string());
        assert_eq!(joined["messages"][0]["data"], "\"hi\"");
        assert_eq!((&joined["more"], &joined["gap"]), (&json!(false), &Value::Null));
        let before = read(&ack_subscribe(Some("1"), &Page { more: true, ..page() }, false));
        assert_eq!((before.get("cursor"), &before["more"]), (None, &json!(true)));
    }
}
