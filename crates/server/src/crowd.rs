//! The crowd: how many connections, tries and publishes one address or one subject may have (security rules S36 to S38).
//!
//! Whoever is let in takes a [`Seat`], which lives as long as the connection and gives its places back when dropped.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota};
use smallvec::SmallVec;
use tidewire_hub::broker::Now;
use tidewire_hub::channel::Channel;
use tidewire_hub::grant::Holder;
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tidewire_transport::forwarded::prefix;
use tidewire_transport::refusal::Refusal;

use crate::shared::rates::{Key, Limit, Meter, Rates as SharedRates, passes};

/// Who is here, and how often they came. Addresses count by /32 and /64.
pub struct Crowd {
    connections: Tally<IpAddr>,
    channels: Tally<Arc<str>>,
    /// Addresses that may not try credentials again before this moment.
    locked_out: Mutex<HashMap<IpAddr, u64>>,
    rates: ArcSwap<Rates>,
    /// Where nodes share rates. Connections and channels are counted by each node for itself.
    meter: Option<Arc<Meter>>,
}

/// The limiters that hold to one set of limits. Made anew when those change, which forgets at most a minute.
struct Rates {
    limits: Arc<Limits>,
    /// Of everybody: a storm of those who come back is spread over the seconds that it takes to serve them.
    all_arrivals: DefaultDirectRateLimiter,
    arrivals: DefaultKeyedRateLimiter<IpAddr>,
    failures: DefaultKeyedRateLimiter<IpAddr>,
    subject_publishes: DefaultKeyedRateLimiter<Arc<str>>,
    key_publishes: DefaultKeyedRateLimiter<Arc<str>>,
}

/// How long an address that has failed too often waits before it may try again.
const LOCK_OUT_MS: u64 = 60_000;

impl Crowd {
    /// Nobody yet.
    #[must_use]
    pub fn new(limits: Arc<Limits>) -> Crowd {
        Crowd {
            connections: Tally::default(),
            channels: Tally::default(),
            locked_out: Mutex::default(),
            rates: ArcSwap::from_pointee(Rates::new(limits)),
            meter: None,
        }
    }

    /// The same, with rates that hold for all nodes together.
    #[must_use]
    pub fn sharing(self, rates: &SharedRates) -> Crowd {
        Crowd { meter: Some(rates.meter()), ..self }
    }

    /// Holds to other limits from now on.
    pub fn limit(&self, limits: Arc<Limits>) {
        self.rates.store(Arc::new(Rates::new(limits)));
    }

    /// Lets one more connection of an address come, whoever it will turn out to be.
    ///
    /// # Errors
    /// `rate_limited` where the address has too many connections or opens them too fast; `overloaded` where more come in
    /// this second than the node lets in (fault F23).
    pub fn arrive(self: &Arc<Self>, client: IpAddr) -> Result<Seat, Refusal> {
        let (rates, address) = (self.rates.load(), prefix(client));
        let limit = Limit::per_second(rates.limits.address_arrivals_per_second_max);
        let by_node = || rates.arrivals.check_key(&address).is_ok();
        if !passes(self.meter.as_ref(), || Key::Arrivals(address), limit, by_node) {
            let detail = "this address opens connections faster than it may";
            return Err(Refusal::new(Reason::RateLimited, detail));
        }
        Self::has_time(&rates)?;
        let most = rates.limits.address_connections_max;
        if !self.connections.add(&address, 1, most) {
            let detail = format!("this address has {most} connections, which is all it may");
            return Err(Refusal::new(Reason::RateLimited, detail));
        }
        Ok(Seat { crowd: self.clone(), address: Some(address), listening: Mutex::default() })
    }

    /// Lets one more stream come of a connection that has a seat of its own.
    ///
    /// # Errors
    /// `overloaded` where more come in this second than the node lets in (fault F23).
    pub fn accompany(self: &Arc<Self>) -> Result<Seat, Refusal> {
        Self::has_time(&self.rates.load())?;
        Ok(Seat { crowd: self.clone(), address: None, listening: Mutex::default() })
    }

    fn has_time(rates: &Rates) -> Result<(), Refusal> {
        let detail = "more clients come in this second than this node lets in";
        rates.all_arrivals.check().map_err(|_| Refusal::new(Reason::Overloaded, detail))
    }

