//! Grants: who is asking, what they may do, and until when. And the contract of the gate that gives them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::admit::Transport;
use crate::broker::{Done, Now};
use crate::channel::{Channel, ChannelSet};
use crate::pattern::Pattern;
use crate::reason::Reason;

/// What the gate allowed: who, what, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who it is.
    pub holder: Holder,
    /// Channels it may subscribe to. The channels of other subjects are not among them, whatever this says:
    /// see [`Grant::may_subscribe`].
    pub subscribe: Scope,
    /// Channels it may publish to.
    pub publish: Scope,
    /// Channels whose past it may read from the beginning (`cursor=earliest`, `tail=`).
    pub history: Scope,
    /// Channels whose presence it may see.
    pub presence: Scope,
    /// The channels that it is confined to, whatever its rights and its holder: those that a ticket was bought for.
    /// Nothing confines everybody else.
    pub only: Option<Scope>,
    /// The channels that it does not reach, whatever its rights and its holder: those that are kept for who shows a token,
    /// where everybody else is let in without. Usually nothing.
    pub except: Option<Scope>,
    /// Whether it may use the control API.
    pub admin: bool,
    /// When its rights end, on the steady clock of this node ([`Now::monotonic_ms`]); nothing means never.
    pub ends_at_ms: Option<u64>,
}

/// Who holds a grant. Two kinds of holder never mean the same one, whatever their names are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Whoever is at home: reaches a server in dev mode, or is the application that Tidewire is part of.
    Developer,
    /// A backend with an API key, by the key's name in the configuration.
    Key(Arc<str>),
    /// The bearer of a token, or of a ticket that was bought with one.
    Token(Arc<Token>),
}

/// What a token says about itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token {
    /// Its subject (RFC 7519 section 4.1.2).
    pub subject: Box<str>,
    /// Its own name (`jti`), where it has one.
    pub id: Option<Box<str>>,
    /// When it was issued (`iat`), in seconds since 1970; 0 where it does not say.
    pub issued_at_s: u64,
}

impl Grant {
    /// Everything, for a developer: what dev mode grants to loopback.
    #[must_use]
    pub fn everything() -> Grant {
        Grant {
            holder: Holder::Developer,
            subscribe: Scope::all(),
            publish: Scope::all(),
            history: Scope::all(),
            presence: Scope::all(),
            only: None,
            except: None,
            admin: true,
            ends_at_ms: None,
        }
    }

    /// Whether it allows to subscribe to `channel`.
    ///
    /// A channel `user:{subject}` and those below it belong to that subject alone, whatever pattern a token holds, and
    /// need no grant of their own. Bytes of a subject that channel names do not have are written `=HH`.
    #[must_use]
    pub fn may_subscribe(&self, channel: &Channel) -> bool {
        let has_right = match (owner(channel), &self.holder) {
            (None, _) => self.subscribe.holds(channel),
            (Some(owner), Holder::Token(token)) => is_subject(owner, &token.subject),
            (Some(_), Holder::Developer) => true,
            (Some(_), Holder::Key(_)) => false,
        };
        has_right && self.reaches(channel)
    }

    /// Whether it allows to publish to `channel`.
    #[must_use]
    pub fn may_publish(&self, channel: &Channel) -> bool {
        self.publish.holds(channel) && self.reaches(channel)
    }

    /// Whether it allows to read the past of `channel` from its beginning.
    #[must_use]
    pub fn may_read_history(&self, channel: &Channel) -> bool {
        self.may_subscribe(channel) && self.history.holds(channel)
    }

    /// Whether it allows to see who is connected to `channel`. Of the channels of a subject, tokens see their own;
    /// backends see all that their keys allow.
    #[must_use]
    pub fn may_see_presence(&self, channel: &Channel) -> bool {
        let is_near = match (owner(channel), &self.holder) {
            (Some(owner), Holder::Token(token)) => is_subject(owner, &token.subject),
            (_, Holder::Token(_) | Holder::Key(_) | Holder::Developer) => true,
        };
        is_near && self.presence.holds(channel) && self.reaches(channel)
    }

    /// How long its rights still last; nothing where they do not end.
    #[must_use]
    pub fn lasts_ms(&self, now: Now) -> Option<u64> {
        self.ends_at_ms.map(|ends_at| ends_at.saturating_sub(now.monotonic_ms))
    }

