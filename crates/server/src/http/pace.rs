//! How long a client may take over the head of a request (security rule S33).
//!
//! ```text
//!              first byte            whole head        answer's end      next head's first byte
//! connection -----+----------------------+------------------+-----------------+------------------> time
//!      |<- first ->|                     |<---- no clock --->|<- keep-alive --->|<--- head_max ...
//!      |<--------- head_max ------------>|                     (hyper's clock)
//! ```
//!
//! The next head may begin before the answer is out: a client that pipelines waits for us, not we for it, however long
//! the poll before takes. Its clock starts with the end of that answer.

use std::time::Duration;

use tidewire_transport::framing::Framing;
use tokio::time::Instant;

/// The clock of a connection's heads. It has no time of its own.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    first_due: Duration,
    head_max: Duration,
    /// Heads that were whole when the last bytes were read.
    heads: u64,
    /// When the head that is being read must be whole; nothing before its clock has started.
    due: Option<Instant>,
}

impl Pace {
    /// A connection that began at `began`, and whose first byte must be here after `first_due`.
    pub(super) fn new(began: Instant, first_due: Duration, head_max: Duration) -> Pace {
        Pace { began, first_due, head_max, heads: 0, due: None }
    }

    /// Heads that were whole when the last bytes were read.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Bytes were read, up to where `framing` stands now.
    pub(super) fn read(&mut self, framing: &Framing) {
        if self.heads != framing.heads() {
            self.heads = framing.heads();
            self.due = None;
        }
    }

    /// When the client's time is over, as far as heads are concerned. Asked whenever there is nothing to read.
    /// `answered` says that nothing is owed to the client.
    pub(super) fn due(&mut self, framing: &Framing, answered: bool, now: Instant) -> Option<Instant> {
        if self.due.is_none() && framing.is_in_head() && answered {
            // The first head has its time from the connection's beginning on, the silence before it included.
            let from = if self.heads == 0 { self.began } else { now };
            self.due = from.checked_add(self.head_max);
        }
        match self.due {
            None if self.heads == 0 && framing.is_between_requests() => {
                self.began.checked_add(self.first_due)
            }
            due => due,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_hub::limits::Limits;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";

    /// A connection whose time, in seconds, is turned by hand.
    struct Rig {
        began: Instant,
        framing: Framing,
        pace: Pace,
    }

    impl Rig {
        fn new() -> Rig {
            let began = Instant::now();
            let pace = Pace::new(began, Duration::from_secs(5), Duration::from_secs(10));
            Rig { began, framing: Framing::new(), pace }
        }

        fn read(&mut self, text: &str) {
            self.framing.push(text.as_bytes(), &Limits::default()).unwrap();
            self.pace.read(&self.framing);
        }

        /// What is due, asked at second `at`.
        fn due(&mut self, at: u64, answered: bool) -> Option<u64> {
            let due = self.pace.due(&self.framing, answered, self.began + Duration::from_secs(at));
            due.map(|due| (due - self.began).as_secs())
        }
    }

    #[test]
    fn s33_the_first_byte_and_then_the_head_are_due_from_the_connections_beginning() {
        let mut rig = Rig::new();
        assert_eq!(rig.due(0, true), Some(5));
        rig.read("G");
        assert_eq!(rig.due(4, true), Some(10));
        rig.read("ET / HT");
        assert_eq!(rig.due(9, true), Some(10), "more of it buys no more time");
        rig.read("TP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(rig.due(9, false), None);
        assert_eq!(rig.due(9, true), None, "between requests it is hyper that looks at the time");
    }

    #[test]
    fn s33_a_later_head_is_due_from_its_first_byte() {
        let mut rig = Rig::new();
        rig.read(GET);
        assert_eq!(rig.due(60, true), None);
        rig.read("\r");
        assert_eq!(rig.due(70, true), Some(80), "also where it begins with an empty line");
        rig.read("\nGET");
        assert_eq!(rig.due(79, true), Some(80));
    }

    #[test]
    fn s33_a_head_whose_first_byte_came_with_the_end_of_a_body_has_a_heads_time() {
        let mut rig = Rig::new();
        rig.read(&format!("{POST}bo"));
        assert_eq!(rig.due(1, false), None);
        rig.read("dyG");
        assert_eq!(rig.due(2, false), None, "the answer to the body comes first");
        assert_eq!(rig.due(3, true), Some(13));
    }

    #[test]
    fn s33_a_pipelined_head_has_its_time_from_the_end_of_the_answer_before_it() {
        let mut rig = Rig::new();
        rig.read(&format!("{GET}GET / HT"));
        for at in [0, 30, 60] {
            assert_eq!(rig.due(at, false), None, "a long poll takes its time");
        }
        assert_eq!(rig.due(61, true), Some(71));
        rig.read("TP/1.1\r\nHost: a\r\n\r\nGE");
        assert_eq!(rig.due(62, false), None, "each head has a clock of its own");
        assert_eq!(rig.due(63, true), Some(73));
    }

    #[test]
    fn s33_a_body_does_not_run_on_the_clock_of_heads() {
        let mut rig = Rig::new();
        rig.read("POST / HT");
        assert_eq!(rig.due(1, true), Some(10));
        rig.read(&format!("{}b", &POST[9..]));
        for answered in [false, true] {
            assert_eq!(rig.due(20, answered), None);
        }
    }

    #[test]
    fn a_deadline_that_is_off_is_never_due() {
        let mut rig = Rig::new();
        rig.pace = Pace::new(rig.began, Duration::MAX, Duration::MAX);
        assert_eq!(rig.due(0, true), None);
        rig.read("G");
        assert_eq!(rig.due(1, true), None);
    }
}
