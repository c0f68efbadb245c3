//! Claims: what a verified token says, and the grant that this makes. How they are read is told in `jwt::claims`.

use std::fmt;
use std::sync::Arc;

use tidewire_hub::broker::Now;
use tidewire_hub::grant::{Grant, Holder, Scope, Token};

/// What a token says, after its signature and its form were found good.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    /// `sub`: who bears it. 1 to 256 bytes.
    pub subject: Box<str>,
    /// `jti`: its own name, where it has one. 1 to 256 bytes.
    pub id: Option<Box<str>>,
    /// `iat`: when it was issued, in seconds since 1970; 0 where it does not say.
    pub issued_at_s: u64,
    /// `exp`: when its rights end, in seconds since 1970.
    pub expires_at_s: u64,
    /// `channels.subscribe`.
    pub subscribe: Scope,
    /// `channels.publish`.
    pub publish: Scope,
    /// `channels.presence`.
    pub presence: Scope,
    /// `channels.history`.
    pub history: Scope,
}

impl Claims {
    /// The rights of the token's bearer. They end with `exp` itself, without the leeway that admitted the token, and on
    /// the steady clock: a wall clock that is set while the connection lives neither ends nor prolongs them (security
    /// rule S25).
    #[must_use]
    pub fn into_grant(self, now: Now) -> Grant {
        let lasts_ms = self.expires_at_s.saturating_mul(1_000).saturating_sub(now.wall_ms);
        let Claims { subject, id, issued_at_s, subscribe, publish, presence, history, .. } = self;
        Grant {
            holder: Holder::Token(Arc::new(Token { subject, id, issued_at_s })),
            subscribe,
            publish,
            history,
            presence,
            only: None,
            except: None,
            admin: false,
            ends_at_ms: Some(now.monotonic_ms.saturating_add(lasts_ms)),
        }
    }
}

// Who came and what they may see is nobody's business but theirs (security rule S49).
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { monotonic_ms: 5_000, wall_ms: 1_700_000_000_500, micros: 0 };

    fn claims(expires_at_s: u64) -> Claims {
        let (subscribe, publish, none) = (Scope::all(), Scope::none(), Scope::none());
        Claims {
            subject: "alice".into(),
            id: None,
            issued_at_s: 1,
            expires_at_s,
            subscribe,
            publish,
            presence: none.clone(),
            history: none,
        }
    }

    #[test]
    fn s25_the_end_of_a_token_is_kept_on_the_steady_clock() {
        let grant = claims(1_700_000_060).into_grant(NOW);
        assert_eq!(grant.ends_at_ms, Some(5_000 + 59_500));
        assert!(!grant.admin, "no token reaches the control API");
        assert_eq!(
            claims(1_699_999_990).into_grant(NOW).lasts_ms(NOW),
            Some(0),
            "accepted late, it ends at once"
        );
        assert_eq!(claims(u64::MAX).into_grant(NOW).lasts_ms(NOW).map(|ms| ms > 1 << 60), Some(true));
    }

    #[test]
    fn s49_debug_output_shows_nobody() {
        assert_eq!(format!("{:?}", claims(0)), "Claims(***)");
    }
}