    fn reaches(&self, channel: &Channel) -> bool {
        self.only.as_ref().is_none_or(|only| only.holds(channel)) && !self.lacks_token(channel)
    }

    /// Whether `channel` is kept for who shows a token, and this grant was given without.
    #[must_use]
    pub fn lacks_token(&self, channel: &Channel) -> bool {
        self.except.as_ref().is_some_and(|except| except.holds(channel))
    }
}

impl Holder {
    /// Names the holder as a publisher: idempotency keys belong to it (delivery rule R22). No two holders share it.
    #[must_use]
    pub fn publisher(&self) -> Arc<str> {
        match self {
            Holder::Developer => "developer".into(),
            Holder::Key(name) => format!("key:{name}").into(),
            Holder::Token(token) => format!("token:{}", token.subject).into(),
        }
    }
}

impl fmt::Debug for Holder {
    // A name is no secret, but a log that names everybody who came is a list of users.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Holder::Developer => "Developer",
            Holder::Key(_) => "Key(***)",
            Holder::Token(_) => "Token(***)",
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// A set of channels that a right holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Arc<[Pattern]>);

impl Scope {
    /// The channels that one of `patterns` holds for.
    #[must_use]
    pub fn new(patterns: impl IntoIterator<Item = Pattern>) -> Scope {
        Scope(patterns.into_iter().collect())
    }

    /// Every channel.
    #[must_use]
    pub fn all() -> Scope {
        Scope::new(Pattern::parse("*"))
    }

    /// No channel.
    #[must_use]
    pub fn none() -> Scope {
        Scope::new([])
    }

    /// Whether the right holds for `channel`.
    #[must_use]
    pub fn holds(&self, channel: &Channel) -> bool {
        self.0.iter().any(|pattern| pattern.matches(channel))
    }

    /// The patterns, in the order given.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.0
    }
}

/// What is being asked for, as far as the gate decides on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To receive messages.
    Subscribe(Transport),
    /// To publish.
    Publish,
    /// To use the control API.
    Control,
    /// To be told who is connected.
    Presence,
    /// To exchange a token for a ticket.
    Ticket,
    /// To see a page, or what a page may ask.
    Page,
}

/// The facts of a request that the gate looks at. Nothing here is trusted yet.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// What for.
    pub action: Action,
    /// The `Host` header, or the authority of an HTTP/2 request.
    pub host: Option<&'a str>,
    /// The `Origin` header.
    pub origin: Option<&'a str>,
    /// The `Sec-Fetch-Site` header, which pages cannot set (Fetch Metadata).
    pub fetch_site: Option<&'a str>,
    /// The `Referer` header.
    pub referer: Option<&'a str>,
    /// The `Authorization` header, or `Bearer …` made of a WebSocket's `bearer.…` subprotocol.
    pub authorization: Option<&'a str>,
    /// The `Cookie` header.
    pub cookie: Option<&'a str>,
    /// The parameter `ticket`.
    pub ticket: Option<&'a str>,
    /// The parameter `access_token`.
    pub query_token: Option<&'a str>,
    /// The path as the client wrote it, which a cookie is scoped to.
    pub path: &'a str,
    /// Whether the client came over TLS, to us or to a proxy that we trust.
    pub secure: bool,
    /// The client's address: the peer's, or what a trusted proxy says (security rule S41).
    pub client: IpAddr,
}

impl fmt::Debug for Asked<'_> {
    // Credentials stay out of logs (security rule S49).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("action", &self.action)
            .field("host", &self.host)
            .field("origin", &self.origin)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The contract of authentication and authorisation.
