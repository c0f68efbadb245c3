//! The tasks of a Redis broker: coming in, staying, and coming in again.
//!
//! ```text
//! keep ── dial, shake hands, dial the ear ──> a session: flush, subscribe, read, probe, renew ──> until one of them fails
//!   ^                                                                                              |
//!   └──────────────── wait 50 ms to 1 s, longer each time, with jitter ────────────────────────────┘
//! ```
//!
//! There is one recovery for whatever goes wrong with the link: it is given up and the node comes in again (delivery rule
//! R13). What the link brings is taken on the task that reads it, so that a message is in the outlets' inboxes one lock
//! after it left the socket.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::broker::{Options, Shared};
use super::endpoint::Endpoint;
use super::error::Error;
use super::fence::Fence;
use super::hear::{Ear, Heard};
use super::log::{Log, READ_CHANNELS_MAX};
use super::sequencer::{Sequencer, Session, Standing, Tail};

/// How long a node's registration lasts without being renewed (decision 13). Who is gone for longer counts as dead.
const LEASE: Duration = Duration::from_secs(10);

/// How often the fence is looked at over the link that brings messages: with the time an answer may take, a link that is
/// alive and deaf is noticed within 2 s (delivery rule R18).
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How often what waits is looked through.
const PASS_EVERY: Duration = Duration::from_millis(50);

