//! What WebSocket clients send: one message after the other, in their order, however late the broker answers
//! (delivery rule R22).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tidewire_engine::Inbound;
use tidewire_hub::admit::{ConnId, OutletId, Place};
use tidewire_hub::channel::ChannelSet;
use tidewire_hub::deliver::Command;
use tidewire_hub::grant::Grant;
use tidewire_hub::message::Payload;
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;
use tidewire_transport::request::{Protocol, Request, Wants};

use super::plane::Plane;
use crate::refusals;

/// The messages of one `Received` that are still to be dealt with, and whose they are.
pub(super) struct Turn {
    pub(super) plane: Plane,
    pub(super) outlet: OutletId,
    pub(super) conn: ConnId,
    pub(super) grant: Arc<Grant>,
    pub(super) place: Option<Place>,
    protocol: Protocol,
    /// What it asked for when it connected.
    channels: ChannelSet,
    messages: VecDeque<Inbound>,
}

/// What one message comes to.
pub(super) enum Step {
    /// It has been answered.
    Done,
    /// It is to be published, and answered by what comes of that.
    Publish(Box<Publish>, Answer),
    /// The connection ends with this message.
    Close(Reason),
}

/// How a publish is answered.
pub(super) enum Answer {
    /// Raw: silence, or the end of the connection.
    Raw,
    /// `tidewire.v1`: an `ack` where the frame has an id, or an `error`.
    V1 {
        /// The frame's id as JSON.
        id: Option<Box<str>>,
        /// For the words of a refusal.
        about: refusals::About,
    },
}

impl Plane {
    pub(super) fn received(
        &self,
        outlet: OutletId,
        conn: ConnId,
        grant: &Arc<Grant>,
        place: Option<&Place>,
        request: &Request,
        messages: Vec<Inbound>,
    ) {
        let protocol = match request.wants {
            Wants::WebSocket { protocol, .. } => protocol,
            _ => Protocol::Raw,
        };
        let (plane, grant, place) = (self.clone(), grant.clone(), place.cloned());
        let (channels, messages) = (request.channels.clone(), messages.into());
        run(Turn { plane, outlet, conn, grant, place, protocol, channels, messages });
    }
}

/// Where the loop and the broker's callback meet. Whoever comes second goes on with the turn; a plain recursion from
/// callback to callback would be as deep as a client's batch of messages is long.
enum Meeting {
    Open,
    /// The broker answered before its call returned.
    Answered(Result<Receipt, Reason>),
    /// The loop left; the broker's thread goes on.
    Left(Box<(Turn, Answer)>),
}

fn run(mut turn: Turn) {
    while let Some(message) = turn.messages.pop_front() {
        let (publish, answer) = match turn.step(message) {
            Step::Done => continue,
            Step::Publish(publish, answer) => (publish, answer),
            Step::Close(reason) => return turn.close(reason),
        };
        let permit = match turn.plane.node.begin_publish(&turn.grant, &publish) {
            Ok(permit) => permit,
            Err(reason) => match turn.settle(answer, Err(reason)) {
                Ok(()) => continue,
                Err(reason) => return turn.close(reason),
            },
        };
        let meeting = Arc::new(Mutex::new(Meeting::Open));
        let there = meeting.clone();
        let done = Box::new(move |outcome| {
            drop(permit);
            let mut meeting = there.lock().unwrap_or_else(PoisonError::into_inner);
            match std::mem::replace(&mut *meeting, Meeting::Open) {
                Meeting::Left(left) => {
                    drop(meeting);
                    let (turn, answer) = *left;
                    match turn.settle(answer, outcome) {
                        Ok(()) => run(turn),
                        Err(reason) => turn.close(reason),
                    }
                }
                _ => *meeting = Meeting::Answered(outcome),
            }
        });
        turn.plane.node.clone().hand_over(*publish, done);
        let mut meeting = meeting.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *meeting, Meeting::Open) {
            Meeting::Answered(outcome) => {
                if let Err(reason) = turn.settle(answer, outcome) {
                    return turn.close(reason);
                }
            }
            _ => {
                *meeting = Meeting::Left(Box::new((turn, answer)));
                return;
            }
        }
    }
    turn.plane.send(turn.outlet, Command::Continue { conn: turn.conn });
}

impl Turn {
    fn step(&self, message: Inbound) -> Step {
        match self.protocol {
            Protocol::Raw => self.raw(message),
            Protocol::V1 => self.frame(&message),
        }
    }