    /// Whether an address may try credentials.
    ///
    /// # Errors
    /// `rate_limited` where too many of its tries within a minute were wrong.
    pub fn may_try(&self, client: IpAddr, now: Now) -> Result<(), Refusal> {
        let locked = lock(&self.locked_out);
        if locked.get(&prefix(client)).is_some_and(|until| now.monotonic_ms < *until) {
            let detail = "too many credentials from this address were wrong; it may try again in a minute";
            return Err(Refusal::new(Reason::RateLimited, detail));
        }
        Ok(())
    }

    /// Counts wrong credentials against the address that sent them.
    pub fn failed(&self, client: IpAddr, now: Now) {
        let address = prefix(client);
        let rates = self.rates.load();
        let limit = Limit::per_minute(rates.limits.address_failures_per_minute_max);
        let by_node = || rates.failures.check_key(&address).is_ok();
        if !passes(self.meter.as_ref(), || Key::Failures(address), limit, by_node) {
            lock(&self.locked_out).insert(address, now.monotonic_ms.saturating_add(LOCK_OUT_MS));
        }
    }

    /// Counts one publish of this holder.
    ///
    /// # Errors
    /// `rate_limited` where it has published enough for this second.
    pub fn may_publish(&self, holder: &Holder, publisher: &Arc<str>) -> Result<(), Reason> {
        let rates = self.rates.load();
        let limits = &rates.limits;
        let (limiter, per_second) = match holder {
            Holder::Developer => return Ok(()),
            Holder::Key(_) => (&rates.key_publishes, limits.key_publishes_per_second_max),
            Holder::Token(_) => (&rates.subject_publishes, limits.subject_publishes_per_second_max),
        };
        let by_node = || limiter.check_key(publisher).is_ok();
        let key = || Key::Publisher(publisher.clone());
        let passes = passes(self.meter.as_ref(), key, Limit::per_second(per_second), by_node);
        passes.then_some(()).ok_or(Reason::RateLimited)
    }

    /// Counts one ticket that this holder buys, against what it may buy at all nodes together. What it may buy at this one
    /// the office itself knows.
    ///
    /// # Errors
    /// `rate_limited` where it has bought enough for this second.
    pub fn may_buy(&self, holder: &Holder) -> Result<(), Reason> {
        let per_second = self.rates.load().limits.tickets_per_second_max;
        if matches!(holder, Holder::Developer) {
            return Ok(());
        }
        let key = || Key::Tickets(holder.publisher());
        let passes = passes(self.meter.as_ref(), key, Limit::per_second(per_second), || true);
        passes.then_some(()).ok_or(Reason::RateLimited)
    }

    /// Forgets who is back at a full quota: as many entries at most are kept as came or failed within a minute.
    pub fn forget_the_idle(&self, now: Now) {
        let rates = self.rates.load();
        for limiter in [&rates.arrivals, &rates.failures] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        for limiter in [&rates.subject_publishes, &rates.key_publishes] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        lock(&self.locked_out).retain(|_, until| now.monotonic_ms < *until);
    }
}

impl Rates {
    fn new(limits: Arc<Limits>) -> Rates {
        let per = |count: u32| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        // A tenth of a second's worth at once: whoever is over that comes back later, and does not stand in a queue.
        let all = Quota::per_second(per(limits.arrivals_per_second_max))
            .allow_burst(per(limits.arrivals_per_second_max / 10));
        Rates {
            all_arrivals: DefaultDirectRateLimiter::direct(all),
            arrivals: DefaultKeyedRateLimiter::keyed(Quota::per_second(per(
                limits.address_arrivals_per_second_max
            ))),
            failures: DefaultKeyedRateLimiter::keyed(Quota::per_minute(per(
                limits.address_failures_per_minute_max
            ))),
            subject_publishes: DefaultKeyedRateLimiter::keyed(Quota::per_second(per(
                limits.subject_publishes_per_second_max
            ))),
            key_publishes: DefaultKeyedRateLimiter::keyed(Quota::per_second(per(
                limits.key_publishes_per_second_max
            ))),
            limits,
        }
    }
}

