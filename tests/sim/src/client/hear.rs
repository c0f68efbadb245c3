//! What a client makes of what it hears.

use serde_json::Value;
use tidewire_hub::position::{Cursor, Position};

use super::life::{Around, Client, Poll, Verdict};
use crate::ear::Dialect;
use crate::heard::{GapHeard, Heard, PageHeard};
use crate::ledger::{Invariant, Violation};
use crate::speech;
use crate::tally::Tally;
use crate::witness::Asked;

impl Client {
    pub(super) fn heard(&mut self, around: &Around<'_>, heard: Heard) -> Verdict {
        self.note(around, format!("hears {heard}"));
        let told = self.take(around, heard);
        told.map_err(|violation| Violation {
            story: format!("{}: {}", self.name, violation.story),
            ..violation
        })
    }

    fn take(&mut self, around: &Around<'_>, heard: Heard) -> Verdict {
        let Some(line) = &mut self.line else { return Ok(()) };
        let book = around.ledger.book();
        match heard {
            Heard::Opened if line.dialect == Dialect::Raw => {
                // Raw says nothing more. Where it resumes, a gap would come as a close before anything else.
                line.begun = !self.witness.resumes();
                if line.begun { self.witness.begin(&book, None) } else { Ok(()) }
            }
            Heard::Opened => Ok(()),
            Heard::Ready { cursor, .. } => {
                line.begun = true;
                around.tally.count("subscriptions begun");
                self.witness.begin(&book, cursor)
            }
            Heard::Message(seen) => {
                if !line.begun {
                    if line.dialect != Dialect::Raw {
                        return Err(Violation::new(Invariant::Wire, "a message before `$ready`"));
                    }
                    line.begun = true;
                    self.witness.begin(&book, None)?;
                }
                self.witness.message(&book, &seen)
            }
            Heard::Heartbeat(place) => {
                around.tally.count("heartbeats");
                self.witness.id(&book, place)
            }
            Heard::Gap(gap) => {
                count_gap(around.tally, &gap);
                self.witness.gap(&book, &gap)
            }
            Heard::Page(page) if line.dialect == Dialect::Poll => {
                drop(book);
                self.polled(around, page)
            }
            Heard::Page(page) => {
                drop(book);
                self.joined(around, page)
            }
            Heard::NotModified => {
                around.tally.count("not modified");
                let Some(Poll { tag: Some(tag), head, .. }) = line.poll.take() else {
                    return Err(Violation::new(Invariant::Wire, "a 304 that was not asked for"));
                };
                line.begun = true;
                let newest = tag.trim_matches('"').trim_end_matches("-json1").to_owned();
                let life = book.now();
                let known = match Cursor::parse(newest.as_bytes()) {
                    Cursor::At(place) if place.generation == life.generation() => place.seq,
                    _ => {
                        return Err(Violation::new(
                            Invariant::I1,
                            format!("a 304 to {tag}, of another life (R7)"),
                        ));
                    }
                };
                let missed = self.wish.iter().find_map(|channel| life.between(channel, known, head).next());
                match missed {
                    Some(seq) => Err(Violation::new(Invariant::I1, format!("a 304 hides {seq} (R7)"))),
                    None => Ok(()),
                }
            }
            Heard::Ack(value) => {
                drop(book);
                self.acked(around, &value)
            }
            Heard::Ping(payload) => {
                if !line.mute && !line.finished {
                    self.send(&speech::frame(speech::PONG, &payload));
                }
                Ok(())
            }
            Heard::Closed(code, reason) => {
                drop(book);
                self.closed(around, code, &reason)
            }
            Heard::Ended => {
                around.tally.count("streams ended cleanly");
                Ok(())
            }
            Heard::Refused(status, code) => {
                around.tally.count("refusals");
                if code != "draining" && code != "timeout" {
                    return Err(Violation::new(Invariant::Wire, format!("refused with {status} {code}")));
                }
                Ok(())
            }
        }
    }

    fn polled(&mut self, around: &Around<'_>, page: PageHeard) -> Verdict {
        let book = around.ledger.book();
        let Some(line) = &mut self.line else { return Ok(()) };
        let Some(poll) = line.poll.take() else {
            return Err(Violation::new(Invariant::Wire, "an answer to no poll"));
        };
        line.begun = true;
        let Some(cursor) = page.cursor else {
            return Err(Violation::new(Invariant::Wire, "a poll's answer without a cursor"));
        };
        if let Some(gap) = &page.gap {
            count_gap(around.tally, gap);
            self.witness.gap(&book, gap)?;
        }
        self.witness.begin_page(&book, &page.messages, cursor)?;
        for seen in &page.messages {
            self.witness.message(&book, seen)?;
        }
        self.witness.id(&book, cursor)?;
        drop(book);
        around.tally.count("polls answered");
        match page.etag {
            Some(tag) if self.rng.chance(300) && matches!(poll.asked, Asked::After(_)) => {
                self.poll_again(around, poll.asked, tag);
            }
            // A request behind the one before, or after a while.
            _ if page.more || self.rng.chance(200) => self.poll(around),
            _ => {}
        }
        Ok(())
    }

