//! The tokens of the demonstrations: what a backend that knows its visitors signs for them.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use serde::Serialize;
use tidewire_auth::jwt::{
    Algorithm, Draft, Key, KeyError, KeySet, Options, Rules, SigningKey, Strength, Verifier, generate,
};
use tidewire_hub::grant::{Grant, Holder};
use tidewire_hub::pattern::Pattern;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tokio::sync::oneshot;

use super::store::Store;
use crate::config::Unusable;
use crate::node::Node;

/// What the key is called in the store.
const DOCUMENT: &str = "token-key";

const ISSUER: &str = "tidewire-demo";

/// How long a token lasts, in seconds. So short that a visitor who stays sees it renewed.
const LASTS_S: u64 = 120;

/// The shortest that a visitor may ask for.
const LASTS_S_MIN: u64 = 5;

/// Signs tokens, and knows those that it signed.
pub(super) struct Tokens {
    key: SigningKey,
    /// For the gate.
    pub(super) verifier: Arc<Verifier>,
}

/// What a token is to allow: these channels and no others.
#[derive(Default)]
pub(super) struct Rights<'a> {
    pub(super) subscribe: &'a [&'a str],
    pub(super) presence: &'a [&'a str],
}

/// What a visitor gets who logs in.
#[derive(Debug, Serialize)]
pub(super) struct Login {
    pub(super) token: String,
    /// Seconds.
    pub(super) expires_in: u64,
}

impl Tokens {
    /// Signs with the key of the store, so that tokens outlive the server; with a new one where there is none.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn open(store: &Store) -> Result<Tokens, Unusable> {
        let unusable = |error: KeyError| Unusable::new("demo", error);
        let kept = store.read(DOCUMENT).ok().flatten();
        match kept.and_then(|secret| Tokens::of(&secret).ok()) {
            Some(tokens) => Ok(tokens),
            None => {
                let secret =
                    generate::secret(Algorithm::Hs256).map_err(|error| Unusable::new("demo", error))?;
                let secret = secret.as_deref().map(String::as_bytes).unwrap_or_default();
                if let Err(why) = store.write(DOCUMENT, secret) {
                    tracing::warn!("the demonstrations' tokens end with this process: {why}");
                }
                Tokens::of(secret).map_err(unusable)
            }
        }
    }

    fn of(secret: &[u8]) -> Result<Tokens, KeyError> {
        let key = Key::secret(Algorithm::Hs256, None, secret, Strength::Required)?;
        let rules = Rules { issuer: Some(ISSUER.into()), ..Rules::default() };
        let verifier = Verifier::new(Options { keys: KeySet::new([key])?, jwks: None, rules });
        let key = SigningKey::secret(Algorithm::Hs256, None, secret, Strength::Required)?;
        Ok(Tokens { key, verifier: Arc::new(verifier) })
    }

    /// Signs a token for `subject`, which begins now. It lasts as long as usual, or shorter where `lasts_s` says so.
    ///
    /// # Errors
    /// `internal` where a right is no pattern.
    pub(super) fn sign(
        &self,
        subject: &str,
        rights: &Rights<'_>,
        lasts_s: Option<u64>,
        now_ms: u64,
    ) -> Result<Login, Refusal> {
        let unsigned = |_| Refusal::new(Reason::Internal, "the token could not be signed");
        let patterns = |names: &[&str]| {
            let patterns: Result<Vec<Pattern>, _> = names.iter().map(|name| Pattern::parse(name)).collect();
            patterns.map_err(|_| Refusal::new(Reason::Internal, "a right of the token is no pattern"))
        };
        let expires_in = lasts_s.unwrap_or(LASTS_S).clamp(LASTS_S_MIN, LASTS_S);
        let issued_at_s = now_ms / 1_000;
        let draft = Draft {
            subject: subject.into(),
            issuer: Some(ISSUER.into()),
            issued_at_s,
            expires_at_s: issued_at_s + expires_in,
            subscribe: patterns(rights.subscribe)?,
            presence: patterns(rights.presence)?,
            history: patterns(rights.subscribe)?,
            ..Draft::default()
        };
        let token = self.key.sign(&draft).map_err(unsigned)?;
        Ok(Login { token, expires_in })
    }
}

/// Who asks, by the token in `Authorization`: its subject, and what it allows.
///
/// # Errors
/// `unauthorized`.
pub(super) async fn bearer(node: &Arc<Node>, headers: &HeaderMap) -> Result<(String, Arc<Grant>), Refusal> {
    let nobody =
        || Refusal::new(Reason::Unauthorized, "log in: this takes `Authorization: Bearer` and a token");
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(nobody)?;
    let (done, outcome) = oneshot::channel();
    let done = Box::new(move |grant| {
        // Nobody waits any more.
        let _ = done.send(grant);
    });
    node.renew(token, done);
    let lost = |_| Err(Refusal::new(Reason::Internal, "the gate gave no answer"));
    let grant = outcome.await.unwrap_or_else(lost)?;
    match &grant.holder {
        Holder::Token(token) => Ok((token.subject.to_string(), grant.clone())),
        Holder::Developer | Holder::Key(_) => Err(nobody()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use tidewire_auth::Verify;
    use tidewire_hub::broker::Now;
    use tidewire_hub::channel::Channel;

    const NOW: Now = Now { monotonic_ms: 5_000, wall_ms: 1_700_000_000_000, micros: 0 };

    fn read(tokens: &Tokens, token: &str) -> Option<Grant> {
        let (sender, answer) = mpsc::channel();
        let verifier: &dyn Verify = &*tokens.verifier;
        verifier.verify(token, NOW, Box::new(move |outcome| sender.send(outcome.ok()).unwrap()));
        answer.try_recv().unwrap().map(|claims| claims.into_grant(NOW))
    }

    #[test]
    fn a_token_says_who_and_what_and_outlives_the_server() {
        let store = Store::open(None);
        let rights = Rights { subscribe: &["demo-bell:acme:ada"], presence: &[] };
        let before = Tokens::open(&store).unwrap();
        let login = before.sign("acme.ada", &rights, None, NOW.wall_ms).unwrap();
        let grant = read(&Tokens::open(&store).unwrap(), &login.token).unwrap();
        let may = |name| grant.may_subscribe(&Channel::parse(name).unwrap());
        assert!(may("demo-bell:acme:ada") && !may("demo-bell:acme:ben") && !grant.admin);
        assert_eq!((grant.lasts_ms(NOW), login.expires_in), (Some(120_000), 120));
    }

    #[test]
    fn another_server_signs_with_another_key() {
        let [here, there] = [(); 2].map(|()| Tokens::open(&Store::open(None)).unwrap());
        let login = there.sign("ada", &Rights::default(), None, NOW.wall_ms).unwrap();
        assert!(read(&here, &login.token).is_none());
    }

    #[test]
    fn a_token_lasts_no_longer_than_usual() {
        let tokens = Tokens::open(&Store::open(None)).unwrap();
        let lasts = |asked| tokens.sign("ada", &Rights::default(), asked, 0).unwrap().expires_in;
        assert_eq!([None, Some(0), Some(20), Some(u64::MAX)].map(lasts), [120, 5, 20, 120]);
    }
}