    /// Raw: what comes is the payload. There is no way to refuse it but to end the connection.
    fn raw(&self, message: Inbound) -> Step {
        let [channel] = self.channels.as_slice() else { return Step::Close(Reason::ChannelCount) };
        if refusals::may_publish(&self.grant, channel).is_err() {
            return Step::Close(Reason::Forbidden);
        }
        let payload =
            if message.binary { Ok(Payload::binary(message.bytes)) } else { Payload::text(message.bytes) };
        let Ok(payload) = payload else { return Step::Close(Reason::NotUtf8) };
        let (channel, publisher) = (channel.clone(), self.grant.holder.publisher());
        let publish = Publish { channel, event: None, payload, key: None, publisher, trace: None };
        Step::Publish(Box::new(publish), Answer::Raw)
    }

    /// Tells the client what came of a publish; the reason where that ends the connection.
    fn settle(&self, answer: Answer, outcome: Result<Receipt, Reason>) -> Result<(), Reason> {
        match answer {
            Answer::Raw => outcome.map(|_| ()),
            Answer::V1 { id, about } => {
                self.answer_publish(id.as_deref(), &about, outcome);
                Ok(())
            }
        }
    }

    fn close(&self, reason: Reason) {
        self.plane.send(self.outlet, Command::Close { conn: self.conn, reason });
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, raw, v1};
    use super::*;
    use bytes::Bytes;
    use tidewire_hub::grant::Holder;

    fn texts(count: usize) -> Vec<Inbound> {
        let text = |number: usize| Inbound { binary: false, bytes: Bytes::from(number.to_string()) };
        (0..count).map(text).collect()
    }

    #[test]
    fn r22_messages_are_published_one_by_one_and_then_reading_goes_on() {
        let rig = Rig::new();
        rig.receive(&raw("a"), texts(3));
        assert_eq!(rig.published(), ["a 0", "a 1", "a 2"]);
        assert_eq!(rig.commands(), ["continue"]);
    }

    #[test]
    fn r22_a_broker_that_answers_late_gets_the_next_message_only_then() {
        let rig = Rig::new();
        rig.answer_late();
        rig.receive(&raw("a"), texts(3));
        for waiting in [1, 2, 3] {
            assert_eq!(rig.published().len(), waiting);
            assert!(rig.commands().is_empty());
            rig.answer_one();
        }
        assert_eq!(rig.published(), ["a 0", "a 1", "a 2"]);
        assert_eq!(rig.commands(), ["continue"]);
    }

    #[test]
    fn a_batch_of_many_messages_is_no_deeper_than_one_of_few() {
        let rig = Rig::new();
        rig.receive(&raw("a"), texts(100_000));
        assert_eq!(rig.published().len(), 100_000);
    }

    #[test]
    fn raw_with_several_channels_has_nowhere_to_publish() {
        let rig = Rig::new();
        rig.receive(&raw("a,b"), texts(2));
        assert!(rig.published().is_empty());
        assert_eq!(rig.commands(), ["close channel_count"]);
    }

    #[test]
    fn a_raw_publish_that_the_broker_refuses_ends_the_connection_with_its_reason() {
        let rig = Rig::new();
        rig.refuse_with(Reason::Draining);
        rig.receive(&raw("a"), texts(2));
        assert_eq!(rig.published().len(), 1, "what follows a refused message is not published");
        assert_eq!(rig.commands(), ["close draining"]);
    }

    #[test]
    fn a_raw_websocket_speaks_over_the_bridge_where_it_goes_both_ways() {
        let rig = Rig::new();
        rig.receive(&raw("jobs"), texts(1));
        rig.receive(&raw("events"), texts(1));
        assert_eq!(rig.published(), ["over jobs 0"]);
        assert_eq!(rig.commands(), ["continue", "close forbidden"]);
    }

    #[test]
    fn s37_publishes_beyond_those_in_flight_are_refused() {
        let rig = Rig::new();
        let elsewhere = Publish {
            channel: tidewire_hub::channel::Channel::parse("elsewhere").unwrap(),
            event: None,
            payload: Payload::binary(Bytes::new()),
            key: None,
            publisher: "".into(),
            trace: None,
        };
        let begin = |_| rig.node().publishes.begin(&Holder::Developer, &elsewhere).unwrap();
        let _all: Vec<_> = (0..1_024).map(begin).collect();
        rig.receive(&raw("a"), texts(1));
        assert_eq!(rig.commands(), ["close overloaded"]);
        rig.receive(
            &v1("a"),
            vec![Inbound {
                binary: false,
                bytes: Bytes::from_static(br#"{"type":"publish","channel":"a","data":"x","id":1}"#),
            }],
        );
        assert!(rig.commands()[0].starts_with(r#"reply {"type":"error","id":1,"code":"overloaded""#));
    }
}