/// What one connection counts as: one of its address, and so many channels of its subject.
pub struct Seat {
    crowd: Arc<Crowd>,
    /// Nothing where it is one stream of a connection that counts.
    address: Option<IpAddr>,
    listening: Mutex<Listening>,
}

#[derive(Default)]
struct Listening {
    subject: Option<Arc<str>>,
    channels: SmallVec<[Channel; 1]>,
}

impl Seat {
    /// The address that it counts for: a /32, or a /64 of IPv6. Nothing where it is one stream of a connection that counts.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Counts these channels for the holder of this connection. One that it has already counts once. Holders without a name
    /// are no subject: they would all be one, and shut each other out. Each of their connections is bounded by itself.
    ///
    /// # Errors
    /// `rate_limited` where its subject listens to as many as it may, over all of its connections.
    pub fn listen(&self, holder: &Holder, channels: &[Channel]) -> Result<(), Refusal> {
        if matches!(holder, Holder::Token(token) if token.subject.is_empty()) {
            return Ok(());
        }
        let mut listening = lock(&self.listening);
        let subject = listening.subject.get_or_insert_with(|| holder.publisher()).clone();
        // At most `channels_per_connection_max` of them, so a scan beats a hash.
        let new = channels.iter().filter(|channel| !listening.channels.contains(channel));
        let new: Vec<Channel> = new.cloned().collect();
        let most = self.crowd.rates.load().limits.subject_channels_max;
        if !self.crowd.channels.add(&subject, new.len(), most) {
            let detail = format!("this subject would listen to more than {most} channels at once");
            return Err(Refusal::new(Reason::RateLimited, detail));
        }
        listening.channels.extend(new);
        Ok(())
    }

