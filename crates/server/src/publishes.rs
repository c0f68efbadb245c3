//! What publishes are taken: by whom, how large, how many at once, and how many a second on one channel (security rule
//! S37). A namespace may have rules of its own.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwap;
use governor::{DefaultKeyedRateLimiter, Quota};
use tidewire_hub::channel::Channel;
use tidewire_hub::grant::Holder;
use tidewire_hub::limits::Limits;
use tidewire_hub::publish::Publish;
use tidewire_hub::reason::Reason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::NamespaceSettings;
use crate::config::namespace::Publishers;
use crate::shared::rates::{Key, Limit, Meter, Rates, passes};

/// Room for publishes of either kind, over HTTP and over WebSocket.
#[derive(Debug)]
pub struct Publishes {
    in_flight: Arc<Semaphore>,
    rules: ArcSwap<Rules>,
    /// Where nodes share rates.
    meter: Option<Arc<Meter>>,
}

/// What is set by namespace.
pub type Namespaces = BTreeMap<Box<str>, NamespaceSettings>;

#[derive(Debug)]
struct Rules {
    common: Rule,
    own: HashMap<Box<str>, Rule>,
}

/// What holds for the channels of one namespace.
#[derive(Debug)]
struct Rule {
    publishers: Publishers,
    message_bytes_max: usize,
    rate: Limit,
    by_channel: DefaultKeyedRateLimiter<Channel>,
}

impl Publishes {
    /// Room as `limits` have it; what a channel takes in a second may all come at once.
    #[must_use]
    pub fn new(limits: &Limits, namespaces: &Namespaces) -> Publishes {
        let in_flight = Semaphore::new(limits.publishes_in_flight_max.min(Semaphore::MAX_PERMITS));
        let rules = ArcSwap::from_pointee(Rules::new(limits, namespaces));
        Publishes { in_flight: Arc::new(in_flight), rules, meter: None }
    }

    /// The same, with rates that hold for all nodes together.
    #[must_use]
    pub fn sharing(self, rates: &Rates) -> Publishes {
        Publishes { meter: Some(rates.meter()), ..self }
    }

    /// Holds to other rules from now on. How many are answered at once stays as it was at the start.
    pub fn limit(&self, limits: &Limits, namespaces: &Namespaces) {
        self.rules.store(Arc::new(Rules::new(limits, namespaces)));
    }

    /// Lets one publish of this holder begin. It counts as being answered until the permit is dropped.
    ///
    /// # Errors
    /// `forbidden` where its namespace takes messages of API keys alone, `too_large` where it takes smaller ones;
    /// `overloaded` when too many are being answered, `rate_limited` when the channel takes no more this second.
    pub fn begin(&self, holder: &Holder, publish: &Publish) -> Result<OwnedSemaphorePermit, Reason> {
        let rules = self.rules.load();
        let rule = rules.of(&publish.channel);
        // In dev mode there are no keys, and a developer stands for the backend, too.
        if rule.publishers == Publishers::Keys && matches!(holder, Holder::Token(_)) {
            return Err(Reason::Forbidden);
        }
        if publish.payload.as_bytes().len() > rule.message_bytes_max {
            return Err(Reason::TooLarge);
        }
        let permit = self.in_flight.clone().try_acquire_owned().map_err(|_| Reason::Overloaded)?;
        let by_node = || rule.by_channel.check_key(&publish.channel).is_ok();
        let key = || Key::Channel(publish.channel.clone());
        if !passes(self.meter.as_ref(), key, rule.rate, by_node) {
            return Err(Reason::RateLimited);
        }
        Ok(permit)
    }

    /// Forgets channels that are back at their full quota; called about once a second, so that as many entries at
    /// most are kept as channels were published to within about two.
    pub fn forget_the_idle(&self) {
        let rules = self.rules.load();
        for rule in rules.own.values().chain([&rules.common]) {
            rule.by_channel.retain_recent();
            rule.by_channel.shrink_to_fit();
        }
    }
}

impl Rules {
    fn new(limits: &Limits, namespaces: &Namespaces) -> Rules {
        let own = namespaces.iter().map(|(name, own)| (name.clone(), Rule::new(limits, own)));
        Rules { common: Rule::new(limits, &NamespaceSettings::default()), own: own.collect() }
    }

    fn of(&self, channel: &Channel) -> &Rule {
        if self.own.is_empty() {
            return &self.common;
        }
        self.own.get(channel.namespace()).unwrap_or(&self.common)
    }
}

