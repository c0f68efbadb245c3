//! The handle, and what it holds.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use tidewire_hub::admit::{OutletId, Subscribe, Transport};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::{Limits, POLL_PAGE, PageLimit};
use tidewire_hub::position::Start;
use tidewire_hub::publish;
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::{Revocation, Revoked};
use tidewire_server::api::Parts;
use tidewire_server::assembly::{Assembly, say_goodbye};
use tidewire_server::drain::{self, Ending};
use tidewire_server::health::Phase;
use tidewire_server::node::Node;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

use crate::access::NAME_BYTES_MAX;
use crate::builder::Builder;
use crate::error::Error;
use crate::front;
use crate::gate::{Judge, Life};
use crate::hearing::Hearing;
use crate::message::{Cursor, Gap, Message};
use crate::publish::{Payload, Publish};
use crate::subscriber::Subscription;

/// Tidewire, inside this process. Clones are the same one.
///
/// It runs until [`Tidewire::shutdown`], or until the last clone, router and subscriber are dropped; then its threads end.
#[derive(Clone)]
pub struct Tidewire(pub(crate) Arc<Inner>);

/// How long a revocation is remembered by default: longer than any token lives by default.
const REVOKED_FOR: Duration = Duration::from_secs(25 * 3_600);

/// The longest shutdown. Clocks cannot name every moment that a `Duration` leads to.
const SHUTDOWN_MAX: Duration = Duration::from_secs(24 * 3_600);

impl Tidewire {
    /// Begins to set one up.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The addresses that browsers use, to be nested wherever the application likes: `/c/{channels}` for every transport, the
    /// control API below `/v1/`, and the browser client at `/client.js`.
    ///
    /// Each request is screened (which page asks), counted against the bounds, and decided on by the application. Serve with
    /// [`into_make_service_with_connect_info`] to have clients counted by address; without, nobody knows theirs.
    ///
    /// [`into_make_service_with_connect_info`]: Router::into_make_service_with_connect_info
    pub fn router<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        front::router(self.0.clone(), &self.0.parts)
    }

    /// `/livez`, `/readyz` and `/metrics`, for machines that watch. They ask for no credentials: serve them where only those
    /// come by, or behind a layer of your own.
    pub fn ops_router<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        front::ops_router(self.0.clone(), &self.0.parts)
    }

    /// Publishes a message. The receipt means that it is stored as durably as configured.
    ///
    /// Dropping the future while it waits does not take the message back: whether it was published is unknown then, as it is
    /// after a time-out. With a [`key`](Publish::key) it may be repeated.
    ///
    /// # Errors
    /// `channel_invalid`, `event_invalid`, `too_large`, `rate_limited`, `overloaded`, `draining`, and the broker's.
    pub fn publish(&self, channel: impl AsRef<str>, payload: impl Into<Payload>) -> Publish {
        Publish::new(self.0.clone(), channel.as_ref(), payload.into())
    }

    /// Hears channels inside this process. Once it is awaited, whatever is published afterwards will be heard.
    ///
    /// The application may hear every channel, those of its users included.
    ///
    /// # Errors
    /// `channel_invalid`, `channel_count`, `channels_full`, `draining`, and the broker's.
    pub fn subscribe<C: AsRef<str>>(&self, channels: impl IntoIterator<Item = C>) -> Subscription {
        Subscription::new(self.0.clone(), channels)
    }

    /// Reads what a channel keeps, from its beginning unless told otherwise.
    ///
    /// # Errors
    /// `channel_invalid`, and the broker's.
    pub fn history(&self, of: impl AsRef<str>) -> History {
        let messages_max = POLL_PAGE.messages_max;
        History { live: self.0.clone(), channel: channel(of.as_ref()), start: Start::Earliest, messages_max }
    }

    /// Who is connected to a channel, on all nodes.
    ///
    /// # Errors
    /// `bad_request` where its namespace keeps no presence.
    pub async fn presence(&self, of: impl AsRef<str>) -> Result<Presence, Error> {
        let channel = channel(of.as_ref())?;
        let (done, outcome) = oneshot::channel();
        let done = Box::new(move |members| {
            let _ = done.send(members);
        });
        self.0.node.members(&self.0.own, channel, done);
        let members = self.0.answer(outcome).await??;
        let member = |member: &tidewire_hub::presence::Member| Member {
            subject: member.subject.as_str().into(),
            connections: member.sessions,
        };
        Ok(Presence { count: members.count, members: members.listed.iter().map(member).collect() })
    }

    /// Ends everything that was granted to this subject until now, on all nodes. Its connections end, and who comes back is
    /// decided on anew: refuse it there as well.
    ///
    /// # Errors
    /// `bad_request` where it is empty or longer than 256 bytes; `overloaded` where as many revocations are remembered as may be, or other nodes may not hear of it.
    pub async fn revoke_subject(&self, subject: impl Into<Box<str>>) -> Result<(), Error> {
        self.revoke(Revoked::Subject(named("a subject", subject.into())?)).await
    }

    /// Ends what was granted to one [`session`](crate::Grant::session), and lets it in no more for 25 hours. Refuse one that is
    /// older than that by yourself.
    ///
    /// # Errors
    /// As [`Tidewire::revoke_subject`].
    pub async fn revoke_session(&self, id: impl Into<Box<str>>) -> Result<(), Error> {
        self.revoke(Revoked::Token(named("a session", id.into())?)).await
    }

    /// Takes a channel from everybody who was let in until now.
    ///
    /// # Errors
    /// `channel_invalid`, or as [`Tidewire::revoke_subject`].
    pub async fn revoke_channel(&self, name: impl AsRef<str>) -> Result<(), Error> {
        self.revoke(Revoked::Channel(channel(name.as_ref())?)).await
    }

    async fn revoke(&self, what: Revoked) -> Result<(), Error> {
        let now = self.0.node.clock.now();
        let remembered_ms = u64::try_from(REVOKED_FOR.as_millis()).unwrap_or(u64::MAX);
        let until_ms = now.monotonic_ms.saturating_add(remembered_ms);
        let revocation = Revocation { what, at_s: now.wall_ms / 1_000, until_ms };
        if self.0.runtime().is_none() {
            return Err(self.0.lost());
        }
        let revoked = self.0.unless_over(self.0.node.revoke(revocation)).await;
        Ok(revoked.ok_or_else(|| self.0.lost())??)
    }

    /// Whether messages come and go: what `/readyz` says.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let is_live = self.0.node.broker.state() == tidewire_hub::broker::State::Ready;
        is_live && self.0.node.health.phase() == Phase::Ready
    }

    /// Goes away in order: nobody new comes in, every connection is told to come back elsewhere at a random moment within
    /// this time, and then the threads end. What subscribers inside this process have not taken yet they still may.
    ///
    /// Call it while the application's server still serves, and end that afterwards. Without Redis, publishes are refused
    /// from the beginning, since nobody could read them. Whoever waits for an answer when all has ended is told `draining`, or
    /// `outcome_unknown` of a publish.
    ///
    /// Dropping the future does not stop it. A second call waits for the end of the first, whatever time it names; a time
    /// beyond a day counts as a day.
    pub async fn shutdown(&self, within: Duration) -> Drained {
        let mut ended = self.0.ended.subscribe();
        if !self.0.is_ending.swap(true, Ordering::AcqRel) {
            self.0.clone().begin_to_end(within.min(SHUTDOWN_MAX));
        }
        let drained = ended.wait_for(Option::is_some).await.ok().and_then(|drained| *drained);
        drained.expect("this handle keeps who says so, and only an end is said")
    }
}

