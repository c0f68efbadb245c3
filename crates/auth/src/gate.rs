//! The gate of a server that faces the world: origins, tokens, API keys and tickets.
//!
//! ```text
//! screen   host -> origin -> may its cookies count          changes nothing
//! admit    the same once more, then the one credential that counts:
//!            Authorization   API key, by its digest
//!                            token, by the verifier or from memory -- not revoked --> grant
//!            ?ticket=        session by its cookie, or else the ticket itself, which is spent by it
//!            cookie, query   token
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tidewire_hub::broker::{Done, Now};
use tidewire_hub::channel::ChannelSet;
use tidewire_hub::grant::{
    Action, Asked, Denied, Entry, Gate, Grant, Holder, Scope, Screened, TicketOrder, Tickets as Sells, Token,
};
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::Revocations;

use crate::claims::Claims;
use crate::cookie;
use crate::credentials::{self, Credential};
use crate::denials;
use crate::judge::{Judge, Policy};
use crate::rules::{Rules, RulesError};
use crate::screen::screen;
use crate::ticket::{Order, Redeemed, Ticket, Tickets, Turned};
use crate::visit::Visit;

/// Who verifies tokens.
pub trait Verify: Send + Sync {
    /// Decides on a token. Answered exactly once, from any thread, possibly before this returns; it does not block.
    fn verify(&self, token: &str, now: Now, done: Done<Result<Claims, Unverified>>);

    /// Changes whenever a token that was accepted before might no longer be, for another reason than time: a key was
    /// withdrawn. What was remembered of another generation is verified again.
    fn generation(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// Why a token was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// It is not one of ours, or not any more. The words are for developers, and hold no secret.
    Wrong(Box<str>),
    /// Nobody can tell now, because the keys could not be fetched. Becomes `overloaded`: come back later.
    Unavailable,
}

/// Lets in who belongs.
pub struct TokenGate {
    policy: ArcSwap<Policy>,
    tickets: Tickets,
    revocations: Arc<Revocations>,
    /// What a page is granted, and what it asks with a preflight: nothing.
    nothing: Arc<Grant>,
}

impl TokenGate {
    /// A gate that goes by `rules`. Tickets and revocations are the node's, and outlive every reload.
    ///
    /// # Errors
    /// The rules contradict each other.
    pub fn new(
        rules: Rules,
        tickets: Tickets,
        revocations: Arc<Revocations>,
    ) -> Result<TokenGate, RulesError> {
        rules.check()?;
        let policy = ArcSwap::from_pointee(Policy::new(rules));
        Ok(TokenGate { policy, tickets, revocations, nothing: Arc::new(nothing()) })
    }

    /// Goes by other rules from now on, all of them at once. What is being decided meanwhile is decided by the old.
    ///
    /// # Errors
    /// The rules contradict each other; then the old ones stay in force.
    pub fn reload(&self, rules: Rules) -> Result<(), RulesError> {
        rules.check()?;
        self.policy.store(Arc::new(Policy::new(rules)));
        Ok(())
    }

    /// Sells a ticket to who was admitted with `grant` for [`Action::Ticket`]. `channels` confine it, `ttl` is how
    /// long it lasts if not as long as usual.
    ///
    /// # Errors
    /// Those of [`Tickets::issue`].
    pub fn issue_ticket(
        &self,
        grant: &Grant,
        asked: &Asked<'_>,
        channels: Option<&ChannelSet>,
        ttl: Option<Duration>,
        now: Now,
        done: Done<Result<Ticket, Denied>>,
    ) {
        let order = Order { grant, channels, ttl, origin: asked.origin, client: asked.client };
        let policy = self.policy.load();
        self.tickets.issue(&order, &policy.rules.settings.tickets, now, done);
    }

    /// The office that sells its tickets.
    #[must_use]
    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    fn judge(&self) -> Judge {
        Judge { policy: self.policy.load_full(), revocations: self.revocations.clone() }
    }

