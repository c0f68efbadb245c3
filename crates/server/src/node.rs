//! What every request can reach: the parts of one running node.

use std::sync::Arc;

use tidewire_hub::broker::Broker;
use tidewire_hub::grant::Gate;
use tidewire_hub::limits::Limits;
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::health::Health;
use crate::publishes::Publishes;
use crate::refusals;

/// One node. Built once by [`crate::serve`], shared by all.
pub struct Node {
    /// Decides who may do what.
    pub gate: Arc<dyn Gate>,
    /// Places and keeps messages.
    pub broker: Arc<dyn Broker>,
    /// Bounds.
    pub limits: Arc<Limits>,
    /// Tells the time.
    pub clock: Clock,
    /// Tells the phase.
    pub health: Arc<Health>,
    /// Room for publishes.
    pub publishes: Publishes,
}

impl Node {
    /// A node that is starting.
    #[must_use]
    pub fn new(gate: Arc<dyn Gate>, broker: Arc<dyn Broker>, limits: Arc<Limits>) -> Node {
        let publishes = Publishes::new(&limits);
        Node { gate, broker, limits, clock: Clock::start(), health: Arc::default(), publishes }
    }

    /// Publishes and waits for the receipt.
    ///
    /// Whoever stops waiting does not take the message back: it is *unknown* to them, as after any time-out.
    ///
    /// # Errors
    /// The broker's refusal in the request's terms; `overloaded` or `rate_limited` where there is no room for it.
    pub async fn publish(&self, publish: Publish) -> Result<Receipt, Refusal> {
        let about = refusals::About::from(&publish);
        let begun = self.publishes.begin(&publish.channel);
        let _permit = begun.map_err(|reason| refusals::of_publish(reason, &about))?;
        let (done, outcome) = oneshot::channel();
        let done = Box::new(move |result| {
            // Nobody waits any more; the message is placed all the same.
            let _ = done.send(result);
        });
        self.broker.publish(publish, self.clock.now(), done);
        match outcome.await {
            Ok(Ok(receipt)) => Ok(receipt),
            Ok(Err(reason)) => Err(refusals::of_publish(reason, &about)),
            Err(_) => {
                Err(Refusal::new(Reason::Internal, "the broker gave no answer; the outcome is unknown"))
            }
        }
    }
}
