//! `tidewire sub`: follows channels over any transport, and goes on where it was after every cut.

use std::time::Duration;

use crate::args::{Subscribe, Transport};
use crate::backoff::Backoff;
use crate::exit::Failure;
use crate::http::Refused;
use crate::show::{Envelope, Gap, Show, plain};
use crate::target::Target;
use crate::{get, ws};

/// Why following stopped for now.
pub(crate) enum Stop {
    /// The connection ended or never came to be; the cursor is where to go on.
    Cut(String),
    /// The server will not let us in, or the output is closed, or everything asked for has been shown.
    Over(Result<(), Failure>),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Over(Err(failure))
    }
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Stop {
        if refused.may_pass() { Stop::Cut(refused.to_string()) } else { Stop::Over(Err(refused.into())) }
    }
}

/// What is known between two connections.
pub(crate) struct Follow {
    pub target: Target,
    pub channels: String,
    pub start: Start,
    /// What the server advised to wait.
    pub retry: Option<Duration>,
    pub backoff: Backoff,
    show: Show,
    /// Messages still wanted; nothing means all.
    left: Option<u64>,
}

/// Where the next connection begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Live,
    Tail(u32),
    /// The last id received, not the greatest: the server knows why it stepped back (delivery rule R4).
    After(String),
}

impl Start {
    /// As the query says it.
    pub(crate) fn query(&self) -> Option<(&'static str, String)> {
        match self {
            Start::Live => None,
            Start::Tail(count) => Some(("tail", count.to_string())),
            Start::After(cursor) => Some(("cursor", cursor.clone())),
        }
    }
}

impl Follow {
    /// Where to go on from now on.
    pub(crate) fn passed(&mut self, cursor: &str) {
        if !cursor.is_empty() {
            self.start = Start::After(cursor.to_owned());
        }
        self.backoff.reset();
    }

    /// Shows a message.
    pub(crate) fn message(&mut self, envelope: &Envelope) -> Result<(), Stop> {
        self.show.message(envelope)?;
        if let Some(id) = envelope.id() {
            self.passed(id);
        }
        match &mut self.left {
            None => Ok(()),
            Some(left) => {
                *left = left.saturating_sub(1);
                if *left == 0 { Err(Stop::Over(Ok(()))) } else { Ok(()) }
            }
        }
    }

    /// Shows a gap, and goes on behind it.
    pub(crate) fn gap(&mut self, gap: &Gap) -> Result<(), Stop> {
        self.show.gap(gap)?;
        if let Some(cursor) = &gap.cursor {
            self.passed(cursor);
        }
        Ok(())
    }
}

pub(crate) async fn run(args: Subscribe) -> Result<(), Failure> {
    if args.count == Some(0) {
        return Ok(());
    }
    let start = match (args.cursor, args.tail) {
        (Some(cursor), _) => Start::After(cursor),
        (None, Some(tail)) => Start::Tail(tail),
        (None, None) => Start::Live,
    };
    let mut follow = Follow {
        target: Target::of(&args.server)?,
        channels: args.channels,
        start,
        retry: None,
        backoff: Backoff::default(),
        show: Show::new(args.json),
        left: args.count,
    };
    loop {
        let stop = match args.transport {
            Transport::Sse => get::stream(&mut follow).await,
            Transport::Ws => ws::follow(&mut follow).await,
            Transport::Poll => get::poll(&mut follow).await,
        };
        match stop {
            Stop::Over(outcome) => return outcome,
            Stop::Cut(why) => {
                let wait = follow.retry.take().unwrap_or_default() + follow.backoff.next();
                let why = plain(&why);
                eprintln!("tidewire: {why}; trying again in {:.1} s", wait.as_secs_f32());
                tokio::time::sleep(wait).await;
            }
        }
    }
}