    fn admit_ticket(
        &self,
        judge: Judge,
        asked: &Asked<'_>,
        ticket: &str,
        now: Now,
        done: Done<Result<Entry, Denied>>,
    ) {
        let Some(visit) = Visit::of(asked, ticket) else {
            return done(Err(judge.wrong(|| "the ticket is not written as one".into())));
        };
        // Before the ticket is spent, because its cookie could not be set.
        if visit.may_return && !cookie::is_path(asked.path) {
            return done(Err(Denied::new(Reason::BadRequest).because("the path holds what no cookie can")));
        }
        let tickets = self.tickets.clone();
        let Some(session) = visit.session else { return redeem(tickets, judge, visit, now, done) };
        let resumed = move |(visit, outcome): (Visit, Result<Option<Grant>, Turned>)| match outcome {
            Ok(Some(grant)) => done(judge.passed_on(grant).map(entry)),
            Ok(None) => redeem(tickets, judge, visit, now, done),
            // Nothing was spent by looking, so that an EventSource may simply come back.
            Err(Turned::Unanswered) => {
                done(Err(Denied::new(Reason::Overloaded).because("the session could not be looked up now")));
            }
            Err(turned) => done(Err(turned_away(&judge, turned))),
        };
        self.tickets.resume(visit, session, now, Box::new(resumed));
    }
}

impl Sells for TokenGate {
    fn sell(&self, order: TicketOrder, now: Now, done: Done<Result<tidewire_hub::Ticket, Denied>>) {
        let TicketOrder { grant, origin, client, channels, ttl_s } = order;
        let ttl = ttl_s.map(Duration::from_secs);
        let order =
            Order { grant: &grant, channels: channels.as_ref(), ttl, origin: origin.as_deref(), client };
        let policy = self.policy.load();
        let sold = move |outcome: Result<Ticket, Denied>| {
            done(outcome.map(|ticket| tidewire_hub::Ticket {
                secret: ticket.secret.reveal().into(),
                expires_in_s: ticket.expires_in_s,
            }));
        };
        self.tickets.issue(&order, &policy.rules.settings.tickets, now, Box::new(sold));
    }
}

impl Gate for TokenGate {
    fn screen(&self, asked: &Asked<'_>) -> Result<Screened, Denied> {
        screen(&self.policy.load().rules, asked)
    }

    fn admit(&self, asked: &Asked<'_>, now: Now, done: Done<Result<Entry, Denied>>) {
        let judge = self.judge();
        // Once more: a door that forgot to screen would be a hole (S1; Gitpod and Dozzle had one), and the rules may
        // have changed since.
        if let Err(denied) = screen(&judge.policy.rules, asked) {
            return done(Err(denied));
        }
        if asked.action == Action::Page {
            return done(Ok(entry(self.nothing.clone())));
        }
        let settings = &judge.policy.rules.settings;
        let credential = match credentials::presented(asked, settings) {
            Ok(Some(credential)) => credential,
            Ok(None) => {
                let why = || credentials::missing(asked, settings).into();
                return done(Err(denials::credentials(settings.explain, false, why)));
            }
            Err(denied) => return done(Err(denied)),
        };
        let action = asked.action;
        match credential {
            Credential::Ticket(ticket) => self.admit_ticket(judge, asked, ticket, now, done),
            Credential::Bearer(bearer) => judge.bearer(bearer, now, for_action(action, done)),
            Credential::Cookie(token) | Credential::Query(token) => {
                judge.token(token, now, for_action(action, done));
            }
        }
    }

    fn renew(&self, token: &str, now: Now, done: Done<Result<Arc<Grant>, Denied>>) {
        self.judge().bearer(token, now, done);
    }
}

fn redeem(tickets: Tickets, judge: Judge, visit: Visit, now: Now, done: Done<Result<Entry, Denied>>) {
    let office = tickets.clone();
    let redeemed = move |outcome: Result<Redeemed, Turned>| {
        let redeemed = match outcome {
            Ok(redeemed) => redeemed,
            Err(turned) => return done(Err(turned_away(&judge, turned))),
        };
        let grant = match judge.passed_on(redeemed.grant.clone()) {
            Ok(grant) => grant,
            Err(denied) => return done(Err(denied)),
        };
        if !redeemed.may_return() {
            return done(Ok(entry(grant)));
        }
        let opened = move |set_cookie| done(Ok(Entry { grant, set_cookie }));
        let limits = &judge.policy.rules.settings.tickets;
        tickets.open_session(&redeemed, limits, now, Box::new(opened));
    };
    office.redeem(visit, now, Box::new(redeemed));
}

fn turned_away(judge: &Judge, turned: Turned) -> Denied {
    match turned {
        Turned::Elsewhere => Denied::new(Reason::OriginRefused).because(turned.to_string()),
        // Our own fault is not counted against the client's address (S38).
        Turned::Unanswered => Denied { forged: false, ..judge.wrong(|| turned.to_string().into()) },
        turned => judge.wrong(|| turned.to_string().into()),
    }
}

/// Checks what an action needs beside a grant of any kind.
fn for_action(action: Action, done: Done<Result<Entry, Denied>>) -> Done<Result<Arc<Grant>, Denied>> {
    Box::new(move |outcome| {
        done(match outcome {
            Ok(grant) if action == Action::Control && !grant.admin => Err(Denied::new(Reason::Forbidden)
                .because("the control API needs an API key with the scope `admin`")),
            outcome => outcome.map(entry),
        });
    })
}

fn entry(grant: Arc<Grant>) -> Entry {
    Entry { grant, set_cookie: None }
}

/// The grant of nobody: no subject has an empty name.
fn nothing() -> Grant {
    let nobody = Token { subject: "".into(), id: None, issued_at_s: 0 };
    Grant {
        holder: Holder::Token(Arc::new(nobody)),
        subscribe: Scope::none(),
        publish: Scope::none(),
        history: Scope::none(),
        presence: Scope::none(),
        only: None,
        except: None,
        admin: false,
        ends_at_ms: None,
    }
}

impl fmt::Debug for TokenGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenGate").field("rules", &self.policy.load().rules).finish_non_exhaustive()
    }
}