///
/// A request is screened first and admitted second. What must be looked at in between, because it changes nothing
/// either and refusing is cheap (shedding, rates), is the caller's business (security rule S6, delivery rule R12).
pub trait Gate: Send + Sync {
    /// Decides on host and origin (security rules S1 to S5, S9, S10). Changes nothing and does not block.
    ///
    /// # Errors
    /// [`Reason::HostRefused`] or [`Reason::OriginRefused`], and for a client from elsewhere [`Reason::Forbidden`].
    fn screen(&self, asked: &Asked<'_>) -> Result<Screened, Denied>;

    /// Decides on credentials, and may spend a ticket. Asked once per request that was screened. Does not block: what
    /// it has to look up elsewhere is answered later.
    fn admit(&self, asked: &Asked<'_>, now: Now, done: Done<Result<Entry, Denied>>);

    /// Reads a token that a client sends on an open connection (`refresh`).
    fn renew(&self, token: &str, now: Now, done: Done<Result<Arc<Grant>, Denied>>);
}

/// How a page of this origin may read answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screened {
    /// Whether the page may send cookies and see what comes of it (`Access-Control-Allow-Credentials`).
    pub credentials: bool,
}

/// What comes of a request that was admitted.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it may do.
    pub grant: Arc<Grant>,
    /// The value of a `Set-Cookie` header for its answer, whatever that will be (delivery rule R12).
    pub set_cookie: Option<Box<str>>,
}

/// The contract of who sells tickets: single-use credentials for clients that cannot set headers (security rules S19 to
/// S24).
pub trait Tickets: Send + Sync {
    /// Sells a ticket to whoever holds a grant.
    fn sell(&self, order: TicketOrder, now: Now, done: Done<Result<Ticket, Denied>>);
}

/// What a ticket shall be good for.
#[derive(Clone, Debug)]
pub struct TicketOrder {
    /// What its buyer may do. The ticket allows the same, and no longer.
    pub grant: Arc<Grant>,
    /// The origin of the page that bought it, which then is the only one that may spend it.
    pub origin: Option<Box<str>>,
    /// The address of its buyer.
    pub client: IpAddr,
    /// The channels that it may open; nothing means all of the grant's.
    pub channels: Option<ChannelSet>,
    /// How long it may be spent, in seconds; nothing means as configured.
    pub ttl_s: Option<u64>,
}

/// A ticket that was sold. It is a credential and shows nothing in logs (security rule S49).
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What its holder presents.
    pub secret: Box<str>,
    /// How long it may be spent, in seconds.
    pub expires_in_s: u64,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("expires_in_s", &self.expires_in_s).finish_non_exhaustive()
    }
}

/// Why a request was not admitted. It is shown to the client and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Why, in the terms of the protocol.
    pub reason: Reason,
    /// Why, in the terms of this request; nothing where the reason is all that may be said (security rule S17).
    pub detail: Option<Box<str>>,
    /// Whether it tried credentials that are wrong, which is counted against its address (security rule S38).
    pub forged: bool,
}

impl Denied {
    /// A denial that says no more than its reason.
    #[must_use]
    pub fn new(reason: Reason) -> Denied {
        Denied { reason, detail: None, forged: false }
    }

    /// The same with a sentence about this request.
    #[must_use]
    pub fn because(self, detail: impl Into<Box<str>>) -> Denied {
        Denied { detail: Some(detail.into()), ..self }
    }
}

/// The namespace whose channels belong to subjects.
const OWNED: &str = "user";

/// Whose channel this is: the second segment, as written, of a name in the namespace `user`.
fn owner(channel: &Channel) -> Option<&str> {
    let mut segments = channel.as_str().split(':');
    (segments.next() == Some(OWNED)).then(|| segments.next().unwrap_or_default())
}

/// Whether a segment is this subject with its foreign bytes written as `=HH`.
fn is_subject(segment: &str, subject: &str) -> bool {
    !subject.is_empty() && escape_subject(subject) == segment
}

