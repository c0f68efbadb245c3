//! What every request can reach: the parts of one running node, and the steps that every request takes through them.
//!
//! ```text
//! screen (host, origin) --> room (drain, connections, rates) --> admit (credentials) --> rights
//!   changes nothing           changes nothing but counts          may spend a ticket
//! ```

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tidewire_hub::admit::HeadFields;
use tidewire_hub::bridge::Outward;
use tidewire_hub::broker::{self, Broker, Done, Now};
use tidewire_hub::channel::Channel;
use tidewire_hub::grant::{Asked, Denied, Entry, Gate, Grant, Tickets};
use tidewire_hub::limits::Limits;
use tidewire_hub::presence::Members;
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::{Revocation, Revocations};
use tidewire_hub::trace::TraceParent;
use tidewire_transport::refusal::Refusal;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::control::passes::Passes;
use crate::crowd::Crowd;
use crate::health::{Health, Phase};
use crate::inquiry::{Inquiry, Question};
use crate::metrics::Tally;
use crate::presence::Keeper;
use crate::publishes::{Namespaces, Publishes};
use crate::refusals;
use crate::shared::{Ledger, Unwritten};
use crate::spans::{Published, Refused, Spans};
use crate::turned_away::{Turned, TurnedAway};
use crate::ways::Ways;

/// One node. Built once by [`crate::serve`], shared by all.
pub struct Node {
    /// Decides who may do what.
    pub gate: Arc<dyn Gate>,
    /// Sells tickets to who was let in by the gate.
    pub tickets: Arc<dyn Tickets>,
    /// Places and keeps messages.
    pub broker: Arc<dyn Broker>,
    /// Takes messages of bridged channels; nothing where none is bridged.
    pub bridge: Option<Arc<dyn Outward>>,
    /// Tells the time.
    pub clock: Clock,
    /// Tells the phase.
    pub health: Arc<Health>,
    /// Room for publishes.
    pub publishes: Publishes,
    /// Counts addresses and subjects; nothing in dev mode, where all are one.
    pub crowd: Option<Arc<Crowd>>,
    /// Rights that were taken back.
    pub revocations: Arc<Revocations>,
    /// The revocations of all nodes; nothing where there is one.
    pub ledger: Option<Ledger>,
    /// Counts who is connected, where presence is kept.
    pub presence: Arc<Keeper>,
    /// Remembers who was refused.
    pub turned_away: Arc<TurnedAway>,
    /// Counts publishes and tickets.
    pub tally: Arc<Tally>,
    /// Takes spans; nothing where nobody collects traces.
    pub spans: Option<Arc<dyn Spans>>,
    /// Knows the proxies that are believed.
    pub ways: Ways,
    /// Whether the node is not ready while its broker is away for everybody (`readyz.strict`).
    pub strict_readiness: bool,
    /// Runs what waits for a moment; nothing where nobody waits, in the simulation.
    pub runtime: Option<tokio::runtime::Handle>,
    /// Subscriptions on their way to an outlet that were let in elsewhere than at the gate.
    pub passes: Arc<Passes>,
    limits: Arc<ArcSwap<Limits>>,
}

/// How long wrong credentials wait for their answer (security rule S38).
const FAILURE_DELAY: Duration = Duration::from_millis(200);