impl Rule {
    fn new(limits: &Limits, own: &NamespaceSettings) -> Rule {
        let per_second = own.publishes_per_second_max.unwrap_or(limits.channel_publishes_per_second_max);
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        Rule {
            publishers: own.publish.unwrap_or(Publishers::Granted),
            message_bytes_max: own.message_bytes_max.unwrap_or(limits.message_bytes_max),
            rate: Limit::per_second(per_second.get()),
            by_channel: DefaultKeyedRateLimiter::keyed(Quota::per_second(per_second)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_hub::grant::Token;
    use tidewire_hub::message::Payload;

    fn publish(channel: &str, bytes: usize) -> Publish {
        let (channel, holder) = (Channel::parse(channel).unwrap(), Holder::Developer);
        let payload = Payload::binary(vec![0; bytes].into());
        Publish { channel, event: None, payload, key: None, publisher: holder.publisher(), trace: None }
    }

    fn begin(publishes: &Publishes, channel: &str) -> Result<(), Reason> {
        publishes.begin(&Holder::Developer, &publish(channel, 1)).map(drop)
    }

    fn namespace(name: &str, own: NamespaceSettings) -> Namespaces {
        [(name.into(), own)].into()
    }

    #[test]
    fn s37_a_channel_takes_so_many_publishes_a_second_and_another_its_own() {
        let limits = Limits { channel_publishes_per_second_max: 2, ..Limits::default() };
        let publishes = Publishes::new(&limits, &Namespaces::new());
        let outcomes = [(); 3].map(|()| begin(&publishes, "a"));
        assert_eq!(outcomes, [Ok(()), Ok(()), Err(Reason::RateLimited)]);
        assert_eq!(begin(&publishes, "b"), Ok(()));
    }

    #[test]
    fn s37_so_many_publishes_are_answered_at_once() {
        let limits = Limits { publishes_in_flight_max: 1, ..Limits::default() };
        let publishes = Publishes::new(&limits, &Namespaces::new());
        let first = publishes.begin(&Holder::Developer, &publish("a", 1)).unwrap();
        assert_eq!(begin(&publishes, "a"), Err(Reason::Overloaded));
        drop(first);
        assert_eq!(begin(&publishes, "a"), Ok(()));
    }

    #[test]
    fn s37_a_namespace_has_a_rate_and_a_size_of_its_own() {
        let own = NamespaceSettings {
            publishes_per_second_max: Some(1),
            message_bytes_max: Some(3),
            ..NamespaceSettings::default()
        };
        let publishes = Publishes::new(&Limits::default(), &namespace("chat", own));
        let sized = |channel, bytes| publishes.begin(&Holder::Developer, &publish(channel, bytes)).map(drop);
        assert_eq!([sized("chat:1", 4), sized("chats:1", 4)], [Err(Reason::TooLarge), Ok(())]);
        assert_eq!([sized("chat:1", 3), sized("chat:1", 3)], [Ok(()), Err(Reason::RateLimited)]);
        assert_eq!([sized("chats:1", 3), sized("chats:1", 3)], [Ok(()), Ok(())]);
    }

    #[test]
    fn a_namespace_of_keys_takes_nothing_of_a_token() {
        let own = NamespaceSettings { publish: Some(Publishers::Keys), ..NamespaceSettings::default() };
        let publishes = Publishes::new(&Limits::default(), &namespace("news", own));
        let token = Holder::Token(Arc::new(Token { subject: "alice".into(), id: None, issued_at_s: 0 }));
        let begin = |holder: &Holder, channel| publishes.begin(holder, &publish(channel, 1)).map(drop);
        assert_eq!(begin(&token, "news"), Err(Reason::Forbidden));
        assert_eq!(begin(&token, "chat"), Ok(()));
        for holder in [Holder::Key("billing".into()), Holder::Developer] {
            assert_eq!(begin(&holder, "news"), Ok(()));
        }
    }

    #[test]
    fn other_rules_hold_from_the_next_publish_on() {
        let publishes = Publishes::new(&Limits::default(), &Namespaces::new());
        assert_eq!(begin(&publishes, "chat"), Ok(()));
        let own = NamespaceSettings { message_bytes_max: Some(0), ..NamespaceSettings::default() };
        publishes.limit(&Limits::default(), &namespace("chat", own));
        assert_eq!(begin(&publishes, "chat"), Err(Reason::TooLarge));
    }
}
