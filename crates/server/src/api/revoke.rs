//! `POST /v1/revoke`: takes rights back before they end by themselves (security rule S26; `docs/protocol.md`, "Control
//! API").

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tidewire_hub::grant::Grant;
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::{Revocation, Revoked};

use super::Parts;
use super::body;
use super::json;
use super::problem::Problem;
use super::publish::no_store;
use crate::node::Node;
use crate::refusals;

const BODY_BYTES_MAX: usize = 4 << 10;

/// The longest names that a token gives to its subject and to itself, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// How long a revocation is remembered unless told otherwise: longer than any token lives by default.
const TTL_S_DEFAULT: u64 = 25 * 3_600;
const TTL_S_MAX: u64 = 31 * 86_400;

pub(super) async fn revoke(
    State(parts): State<Parts>,
    Extension(grant): Extension<Arc<Grant>>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    // Read before it is refused, too: a connection with an unread body cannot be kept.
    let bytes = body::read(request.into_body(), BODY_BYTES_MAX, parts.node.limits().body_max).await?;
    if !grant.admin {
        return Err(Problem::new(Reason::Forbidden, "taking rights back is for administrators"));
    }
    revoke_said(&parts.node, &bytes).await
}

/// Takes back the rights that `body` names. Whoever calls this knows that it may be asked.
///
/// # Errors
/// What is wrong with the body, or why it is not certain that all nodes will know.
pub(crate) async fn as_said(node: &Node, body: Body) -> Result<Response, Problem> {
    let bytes = body::read(body, BODY_BYTES_MAX, node.limits().body_max).await?;
    revoke_said(node, &bytes).await
}

async fn revoke_said(node: &Node, bytes: &[u8]) -> Result<Response, Problem> {
    let asked: Asked = json::read(bytes, "the revocation")?;
    let ttl_s = asked.ttl.unwrap_or(TTL_S_DEFAULT);
    if !(1..=TTL_S_MAX).contains(&ttl_s) {
        let detail = format!("`ttl` is a number of seconds from 1 to {TTL_S_MAX}");
        return Err(Problem::new(Reason::BadRequest, detail));
    }
    let what = asked.what()?;
    let now = node.clock.now();
    let until_ms = now.monotonic_ms.saturating_add(ttl_s * 1_000);
    let revocation = Revocation { what, at_s: now.wall_ms / 1_000, until_ms };
    node.revoke(revocation).await.map_err(Problem)?;
    tracing::info!(kind = asked.kind(), "rights revoked");
    let mut response = Json(Answer { expires_in: ttl_s }).into_response();
    no_store(response.headers_mut());
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    sub: Option<String>,
    jti: Option<String>,
    channel: Option<String>,
    /// Seconds.
    ttl: Option<u64>,
}

#[derive(Serialize)]
struct Answer {
    expires_in: u64,
}

impl Asked {
    fn what(&self) -> Result<Revoked, Problem> {
        let name = |name: &str| {
            let in_bounds = (1..=NAME_BYTES_MAX).contains(&name.len());
            let wrong = || Problem::new(Reason::BadRequest, "`sub` and `jti` have 1 to 256 bytes");
            in_bounds.then(|| name.into()).ok_or_else(wrong)
        };
        match (&self.sub, &self.jti, &self.channel) {
            (Some(sub), None, None) => Ok(Revoked::Subject(name(sub)?)),
            (None, Some(jti), None) => Ok(Revoked::Token(name(jti)?)),
            (None, None, Some(channel)) => Ok(Revoked::Channel(refusals::channel(channel)?)),
            _ => {
                Err(Problem::new(Reason::BadRequest, "exactly one of `sub`, `jti` and `channel` is revoked"))
            }
        }
    }

    fn kind(&self) -> &'static str {
        match (&self.sub, &self.jti) {
            (Some(_), _) => "subject",
            (_, Some(_)) => "token",
            _ => "channel",
        }
    }
}
