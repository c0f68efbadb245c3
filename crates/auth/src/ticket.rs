//! Tickets: a credential for one use, for browsers, which cannot set headers on a stream (security rules S19 to S24).
//!
//! ```text
//! POST /v1/tickets   token -------> ticket         the vault keeps what it opens, under its digest
//! GET ?ticket=       ticket ------> grant          taken out of the vault, so that exactly one request gets it
//!                           ------> session        a cookie, because an EventSource comes back with the same URL
//! GET ?ticket=       cookie ------> grant          for as long as the token would have lasted
//! ```

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tidewire_hub::broker::{Done, Now};
use tidewire_hub::channel::ChannelSet;
use tidewire_hub::grant::{Denied, Grant, Scope};
use tidewire_hub::pattern::Pattern;
use tidewire_hub::reason::Reason;

use crate::ledger::{Allowance, Buyer, Ledger, Refused};
use crate::record::{Pass, SessionRecord, TicketRecord, decode, encode, network};
use crate::rules::TicketLimits;
use crate::secret::{self, Digest, NoEntropy, Secret};
use crate::vault::{Key, Vault, VaultError};
use crate::visit::Visit;

/// Sells tickets and takes them. A clone is the same office.
///
/// It outlives every reload: what was sold stays good.
#[derive(Clone)]
pub struct Tickets(Arc<Office>);

struct Office {
    vault: Arc<dyn Vault>,
    ledger: Mutex<Ledger>,
    /// See [`Tickets::set_generation`].
    generation: AtomicU64,
}

/// A ticket that was sold.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// What its bearer shows.
    pub secret: Secret,
    /// How long it lasts, in whole seconds.
    pub expires_in_s: u64,
}

/// What is asked of the office.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The rights of who buys it.
    pub grant: &'a Grant,
    /// The channels that it is good for; all that the grant holds where nothing is said.
    pub channels: Option<&'a ChannelSet>,
    /// How long it is to last, if not as long as usual.
    pub ttl: Option<Duration>,
    /// The origin of the page that buys it.
    pub origin: Option<&'a str>,
    /// The address of the client that buys it.
    pub client: IpAddr,
}

/// Channels that one ticket may be confined to: as many as one token may name.
const CHANNELS_MAX: usize = 256;

/// How long a session lasts at most: as long as a token may.
const SESSION_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How far the clocks of two nodes may be apart.
const SKEW_MS: u64 = 30_000;

/// Why a ticket opened nothing. Outside dev mode all of them are one, but [`Turned::Elsewhere`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// There is none of this name: it was spent, it expired, or it never was.
    Unknown,
    /// It was sold in another life of the vault, and may have been spent in that (S21).
    OfAnotherLife,
    /// It lies there longer than it may.
    Stale,
    /// It belongs to a page of another origin.
    Elsewhere,
    /// It belongs to a client in another network.
    OtherNetwork,
    /// The token that bought it has ended, or its record cannot be read.
    Over,
    /// The vault did not say, so that it counts as spent (S21).
    Unanswered,
}

/// What a ticket opened.
pub(crate) struct Redeemed {
    pub(crate) grant: Grant,
    visit: Visit,
    pass: Pass,
}

impl Tickets {
    /// An office that keeps its side of tickets in `vault`.
    ///
    /// # Errors
    /// [`NoEntropy`].
    pub fn new(vault: Arc<dyn Vault>) -> Result<Tickets, NoEntropy> {
        let generation = AtomicU64::new(secret::unique()?);
        Ok(Tickets(Arc::new(Office { vault, ledger: Mutex::new(Ledger::new()), generation })))
    }

    /// Names the life of the vault. Tickets of another one are refused: a vault that failed over may hold some that
    /// were spent (security rule S21).
    ///
    /// For a vault in memory it is a random number of this process, which needs no setting; nodes that share a vault
    /// agree on one with its fence.
    pub fn set_generation(&self, generation: u64) {
        self.0.generation.store(generation, Ordering::Release);
    }