impl fmt::Debug for Tidewire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tidewire")
            .field("phase", &self.0.node.health.phase())
            .field("connections", &self.0.assembly.pipe_counters.open.get())
            .field("subscribers", &self.0.hearing.count())
            .finish_non_exhaustive()
    }
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drained {
    /// Everybody had left.
    Empty,
    /// The time was over, and the last ones were cut off.
    TimeOver,
}

/// A reading of history that is being asked for: what [`Tidewire::history`] gives back. Await it.
#[must_use = "nothing is read before it is awaited"]
pub struct History {
    live: Arc<Inner>,
    channel: Result<Channel, Error>,
    start: Start,
    messages_max: usize,
}

impl History {
    /// Begins behind this cursor.
    pub fn cursor(self, cursor: impl Into<Cursor>) -> History {
        History { start: Start::After(cursor.into().0), ..self }
    }

    /// Begins with the newest so many messages.
    pub fn tail(self, messages: usize) -> History {
        let messages = u32::try_from(messages.clamp(1, POLL_PAGE.messages_max)).unwrap_or(u32::MAX);
        History { start: Start::Tail(messages), ..self }
    }

    /// How many messages a page holds at most: 1 000, or 1 MiB of payloads, unless fewer are asked for.
    pub fn limit(self, messages: usize) -> History {
        History { messages_max: messages.clamp(1, POLL_PAGE.messages_max), ..self }
    }

    async fn read(self) -> Result<Page, Error> {
        let History { live, channel, start, messages_max } = self;
        let limit = PageLimit { messages_max, ..POLL_PAGE };
        let (done, outcome) = oneshot::channel();
        let done = Box::new(move |page| {
            let _ = done.send(page);
        });
        live.node.broker.read(ChannelSet::new([channel?]), start, limit, live.node.clock.now(), done);
        let page = live.answer(outcome).await?.map_err(Error::of)?;
        Ok(Page {
            messages: page.messages.into_iter().map(Message).collect(),
            gap: page.gap.map(Gap),
            cursor: Cursor::at(page.cursor),
            more: page.more,
        })
    }
}

