//! What one transport came to with one crowd at one rate, and whether it may be judged.

use serde::{Deserialize, Serialize};

use crate::numbers::{count, percent, plural};

/// How clients get their messages, in the order in which the web learned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Short polling: asks every so often, and is answered at once.
    Poll,
    /// Long polling: asks, is answered when there is something, and asks again.
    Longpoll,
    /// Server-Sent Events: asks once, and is written to.
    Sse,
    /// WebSocket: asks once, and both sides write.
    Ws,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 4] = [Transport::Poll, Transport::Longpoll, Transport::Sse, Transport::Ws];

    /// Within a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Poll => "short polling",
            Transport::Longpoll => "long polling",
            Transport::Sse => "SSE",
            Transport::Ws => "WebSocket",
        }
    }

    /// At the head of a column.
    pub fn title(self) -> &'static str {
        match self {
            Transport::Poll => "Short polling",
            Transport::Longpoll => "Long polling",
            Transport::Sse | Transport::Ws => self.name(),
        }
    }

    /// As it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Transport::Poll => "poll",
            Transport::Longpoll => "longpoll",
            Transport::Sse => "sse",
            Transport::Ws => "ws",
        }
    }

    /// Whether clients ask once and are written to from then on.
    pub fn is_stream(self) -> bool {
        matches!(self, Transport::Sse | Transport::Ws)
    }
}

/// One run: counted in one window of time, at the sockets of the clients and at the process of the server.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// How clients listened.
    pub transport: Transport,
    /// Clients at the same time, all of one channel.
    pub clients: u64,
    /// Messages a second that were to be published, on a schedule that waits for nobody.
    pub rate: f64,
    /// Messages published in the window.
    pub published: u64,
    /// How long the window was, in seconds.
    pub wall_s: f64,
    /// Requests of clients in the window. A stream's only one came before it.
    pub requests: u64,
    /// Answers without a message in them.
    pub empty: u64,
    /// What clients wrote and read, heads of HTTP included, TCP's own left out.
    pub bytes_up: u64,
    /// See `bytes_up`.
    pub bytes_down: u64,
    /// Messages that reached clients, each counted once for each client.
    pub deliveries: u64,
    /// From when a message should have left to when a client had it; `None` where nothing arrived.
    pub latency: Option<Latency>,
    /// `None` where the server is on another machine.
    pub server: Option<Cost>,
    /// Of several rounds, what a message took the server in the best and in the worst of them.
    pub cpu_spread: Option<Spread>,
    /// How busy the generator's busiest thread was, from 0 to 1 for a whole core.
    pub generator_busy: f64,
    /// Messages that left more than a millisecond late because the generator was.
    pub late_itself: u64,
    /// What went wrong in all of the run.
    pub faults: Faults,
}

/// In milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Of all messages.
    pub mean_ms: f64,
    /// Half of them were no older.
    pub p50_ms: f64,
    /// Of a hundred, one was older.
    pub p99_ms: f64,
}

/// What a run took the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// CPU seconds of all its threads in the window.
    pub cpu_s: f64,
    /// User memory per client, in bytes: proportional set size with all clients there, less that without them. `None` where
    /// this user may not read it.
    pub memory_per_client: Option<f64>,
}

/// Microseconds of the server's CPU for each message that a client got.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// In the best round.
    pub least: f64,
    /// In the worst.
    pub most: f64,
}

/// Everything that must not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Published and never seen, in deliveries, as the next three are.
    pub lost: u64,
    /// Seen twice.
    pub duplicated: u64,
    /// Seen after a later one.
    pub out_of_order: u64,
    /// Not what was published.
    pub corrupt: u64,
    /// Requests and publishes that were turned away.
    pub refused: u64,
    /// Connections that the server ended.
    pub cut: u64,
    /// Gaps that were announced.
    pub gaps: u64,
}

/// From this share of a core on, a figure may be the generator's own.
const GENERATOR_BUSY_MAX: f64 = 0.85;
/// If more than half of all messages leave late, it is the generator's lateness that is measured.
const LATE_MAX: f64 = 0.5;
/// So few may be late on any machine that does other things too.
const LATE_LEAST: u64 = 10;

impl Measurement {
    /// Why this run says nothing about its transport, if it does not.
    pub fn doubt(&self) -> Option<String> {
        if !self.faults.is_clean() {
            let words = self.faults.words();
            let late = self.transport == Transport::Poll && self.faults.gaps > 0;
            return Some(if late {
                format!("{words}; more may have come between two polls than the channel keeps")
            } else {
                words
            });
        }
        if self.deliveries == 0 {
            return Some("no message reached a client".into());
        }
        if self.generator_busy > GENERATOR_BUSY_MAX {
            let busy = percent(self.generator_busy);
            return Some(format!("the generator used {busy} of a core, so the figures may be its own"));
        }
        let late = self.late_itself as f64 / self.published.max(1) as f64;
        if late > LATE_MAX && self.late_itself >= LATE_LEAST {
            let late = percent(late);
            return Some(format!(
                "the generator sent {late} of the messages late, so the figures may be its own"
            ));
        }
        None
    }