/// How long the first wait between two attempts to come in is, and how long the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Keeps the node in the log: comes in, stays for as long as the link is good, and comes in again.
pub(super) async fn keep(shared: Arc<Shared>) {
    let passing = tokio::spawn(pass(shared.clone()));
    let _ends_with_us = Abort(passing);
    let mut wait = BACKOFF.0;
    loop {
        // Whether others know is no longer this node's business: a promotion waits for its lease at most.
        if let Some(done) = shared.parting().take() {
            return done(());
        }
        let began = Instant::now();
        let error = match come_in(&shared).await {
            Ok(links) => {
                let session = links.session;
                let error = stay(&shared, links).await;
                shared.with(|sequencer, now| sequencer.lost(session, now));
                error
            }
            Err(error) => error,
        };
        shared.watched().not_live_since.get_or_insert_with(Instant::now);
        // The same complaint once, not once a second.
        let is_news = shared.watched().last_error.replace(error.clone()) != Some(error.clone());
        match error {
            _ if !is_news => {}
            // Nothing but other settings, or another server, will help.
            Error::Auth | Error::TooOld { .. } => tracing::error!(%error, "this node cannot use its Redis"),
            Error::Fenced => tracing::info!("the log has to be entered anew"),
            _ => tracing::warn!(%error, "Redis is away"),
        }
        if began.elapsed() > BACKOFF.1 {
            wait = BACKOFF.0;
        }
        if shared.parting().is_some() {
            continue;
        }
        let jitter = (shared.options.random)() % 1_000;
        sleep(wait / 2 + wait * u32::try_from(jitter).unwrap_or(0) / 2_000).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}

/// A task that ends with whoever holds this.
struct Abort(tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn pass(shared: Arc<Shared>) {
    let mut moments = interval(PASS_EVERY);
    moments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        moments.tick().await;
        shared.with(Sequencer::pass);
        let standing = shared.lock().standing();
        let mut watched = shared.watched();
        if standing == Standing::Live {
            (watched.not_live_since, watched.entered, watched.has_been_live) = (None, None, true);
            if let Some(error) = watched.last_error.take().filter(|error| *error != Error::Fenced) {
                tracing::info!(after = %error, "Redis is back");
            }
        } else {
            watched.not_live_since.get_or_insert_with(Instant::now);
        }
        drop(watched);
        shared.ring();
    }
}

/// The links of one session, all of them to one server.
struct Links {
    session: Session,
    /// Places messages.
    log: Log,
    /// Reads and renews: large answers must not hold up acknowledgements, nor a `WAIT` a lease.
    reader: Log,
    /// Brings messages.
    ear: Ear,
}

async fn come_in(shared: &Arc<Shared>) -> Result<Links, Error> {
    let entered = enter(shared).await;
    shared.watched().has_entered(entered.is_ok());
    let (endpoint, log, session) = entered?;
    match dial_others(shared, &endpoint, session).await {
        Ok((reader, ear)) => Ok(Links { session, log, reader, ear }),
        Err(error) => {
            shared.with(|sequencer, now| sequencer.lost(session, now));
            Err(error)
        }
    }
}

async fn enter(shared: &Arc<Shared>) -> Result<(Endpoint, Log, Session), Error> {
    let Options { address, prefix, timeouts, durability, .. } = &shared.options;
    let endpoint = address.master(*timeouts).await?;
    let log = Log::dial(&endpoint, prefix, 0, *timeouts).await?.with(*durability);
    let past = shared.lock().past();
    let fresh = [shared.generation(), shared.generation()];
    let fence = log.handshake(&past, fresh).await?;
    if fence.evicts {
        tracing::warn!("Redis throws keys away when memory is full: set maxmemory-policy to noeviction");
    }
    let generation = fence.generation;
    let session = shared.with(|sequencer, _| sequencer.entered(fence));
    shared.generations.send_if_modified(|known| known.replace(generation) != Some(generation));
    Ok((endpoint, log, session))
}

async fn dial_others(
    shared: &Arc<Shared>,
    endpoint: &Endpoint,
    session: Session,
) -> Result<(Log, Ear), Error> {
    let Options { prefix, timeouts, .. } = &shared.options;
    let reader = Log::dial(endpoint, prefix, 0, *timeouts).await?;
    let hearing = shared.clone();
    let hear = Arc::new(move |heard: Heard| match heard {
        Heard::Told { channel, bytes } => {
            let outcome = hearing.with(|sequencer, now| {
                sequencer.heard(session, channel, bytes, now).map(|()| sequencer.wants_probe())
            });
            match outcome {
                Ok(wants_probe) if wants_probe => hearing.to_probe.notify_one(),
                Ok(_) => {}
                Err(_) => hearing.stray(Some(session)),
            }
        }
        Heard::Trace { bytes } => hearing.with(|sequencer, _| sequencer.heard_trace(session, &bytes)),
        Heard::Ended => hearing.stray(Some(session)),
    });
    let ear = Ear::dial(endpoint, prefix, 0, *timeouts, hear).await?;
    Ok((reader, ear))
}

/// Carries out orders until the link is lost or given up.
async fn stay(shared: &Arc<Shared>, links: Links) -> Error {
    let Links { session, log, reader, ear } = links;
    tokio::select! {
        error = flush(shared, &log) => error,
        error = hear(shared, &ear) => error,
        error = read(shared, &reader) => error,
        error = probe(shared, &ear) => error,
        error = renew(shared, session, &reader) => error,
        () = astray(shared, session) => Error::Fenced,
        () = part(shared, &reader) => Error::Fenced,
    }
}

async fn astray(shared: &Shared, session: Session) {
    loop {
        shared.astray.notified().await;
        // What was said of the session before says nothing about this one.
        if shared.strayed() == Some(session) {
            return;
        }
    }
}

/// Says goodbye once that is asked for.
async fn part(shared: &Shared, log: &Log) {
    shared.to_part.notified().await;
    let (fence, node) = {
        let sequencer = shared.lock();
        (sequencer.fence(), sequencer.past().node())
    };
    if let Some(fence) = fence
        && let Err(error) = log.farewell(&fence, node).await
    {
        tracing::debug!(%error, "Redis was not told that this node leaves");
    }
}

async fn flush(shared: &Arc<Shared>, log: &Log) -> Error {
    let (failed, mut failures) = tokio::sync::mpsc::channel(1);
    loop {
        while let Some(flush) = shared.lock().next_flush() {
            // On a task of its own: whatever becomes of this session, its messages are answered for.
            let (shared, log, failed) = (shared.clone(), log.clone(), failed.clone());
            tokio::spawn(async move {
                let began = Instant::now();
                let outcomes = log.publish(&flush.fence, flush.node, &flush.requests()).await;
                let took = began.elapsed().as_micros();
                shared.round_trips.observe(u64::try_from(took).unwrap_or(u64::MAX));
                let broken = outcomes.iter().find_map(|one| match one {
                    Err(error @ (Error::Broken | Error::Malformed { .. })) => Some(error.clone()),
                    _ => None,
                });
                shared.report(|sequencer, now| sequencer.flush_done(flush, outcomes, now));
                shared.to_flush.notify_one();
                if let Some(error) = broken {
                    // Full means that another flush has said so already.
                    let _ = failed.try_send(error);
                }
            });
        }
        tokio::select! {
            () = shared.to_flush.notified() => {}
            Some(error) = failures.recv() => return error,
        }
    }
}

async fn hear(shared: &Shared, ear: &Ear) -> Error {
    loop {
        let Some(order) = shared.lock().next_subscriptions() else {
            shared.to_hear.notified().await;
            continue;
        };
        let asked = async {
            ear.unsubscribe(&order.unsubscribe).await?;
            ear.subscribe(&order.subscribe).await?;
            ear.probe().await
        };
        match asked.await {
            Ok(probe) => shared.report(|sequencer, now| sequencer.confirmed(&order, &probe, now)),
            Err(error) => return error,
        }
    }
}

async fn read(shared: &Arc<Shared>, reader: &Log) -> Error {
    let mut under_way: JoinSet<Result<(), Error>> = JoinSet::new();
    loop {
        loop {
            let (fence, read, tail) = {
                let now = shared.now();
                let mut sequencer = shared.lock();
                (sequencer.fence(), sequencer.next_read(now), sequencer.next_tail())
            };
            let Some(fence) = fence.filter(|_| read.is_some() || tail.is_some()) else { break };
            if let Some(order) = read {
                let (shared, reader, fence) = (shared.clone(), reader.clone(), fence.clone());
                under_way.spawn(async move {
                    let outcome = reader.read(&fence, &order.wanted, order.page).await;
                    let broken = outcome.as_ref().err().filter(|error| !error.is_refusal()).cloned();
                    shared.report(|sequencer, now| sequencer.read_done(&order, outcome, now));
                    broken.map_or(Ok(()), Err)
                });
            }
            if let Some(order) = tail {
                let (shared, reader) = (shared.clone(), reader.clone());
                under_way.spawn(async move {
                    let outcome = before_newest(&reader, &fence, &order).await;
                    let broken = outcome.as_ref().err().filter(|error| !error.is_refusal()).cloned();
                    shared
                        .report(|sequencer, now| sequencer.tail_done(&order, outcome.as_ref().copied(), now));
                    broken.map_or(Ok(()), Err)
                });
            }
        }
        tokio::select! {
            Some(ended) = under_way.join_next(), if !under_way.is_empty() => {
                if let Ok(Err(error)) = ended {
                    return error;
                }
            }
            () = shared.to_read.notified() => {}
        }
    }
}

/// The seq before the newest messages of all channels, or of those that one call can look at, whichever is lower: more than
/// enough is read then.
async fn before_newest(reader: &Log, fence: &Fence, order: &Tail) -> Result<u64, Error> {
    let mut before = u64::MAX;
    for channels in order.channels.chunks(READ_CHANNELS_MAX) {
        before = before.min(reader.before_newest(fence, channels, order.count).await?.0);
    }
    Ok(before)
}

async fn probe(shared: &Shared, ear: &Ear) -> Error {
    let mut due = Instant::now() + PROBE_EVERY;
    loop {
        while Instant::now() < due && !shared.lock().wants_probe() {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = shared.to_probe.notified() => {}
            }
        }
        due = Instant::now() + PROBE_EVERY;
        let look = shared.lock().look();
        let began = Instant::now();
        match ear.probe().await {
            Ok(probe) => {
                shared.watched().probe = Some(began.elapsed());
                shared.report(|sequencer, now| sequencer.probed(look, &probe, now));
            }
            Err(error) => return error,
        }
    }
}

async fn renew(shared: &Shared, session: Session, log: &Log) -> Error {
    let mut due = interval(LEASE / 4);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let (fence, node) = {
            let sequencer = shared.lock();
            (sequencer.fence(), sequencer.past().node())
        };
        let Some(fence) = fence else { return Error::Fenced };
        match log.renew(&fence, node, LEASE, shared.generation()).await {
            Ok(lease) => shared.lock().renewed(session, &lease),
            Err(error) => return error,
        }
    }
}
