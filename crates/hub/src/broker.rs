//! The contract of a broker: where messages are placed, kept and handed on.

use std::sync::Arc;

use crate::admit::{OutletId, Page, Subscribe, Transport};
use crate::channel::{Channel, ChannelSet};
use crate::deliver::Outlet;
use crate::histogram::Observed;
use crate::limits::{PageLimit, Retentions};
use crate::position::Start;
use crate::publish::{Publish, Receipt, Receivers};
use crate::reason::Reason;
use crate::revocation::Revocation;

/// Called once with the outcome, from any thread, possibly before the call that took it returns. Must not block.
pub type Done<T> = Box<dyn FnOnce(T) + Send>;

/// The moment of a call. Time is an argument everywhere below the server (invariant 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds on a clock that never steps. Lifetimes are measured on it (fault F17).
    pub monotonic_ms: u64,
    /// Milliseconds since 1970. Shown to users, never compared.
    pub wall_ms: u64,
    /// What `monotonic_ms` leaves out, in microseconds, below 1 000. For measuring; no decision is made by it.
    pub micros: u16,
}

impl Now {
    /// Microseconds on the clock that never steps.
    #[must_use]
    pub fn monotonic_us(&self) -> u64 {
        self.monotonic_ms.saturating_mul(1_000).saturating_add(u64::from(self.micros))
    }
}

/// The contract of a broker. Its sequencer is the only place where messages take their order (delivery rule R1).
///
/// No call blocks: what cannot be answered at once is answered later, through `done` or the outlet's inbox.
pub trait Broker: Send + Sync {
    /// Makes an outlet known; its inbox receives what its subscribers are due.
    fn attach(&self, outlet: Arc<dyn Outlet>) -> OutletId;

    /// Places a message and puts it into the inbox of every interested outlet, or repeats the receipt of its key.
    fn publish(&self, publish: Publish, now: Now, done: Done<Result<Receipt, Reason>>);

    /// Reads what a subscriber missed and joins it to the live feed, in one step of the sequencer (rule R9).
    fn subscribe(&self, subscribe: Subscribe, now: Now);

    /// Takes back the interest that joining counted, once for every joined channel (rule R12).
    fn leave(&self, outlet: OutletId, transport: Transport, channels: &[Channel], now: Now);

    /// Hands an outlet whose inbox was full what it missed, once it has emptied it (rule R13).
    fn catch_up(&self, outlet: OutletId, now: Now);

    /// Reads history without joining.
    fn read(
        &self,
        channels: ChannelSet,
        start: Start,
        page: PageLimit,
        now: Now,
        done: Done<Result<Page, Reason>>,
    );

    /// Lets time pass: trims what is too old and tells every outlet its position. Called about once a second.
    fn tick(&self, now: Now);

    /// Takes back rights: records it for as long as it says, and ends the connections that it concerns, on every node
    /// (security rule S26). `overloaded` where there is no room for another record; then nothing has changed.
    fn revoke(&self, revocation: Revocation, done: Done<Result<(), Reason>>);

    /// Ends the connections of this node that `revocation` concerns. It has been recorded before, by whoever calls this
    /// (decision 9).
    fn enforce(&self, revocation: &Arc<Revocation>);

    /// Keeps messages by other rules from now on (a reload).
    fn retain(&self, retentions: Retentions);

    /// Refuses new publishes from now on (rule R23).
    fn drain(&self);

    /// The node leaves: nothing is published and nobody listens any more. `done` once whoever has to know does.
    fn part(&self, done: Done<()>) {
        done(());
    }

    /// The channels that exist, in name order, at most `count_max` of them, with what they hold.
    fn channels(&self, count_max: usize) -> Vec<ChannelInfo>;

    /// What the channel of this name holds; nothing where it does not exist.
    fn channel(&self, name: &Channel) -> Option<ChannelInfo> {
        self.channels(usize::MAX).into_iter().find(|info| info.channel == *name)
    }

    /// What it holds as a whole.
    fn totals(&self) -> Totals;

    /// How it is.
    fn state(&self) -> State {
        State::Ready
    }

    /// Whatever else it counts and holds, for `/metrics`.
    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }
}

/// One number of a broker, or of what stands beside it.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The name of its metric without `tidewire_`, unit and `_total`; the table of metrics says what it means.
    pub name: &'static str,
    /// The number.
    pub value: Value,
}

/// A number with its unit.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// How many.
    Count(u64),
    /// How long, in microseconds.
    Micros(u64),
    /// How often something took how long.
    Times(Observed),
}

impl Figure {
    /// So many.
    #[must_use]
    pub fn count(name: &'static str, number: u64) -> Figure {
        Figure { name, value: Value::Count(number) }
    }

    /// So long.
    #[must_use]
    pub fn time(name: &'static str, time: std::time::Duration) -> Figure {
        Figure { name, value: Value::Micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)) }
    }

    /// The number without its unit; nothing where it is many.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self.value {
            Value::Count(number) | Value::Micros(number) => Some(number),
            Value::Times(_) => None,
        }
    }
}

/// How a broker is. `/readyz` is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has never been ready.
    Starting,
    /// Messages come and go.
    Ready,
    /// It cannot be reached: for all that this node can tell, by nobody.
    Away,
    /// It can be reached, and what it has is not heard here.
    Deaf,
}

impl State {
    /// The word for it in `/readyz`, in the console and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Ready => "ready",
            State::Away => "away",
            State::Deaf => "deaf",
        }
    }
}

/// What one channel holds.
#[derive(Clone, Debug)]
pub struct ChannelInfo {
    /// Its name.
    pub channel: Channel,
    /// Who listens on this node.
    pub receivers: Receivers,
    /// Messages kept.
    pub messages: usize,
    /// Bytes kept, overhead included.
    pub bytes: usize,
    /// Messages that came since this node knows the channel; it tells a rate, and begins again with the record.
    pub placed: u64,
}

/// What a broker holds as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Channels known.
    pub channels: usize,
    /// Messages kept.
    pub messages: usize,
    /// Bytes kept, overhead included.
    pub bytes: usize,
    /// Idempotency keys remembered.
    pub keys: usize,
    /// Messages placed since the start.
    pub published: u64,
    /// Barriers raised since the start (rule R13).
    pub barriers: u64,
}
