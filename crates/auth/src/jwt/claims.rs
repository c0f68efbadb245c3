//! Reading what a token says, once its signature has been borne out (security rules S13, S14; RFC 7519 section 4.1).

use std::time::Duration;

use tidewire_hub::{Now, Pattern, Scope};

use super::error::{PATTERNS_MAX, TokenError};
use super::json::{Json, Object};
use crate::claims::Claims;

/// The longest subject and the longest `jti`, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 256;

/// What the configuration asks of claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What `iss` must be. Default: anything.
    pub issuer: Option<Box<str>>,
    /// What `aud` must be or contain. Default: anything.
    pub audience: Option<Box<str>>,
    /// How long a token may last from now on, or from its `iat` or `nbf` where those lie ahead. Default 24 h.
    pub lifetime_max: Duration,
    /// How far the clocks of issuer and server may differ. Default 30 s.
    pub leeway: Duration,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            issuer: None,
            audience: None,
            lifetime_max: Duration::from_secs(24 * 3_600),
            leeway: Duration::from_secs(30),
        }
    }
}

impl Rules {
    /// Reads claims. A claim of the wrong type is never taken for an absent one (jsonwebtoken CVE-2026-25537).
    pub(crate) fn read(&self, claims: &Object, now: Now) -> Result<Claims, TokenError> {
        let subject = text(claims, "sub")?.ok_or(TokenError::ClaimMissing("sub"))?;
        let id = text(claims, "jti")?;
        self.check_parties(claims)?;
        let (issued_at_s, expires_at_s) = self.check_times(claims, now)?;
        let mut lists = Lists::default();
        match claims.get("channels") {
            None => {}
            Some(Json::Object(channels)) => lists.read(channels)?,
            Some(_) => return Err(TokenError::ClaimInvalid("channels", "an object")),
        }
        let [subscribe, publish, presence, history] = lists.0.map(Scope::new);
        Ok(Claims { subject, id, issued_at_s, expires_at_s, subscribe, publish, presence, history })
    }

    fn check_parties(&self, claims: &Object) -> Result<(), TokenError> {
        let issuer = match claims.get("iss") {
            None => None,
            Some(Json::Text(issuer)) => Some(issuer.as_str()),
            Some(_) => return Err(TokenError::ClaimInvalid("iss", "a text")),
        };
        match (&self.issuer, issuer) {
            (None, _) => {}
            (Some(_), None) => return Err(TokenError::ClaimMissing("iss")),
            (Some(wanted), Some(issuer)) if **wanted == *issuer => {}
            (Some(_), Some(_)) => return Err(TokenError::IssuerRefused),
        }
        let audiences = match claims.get("aud") {
            None => None,
            Some(audiences) => {
                Some(texts(audiences).ok_or(TokenError::ClaimInvalid("aud", "a text or a list of texts"))?)
            }
        };
        match (&self.audience, audiences) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(TokenError::ClaimMissing("aud")),
            (Some(wanted), Some(audiences)) if audiences.contains(&&**wanted) => Ok(()),
            (Some(_), Some(_)) => Err(TokenError::AudienceRefused),
        }
    }

    fn check_times(&self, claims: &Object, now: Now) -> Result<(u64, u64), TokenError> {
        let (now_s, leeway_s) = (now.wall_ms / 1_000, self.leeway.as_secs());
        let expires_at_s = seconds(claims, "exp")?.ok_or(TokenError::ClaimMissing("exp"))?;
        let valid_from_s = seconds(claims, "nbf")?.unwrap_or_default();
        let issued_at_s = seconds(claims, "iat")?.unwrap_or_default();
        if now_s >= expires_at_s.saturating_add(leeway_s) {
            return Err(TokenError::Expired { ago_s: now_s - expires_at_s });
        }
        for (name, begins_s) in [("nbf", valid_from_s), ("iat", issued_at_s)] {
            if begins_s > now_s.saturating_add(leeway_s) {
                return Err(TokenError::NotYet(name, begins_s - now_s));
            }
        }
        // An issuer whose clock is ahead and who leaves `iat` out must not fail by that difference.
        let lasts_s = expires_at_s.saturating_sub(now_s.max(valid_from_s).max(issued_at_s));
        let max_s = self.lifetime_max.as_secs();
        if lasts_s > max_s.saturating_add(leeway_s) {
            return Err(TokenError::LastsTooLong { lasts_s, max_s });
        }
        Ok((issued_at_s, expires_at_s))
    }
}

/// The patterns of `subscribe`, `publish`, `presence` and `history`.
#[derive(Default)]
struct Lists([Vec<Pattern>; 4]);

impl Lists {
    fn read(&mut self, channels: &Object) -> Result<(), TokenError> {
        let mut patterns_left = PATTERNS_MAX;
        for (name, list) in channels.members() {
            let at = NAMES.iter().position(|known| *known == name);
            let at = at.ok_or_else(|| TokenError::ChannelsUnknown(name.into()))?;
            let Json::List(list) = list else {
                return Err(TokenError::ClaimInvalid("channels", "an object of lists of patterns"));
            };
            patterns_left = patterns_left.checked_sub(list.len()).ok_or(TokenError::TooManyPatterns)?;
            for pattern in list {
                let Json::Text(pattern) = pattern else {
                    return Err(TokenError::ClaimInvalid("channels", "an object of lists of patterns"));
                };
                self.0[at].push(Pattern::parse(pattern).map_err(TokenError::Pattern)?);
            }
        }
        Ok(())
    }
}

const NAMES: [&str; 4] = ["subscribe", "publish", "presence", "history"];

fn text(claims: &Object, name: &'static str) -> Result<Option<Box<str>>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Json::Text(text)) if (1..=SUBJECT_BYTES_MAX).contains(&text.len()) => {
            Ok(Some(text.as_str().into()))
        }
        Some(_) => Err(TokenError::ClaimInvalid(name, "a text of 1 to 256 bytes")),
    }
}

fn texts(value: &Json) -> Option<Vec<&str>> {
    match value {
        Json::Text(text) => Some(vec![text]),
        Json::List(list) => list.iter().map(Json::text).collect(),
        _ => None,
    }
}

fn seconds(claims: &Object, name: &'static str) -> Result<Option<u64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Json::Integer(seconds)) => Ok(Some(*seconds)),
        Some(_) => Err(TokenError::ClaimInvalid(name, "a whole number of seconds since 1970")),
    }
}
