//! Traces that came over the link and wait for their messages, which come right behind them.
//!
//! They are told apart from messages, so that nodes that know nothing of traces read every message: during a deploy, and after
//! one was taken back (fault F3). Whatever is lost of them is a trace less, and no message.

use std::collections::VecDeque;

use tidewire_hub::position::{Gen, Position};
use tidewire_hub::trace::TraceParent;

use crate::redis::envelope::decimal;

/// Traces that wait at most. Each is followed by its message, if that is on a channel that is heard here; the others are
/// forgotten with the next message that is.
const WAITING_MAX: usize = 1_024;

/// See the module.
#[derive(Default)]
pub(super) struct Traces(VecDeque<(Position, TraceParent)>);

impl Traces {
    /// Takes `1 <generation> <seq> <traceparent>`; nothing where it is something else.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<()> {
        let mut words = bytes.splitn(4, |byte| *byte == b' ');
        let version = words.next()?;
        let generation = Gen::parse(words.next()?)?;
        let seq = decimal(words.next()?)?;
        let trace = TraceParent::parse(words.next()?)?;
        (version == b"1").then_some(())?;
        let position = Position { generation, seq };
        // A script tells traces in the order of their messages: what claims a later place was told by a stranger, and would
        // stand before all others until that place is reached.
        let is_behind = |at: &Position| at.generation == generation && at.seq < seq;
        while self.0.back().is_some_and(|(at, _)| !is_behind(at)) {
            self.0.pop_back();
        }
        if self.0.len() >= WAITING_MAX {
            self.0.pop_front();
        }
        self.0.push_back((position, trace));
        Some(())
    }

    /// The trace of the message at this position. Those before it are nobody's here.
    pub(super) fn of(&mut self, position: Position) -> Option<TraceParent> {
        let is_before = |at: &Position| at.generation != position.generation || at.seq <= position.seq;
        while self.0.front().is_some_and(|(at, _)| is_before(at)) {
            let (at, trace) = self.0.pop_front()?;
            if at == position {
                return Some(trace);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn at(seq: u64) -> Position {
        Position { generation: Gen::from_random(7), seq }
    }

    fn told(traces: &mut Traces, seq: u64) -> Option<()> {
        traces.take(format!("1 {} {seq} {TRACE}", at(seq).generation).as_bytes())
    }

    #[test]
    fn a_message_gets_the_trace_of_its_own_place_and_no_other() {
        let mut traces = Traces::default();
        for seq in [3, 5, 6] {
            assert_eq!(told(&mut traces, seq), Some(()));
        }
        assert!(traces.of(at(4)).is_none(), "it has none, and what was before it is on another channel");
        assert_eq!(traces.of(at(5)).unwrap().as_str(), TRACE);
        assert!(traces.of(at(5)).is_none());
        assert!(traces.of(at(6)).is_some() && traces.0.is_empty());
    }

    #[test]
    fn a_place_that_nobody_has_reached_keeps_no_trace_from_its_message() {
        let mut traces = Traces::default();
        for seq in [9_999, 3] {
            assert_eq!(told(&mut traces, seq), Some(()));
        }
        assert!(traces.of(at(3)).is_some());
        assert!(traces.of(at(9_999)).is_none(), "what a stranger told is forgotten");
    }

    #[test]
    fn f33_what_is_no_trace_is_told_and_no_more_wait_than_may() {
        let mut traces = Traces::default();
        for junk in [
            "",
            "1",
            "1 x 3 4",
            "2 a 3 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "1 a 3 00-0-0-0",
        ] {
            assert_eq!(traces.take(junk.as_bytes()), None, "{junk}");
        }
        (1..=3_000).for_each(|seq| assert!(told(&mut traces, seq).is_some()));
        assert_eq!(traces.0.len(), WAITING_MAX);
    }
}
