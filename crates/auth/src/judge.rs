//! The judge: from a credential to a grant, by the rules of one moment.

use std::sync::Arc;

use tidewire_hub::broker::{Done, Now};
use tidewire_hub::grant::{Denied, Grant, Holder, Scope};
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::Revocations;

use crate::api_key;
use crate::cache::{TokenCache, TokenKey};
use crate::denials;
use crate::gate::Unverified;
use crate::jwt::error::TOKEN_BYTES_MAX;
use crate::rules::Rules;

/// Rules, and what was found out by them. A reload makes new ones, so that nothing that was verified by old keys, not
/// even a verification still under way, is remembered beyond it.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) rules: Rules,
    tokens: TokenCache,
}

impl Policy {
    pub(crate) fn new(rules: Rules) -> Policy {
        Policy { rules, tokens: TokenCache::new() }
    }
}

/// Decides on the credentials of one request.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    pub(crate) policy: Arc<Policy>,
    pub(crate) revocations: Arc<Revocations>,
}

impl Judge {
    /// Judges what stands behind `Bearer`: an API key or a token.
    pub(crate) fn bearer(&self, credential: &str, now: Now, done: Done<Result<Arc<Grant>, Denied>>) {
        if !api_key::is_meant(credential) {
            return self.token(credential, now, done);
        }
        let found = self.policy.rules.api_keys.find(credential);
        done(found.ok_or_else(|| self.wrong(|| "there is no such API key".into())));
    }

    /// Judges a token.
    pub(crate) fn token(&self, token: &str, now: Now, done: Done<Result<Arc<Grant>, Denied>>) {
        if token.len() > TOKEN_BYTES_MAX {
            return done(Err(
                self.wrong(|| format!("the token has more than {TOKEN_BYTES_MAX} bytes").into())
            ));
        }
        let Some(verifier) = self.policy.rules.verifier.clone() else {
            return done(Err(self.wrong(|| "no keys for tokens are configured".into())));
        };
        // Taken before the verdict: keys that change meanwhile make it one of yesterday.
        let generation = verifier.generation();
        let key = TokenKey::of(token);
        if let Some(grant) = self.policy.tokens.find(key, generation, now) {
            return done(self.not_revoked(grant));
        }
        let (judge, bytes) = (self.clone(), token.len());
        let verified = move |outcome: Result<crate::claims::Claims, Unverified>| {
            done(match outcome {
                Ok(claims) => {
                    let grant = Arc::new(claims.into_grant(now));
                    judge.policy.tokens.remember(key, bytes, generation, grant.clone());
                    judge.not_revoked(grant)
                }
                Err(Unverified::Wrong(why)) => Err(judge.wrong(|| why)),
                Err(Unverified::Unavailable) => {
                    Err(Denied::new(Reason::Overloaded).because("the keys for tokens cannot be fetched now"))
                }
            });
        };
        verifier.verify(token, now, Box::new(verified));
    }

    /// Judges rights that come out of a vault, by today's rules: what was sold to the bearer of a token that has been
    /// revoked, or with a key that has lost a scope, opens that no longer.
    pub(crate) fn passed_on(&self, mut grant: Grant) -> Result<Arc<Grant>, Denied> {
        if let Holder::Key(name) = &grant.holder {
            let key = self.policy.rules.api_keys.named(name);
            let key = key.ok_or_else(|| self.wrong(|| "the API key behind the ticket is gone".into()))?;
            let rights = [
                (&mut grant.subscribe, &key.subscribe),
                (&mut grant.publish, &key.publish),
                (&mut grant.history, &key.history),
                (&mut grant.presence, &key.presence),
            ];
            for (right, held) in rights {
                // A key holds a right on every channel or on none.
                if held.patterns().is_empty() {
                    *right = Scope::none();
                }
            }
        }
        self.not_revoked(Arc::new(grant))
    }

    /// The denial of credentials that do not count. `why` is told to developers alone.
    pub(crate) fn wrong(&self, why: impl FnOnce() -> Box<str>) -> Denied {
        denials::credentials(self.policy.rules.settings.explain, true, why)
    }

    fn not_revoked(&self, grant: Arc<Grant>) -> Result<Arc<Grant>, Denied> {
        if self.revocations.ends(&grant) {
            return Err(self.wrong(|| "the token was revoked".into()));
        }
        Ok(grant)
    }
}