impl Node {
    /// A node that is starting, counts nobody and believes no proxy.
    #[must_use]
    pub fn new<G: Gate + Tickets + 'static>(
        gate: Arc<G>,
        broker: Arc<dyn Broker>,
        limits: Arc<Limits>,
    ) -> Node {
        let publishes = Publishes::new(&limits, &Namespaces::new());
        Node {
            gate: gate.clone(),
            tickets: gate,
            broker,
            bridge: None,
            clock: Clock::start(),
            health: Arc::default(),
            publishes,
            crowd: None,
            revocations: Arc::default(),
            ledger: None,
            presence: Arc::default(),
            turned_away: Arc::default(),
            tally: Arc::default(),
            spans: None,
            ways: Ways::default(),
            strict_readiness: false,
            runtime: None,
            passes: Arc::default(),
            limits: Arc::new(ArcSwap::new(limits)),
        }
    }

    /// Whether new clients should come, and the word for how the node is: not while starting, draining or deaf. A broker that
    /// is away is away for every node, and sending clients to none would end every stream: that is ready, and `degraded`.
    #[must_use]
    pub fn readiness(&self) -> (bool, &'static str) {
        match (self.health.phase(), self.broker.state()) {
            (Phase::Ready, broker::State::Ready) => (true, Phase::Ready.as_str()),
            (Phase::Ready, broker::State::Starting) => (false, Phase::Starting.as_str()),
            (Phase::Ready, broker::State::Away) => (!self.strict_readiness, "degraded"),
            (Phase::Ready, broker::State::Deaf) => (false, "deaf"),
            (phase, _) => (false, phase.as_str()),
        }
    }

    /// The bounds as they are now.
    #[must_use]
    pub fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }

    /// The same for whoever wants to see them change.
    #[must_use]
    pub fn live_limits(&self) -> Arc<ArcSwap<Limits>> {
        self.limits.clone()
    }

    /// Holds to other bounds from now on.
    pub fn limit(&self, limits: Arc<Limits>, namespaces: &Namespaces) {
        if let Some(crowd) = &self.crowd {
            crowd.limit(limits.clone());
        }
        self.publishes.limit(&limits, namespaces);
        self.limits.store(limits);
    }

    /// The first step: host and origin. What it gives back goes into the head of every answer from here on.
    ///
    /// # Errors
    /// The gate's reason with what it disliked.
    pub fn screen(&self, asked: &Asked<'_>) -> Result<HeadFields, Refusal> {
        let screened = self.gate.screen(asked).map_err(|denied| refusals::denied(denied, asked))?;
        let no_referrer = asked.ticket.is_some() || asked.query_token.is_some();
        Ok(HeadFields { credentials: screened.credentials, no_referrer, set_cookie: None })
    }

    /// Whether new subscribers may come at all. Looked at before a ticket is spent (delivery rule R12).
    ///
    /// # Errors
    /// `draining`.
    pub fn has_time(&self) -> Result<(), Refusal> {
        if self.health.phase() == Phase::Draining {
            return Err(Refusal::new(Reason::Draining, Reason::Draining.hint()));
        }
        Ok(())
    }

    /// The last step: credentials. `done` is called once, possibly before this returns; late where they were wrong. An
    /// `inquiry` is asked in place of the gate.
    pub fn admit(
        self: &Arc<Self>,
        asked: &Asked<'_>,
        inquiry: Option<&Inquiry>,
        done: Done<Result<Entry, Refusal>>,
    ) {
        let now = self.clock.now();
        if let Some(Err(refusal)) = self.crowd_of(asked.client).map(|crowd| crowd.may_try(asked.client, now))
        {
            return done(Err(refusal));
        }
        let (node, client) = (self.clone(), asked.client);
        let finish = Box::new(move |outcome: Result<Entry, Denied>| match outcome {
            Ok(entry) => done(Ok(entry)),
            Err(denied) => node.turn_away(denied, client, now, done),
        });
        match inquiry {
            Some(inquiry) => {
                let Asked { action, client, secure, .. } = *asked;
                inquiry.ask(Question { action, client, secure, now }, finish);
            }
            None => self.gate.admit(asked, now, finish),
        }
    }

    /// Who counts this client: nobody, where its address is not known. All of those would be one, and shut each other out.
    fn crowd_of(&self, client: IpAddr) -> Option<&Arc<Crowd>> {
        self.crowd.as_ref().filter(|_| !client.is_unspecified())
    }

    /// Reads a token that comes on an open connection.
    pub fn renew(self: &Arc<Self>, token: &str, done: Done<Result<Arc<Grant>, Refusal>>) {
        let now = self.clock.now();
        let finish = Box::new(move |outcome: Result<Arc<Grant>, Denied>| {
            done(outcome.map_err(refusals::worded));
        });
        self.gate.renew(token, now, finish);
    }

    /// How long the rights of `grant` still last.
    #[must_use]
    pub fn lasts(&self, grant: &Grant) -> Option<Duration> {
        grant.lasts_ms(self.clock.now()).map(Duration::from_millis)
    }

    fn turn_away(&self, denied: Denied, client: IpAddr, now: Now, done: Done<Result<Entry, Refusal>>) {
        let forged = denied.forged;
        let refusal = refusals::worded(denied);
        match (self.crowd_of(client), &self.runtime) {
            (Some(crowd), runtime) if forged => {
                crowd.failed(client, now);
                match runtime {
                    // Bounded by the connections there may be: each waits for one answer.
                    Some(runtime) => drop(runtime.spawn(async move {
                        tokio::time::sleep(FAILURE_DELAY).await;
                        done(Err(refusal));
                    })),
                    None => done(Err(refusal)),
                }
            }
            _ => done(Err(refusal)),
        }
    }

    /// Asks who is connected to `channel`. `done` is called once, possibly before this returns.
    pub fn members(&self, grant: &Grant, channel: Channel, done: Done<Result<Members, Refusal>>) {
        if let Err(refusal) = refusals::may_see_presence(grant, &channel) {
            return done(Err(refusal));
        }
        if !self.presence.keeps(&channel) {
            return done(Err(refusals::no_presence(&channel)));
        }
        let finish = move |outcome: Result<Members, Reason>| {
            done(
                outcome.map_err(|reason| Refusal::new(reason, "who is connected is not known at the moment")),
            );
        };
        self.presence.list(channel, Box::new(finish));
    }

    /// Publishes and waits for the receipt.
    ///
    /// Whoever stops waiting does not take the message back: it is *unknown* to them, as after any time-out.
    ///
    /// # Errors
    /// Those of [`Node::publish_then`].
    pub async fn publish(&self, grant: &Grant, publish: Publish) -> Result<Receipt, Refusal> {
        let (done, outcome) = oneshot::channel();
        let done = Box::new(move |result| {
            // Nobody waits any more; the message is placed all the same.
            let _ = done.send(result);
        });
        self.publish_then(grant, publish, done);
        let lost = |_| {
            Err(Refusal::new(Reason::OutcomeUnknown, "the broker gave no answer; the outcome is unknown"))
        };
        outcome.await.unwrap_or_else(lost)
    }

    /// Publishes. `done` is called once with the receipt, possibly before this returns; or with the broker's refusal in the
    /// request's terms, or that of [`Node::begin_publish`].
    pub fn publish_then(&self, grant: &Grant, publish: Publish, done: Done<Result<Receipt, Refusal>>) {
        let about = self.about(&publish);
        match self.begin_publish(grant, &publish) {
            Ok(permit) => self.hand_over(
                publish,
                Box::new(move |outcome| {
                    drop(permit);
                    done(outcome.map_err(|reason| refusals::of_publish(reason, &about)));
                }),
            ),
            Err(reason) => done(Err(refusals::of_publish(reason, &about))),
        }
    }

    /// Takes back rights, on this node or on all of them, and waits until it is certain.
    ///
    /// # Errors
    /// `overloaded` where there is no room, or the other nodes may not hear of it; the detail says what is in force.
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), Refusal> {
        let full = |_| Refusal::new(Reason::Overloaded, "as many revocations are remembered as may be");
        let (done, outcome) = oneshot::channel();
        // Whoever stops waiting takes nothing back: what was revoked stays so.
        match &self.ledger {
            Some(ledger) => ledger.revoke(
                revocation,
                Box::new(move |outcome: Result<(), Unwritten>| {
                    let refusal = |error: Unwritten| Refusal::new(Reason::Overloaded, error.to_string());
                    let _ = done.send(outcome.map_err(refusal));
                }),
            ),
            None => self.broker.revoke(
                revocation,
                Box::new(move |outcome: Result<(), Reason>| {
                    let _ = done.send(outcome.map_err(full));
                }),
            ),
        }
        let lost = |_| Refusal::new(Reason::Internal, "the outcome is unknown; revoke again");
        outcome.await.map_err(lost)?
    }

    /// Takes one publish's place among those of its publisher, of its channel and of the node.
    ///
    /// # Errors
    /// `revoked`, those of [`Publishes::begin`], or on a bridged channel those of
    /// [`Bridged::may_send`](tidewire_hub::Bridged::may_send).
    pub fn begin_publish(
        &self,
        grant: &Grant,
        publish: &Publish,
    ) -> Result<tokio::sync::OwnedSemaphorePermit, Reason> {
        if self.revocations.bars(grant, &publish.channel) {
            return Err(Reason::Revoked);
        }
        if let Some(bridge) = self.bridge_of(&publish.channel) {
            bridge.bridged().may_send(publish)?;
        }
        if let Some(crowd) = &self.crowd {
            crowd.may_publish(&grant.holder, &publish.publisher)?;
        }
        self.publishes.begin(&grant.holder, publish)
    }

    /// Hands a publish that has begun to whoever takes it: the broker, or the bridge where its channel is bridged.
    pub fn hand_over(&self, publish: Publish, done: Done<Result<Receipt, Reason>>) {
        let (began, clock, tally) = (self.clock.now(), self.clock.clone(), self.tally.clone());
        let span = self.spans.clone().map(|spans| {
            let (parent, payload_bytes) = (publish.trace.clone(), publish.payload.as_bytes().len());
            (spans, SystemTime::now(), parent, payload_bytes)
        });
        let done = Box::new(move |outcome: Result<Receipt, Reason>| {
            let took = clock.now().monotonic_us().saturating_sub(began.monotonic_us());
            tally.publish.observe(took);
            tally.published(outcome.as_ref().err().copied());
            done(outcome);
            if let Some((spans, began, parent, payload_bytes)) = span {
                let (took, outcome) = (Duration::from_micros(took), outcome.map(|receipt| receipt.position));
                spans.published(&Published { parent, began, took, payload_bytes, outcome });
            }
        });
        match self.bridge_of(&publish.channel) {
            Some(bridge) => bridge.send(publish, done),
            None => self.broker.publish(publish, began, done),
        }
    }

    /// Remembers a refusal, and tells whoever collects traces. `parent` is what its request was part of.
    pub fn refused(&self, turned: Turned, parent: Option<&TraceParent>) {
        if let Some(spans) = &self.spans {
            let Turned { time_ms, reason, asked, .. } = turned;
            spans.refused(&Refused { parent, time_ms, reason, asked, trace_id: turned.trace_id.as_deref() });
        }
        self.turned_away.note(turned);
    }

    /// What a refusal of this publish will say about it.
    #[must_use]
    pub fn about(&self, publish: &Publish) -> refusals::About {
        refusals::About::new(publish, self.bridge_of(&publish.channel).is_some())
    }

    fn bridge_of(&self, channel: &Channel) -> Option<&dyn Outward> {
        self.bridge.as_deref().filter(|bridge| bridge.bridged().holds(channel))
    }
}