    /// Requests of all clients in a second.
    pub fn requests_per_s(&self) -> f64 {
        self.requests as f64 / self.wall_s
    }

    /// From 0 to 1; `None` for streams, which are not asked.
    pub fn empty_share(&self) -> Option<f64> {
        (!self.transport.is_stream() && self.requests > 0).then(|| self.empty as f64 / self.requests as f64)
    }

    /// Bytes that clients wrote for each message that one of them got.
    pub fn up_per_message(&self) -> Option<f64> {
        self.per_message(self.bytes_up as f64)
    }

    /// Bytes that clients read for each message that one of them got.
    pub fn down_per_message(&self) -> Option<f64> {
        self.per_message(self.bytes_down as f64)
    }

    /// Microseconds of the server's CPU for each message that a client got.
    pub fn cpu_us_per_message(&self) -> Option<f64> {
        self.per_message(self.server?.cpu_s * 1e6)
    }

    /// Microseconds of the server's CPU for each client and second.
    pub fn cpu_us_per_client_s(&self) -> Option<f64> {
        Some(self.server?.cpu_s * 1e6 / self.wall_s / self.clients as f64)
    }

    /// How much of a core the server used: 1.5 is one core and a half.
    pub fn server_cores(&self) -> Option<f64> {
        Some(self.server?.cpu_s / self.wall_s)
    }

    /// Bytes of the server's memory for each client.
    pub fn memory_per_client(&self) -> Option<f64> {
        self.server?.memory_per_client
    }

    fn per_message(&self, sum: f64) -> Option<f64> {
        (self.deliveries > 0).then(|| sum / self.deliveries as f64)
    }
}

impl Faults {
    /// Whether nothing went wrong.
    pub fn is_clean(&self) -> bool {
        *self == Faults::default()
    }

    /// Those of both.
    pub fn and(self, more: Faults) -> Faults {
        Faults {
            lost: self.lost + more.lost,
            duplicated: self.duplicated + more.duplicated,
            out_of_order: self.out_of_order + more.out_of_order,
            corrupt: self.corrupt + more.corrupt,
            refused: self.refused + more.refused,
            cut: self.cut + more.cut,
            gaps: self.gaps + more.gaps,
        }
    }

    /// What went wrong, or that nothing did.
    pub fn words(&self) -> String {
        let kinds = [
            (self.lost, "lost"),
            (self.duplicated, "duplicated"),
            (self.out_of_order, "out of order"),
            (self.corrupt, "corrupt"),
            (self.refused, "refused"),
            (self.cut, "cut"),
        ];
        let kinds = kinds.into_iter().filter(|(many, _)| *many > 0);
        let mut words: Vec<String> =
            kinds.map(|(many, what)| format!("{} {what}", count(many as f64))).collect();
        if self.gaps > 0 {
            words.push(format!("{} announced", plural(self.gaps, "gap")));
        }
        if words.is_empty() { "none".into() } else { words.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::measured;

    #[test]
    fn a_run_that_lost_repeated_or_broke_anything_is_in_doubt_and_says_what() {
        let mut run = measured(Transport::Sse, 100);
        assert_eq!(run.doubt(), None);
        run.faults = Faults { lost: 3, gaps: 1, ..Faults::default() };
        assert_eq!(run.doubt().as_deref(), Some("3 lost, 1 gap announced"));
        run.transport = Transport::Poll;
        assert!(
            run.doubt().unwrap().starts_with("3 lost, 1 gap announced; more may have come between two polls")
        );
        run.faults = Faults { duplicated: 1_200, ..Faults::default() };
        assert_eq!(run.doubt().as_deref(), Some("1 200 duplicated"));
    }

    #[test]
    fn a_generator_at_its_limit_makes_a_run_doubtful_and_so_does_silence() {
        let mut run = measured(Transport::Ws, 100);
        run.generator_busy = 0.9;
        assert!(run.doubt().unwrap().contains("90 % of a core"), "{:?}", run.doubt());
        run.generator_busy = 0.1;
        run.late_itself = 9;
        assert_eq!(run.doubt(), None, "nine may be late by chance");
        (run.published, run.late_itself) = (100, 50);
        assert_eq!(run.doubt(), None, "half of them");
        run.late_itself = 60;
        assert!(run.doubt().unwrap().contains("60 % of the messages late"), "{:?}", run.doubt());
        run.deliveries = 0;
        assert_eq!(run.doubt().as_deref(), Some("no message reached a client"));
        assert_eq!(run.up_per_message(), None);
    }

    #[test]
    fn what_a_message_costs_holds_everything_that_was_asked_and_answered_for_it() {
        let poll = measured(Transport::Poll, 100);
        // Two polls of 140 bytes for ten messages.
        assert_eq!(poll.up_per_message(), Some(28.0));
        assert_eq!(poll.requests_per_s(), 20.0);
        assert_eq!(poll.cpu_us_per_message(), Some(12.0));
        assert_eq!(poll.cpu_us_per_client_s(), Some(12.0));
    }
}
