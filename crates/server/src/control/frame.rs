//! Frames of `tidewire.v1`: what each asks, and how it is answered (`docs/protocol.md`, "WebSocket").

use tidewire_engine::Inbound;
use tidewire_hub::admit::{Cause, Join, Subscribe, Transport};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::Command;
use tidewire_hub::limits::POLL_PAGE;
use tidewire_hub::position::Start;
use tidewire_hub::presence::Members;
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tidewire_transport::v1::{self, ClientFrame, Tagged, V1Error};

use super::receive::{Answer, Step, Turn};
use crate::crowd::Seat;
use crate::refusals;

impl Turn {
    /// Answers one frame, or says what is to be published.
    pub(super) fn frame(&self, message: &Inbound) -> Step {
        if message.binary {
            return Step::Close(Reason::Unsupported);
        }
        // The engine has checked the bytes; a second look costs less than trusting it would.
        let Ok(text) = std::str::from_utf8(&message.bytes) else { return Step::Close(Reason::NotUtf8) };
        let Tagged { id, frame } = match v1::parse(text, &self.plane.node.limits()) {
            Ok(tagged) => tagged,
            Err(V1Error { id, reason, detail }) => {
                self.reply(v1::error(id.as_deref(), reason, &detail));
                return Step::Done;
            }
        };
        let tag = id.as_deref();
        let outcome = match frame {
            ClientFrame::Publish { channel, event, payload, key } => {
                let publisher = self.grant.holder.publisher();
                let publish = Publish { channel, event, payload, key, publisher, trace: None };
                match refusals::may_publish(&self.grant, &publish.channel) {
                    Ok(()) => {
                        let about = self.plane.node.about(&publish);
                        return Step::Publish(Box::new(publish), Answer::V1 { id, about });
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            ClientFrame::Subscribe { channels, cursor } => self.subscribe(tag, channels, cursor),
            ClientFrame::Unsubscribe { channels } => self.unsubscribe(tag, channels),
            ClientFrame::Ping => {
                self.reply(v1::pong(tag));
                Ok(())
            }
            ClientFrame::Presence { channel } => self.presence(id.clone(), channel),
            ClientFrame::Refresh { token } => {
                self.refresh(id.clone(), token.as_str());
                Ok(())
            }
        };
        if let Err(Refusal { reason, detail }) = outcome {
            self.reply(v1::error(tag, reason, &detail));
        }
        Step::Done
    }

    /// Tells the client what came of its publish: an error always, a receipt only where it gave an id to match it by.
    pub(super) fn answer_publish(
        &self,
        id: Option<&str>,
        about: &refusals::About,
        outcome: Result<Receipt, Reason>,
    ) {
        match outcome {
            Ok(receipt) if id.is_some() => self.reply(v1::ack_publish(id, &receipt, about.channel())),
            Ok(_) => {}
            Err(reason) => {
                let refusal = refusals::of_publish(reason, about);
                self.reply(v1::error(id, refusal.reason, &refusal.detail));
            }
        }
    }

    /// Asks the broker for what the channels hold after the cursor; the outlet makes the `ack` (delivery rule R11).
    fn subscribe(
        &self,
        id: Option<&str>,
        channels: ChannelSet,
        cursor: Option<Start>,
    ) -> Result<(), Refusal> {
        self.count(&channels)?;
        let start = cursor.unwrap_or(Start::Live);
        refusals::may_listen(&self.grant, &channels, start)?;
        if let Some(seat) = self.seat() {
            seat.listen(&self.grant.holder, &channels)?;
        }
        let (outlet, conn, grant) = (self.outlet, self.conn, self.grant.clone());
        let (transport, page, join) = (Transport::Ws, POLL_PAGE, Join::WhenCaughtUp);
        // A tag tells the outlet that this adds to an open connection, so there is one also where the frame has none.
        let cause = Cause::Addition(id.unwrap_or("null").into());
        let subscribe = Subscribe { outlet, conn, transport, grant, channels, start, page, join, cause };
        self.plane.node.broker.subscribe(subscribe, self.plane.node.clock.now());
        Ok(())
    }

    fn unsubscribe(&self, id: Option<&str>, channels: ChannelSet) -> Result<(), Refusal> {
        self.count(&channels)?;
        if let Some(seat) = self.seat() {
            seat.leave(&channels);
        }
        self.plane.send(self.outlet, Command::Leave { conn: self.conn, channels });
        self.reply(v1::ack(id));
        Ok(())
    }

    /// Answers who is connected to a channel. It counts among joins and leaves, since a list may be long.
    fn presence(&self, id: Option<Box<str>>, channel: Channel) -> Result<(), Refusal> {
        self.count(&ChannelSet::new([channel.clone()]))?;
        let (plane, outlet, conn, asked) = (self.plane.clone(), self.outlet, self.conn, channel.clone());
        let done = Box::new(move |outcome: Result<Members, Refusal>| {
            let text = match outcome {
                Ok(members) => v1::ack_presence(id.as_deref(), &asked, &members),
                Err(Refusal { reason, detail }) => v1::error(id.as_deref(), reason, &detail),
            };
            plane.send(outlet, Command::Reply { conn, text: text.into() });
        });
        self.plane.node.members(&self.grant, channel, done);
        Ok(())
    }

    /// Takes a new token: the same subject, until another moment, with the rights that this one names (security rule
    /// S25). What the connection listens to and may not any more is left by the outlet.
    fn refresh(&self, id: Option<Box<str>>, token: &str) {
        let (plane, outlet, conn, held) =
            (self.plane.clone(), self.outlet, self.conn, self.grant.holder.clone());
        let node = self.plane.node.clone();
        node.renew(
            token,
            Box::new(move |outcome| {
                let outcome = outcome.and_then(|grant| {
                    if grant.holder.publisher() == held.publisher() {
                        return Ok(grant);
                    }
                    let detail = "the new token is somebody else's: open a new connection with it";
                    Err(Refusal::new(Reason::Forbidden, detail))
                });
                match outcome {
                    Ok(grant) => {
                        let lasts = plane.node.lasts(&grant);
                        plane.send(outlet, Command::Renew { conn, grant, lasts, tag: id });
                    }
                    Err(Refusal { reason, detail }) => {
                        let text = v1::error(id.as_deref(), reason, &detail).into();
                        plane.send(outlet, Command::Reply { conn, text });
                    }
                }
            }),
        );
    }

    /// What this connection counts as; nothing where nobody is counted.
    fn seat(&self) -> Option<&Seat> {
        self.place.as_ref()?.as_any().downcast_ref()
    }

    /// Counts joins and leaves (security rule S36).
    fn count(&self, channels: &ChannelSet) -> Result<(), Refusal> {
        if self.plane.joins.allow(self.outlet, self.conn, channels.len()) {
            return Ok(());
        }
        let most = self.plane.node.limits().joins_per_minute_max;
        Err(Refusal::new(
            Reason::RateLimited,
            format!("a connection may join and leave {most} channels a minute"),
        ))
    }

    fn reply(&self, text: String) {
        self.plane.send(self.outlet, Command::Reply { conn: self.conn, text: text.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, v1};
    use super::*;
    use bytes::Bytes;

    fn text(text: &str) -> Vec<Inbound> {
        vec![Inbound { binary: false, bytes: Bytes::copy_from_slice(text.as_bytes()) }]
    }

    #[test]
    fn a_publish_with_an_id_is_acknowledged_and_one_without_is_not() {
        let rig = Rig::new();
        rig.receive(&v1("a"), text(r#"{"type":"publish","channel":"b","data":"x","id":7}"#));
        let commands = rig.commands();
        assert!(commands[0].starts_with(r#"reply {"type":"ack","id":7"#), "{commands:?}");
        assert_eq!(commands[1], "continue");
        rig.receive(&v1("a"), text(r#"{"type":"publish","channel":"b","data":"y"}"#));
        assert_eq!(rig.commands(), ["continue"]);
        assert_eq!(rig.published(), ["b x", "b y"]);
    }

    #[test]
    fn r8_a_publish_over_the_bridge_is_acknowledged_without_an_id() {
        let rig = Rig::new();
        rig.receive(&v1("jobs"), text(r#"{"type":"publish","channel":"jobs","data":"x","id":7}"#));
        assert!(rig.commands()[0].contains(r#""message_id":null,"channel":"jobs""#));
        assert_eq!(rig.published(), ["over jobs x"]);
    }

    #[test]
    fn what_the_bridge_does_not_take_is_refused_in_its_own_words() {
        let rig = Rig::new();
        for (frame, code, words) in [
            (r#"{"type":"publish","channel":"events","data":"x"}"#, "forbidden", "broker.bridge_publish"),
            (
                r#"{"type":"publish","channel":"jobs","event":"e","data":"x"}"#,
                "bad_request",
                "neither event names",
            ),
            (
                r#"{"type":"publish","channel":"jobs","key":"k","data":"x"}"#,
                "bad_request",
                "nor idempotency keys",
            ),
        ] {
            rig.receive(&v1("jobs"), text(frame));
            let commands = rig.commands();
            let coded = commands[0].contains(&format!(r#""code":"{code}""#));
            assert!(coded && commands[0].contains(words), "{commands:?}");
        }
        assert!(rig.published().is_empty());
    }

    #[test]
    fn a_refused_publish_is_an_error_and_the_connection_goes_on() {
        let rig = Rig::new();
        rig.refuse_with(Reason::Draining);
        rig.receive(&v1("a"), text(r#"{"type":"publish","channel":"b","data":"x"}"#));
        let commands = rig.commands();
        assert!(commands[0].contains(r#""code":"draining""#), "{commands:?}");
        assert_eq!(commands[1], "continue");
    }

    #[test]
    fn a_ping_is_answered_by_its_own_id() {
        let rig = Rig::new();
        rig.receive(&v1("a"), text(r#"{"type":"ping","id":"x"}"#));
        assert_eq!(rig.commands(), [r#"reply {"type":"pong","id":"x"}"#, "continue"]);
    }

    #[test]
    fn a_frame_that_cannot_be_read_is_an_error_and_the_next_one_counts() {
        let rig = Rig::new();
        let mut messages = text("{");
        messages.extend(text(r#"{"type":"ping"}"#));
        rig.receive(&v1("a"), messages);
        let commands = rig.commands();
        assert!(
            commands[0].contains(r#""type":"error""#) && commands[1].contains(r#""type":"pong""#),
            "{commands:?}"
        );
    }

    #[test]
    fn where_no_presence_is_kept_nobody_can_ask_for_it() {
        let rig = Rig::new();
        rig.receive(&v1("a"), text(r#"{"type":"presence","channel":"a","id":1}"#));
        let commands = rig.commands();
        assert!(
            commands[0].starts_with(r#"reply {"type":"error","id":1,"code":"bad_request""#),
            "{commands:?}"
        );
        assert!(commands[0].contains("[namespace.a]"), "{commands:?}");
    }

    #[test]
    fn a_binary_frame_is_no_json() {
        let rig = Rig::new();
        rig.receive(&v1("a"), vec![Inbound { binary: true, bytes: Bytes::from_static(b"{}") }]);
        assert_eq!(rig.commands(), ["close unsupported"]);
    }

    #[test]
    fn r11_a_subscribe_is_asked_of_the_broker_with_its_tag() {
        let rig = Rig::new();
        rig.receive(&v1(""), text(r#"{"type":"subscribe","channels":["a","b"],"id":"s"}"#));
        rig.receive(&v1(""), text(r#"{"type":"subscribe","channels":["c"],"cursor":"earliest"}"#));
        assert_eq!(rig.subscribed(), [r#"a,b Live "s" WhenCaughtUp"#, "c Earliest null WhenCaughtUp"]);
    }

    #[test]
    fn an_unsubscribe_leaves_and_is_acknowledged() {
        let rig = Rig::new();
        rig.receive(&v1("a"), text(r#"{"type":"unsubscribe","channels":["a"],"id":1}"#));
        assert_eq!(rig.commands(), ["leave a", r#"reply {"type":"ack","id":1}"#, "continue"]);
    }

    #[test]
    fn s36_joining_too_often_is_rate_limited() {
        let rig = Rig::new();
        // So few a minute that a slow machine gets none back while this runs.
        rig.plane.joins.limit(10);
        let leave = r#"{"type":"unsubscribe","channels":["a"]}"#;
        let messages: Vec<_> = (0..11).flat_map(|_| text(leave)).collect();
        rig.receive(&v1("a"), messages);
        assert!(rig.commands().iter().any(|command| command.contains(r#""code":"rate_limited""#)));
    }
}