    /// Gives back these channels, as far as they were counted.
    pub fn leave(&self, channels: &[Channel]) {
        let mut listening = lock(&self.listening);
        let before = listening.channels.len();
        listening.channels.retain(|channel| !channels.contains(channel));
        let left = before - listening.channels.len();
        if let Some(subject) = &listening.subject {
            self.crowd.channels.sub(subject, left);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(address) = &self.address {
            self.crowd.connections.sub(address, 1);
        }
        let listening = std::mem::take(self.listening.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Some(subject) = listening.subject {
            self.crowd.channels.sub(&subject, listening.channels.len());
        }
    }
}

/// How many of something there are by key. A key with none takes no room.
struct Tally<K>(Mutex<HashMap<K, usize>>);

impl<K> Default for Tally<K> {
    fn default() -> Tally<K> {
        Tally(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Tally<K> {
    /// Adds `count`, unless that would be more than `most`.
    fn add(&self, key: &K, count: usize, most: usize) -> bool {
        let mut counts = lock(&self.0);
        let now = counts.get(key).copied().unwrap_or(0);
        let fits = now.saturating_add(count) <= most;
        if fits && count > 0 {
            counts.insert(key.clone(), now + count);
        }
        fits
    }

    fn sub(&self, key: &K, count: usize) {
        let mut counts = lock(&self.0);
        let Some(now) = counts.get_mut(key) else { return };
        *now = now.saturating_sub(count);
        if *now == 0 {
            counts.remove(key);
        }
    }
}

/// A panic elsewhere leaves counts as they were, which is right enough to go on with.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_hub::grant::Token;

    const ONE: &str = "203.0.113.7";

    fn crowd(limits: Limits) -> Arc<Crowd> {
        Arc::new(Crowd::new(Arc::new(limits)))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Now {
        Now { monotonic_ms: seconds * 1_000, wall_ms: 0, micros: 0 }
    }

    #[test]
    fn s38_an_address_has_so_many_connections_and_gets_them_back() {
        let crowd = crowd(Limits { address_connections_max: 2, ..Limits::default() });
        let arrive = |text| crowd.arrive(address(text)).map_err(|refusal| refusal.reason);
        let (first, _second) = (arrive(ONE).unwrap(), arrive(ONE).unwrap());
        assert_eq!(arrive(ONE).err(), Some(Reason::RateLimited));
        assert!(arrive("203.0.113.8").is_ok());
        drop(first);
        assert!(arrive(ONE).is_ok());
    }

    #[test]
    fn s38_addresses_of_one_ipv6_network_count_together() {
        let crowd = crowd(Limits { address_connections_max: 1, ..Limits::default() });
        let _first = crowd.arrive(address("2001:db8::1")).unwrap();
        assert!(crowd.arrive(address("2001:db8::2")).is_err());
        assert!(crowd.arrive(address("2001:db8:0:1::2")).is_ok());
    }

    #[test]
    fn s38_an_address_opens_so_many_connections_a_second() {
        let crowd = crowd(Limits { address_arrivals_per_second_max: 3, ..Limits::default() });
        let outcomes: Vec<bool> = (0..4).map(|_| crowd.arrive(address(ONE)).is_ok()).collect();
        assert_eq!(outcomes, [true, true, true, false]);
    }

    #[test]
    fn s38_wrong_credentials_lock_an_address_out_for_a_minute() {
        let crowd = crowd(Limits { address_failures_per_minute_max: 2, ..Limits::default() });
        for _ in 0..2 {
            crowd.failed(address(ONE), at(0));
            assert!(crowd.may_try(address(ONE), at(0)).is_ok());
        }
        crowd.failed(address(ONE), at(0));
        assert!(crowd.may_try(address(ONE), at(59)).is_err());
        assert!(crowd.may_try(address("203.0.113.8"), at(59)).is_ok(), "others are not concerned");
        assert!(crowd.may_try(address(ONE), at(60)).is_ok());
        crowd.forget_the_idle(at(60));
        assert!(lock(&crowd.locked_out).is_empty());
    }

    #[test]
    fn s36_who_has_no_name_is_nobody_elses_subject() {
        let crowd = crowd(Limits { subject_channels_max: 1, ..Limits::default() });
        let nobody = Holder::Token(Arc::new(Token { subject: "".into(), id: None, issued_at_s: 0 }));
        let channels = [Channel::parse("a").unwrap()];
        let seats: Vec<Seat> = (0..3).map(|_| crowd.arrive(address(ONE)).unwrap()).collect();
        for seat in &seats {
            assert!(seat.listen(&nobody, &channels).is_ok());
            seat.leave(&channels);
        }
        drop(seats);
        assert!(lock(&crowd.connections.0).is_empty());
    }

    #[test]
    fn s36_a_subject_listens_to_so_many_channels_over_all_its_connections() {
        let crowd = crowd(Limits { subject_channels_max: 3, ..Limits::default() });
        let holder = Holder::Key("a".into());
        let of = |names: &[&str]| names.iter().map(|name| Channel::parse(name).unwrap()).collect::<Vec<_>>();
        let (one, other) = (crowd.arrive(address(ONE)).unwrap(), crowd.arrive(address(ONE)).unwrap());
        assert!(one.listen(&holder, &of(&["a", "b"])).is_ok());
        assert!(one.listen(&holder, &of(&["a", "b"])).is_ok(), "what it has already counts once");
        assert!(other.listen(&holder, &of(&["a", "b"])).is_err());
        assert!(other.listen(&holder, &of(&["a"])).is_ok());
        one.leave(&of(&["a", "x"]));
        assert!(other.listen(&holder, &of(&["b"])).is_ok());
        drop((one, other));
        assert!(lock(&crowd.channels.0).is_empty() && lock(&crowd.connections.0).is_empty());
    }

    #[test]
    fn s37_a_subject_and_a_key_publish_so_often_a_second_each() {
        let limits = Limits {
            subject_publishes_per_second_max: 1,
            key_publishes_per_second_max: 2,
            ..Limits::default()
        };
        let crowd = crowd(limits);
        let publish = |holder: &Holder| crowd.may_publish(holder, &holder.publisher());
        let token = Token { subject: "a".into(), id: None, issued_at_s: 0 };
        let (subject, key) = (Holder::Token(Arc::new(token)), Holder::Key("a".into()));
        assert_eq!([(); 2].map(|()| publish(&subject)), [Ok(()), Err(Reason::RateLimited)]);
        assert_eq!([(); 3].map(|()| publish(&key)), [Ok(()), Ok(()), Err(Reason::RateLimited)]);
        assert_eq!(publish(&Holder::Key("b".into())), Ok(()));
        assert_eq!([(); 2].map(|()| publish(&Holder::Developer)), [Ok(()), Ok(())]);
    }
}