    /// Sells a ticket.
    ///
    /// # Errors
    /// `bad_request`, `channel_count` or `forbidden` for what cannot be sold, `rate_limited` for who buys too many,
    /// `overloaded` where there is no room, `expired` for who has no time left.
    pub fn issue(
        &self,
        order: &Order<'_>,
        limits: &TicketLimits,
        now: Now,
        done: Done<Result<Ticket, Denied>>,
    ) {
        let (ttl_ms, only) = match ttl_ms(order, limits, now).and_then(|ttl| Ok((ttl, only(order)?))) {
            Ok(terms) => terms,
            Err(denied) => return done(Err(denied)),
        };
        let Ok(secret) = Secret::generate("") else { return done(Err(Denied::new(Reason::Internal))) };
        let (digest, buyer) = (secret.digest(), Buyer::of(&order.grant.holder));
        let expires_ms = now.monotonic_ms.saturating_add(ttl_ms);
        let sold = self.ledger().sell(&buyer, digest, expires_ms, &allowance(limits), now);
        if let Err(refused) = sold {
            return done(Err(too_many(refused, limits)));
        }
        let mut pass = Pass::of(&Grant { only, ..order.grant.clone() }, now);
        pass.origin = order.origin.map(Into::into);
        pass.network = limits.same_network.then(|| network(order.client));
        let generation = self.0.generation.load(Ordering::Acquire);
        let record = TicketRecord { pass, minted_at_ms: now.wall_ms, ttl_ms, generation };
        let office = self.clone();
        let kept = move |outcome| {
            done(match outcome {
                Ok(()) => Ok(Ticket { secret, expires_in_s: (ttl_ms / 1_000).max(1) }),
                Err(VaultError::Full | VaultError::Unavailable) => {
                    office.ledger().spend(&buyer, &digest);
                    Err(Denied::new(Reason::Overloaded).because("there is no room for another ticket now"))
                }
            });
        };
        let ttl = Duration::from_millis(ttl_ms);
        self.0.vault.put(Key::Ticket(digest), encode(&record), ttl, now, Box::new(kept));
    }

    /// Takes a ticket. Whatever comes of it, it is spent.
    pub(crate) fn redeem(&self, visit: Visit, now: Now, done: Done<Result<Redeemed, Turned>>) {
        let office = self.clone();
        let key = Key::Ticket(visit.ticket);
        let taken = move |outcome| done(office.judge(visit, outcome, now));
        self.0.vault.take(key, now, Box::new(taken));
    }

    fn judge(
        &self,
        visit: Visit,
        taken: Result<Option<Bytes>, VaultError>,
        now: Now,
    ) -> Result<Redeemed, Turned> {
        let record = taken.map_err(|_| Turned::Unanswered)?.ok_or(Turned::Unknown)?;
        let TicketRecord { pass, minted_at_ms, ttl_ms, generation } = decode(&record).ok_or(Turned::Over)?;
        let grant = pass.grant(now);
        if let Some(grant) = &grant {
            self.ledger().spend(&Buyer::of(&grant.holder), &visit.ticket);
        }
        if generation != self.0.generation.load(Ordering::Acquire) {
            return Err(Turned::OfAnotherLife);
        }
        if minted_at_ms.saturating_add(ttl_ms).saturating_add(SKEW_MS) < now.wall_ms {
            return Err(Turned::Stale);
        }
        check_place(&visit, &pass)?;
        Ok(Redeemed { grant: grant.ok_or(Turned::Over)?, visit, pass })
    }

    /// Opens a session for what was just redeemed, so that the same URL can be asked for again, and gives the
    /// `Set-Cookie` value that it takes. Where there is no room for it, the stream lives without, and does not
    /// survive its next reconnect.
    pub(crate) fn open_session(
        &self,
        redeemed: &Redeemed,
        limits: &TicketLimits,
        now: Now,
        done: Done<Option<Box<str>>>,
    ) {
        let Redeemed { grant, visit, pass } = redeemed;
        let Ok(session) = Secret::generate("") else { return done(None) };
        let longest_ms = u64::try_from(SESSION_MAX.as_millis()).unwrap_or(u64::MAX);
        let lasts_ms = grant.lasts_ms(now).map_or(longest_ms, |lasts_ms| lasts_ms.min(longest_ms));
        let expires_ms = now.monotonic_ms.saturating_add(lasts_ms);
        let digest = session.digest();
        let buyer = Buyer::of(&grant.holder);
        let opened = self.ledger().open(&buyer, digest, expires_ms, &allowance(limits), now);
        match opened {
            Ok(None) => {}
            Ok(Some(oldest)) => self.0.vault.take(Key::Session(oldest), now, Box::new(|_| ())),
            Err(_) => return done(None),
        }
        let record = SessionRecord { pass: pass.clone(), ticket: secret::hex(&visit.ticket).into() };
        let cookie = visit.session_cookie(&session, (lasts_ms / 1_000).max(1));
        let kept = move |outcome: Result<(), VaultError>| done(outcome.ok().map(|()| cookie));
        let lasts = Duration::from_millis(lasts_ms);
        self.0.vault.put(Key::Session(digest), encode(&record), lasts, now, Box::new(kept));
    }