impl IntoFuture for History {
    type Output = Result<Page, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Page, Error>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("channel", &self.channel)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// A piece of what a channel keeps.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// In order.
    pub messages: Vec<Message>,
    /// What may be missing before them.
    pub gap: Option<Gap>,
    /// Where to go on.
    pub cursor: Cursor,
    /// Whether more is kept behind it.
    pub more: bool,
}

/// Who is connected to a channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Presence {
    /// How many there are.
    pub count: usize,
    /// The first of them in the order of their names; all, where there are not very many.
    pub members: Vec<Member>,
}

/// Somebody who is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The subject of the grant; a name that was made up, for who has none.
    pub subject: Box<str>,
    /// Connections it has; 0 for a moment after the last one.
    pub connections: u32,
}

/// What a handle, a router and a subscriber share.
pub(crate) struct Inner {
    pub(crate) node: Arc<Node>,
    pub(crate) assembly: Assembly,
    pub(crate) parts: Parts,
    pub(crate) judge: Judge,
    pub(crate) hearing: Arc<Hearing>,
    pub(crate) outlet: OutletId,
    /// The application's own rights.
    pub(crate) own: Arc<Grant>,
    pub(crate) is_ending: AtomicBool,
    /// How all of it ended, once it has: nobody answers from then on.
    pub(crate) ended: watch::Sender<Option<Drained>>,
    /// Of its own, so that ending it ends every task there is. Nothing once it has ended.
    pub(crate) runtime: Mutex<Option<Runtime>>,
}

impl Inner {
    pub(crate) fn limits(&self) -> Arc<Limits> {
        self.node.limits()
    }

    pub(crate) async fn publish(&self, publish: publish::Publish) -> Result<publish::Receipt, Error> {
        if self.runtime().is_none() {
            return Err(self.lost());
        }
        let published = self.unless_over(self.node.publish(&self.own, publish)).await;
        Ok(published.ok_or_else(|| Error::of(Reason::OutcomeUnknown))??)
    }

    pub(crate) fn ask(&self, subscribe: Subscribe) {
        self.node.broker.subscribe(subscribe, self.node.clock.now());
    }

    pub(crate) fn leave(&self, channels: &ChannelSet) {
        self.node.broker.leave(self.outlet, Transport::Ws, channels, self.node.clock.now());
    }

    /// What is answered; an error where nobody is left to answer.
    async fn answer<T>(&self, outcome: oneshot::Receiver<T>) -> Result<T, Error> {
        self.unless_over(outcome).await.and_then(Result::ok).ok_or_else(|| self.lost())
    }

    /// What comes of `waits`; nothing where all ends meanwhile. A broker whose tasks have ended keeps whom it owes an answer.
    async fn unless_over<T>(&self, waits: impl Future<Output = T>) -> Option<T> {
        let mut ended = self.ended.subscribe();
        tokio::select! {
            biased;
            outcome = waits => Some(outcome),
            _ = ended.wait_for(Option::is_some) => None,
        }
    }

    /// Drains and ends on its own runtime, so that it comes to an end whoever awaits it.
    fn begin_to_end(self: Arc<Inner>, within: Duration) {
        self.judge.end(Life::Drains);
        let handle = self.runtime().as_ref().map(|runtime| runtime.handle().clone());
        let handle = handle.expect("it is taken by an end, and this begins the only one");
        handle.spawn(async move {
            let have_left = || self.assembly.pipe_counters.open.get() == 0;
            let ending = drain::subscribers(&self.node, &self.assembly.plane, within, have_left).await;
            say_goodbye(&self.node).await;
            // This task goes on to its end: it does not wait any more.
            self.stop();
            self.ended.send_replace(Some(match ending {
                Ending::Empty => Drained::Empty,
                _ => Drained::TimeOver,
            }));
        });
    }

    /// What it means that nobody answered.
    fn lost(&self) -> Error {
        match self.runtime().is_none() {
            true => Error::new(Reason::Draining, "Tidewire has shut down in this process"),
            false => Error::of(Reason::Internal),
        }
    }

    fn runtime(&self) -> std::sync::MutexGuard<'_, Option<Runtime>> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every task and thread.
    fn stop(&self) {
        self.node.health.enter(Phase::Draining);
        self.judge.end(Life::Over);
        self.assembly.plane.drain(Duration::ZERO);
        let runtime = self.runtime().take();
        if let Some(runtime) = runtime {
            // A runtime that waits for its threads must not be dropped where tasks run.
            runtime.shutdown_background();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A name as other nodes take it.
fn named(what: &str, name: Box<str>) -> Result<Box<str>, Error> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(name);
    }
    let detail =
        format!("{what} that is taken back has 1 to {NAME_BYTES_MAX} bytes, and this one {}", name.len());
    Err(Error::new(Reason::BadRequest, detail))
}

/// Reads a channel name.
pub(crate) fn channel(name: &str) -> Result<Channel, Error> {
    Channel::parse(name).map_err(|error| {
        Error::new(Reason::ChannelInvalid, format!("`{}` is no channel: {error}", name.escape_debug()))
    })
}