    /// A `subscribe` frame has been answered.
    fn joined(&mut self, around: &Around<'_>, page: PageHeard) -> Verdict {
        let Some(line) = &mut self.line else { return Ok(()) };
        let Some(index) = line.joining.iter().position(|joining| Some(joining.frame) == page.asked_by) else {
            return Err(Violation::new(Invariant::Wire, "an answer to no `subscribe`"));
        };
        let mut joining = line.joining.remove(index);
        joining.messages.extend(page.messages);
        joining.gap = joining.gap.or(page.gap);
        let Some(cursor) = page.cursor else {
            if !page.more {
                return Err(Violation::new(Invariant::Wire, "neither joined nor more, R11"));
            }
            if let Some(last) = joining.messages.last().and_then(|seen| seen.id) {
                joining.asked = Asked::After(last.to_string());
            }
            self.ask_to_join(joining);
            return Ok(());
        };
        around.tally.count("channels joined by frame");
        let book = around.ledger.book();
        let life = book.now();
        let start = match &joining.asked {
            Asked::After(cursor) => match Cursor::parse(cursor.as_bytes()) {
                Cursor::At(place) => Some(place),
                Cursor::Unreadable => None,
            },
            Asked::Earliest => {
                Some(Position { generation: life.generation(), seq: life.base(&joining.channel) })
            }
            _ => None,
        };
        self.witness.expect(&joining.channel, start);
        if let Some(gap) = &joining.gap {
            count_gap(around.tally, gap);
            self.witness.gap(&book, gap)?;
        }
        for seen in &joining.messages {
            self.witness.replayed(&book, seen)?;
        }
        self.witness.join(&book, &joining.channel, cursor)?;
        self.wish.push(joining.channel);
        Ok(())
    }

    fn acked(&mut self, around: &Around<'_>, value: &Value) -> Verdict {
        let Some(line) = &mut self.line else { return Ok(()) };
        let frame = value["id"].as_u64();
        if let Some(index) = line.leaving.iter().position(|(asked, _)| Some(*asked) == frame) {
            let (_, channel) = line.leaving.remove(index);
            self.witness.leave(&channel);
            self.wish.retain(|name| *name != channel);
            around.tally.count("channels left by frame");
            return Ok(());
        }
        if let Some(index) = line.publishing.iter().position(|(asked, _)| Some(*asked) == frame) {
            let (_, text) = line.publishing.remove(index);
            let Some(id) = value["message_id"].as_str() else {
                let code = value["code"].as_str().unwrap_or_default();
                let may = ["draining", "key_reused"].contains(&code);
                return if may { Ok(()) } else { Err(Violation::new(Invariant::Wire, value.to_string())) };
            };
            let book = around.ledger.book();
            let record = match Cursor::parse(id.as_bytes()) {
                Cursor::At(place) => book.life(place.generation).and_then(|life| life.at(place.seq)),
                Cursor::Unreadable => None,
            };
            let placed = record.is_some_and(|record| record.payload == text.as_bytes());
            around.tally.count("publishes acknowledged by frame");
            return if placed {
                Ok(())
            } else {
                Err(Violation::new(Invariant::I3, format!("{id} is not {text}")))
            };
        }
        if value["type"] == "pong" { Ok(()) } else { Err(Violation::new(Invariant::Wire, value.to_string())) }
    }

    fn closed(&mut self, around: &Around<'_>, code: u16, reason: &str) -> Verdict {
        let Some(line) = &mut self.line else { return Ok(()) };
        let place = match Cursor::parse(reason.as_bytes()) {
            Cursor::At(place) => Some(place),
            Cursor::Unreadable => None,
        };
        let book = around.ledger.book();
        match (code, place, line.dialect) {
            (4410, Some(cursor), Dialect::Raw) => {
                around.tally.count("gaps by a raw close");
                self.witness.gap(&book, &GapHeard { channels: None, reason: None, cursor })?;
            }
            (1012 | 4408, place, _) => {
                around.tally.count(if code == 1012 { "closed: draining" } else { "closed: slow or silent" });
                if !line.begun && line.dialect == Dialect::Raw {
                    self.witness.begin(&book, None)?;
                }
                if let Some(place) = place {
                    self.witness.id(&book, place)?;
                }
            }
            (1000, ..) => {}
            _ => return Err(Violation::new(Invariant::Wire, format!("closed with {code} {reason}"))),
        }
        drop(book);
        if !line.finished {
            self.send(&speech::frame(speech::CLOSE, &code.to_be_bytes()));
        }
        Ok(())
    }
}

fn count_gap(tally: &Tally, gap: &GapHeard) {
    tally.count(match gap.reason.as_deref() {
        Some("epoch") => "gaps: epoch",
        Some("trimmed") => "gaps: trimmed",
        _ => "gaps: other",
    });
}
