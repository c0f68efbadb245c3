//! Who may do what: what the application is asked, and what it answers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::{Extensions, HeaderMap, Method, Uri, header, request};
use tidewire_hub::broker::Now;
use tidewire_hub::grant::{self, Denied, Holder, Scope, Token};
use tidewire_hub::pattern::Pattern;
use tidewire_hub::reason::Reason;

/// What is being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// To receive messages, over any transport.
    Subscribe,
    /// To publish.
    Publish,
    /// To be told who is connected.
    Presence,
    /// To use the control API: lists of channels, their history, taking rights back.
    Control,
}

/// A request that the application decides on. It is as the client sent it: the prefix that the router is nested at is in its
/// URI, and what the application's own layers put into its extensions is there.
#[derive(Clone)]
pub struct Asked {
    pub(crate) head: Arc<request::Parts>,
    pub(crate) action: Action,
    pub(crate) channels: Vec<Box<str>>,
    pub(crate) client: Option<IpAddr>,
}

impl Asked {
    /// What for.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// The channels that its address names, whatever escapes (`%3A`) it writes them with; none where they stand in the body,
    /// or come later by frames. So a decision is what the grant says, and not what is asked for here: each channel is held to
    /// the grant.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.channels.iter().map(|channel| &**channel)
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The address, as the client wrote it.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// The fields of its head.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// What the application's layers found out about it: a session, a user.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.head.extensions
    }

    /// The client's address; nothing where the application serves without
    /// [`ConnectInfo`](axum::extract::ConnectInfo).
    #[must_use]
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The value of the first cookie of this name.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let fields = self.head.headers.get_all(header::COOKIE).into_iter();
        let mut pairs = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(';'));
        pairs
            .find_map(|pair| pair.trim().split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    }
}

impl fmt::Debug for Asked {
    // Credentials stay out of logs (security rule S49).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("action", &self.action)
            .field("channels", &self.channels)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The longest subject and session, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// What somebody may do, and until when. A new one allows nothing but the subject's own channels, `user:{subject}` and those
/// below it, which nobody else may listen to, whatever their grant says.
///
/// Patterns are channel names in which `*` stands for a whole segment, and at the end for all that follow: `prices`,
/// `room:*`, `*`.
#[derive(Clone)]
pub struct Grant {
    subject: Box<str>,
    session: Option<Box<str>>,
    subscribe: Vec<Pattern>,
    publish: Vec<Pattern>,
    history: Vec<Pattern>,
    presence: Vec<Pattern>,
    control: bool,
    lasts: Option<Duration>,
}

impl Grant {
    /// For this subject: the user's id, of at most 256 bytes. Who has a longer one is refused. It is shown to those who may see presence, and what [`Tidewire::revoke_subject`]
    /// names.
    ///
    /// [`Tidewire::revoke_subject`]: crate::Tidewire::revoke_subject
    #[must_use]
    pub fn to(subject: impl Into<Box<str>>) -> Grant {
        Grant {
            subject: subject.into(),
            session: None,
            subscribe: Vec::new(),
            publish: Vec::new(),
            history: Vec::new(),
            presence: Vec::new(),
            control: false,
            lasts: None,
        }
    }

    /// For whoever comes, known by no name. Bounds of one subject hold for all of them together where they publish, and not
    /// where they listen.
    #[must_use]
    pub fn to_anybody() -> Grant {
        Grant::to("")
    }

    /// It may listen to channels that one of these patterns holds for.
    ///
    /// # Errors
    /// The first that is no pattern. In [`on_authorize`](crate::Builder::on_authorize), `?` makes that an answer 500 and a
    /// line in the log.
    pub fn subscribe<'p>(
        mut self,
        patterns: impl IntoIterator<Item = &'p str>,
    ) -> Result<Grant, PatternError> {
        parse(&mut self.subscribe, patterns)?;
        Ok(self)
    }