    /// Looks up the session of a visit. Nothing where there is none that belongs to its ticket; then the ticket
    /// itself may still be good. Asking spends nothing.
    pub(crate) fn resume(
        &self,
        visit: Visit,
        session: Digest,
        now: Now,
        done: Done<(Visit, Result<Option<Grant>, Turned>)>,
    ) {
        let found = move |outcome| {
            let outcome = judge_session(&visit, outcome, now);
            done((visit, outcome));
        };
        self.0.vault.get(Key::Session(session), now, Box::new(found));
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic in the ledger could at worst leave a count that is too high until its account ends.
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Redeemed {
    /// Whether whoever redeemed it may come again with the same ticket.
    pub(crate) fn may_return(&self) -> bool {
        self.visit.may_return
    }
}

fn judge_session(
    visit: &Visit,
    found: Result<Option<Bytes>, VaultError>,
    now: Now,
) -> Result<Option<Grant>, Turned> {
    let record = found.map_err(|_| Turned::Unanswered)?;
    let Some(SessionRecord { pass, ticket }) = record.as_ref().and_then(decode) else { return Ok(None) };
    if *ticket != *secret::hex(&visit.ticket) {
        return Ok(None);
    }
    check_place(visit, &pass)?;
    Ok(pass.grant(now))
}

fn check_place(visit: &Visit, pass: &Pass) -> Result<(), Turned> {
    if !visit.is_from_the_page_of(pass) {
        return Err(Turned::Elsewhere);
    }
    if !visit.is_from_the_network_of(pass) {
        return Err(Turned::OtherNetwork);
    }
    Ok(())
}

/// How long the ticket lasts: as asked, and no longer than the rights behind it.
fn ttl_ms(order: &Order<'_>, limits: &TicketLimits, now: Now) -> Result<u64, Denied> {
    let ttl = order.ttl.unwrap_or(limits.ttl);
    if ttl.is_zero() || ttl > limits.ttl_max {
        let detail = format!("a ticket lasts from 1 to {} seconds", limits.ttl_max.as_secs());
        return Err(Denied::new(Reason::BadRequest).because(detail));
    }
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    match order.grant.lasts_ms(now) {
        Some(0) => Err(Denied::new(Reason::Expired)),
        Some(lasts_ms) => Ok(ttl_ms.min(lasts_ms)),
        None => Ok(ttl_ms),
    }
}

/// What the ticket is confined to. A channel that its buyer cannot reach is refused here, where it can be named,
/// rather than on the stream that it was bought for.
fn only(order: &Order<'_>) -> Result<Option<Scope>, Denied> {
    let Some(channels) = order.channels else { return Ok(order.grant.only.clone()) };
    let count = channels.iter().count();
    if !(1..=CHANNELS_MAX).contains(&count) {
        let detail = format!("a ticket is for 1 to {CHANNELS_MAX} channels, or for all; this is for {count}");
        return Err(Denied::new(Reason::ChannelCount).because(detail));
    }
    for channel in channels.iter() {
        if !order.grant.may_subscribe(channel) && !order.grant.may_publish(channel) {
            let detail = format!("the grant does not allow to subscribe or to publish to `{channel}`");
            return Err(Denied::new(Reason::Forbidden).because(detail));
        }
    }
    // Every channel name is a pattern for itself.
    Ok(Some(Scope::new(channels.iter().filter_map(|channel| Pattern::parse(channel.as_str()).ok()))))
}

fn allowance(limits: &TicketLimits) -> Allowance {
    Allowance {
        per_second: limits.per_second_max,
        outstanding_max: limits.outstanding_max,
        sessions_max: limits.sessions_max,
        accounts_max: limits.subjects_max,
    }
}

fn too_many(refused: Refused, limits: &TicketLimits) -> Denied {
    match refused {
        Refused::TooFast => Denied::new(Reason::RateLimited).because(format!(
            "no more than {} tickets are sold to one subject a second",
            limits.per_second_max
        )),
        Refused::TooMany => Denied::new(Reason::RateLimited).because(format!(
            "{} tickets of this subject are neither spent nor expired",
            limits.outstanding_max
        )),
        Refused::LedgerFull => {
            Denied::new(Reason::Overloaded).because("as many subjects hold tickets as may")
        }
    }
}

impl fmt::Display for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Turned::Unknown => {
                "the ticket was spent, has expired, or never was one; and no session goes on for it"
            }
            Turned::OfAnotherLife => {
                "the ticket was sold before the store failed over or the server started anew"
            }
            Turned::Stale => "the ticket is older than a ticket may be",
            Turned::Elsewhere => "the ticket was sold to a page of another origin",
            Turned::OtherNetwork => "the ticket was sold to a client in another network",
            Turned::Over => "the rights behind the ticket have ended",
            Turned::Unanswered => "the ticket could not be looked up, so that it counts as spent",
        })
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("ledger", &*self.ledger()).finish_non_exhaustive()
    }
}