/// A subject as a segment of a channel name: bytes outside `A-Za-z0-9._-` become `=HH`, in upper case.
#[must_use]
pub fn escape_subject(subject: &str) -> String {
    let mut segment = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("={byte:02X}"));
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::parse(name).unwrap()
    }

    fn bearer(subject: &str) -> Grant {
        let token = Token { subject: subject.into(), id: None, issued_at_s: 0 };
        Grant { holder: Holder::Token(Arc::new(token)), admin: false, ..Grant::everything() }
    }

    #[test]
    fn a_users_channel_is_readable_by_that_user_alone() {
        let alice = bearer("alice");
        assert!(
            alice.may_subscribe(&channel("user:alice")) && alice.may_subscribe(&channel("user:alice:inbox"))
        );
        for foreign in ["user:bob", "user:alice2", "user:Alice", "user", "user::alice"] {
            assert!(!alice.may_subscribe(&channel(foreign)), "{foreign}");
        }
        let nothing = Grant { subscribe: Scope::none(), ..bearer("alice") };
        assert!(nothing.may_subscribe(&channel("user:alice")) && !nothing.may_subscribe(&channel("prices")));
        let key = Grant { holder: Holder::Key("billing".into()), ..Grant::everything() };
        assert!(!key.may_subscribe(&channel("user:alice")) && key.may_publish(&channel("user:alice")));
    }

    #[test]
    fn s19_who_is_confined_reaches_nothing_else_not_even_what_is_theirs() {
        let only = Scope::new(Pattern::parse("prices"));
        let confined = Grant { only: Some(only), ..bearer("alice") };
        assert!(confined.may_subscribe(&channel("prices")) && confined.may_publish(&channel("prices")));
        for other in ["news", "user:alice", "prices:eu"] {
            let other = channel(other);
            let rights = [confined.may_subscribe(&other), confined.may_publish(&other)];
            assert_eq!((rights, confined.may_read_history(&other)), ([false, false], false), "{other}");
        }
    }

    #[test]
    fn what_is_kept_for_tokens_is_reached_by_no_right_without_one() {
        let except = Scope::new(Pattern::parse("user:*"));
        let anybody = Grant { except: Some(except), ..Grant::everything() };
        let (kept, free) = (channel("user:alice"), channel("users:alice"));
        assert!(
            !anybody.may_subscribe(&kept) && !anybody.may_publish(&kept) && !anybody.may_see_presence(&kept)
        );
        assert!(!anybody.may_read_history(&kept) && anybody.lacks_token(&kept));
        assert!(anybody.may_subscribe(&free) && anybody.may_publish(&free) && !anybody.lacks_token(&free));
    }

    #[test]
    fn s27_the_past_of_a_channel_needs_the_right_to_hear_it_today() {
        let prices = channel("prices");
        let deaf = Grant { subscribe: Scope::none(), ..bearer("alice") };
        assert!(deaf.history.holds(&prices) && !deaf.may_read_history(&prices));
        let forgetful = Grant { history: Scope::none(), ..bearer("alice") };
        assert!(forgetful.may_subscribe(&prices) && !forgetful.may_read_history(&prices));
        assert!(!bearer("alice").may_read_history(&channel("user:bob")));
    }

    #[test]
    fn s27_presence_needs_a_right_of_its_own_and_is_no_way_to_other_subjects() {
        let (chat, alice) = (channel("chat"), bearer("alice"));
        assert!(alice.may_see_presence(&chat) && alice.may_see_presence(&channel("user:alice:inbox")));
        assert!(!alice.may_see_presence(&channel("user:bob")));
        let blind = Grant { presence: Scope::none(), ..bearer("alice") };
        assert!(blind.may_subscribe(&chat) && !blind.may_see_presence(&chat));
        let confined = Grant { only: Some(Scope::none()), ..bearer("alice") };
        assert!(!confined.may_see_presence(&chat));
        let key = Grant { holder: Holder::Key("billing".into()), ..Grant::everything() };
        assert!(key.may_see_presence(&channel("user:alice")));
    }

    #[test]
    fn a_subject_of_any_bytes_has_a_channel_of_its_own() {
        assert_eq!(escape_subject("auth0|7/é"), "auth0=7C7=2F=C3=A9");
        assert!(bearer("a:b").may_subscribe(&channel("user:a=3Ab")));
        assert!(!bearer("a").may_subscribe(&channel("user:a=3Ab")));
        assert!(!bearer("a=3Ab").may_subscribe(&channel("user:a=3Ab")), "the escape sign is escaped, too");
        assert!(!bearer("").may_subscribe(&channel("user:")), "nobody is nobody's namesake");
    }

    #[test]
    fn r22_no_two_holders_are_the_same_publisher() {
        let token = |subject: &str| bearer(subject).holder.publisher();
        let names = [token("key:a"), token("a"), Holder::Key("a".into()).publisher(), token("developer")];
        let unique: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        assert_ne!(Holder::Developer.publisher(), token("developer"));
    }

    #[test]
    fn s49_debug_output_names_nobody() {
        let shown = format!("{:?}", bearer("alice"));
        assert!(!shown.contains("alice"), "{shown}");
    }
}
