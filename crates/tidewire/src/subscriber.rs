//! Subscribers inside this process.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use tidewire_hub::admit::{Cause, ConnId, Join, Subscribe, Transport};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::limits::STREAM_PAGE;
use tidewire_hub::position::{Cursor as Place, Position, Start};
use tidewire_hub::reason::Reason;

use crate::error::Error;
use crate::hearing::{Room, Step, Waiting};
use crate::live::Inner;
use crate::message::{Cursor, Delivery, Gap, Message};

/// A subscription that is being asked for: what [`Tidewire::subscribe`](crate::Tidewire::subscribe) gives back. Await it.
#[must_use = "nothing is heard before it is awaited"]
pub struct Subscription {
    live: Arc<Inner>,
    channels: Result<ChannelSet, Error>,
    start: Start,
    messages_max: usize,
}

/// Messages that [`Subscription::tail`] begins with at most.
const TAIL_MAX: usize = 1_000;

impl Subscription {
    pub(crate) fn new<C: AsRef<str>>(
        live: Arc<Inner>,
        channels: impl IntoIterator<Item = C>,
    ) -> Subscription {
        let most = live.limits().channels_per_connection_max;
        let messages_max = live.limits().queue_messages_max;
        let channels = channels.into_iter().map(|channel| crate::live::channel(channel.as_ref()));
        let channels = channels.collect::<Result<Vec<Channel>, Error>>().map(ChannelSet::new);
        let channels = channels.and_then(|channels| match channels.len() {
            0 => Err(Error::new(Reason::ChannelCount, "a subscriber names at least one channel")),
            count if count > most => Err(Error::new(
                Reason::ChannelCount,
                format!("{count} channels are named; {most} is the most"),
            )),
            _ => Ok(channels),
        });
        Subscription { live, channels, start: Start::Live, messages_max }
    }

    /// Goes on behind this cursor: of a message heard before, here or by a browser. Without it, or one of the other two, a
    /// subscriber hears what is published from now on.
    pub fn cursor(self, cursor: impl Into<Cursor>) -> Subscription {
        Subscription { start: Start::After(cursor.into().0), ..self }
    }

    /// Begins with the newest messages that are kept, so many over all channels: 1 to 1 000, and the nearest of
    /// these for any other number.
    pub fn tail(self, messages: usize) -> Subscription {
        let messages = u32::try_from(messages.clamp(1, TAIL_MAX)).unwrap_or(u32::MAX);
        Subscription { start: Start::Tail(messages), ..self }
    }

    /// Begins with the oldest message that is kept.
    pub fn earliest(self) -> Subscription {
        Subscription { start: Start::Earliest, ..self }
    }

    /// How many messages may wait to be awaited; 1 000 by default, and 1 MiB of payloads in any case. Who falls further
    /// behind goes on from the log, and hears of a gap where that no longer has them.
    pub fn capacity(self, messages: usize) -> Subscription {
        Subscription { messages_max: messages.max(1), ..self }
    }

    async fn open(self) -> Result<Subscriber, Error> {
        let Subscription { live, channels, start, messages_max } = self;
        let channels = channels?;
        let room = Room { messages_max, bytes_max: live.limits().queue_bytes_max };
        let conn = live.hearing.enter(channels.clone(), room)?;
        // From here on it is given up by being dropped, also while nobody has answered.
        let at = match start {
            Start::After(Place::At(position)) => Some(position),
            _ => None,
        };
        let mut subscriber = Subscriber { live, conn, channels, at, error: None };
        subscriber.ask(start, Cause::Arrival(Box::default()));
        poll_fn(|context| match subscriber.live.hearing.is_answered(conn, context.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        match subscriber.live.hearing.refusal(conn) {
            Some(error) => Err(error),
            None => Ok(subscriber),
        }
    }
}

impl IntoFuture for Subscription {
    type Output = Result<Subscriber, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Subscriber, Error>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("channels", &self.channels)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// Hears channels inside this process, under the same promises as a browser: one order for all, nothing missed without a
/// [`Gap`], and whoever falls behind goes on from the log.
///
/// It is a [`Stream`]; [`Subscriber::next`] needs no trait. It keeps Tidewire running, and is given up by being dropped. It
/// counts among the WebSockets where receivers are counted, and in no presence.
///
/// ```
/// # use tidewire::{Cursor, Delivery, Error, Tidewire};
/// # async fn watch(live: Tidewire, saved: Cursor, mut keep: impl FnMut(Option<Cursor>)) -> Result<(), Error> {
/// let mut room = live.subscribe(["room:1"]).cursor(saved).await?;
/// while let Some(delivery) = room.next().await {
///     match delivery {
///         Delivery::Message(message) => println!("{}: {:?}", message.channel(), message.text()),
///         // What was built from messages is to be read anew.
///         Delivery::Gap(gap) => println!("something is missing: {:?}", gap.reason()),
///         _ => {}
///     }
///     // Where to go on after a restart.
///     keep(room.cursor());
/// }
/// // Nothing where Tidewire has shut down. Otherwise, subscribe again with the cursor: nothing is missed.
/// room.error().cloned().map_or(Ok(()), Err)
/// # }
/// ```
pub struct Subscriber {
    live: Arc<Inner>,
    conn: ConnId,
    channels: ChannelSet,
    at: Option<Position>,
    error: Option<Error>,
}

impl Subscriber {
    /// The next message or gap; nothing once Tidewire has shut down, or [`Subscriber::error`] says why: one that is catching
    /// up ends where what it has to read is in a Redis that does not answer for five seconds.
    ///
    /// Cancel safe: what was not handed out is handed out by the next call.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Where to go on: behind the last message or gap that was handed out, or further, where everything since was on other
    /// channels. Kept somewhere, it is what [`Subscription::cursor`] takes after a restart. Nothing before anything was
    /// heard of a log.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.live.hearing.position(self.conn).or(self.at).map(Cursor::at)
    }

    /// Why it ended, if not because Tidewire shut down. Where that [is temporary](Error::is_temporary), another one goes on
    /// from this one's cursor, and misses nothing that is kept.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            match self.live.hearing.step(self.conn, context.waker()) {
                Step::Take(Waiting::Message(message)) => {
                    self.at = message.id().or(self.at);
                    return Poll::Ready(Some(Delivery::Message(Message(message))));
                }
                Step::Take(Waiting::Gap(gap)) => {
                    self.at = Some(gap.cursor);
                    return Poll::Ready(Some(Delivery::Gap(Gap(gap))));
                }
                Step::Ask { after, leave } => {
                    if leave {
                        self.live.leave(&self.channels);
                    }
                    self.ask(Start::After(Place::At(after)), Cause::Page);
                }
                Step::Wait => return Poll::Pending,
                Step::End(error) => {
                    self.error = self.error.take().or(error);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn ask(&mut self, start: Start, cause: Cause) {
        self.live.ask(Subscribe {
            outlet: self.live.outlet,
            conn: self.conn,
            transport: Transport::Ws,
            grant: self.live.own.clone(),
            channels: self.channels.clone(),
            start,
            page: STREAM_PAGE,
            join: Join::WhenCaughtUp,
            cause,
        });
    }
}

impl Stream for Subscriber {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll(context)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Some(channels) = self.live.hearing.leave(self.conn) {
            self.live.leave(&channels);
        }
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("channels", &self.channels.as_slice())
            .field("cursor", &self.cursor())
            .finish_non_exhaustive()
    }
}
