//! What a client does of its own accord: polls, speaks, and misbehaves.

use serde_json::{Value, json};

use super::life::{Around, Client, Joining, Verdict};
use crate::ear::Dialect;
use crate::socket::Sock;
use crate::speech;
use crate::witness::Asked;

impl Client {
    /// Nothing has come: does something of its own accord.
    pub(super) fn act(&mut self, around: &Around<'_>) -> Verdict {
        let Some(line) = &mut self.line else { return Ok(()) };
        if line.dialect == Dialect::Poll && line.poll.is_none() {
            self.poll(around);
            return Ok(());
        }
        if around.calm || line.finished {
            return Ok(());
        }
        if self.rng.chance(around.profile.unrest) {
            self.misbehave(around);
        } else if line.begun && line.dialect == Dialect::V1 && self.rng.chance(60) {
            self.speak(around);
        } else if line.begun && line.dialect == Dialect::Raw && self.wish.len() == 1 && self.rng.chance(30) {
            let text = self.payload(around);
            around.tally.count("publishes over raw");
            let opcode = if self.rng.chance(300) { speech::BINARY } else { speech::TEXT };
            self.send(&speech::frame(opcode, text.as_bytes()));
        }
        Ok(())
    }

    fn misbehave(&mut self, around: &Around<'_>) {
        match self.rng.below(10) {
            0 | 1 => {
                around.tally.count("fault: reset by the client");
                self.cut(around);
            }
            2 => {
                around.tally.count("fault: finished by the client");
                self.hang_up(around, "hangs up");
            }
            3 => {
                around.tally.count("fault: half-closed by the client");
                self.note(around, "ends its half");
                if let Some(line) = &mut self.line {
                    line.finished = true;
                    line.net.client(line.fd, Sock::finish);
                }
            }
            4..=7 => {
                around.tally.count("fault: stopped reading");
                self.note(around, "stops reading for a moment");
                self.busy_until = around.time.now_ms() + self.rng.range(20, 3_000);
            }
            _ => {
                around.tally.count("fault: stopped reading for long");
                self.note(around, "stops reading");
                self.busy_until = around.time.now_ms() + self.rng.range(3_000, 20_000);
            }
        }
    }

    /// Sends one `tidewire.v1` frame.
    fn speak(&mut self, around: &Around<'_>) {
        self.frames += 1;
        let frame = self.frames;
        let Some(line) = &mut self.line else { return };
        let text = match self.rng.below(5) {
            0 | 1 => {
                let taken = |name: &&String| {
                    !self.wish.contains(*name) && line.joining.iter().all(|joining| joining.channel != **name)
                };
                let free: Vec<&String> = around.profile.channels.iter().filter(taken).collect();
                if free.is_empty() {
                    return;
                }
                let channel = (*self.rng.pick(&free)).clone();
                let asked = match (self.witness.cursor, self.rng.below(3)) {
                    (Some(cursor), 0) => Asked::After(cursor.to_string()),
                    (_, 1) => Asked::Earliest,
                    _ => Asked::Live,
                };
                let (messages, gap) = (Vec::new(), None);
                return self.ask_to_join(Joining { frame, channel, asked, messages, gap });
            }
            2 if self.wish.len() > 1 && line.leaving.is_empty() => {
                let channel = self.rng.pick(&self.wish).clone();
                line.leaving.push((frame, channel.clone()));
                self.witness.let_go(&channel);
                json!({"type": "unsubscribe", "id": frame, "channels": [channel]})
            }
            3 => json!({"type": "ping", "id": frame}),
            _ => {
                let text = self.payload(around);
                let channel = self.rng.pick(&around.profile.channels).clone();
                if let Some(line) = &mut self.line {
                    line.publishing.push((frame, text.clone()));
                }
                json!({"type": "publish", "id": frame, "channel": channel, "data": text})
            }
        };
        self.send(&speech::frame(speech::TEXT, text.to_string().as_bytes()));
    }

    pub(super) fn ask_to_join(&mut self, mut joining: Joining) {
        self.frames += 1;
        joining.frame = self.frames;
        let cursor = match &joining.asked {
            Asked::After(cursor) => json!(cursor),
            Asked::Earliest => json!("earliest"),
            _ => Value::Null,
        };
        let text = json!({
            "type": "subscribe", "id": joining.frame, "channels": [joining.channel], "cursor": cursor,
        });
        if let Some(line) = &mut self.line {
            line.joining.push(joining);
        }
        self.send(&speech::frame(speech::TEXT, text.to_string().as_bytes()));
    }

    fn payload(&mut self, around: &Around<'_>) -> String {
        around.uids.set(around.uids.get() + 1);
        format!("{} from {}", around.uids.get(), self.name)
    }
}
