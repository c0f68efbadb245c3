//! The verifier: the way from the text of a token to its claims.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tidewire_hub::Now;
use tidewire_hub::broker::Done;

use super::claims::Rules;
use super::error::TokenError;
use super::jwks::{Jwks, Outcome};
use super::keys::{Answer, KeySet};
use super::parts::Parts;
use crate::claims::Claims;

/// What a verifier goes by.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The keys of the configuration.
    pub keys: KeySet,
    /// The keys of a URL. To be kept across a reload that does not change where they are: it holds what was fetched.
    pub jwks: Option<Jwks>,
    /// What claims must say.
    pub rules: Rules,
}

/// Verifies tokens.
///
/// It remembers no token. Who remembers verdicts, to spare the arithmetic, does so together with the
/// [`Verifier::generation`] from before the verdict, and drops those of another one.
#[derive(Debug)]
pub struct Verifier {
    options: ArcSwap<Options>,
    replaced: AtomicU64,
}

/// Tells whether keys or rules are still those that they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation {
    replaced: u64,
    fetched: u64,
}

impl From<Generation> for (u64, u64) {
    fn from(generation: Generation) -> (u64, u64) {
        (generation.replaced, generation.fetched)
    }
}

impl Verifier {
    /// A verifier that goes by `options`.
    #[must_use]
    pub fn new(options: Options) -> Verifier {
        Verifier { options: ArcSwap::from_pointee(options), replaced: AtomicU64::new(0) }
    }

    /// Goes by other options from now on (a reload). What is being verified meanwhile goes by either.
    pub fn replace(&self, options: Options) {
        self.options.store(Arc::new(options));
        self.replaced.fetch_add(1, Ordering::Release);
    }

    /// What it goes by.
    #[must_use]
    pub fn options(&self) -> Arc<Options> {
        self.options.load_full()
    }

    /// Changes whenever a token that was accepted might no longer be, for another reason than time.
    #[must_use]
    pub fn generation(&self) -> Generation {
        let replaced = self.replaced.load(Ordering::Acquire);
        Generation { replaced, fetched: self.options.load().jwks.as_ref().map_or(0, Jwks::generation) }
    }

    /// Lets time pass: fetches the key set anew before it is too old. To be called about once a second, so that a key
    /// that was withdrawn is noticed even while all verdicts are remembered ones (security rule S16).
    pub fn tick(&self, now: Now) {
        if let Some(jwks) = &self.options.load().jwks {
            jwks.tick(now);
        }
    }

    /// Decides on a token. `done` is called before this returns unless a fetch has to be waited for, which takes
    /// [`super::jwks::FETCH_MAX`] at most; then it is called on a thread of the runtime.
    pub fn verify(&self, token: &str, now: Now, done: Done<Result<Claims, TokenError>>) {
        let options = self.options.load_full();
        let parts = match Parts::read(token) {
            Ok(parts) => parts,
            Err(error) => return done(Err(error)),
        };
        let here = options.keys.answer(&parts);
        let Some(jwks) = options.jwks.as_ref().filter(|_| matches!(here, Answer::Unknown { .. })) else {
            return done(conclude(&parts, here, &options.rules, now));
        };
        let current = jwks.current(now);
        let there = current.keys.as_ref().map(|keys| keys.answer(&parts));
        // A token that names no key gives no reason to look for new ones.
        let settled = match there {
            Some(Answer::Signed | Answer::Forged) => true,
            Some(Answer::Unknown { .. }) => parts.header.kid.is_none(),
            None => false,
        };
        if current.settled && settled {
            return done(conclude(&parts, there.unwrap_or(here).or(here), &options.rules, now));
        }
        let (token, rules) = (token.to_owned(), options.rules.clone());
        jwks.newer_than(
            &current,
            now,
            Box::new(move |outcome, now| done(judge_again(&token, here, &outcome, &rules, now))),
        );
    }

    /// Decides on a token by the keys of the configuration alone.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify_static(&self, token: &str, now: Now) -> Result<Claims, TokenError> {
        let options = self.options.load();
        let parts = Parts::read(token)?;
        conclude(&parts, options.keys.answer(&parts), &options.rules, now)
    }
}

fn judge_again(
    token: &str,
    here: Answer,
    outcome: &Outcome,
    rules: &Rules,
    now: Now,
) -> Result<Claims, TokenError> {
    match outcome {
        Outcome::Keys(keys) => {
            let parts = Parts::read(token)?;
            conclude(&parts, keys.answer(&parts).or(here), rules, now)
        }
        Outcome::Unavailable => Err(TokenError::KeysUnavailable),
    }
}

/// The verdict on the signature first; the claims are not even decoded unless it is good (security rule S17).
fn conclude(parts: &Parts<'_>, answer: Answer, rules: &Rules, now: Now) -> Result<Claims, TokenError> {
    match answer {
        Answer::Signed => rules.read(&parts.claims()?, now),
        Answer::Forged | Answer::Unknown { tried: true } => Err(TokenError::SignatureInvalid),
        Answer::Unknown { tried: false } => Err(TokenError::KeyUnknown),
    }
}
