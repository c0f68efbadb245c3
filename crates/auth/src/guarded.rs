//! The gate of dev mode with the demonstrations: open to all on this machine, but for channels that are kept for tokens.
//!
//! ```text
//! no credentials, an API key      everything but what is kept for tokens, as a developer
//! a token, or its ticket          what the token says, and nothing else
//! ```
//!
//! Tokens and tickets are judged by the gate of production, so that what is seen here is what holds there.

use std::sync::Arc;

use tidewire_hub::broker::{Done, Now};
use tidewire_hub::grant::{
    Asked, Denied, Entry, Gate, Grant, Holder, Scope, Screened, Ticket, TicketOrder, Tickets as Sells,
};
use tidewire_hub::revocation::Revocations;

use crate::allow::Origins;
use crate::api_key;
use crate::credentials::{Credential, presented};
use crate::dev::DevGate;
use crate::gate::{TokenGate, Verify};
use crate::rules::{Rules, RulesError, Settings};
use crate::secret;
use crate::ticket::Tickets;

/// Lets in whom [`DevGate`] lets in, and asks for a token where one is wanted.
#[derive(Debug)]
pub struct GuardedGate {
    dev: DevGate,
    tokens: TokenGate,
    anybody: Arc<Grant>,
}

impl GuardedGate {
    /// A gate that lets in whom `dev` does, believes the tokens that `verifier` does, and keeps the channels `kept` for
    /// who shows one.
    ///
    /// # Errors
    /// The rules contradict each other, which these do not.
    pub fn new(
        dev: DevGate,
        verifier: Arc<dyn Verify>,
        kept: Scope,
        tickets: Tickets,
        revocations: Arc<Revocations>,
    ) -> Result<GuardedGate, RulesError> {
        // Which page asks is decided on before, by `dev`; no cookie holds a token.
        let origins = Origins::parse(["*"]).unwrap_or_default();
        let settings = Settings { explain: true, ..Settings::default() };
        let rules = Rules { origins, verifier: Some(verifier), settings, ..Rules::default() };
        let tokens = TokenGate::new(rules, tickets, revocations)?;
        let anybody = Arc::new(Grant { except: Some(kept), ..Grant::everything() });
        Ok(GuardedGate { dev, tokens, anybody })
    }
}

impl Gate for GuardedGate {
    fn screen(&self, asked: &Asked<'_>) -> Result<Screened, Denied> {
        self.dev.screen(asked)
    }

    fn admit(&self, asked: &Asked<'_>, now: Now, done: Done<Result<Entry, Denied>>) {
        // Once more, so that a door that forgot to screen is no hole (S1).
        if let Err(denied) = self.dev.screen(asked) {
            return done(Err(denied));
        }
        match presented(asked, &Settings::default()) {
            Ok(Some(credential)) if is_meant(credential) => self.tokens.admit(asked, now, done),
            Ok(_) => done(Ok(Entry { grant: self.anybody.clone(), set_cookie: None })),
            Err(denied) => done(Err(denied)),
        }
    }

    fn renew(&self, token: &str, now: Now, done: Done<Result<Arc<Grant>, Denied>>) {
        match is_meant(Credential::Bearer(token)) {
            true => self.tokens.renew(token, now, done),
            false => done(Ok(self.anybody.clone())),
        }
    }
}

impl Sells for GuardedGate {
    fn sell(&self, order: TicketOrder, now: Now, done: Done<Result<Ticket, Denied>>) {
        match order.grant.holder {
            Holder::Token(_) => self.tokens.sell(order, now, done),
            // It opens what anybody may open without.
            Holder::Developer | Holder::Key(_) => self.dev.sell(order, now, done),
        }
    }
}

/// Whether this is a credential of here. Nobody has an API key in dev mode, and programs that are tried out send one;
/// what is not written as a ticket is the one that dev mode sells, or was made up.
fn is_meant(credential: Credential<'_>) -> bool {
    match credential {
        Credential::Bearer(bearer) => !api_key::is_meant(bearer),
        Credential::Ticket(ticket) => secret::is_well_formed(ticket),
        Credential::Cookie(_) | Credential::Query(_) => false,
    }
}