    /// It may publish to them.
    ///
    /// # Errors
    /// As [`Grant::subscribe`].
    pub fn publish<'p>(mut self, patterns: impl IntoIterator<Item = &'p str>) -> Result<Grant, PatternError> {
        parse(&mut self.publish, patterns)?;
        Ok(self)
    }

    /// Where it may listen to them, it may begin in their past (`?tail=`, `?cursor=earliest`). Coming back with a cursor
    /// needs no such right.
    ///
    /// # Errors
    /// As [`Grant::subscribe`].
    pub fn history<'p>(mut self, patterns: impl IntoIterator<Item = &'p str>) -> Result<Grant, PatternError> {
        parse(&mut self.history, patterns)?;
        Ok(self)
    }

    /// It may see who is connected to them.
    ///
    /// # Errors
    /// As [`Grant::subscribe`].
    pub fn presence<'p>(
        mut self,
        patterns: impl IntoIterator<Item = &'p str>,
    ) -> Result<Grant, PatternError> {
        parse(&mut self.presence, patterns)?;
        Ok(self)
    }

    /// It may use the control API below `/v1/`: for the application's operators.
    #[must_use]
    pub fn control(self) -> Grant {
        Grant { control: true, ..self }
    }

    /// It ends after this long. Connections end with it, and who comes back is asked for anew. Without it a connection lasts
    /// as long as it stays open, or until rights are revoked.
    #[must_use]
    pub fn lasting(self, lasts: Duration) -> Grant {
        Grant { lasts: Some(lasts), ..self }
    }

    /// It ends at this moment.
    #[must_use]
    pub fn until(self, end: SystemTime) -> Grant {
        self.lasting(end.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// It belongs to this one session of the subject's, which [`Tidewire::revoke_session`](crate::Tidewire::revoke_session)
    /// ends alone: at most 256 bytes. It stands in no log and is told to nobody.
    #[must_use]
    pub fn session(self, id: impl Into<Box<str>>) -> Grant {
        Grant { session: Some(id.into()), ..self }
    }

    /// Whether its names are no longer than those in a token: they are kept, and sent to whoever sees presence.
    pub(crate) fn is_in_bounds(&self) -> bool {
        let fits = |name: &str| name.len() <= NAME_BYTES_MAX;
        fits(&self.subject) && self.session.as_deref().is_none_or(fits)
    }

    pub(crate) fn given(&self, now: Now) -> Arc<grant::Grant> {
        let token = Token {
            subject: self.subject.clone(),
            id: self.session.clone(),
            // Revocations concern who was let in until then.
            issued_at_s: now.wall_ms / 1_000,
        };
        let scope = |patterns: &[Pattern]| Scope::new(patterns.iter().cloned());
        let lasts_ms = self.lasts.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        Arc::new(grant::Grant {
            holder: Holder::Token(Arc::new(token)),
            subscribe: scope(&self.subscribe),
            publish: scope(&self.publish),
            history: scope(&self.history),
            presence: scope(&self.presence),
            only: None,
            except: None,
            admin: self.control,
            ends_at_ms: lasts_ms.map(|lasts| now.monotonic_ms.saturating_add(lasts)),
        })
    }
}

impl fmt::Debug for Grant {
    // A log that names everybody who came is a list of users.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("subscribe", &self.subscribe)
            .field("publish", &self.publish)
            .field("history", &self.history)
            .field("presence", &self.presence)
            .field("control", &self.control)
            .field("lasts", &self.lasts)
            .finish_non_exhaustive()
    }
}

fn parse<'p>(
    into: &mut Vec<Pattern>,
    patterns: impl IntoIterator<Item = &'p str>,
) -> Result<(), PatternError> {
    for pattern in patterns {
        into.push(Pattern::parse(pattern).map_err(|why| PatternError { pattern: pattern.into(), why })?);
    }
    Ok(())
}

/// What is no pattern of channel names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    pattern: Box<str>,
    why: tidewire_hub::pattern::PatternError,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no pattern of channels: {}", self.pattern.escape_debug(), self.why)
    }
}

impl std::error::Error for PatternError {}

/// Why somebody may not come in. What it says is shown to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    detail: Option<Box<str>>,
}

impl Refusal {
    /// Nobody knows who asks: `401`. A browser's EventSource does not come back by itself.
    #[must_use]
    pub fn unauthorized() -> Refusal {
        Refusal { reason: Reason::Unauthorized, detail: None }
    }

    /// It is known who asks, and may not: `403`. A browser's EventSource does not come back by itself.
    #[must_use]
    pub fn forbidden() -> Refusal {
        Refusal { reason: Reason::Forbidden, detail: None }
    }

    /// Nobody can tell now, because what it depends on is away. Streams are told to come back.
    #[must_use]
    pub fn later() -> Refusal {
        Refusal { reason: Reason::Overloaded, detail: None }
    }

    /// The same with a sentence for the client.
    #[must_use]
    pub fn because(self, detail: impl Into<Box<str>>) -> Refusal {
        Refusal { detail: Some(detail.into()), ..self }
    }

    pub(crate) fn denied(self) -> Denied {
        Denied { reason: self.reason, detail: self.detail, forged: false }
    }
}

impl From<PatternError> for Refusal {
    fn from(error: PatternError) -> Refusal {
        // The pattern may hold what only the application may know.
        tracing::error!("a grant could not be made: {error}");
        Refusal { reason: Reason::Internal, detail: Some("the application could not decide".into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use tidewire_hub::channel::Channel;

    fn asked(cookies: &[&str]) -> Asked {
        let mut request = Request::builder();
        for cookie in cookies {
            request = request.header("cookie", *cookie);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Asked { head: Arc::new(head), action: Action::Subscribe, channels: Vec::new(), client: None }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let asked = asked(&["xsession=no; session=a=b", "late=1"]);
        assert_eq!(asked.cookie("session"), Some("a=b"));
        assert_eq!(asked.cookie("late"), Some("1"));
        assert_eq!(asked.cookie("sess"), None);
    }

    #[test]
    fn a_new_grant_allows_nothing_but_what_is_the_subjects_own() {
        let now = Now::default();
        let given = Grant::to("alice").given(now);
        let channel = |name| Channel::parse(name).unwrap();
        assert!(given.may_subscribe(&channel("user:alice")) && !given.may_subscribe(&channel("user:bob")));
        assert!(!given.may_subscribe(&channel("prices")) && !given.may_publish(&channel("user:alice")));
        assert!(!given.admin && given.ends_at_ms.is_none());
        let anybody = Grant::to_anybody().subscribe(["*"]).unwrap().given(now);
        assert!(anybody.may_subscribe(&channel("prices")) && !anybody.may_subscribe(&channel("user:alice")));
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        let error = Grant::to("alice").subscribe(["room:*", "room:a b"]).unwrap_err();
        assert!(error.to_string().contains("`room:a b`"), "{error}");
        assert_eq!(Refusal::from(error).denied().reason, Reason::Internal);
    }

    #[test]
    fn s49_debug_output_shows_no_credentials_and_no_names() {
        let shown = format!("{:?} {:?}", asked(&["session=canary"]), Grant::to("canary").session("canary"));
        assert!(!shown.contains("canary"), "{shown}");
    }
}
