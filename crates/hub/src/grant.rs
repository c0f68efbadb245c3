//! Grants: who is asking, what they may do, and until when. And the contract of the gate that gives them.

use std::net::IpAddr;
use std::sync::Arc;

use crate::channel::Channel;
use crate::reason::Reason;

/// What the gate allowed: who, what, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who it is. Idempotency keys belong to it (delivery rule R22).
    pub subject: Arc<str>,
    /// Channels it may subscribe to.
    pub subscribe: Scope,
    /// Channels it may publish to.
    pub publish: Scope,
    /// Channels whose past it may read from the beginning (`cursor=earliest`, `tail=`).
    pub history: Scope,
    /// Whether it may use the control API.
    pub admin: bool,
}

impl Grant {
    /// Everything, for `subject`: what dev mode grants to loopback.
    #[must_use]
    pub fn everything(subject: &str) -> Grant {
        Grant {
            subject: subject.into(),
            subscribe: Scope::All,
            publish: Scope::All,
            history: Scope::All,
            admin: true,
        }
    }
}

/// A set of channels that a right holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every channel.
    All,
    /// No channel.
    None,
}

impl Scope {
    /// Whether the right holds for `channel`.
    #[must_use]
    pub fn holds(&self, _channel: &Channel) -> bool {
        matches!(self, Scope::All)
    }
}

/// What is being asked for, as far as the gate decides on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To receive messages, over any transport.
    Subscribe,
    /// To publish.
    Publish,
    /// To use the control API.
    Control,
    /// To see a page.
    Page,
}

/// The facts of a request that the gate looks at. Nothing here is trusted yet.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What for.
    pub action: Action,
    /// The `Host` header.
    pub host: Option<&'a str>,
    /// The `Origin` header.
    pub origin: Option<&'a str>,
    /// The `Sec-Fetch-Site` header, which pages cannot set (Fetch Metadata).
    pub fetch_site: Option<&'a str>,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The address at the other end of the connection.
    pub peer: IpAddr,
}

/// The contract of authentication and authorisation.
///
/// A gate is asked once per request, before anything changes (security rule S6). It must not block.
pub trait Gate: Send + Sync {
    /// Lets the request in, or names why not.
    ///
    /// # Errors
    /// The reason is sent to the client; it must hold no secret.
    fn check(&self, asked: &Asked<'_>) -> Result<Arc<Grant>, Reason>;
}
