//! The notification bell: users of two tenants, each with notifications of their own. A tenant sees nothing of another.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tidewire_hub::channel::Channel;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tokio::time::{MissedTickBehavior, interval};

use super::answers::{Answer, Asked, brief};
use super::document::Document;
use super::tokens::{Login, Rights, bearer};
use super::{Demo, store::Store};

/// Every tenant, and who works there.
const TENANTS: [(&str, [&str; 2]); 2] = [("acme", ["ada", "ben"]), ("borealis", ["cleo", "dan"])];

/// Notifications that a user keeps; the oldest make room.
const KEPT_MAX: usize = 50;

const TEXT_CHARS_MAX: usize = 200;

/// How often the backend has something to say to a tenant by itself, while anybody is logged in.
const EVERY: Duration = Duration::from_secs(20);

/// What it says, one after the other.
const NEWS: [&str; 5] = [
    "A delivery has left the harbour",
    "Invoice 1042 was paid",
    "The tide table for next week is ready",
    "A new colleague has joined",
    "The nightly backup is done",
];

/// The bells, and whether anybody looks.
pub(super) struct Desk {
    bells: Document<Bells>,
    /// Until when anybody is logged in, in milliseconds since 1970: nobody needs news before the first visit.
    logged_in_until_ms: AtomicU64,
}

/// What every user was told, by `tenant:user`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Bells {
    /// How much of [`NEWS`] was told.
    told: usize,
    bells: BTreeMap<String, Bell>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Bell {
    /// One more with every change.
    version: u64,
    /// The newest first.
    notifications: VecDeque<Notification>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Notification {
    /// The version that it came with.
    id: u64,
    from: String,
    text: String,
    /// Milliseconds since 1970.
    time: u64,
    read: bool,
}

/// One change of one user's bell.
#[derive(Debug, Serialize)]
struct Told<T> {
    version: u64,
    #[serde(flatten)]
    what: T,
}

/// These were read.
#[derive(Clone, Debug, Serialize)]
struct Seen {
    ids: Vec<u64>,
}

#[derive(Serialize)]
struct Sent {
    /// How many users were told.
    users: usize,
}

#[derive(Deserialize)]
struct Who {
    tenant: String,
    user: String,
    /// How long the token is to last, in seconds.
    lasts_s: Option<u64>,
}

#[derive(Deserialize)]
struct Words {
    text: String,
}

/// Which notification was read; all where none is named.
#[derive(Deserialize)]
struct Read {
    id: Option<u64>,
}

#[derive(Serialize)]
struct User {
    /// Where this user is told.
    channel: String,
    #[serde(flatten)]
    login: Login,
}

/// The bells of the store.
pub(super) fn open(store: &Store) -> Desk {
    Desk { bells: Document::open(store, "bell", Bells::default), logged_in_until_ms: AtomicU64::new(0) }
}

/// Below `/demo/api/`.
pub(super) fn routes() -> Router<Arc<Demo>> {
    Router::new()
        .route("/demo/api/bell", get(bell))
        .route("/demo/api/bell/login", post(log_in))
        .route("/demo/api/bell/send", post(send))
        .route("/demo/api/bell/read", post(read))
}

/// Tells one tenant after the other something by itself, for ever.
pub(super) async fn feed(demo: Arc<Demo>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for (tenant, _) in TENANTS.iter().cycle() {
        ticks.tick().await;
        if demo.now_ms() > demo.bell.logged_in_until_ms.load(Ordering::Relaxed) {
            continue;
        }
        if demo.node.has_time().is_err() {
            return;
        }
        // The next one may come through.
        let _ = tell(&demo, tenant, None).await;
    }
}

/// Gives a token for a user. An application would ask for a password here.
async fn log_in(State(demo): State<Arc<Demo>>, asked: Asked<Who>) -> Answer<User> {
    let Who { tenant, user, lasts_s } = asked.read()?;
    let known = TENANTS.iter().any(|(name, users)| *name == tenant && users.contains(&user.as_str()));
    if !known {
        return Err(Refusal::new(Reason::NotFound, "there is no such user").into());
    }
    let (subject, channel) = (format!("{tenant}:{user}"), format!("demo-bell:{tenant}:{user}"));
    let now_ms = demo.now_ms();
    let login =
        demo.tokens.sign(&subject, &Rights { subscribe: &[&channel], presence: &[] }, lasts_s, now_ms)?;
    // A token that ends sooner takes nothing from one that lasts.
    demo.bell.logged_in_until_ms.fetch_max(now_ms + login.expires_in * 1_000, Ordering::Relaxed);
    Ok(Json(User { channel, login }))
}

async fn bell(State(demo): State<Arc<Demo>>, headers: HeaderMap) -> Answer<Bell> {
    let user = who(&demo, &headers).await?;
    Ok(Json(demo.bell.bells.look().await.bells.get(&user).cloned().unwrap_or_default()))
}

/// Tells everybody of one's own tenant, oneself included.
async fn send(State(demo): State<Arc<Demo>>, headers: HeaderMap, asked: Asked<Words>) -> Answer<Sent> {
    let user = who(&demo, &headers).await?;
    let text = brief(&asked.read()?.text, "notification", TEXT_CHARS_MAX)?;
    let (tenant, from) = user.split_once(':').unwrap_or_default();
    let users = tell(&demo, tenant, Some((from, text))).await?;
    Ok(Json(Sent { users }))
}

async fn read(State(demo): State<Arc<Demo>>, headers: HeaderMap, asked: Asked<Read>) -> Answer<Seen> {
    let user = who(&demo, &headers).await?;
    let Read { id } = asked.read()?;
    let (told, _bells) = demo.bell.bells.change(|bells| Ok(bells.read(&user, id))).await?;
    if let Some(told) = &told {
        demo.tell(&format!("demo-bell:{user}"), "read", told).await;
    }
    Ok(Json(told.map_or(Seen { ids: Vec::new() }, |told| told.what)))
}

/// Stores a notification for every user of `tenant`, and tells each on their own channel. The backend's own news where there
/// are no `words`.
async fn tell(demo: &Demo, tenant: &str, words: Option<(&str, String)>) -> Result<usize, Refusal> {
    let time = demo.now_ms();
    let (told, _bells) = demo.bell.bells.change(|bells| Ok(bells.add(tenant, words, time))).await?;
    for (user, notification) in &told {
        let told = Told { version: notification.id, what: notification };
        demo.tell(&format!("demo-bell:{user}"), "notification", &told).await;
    }
    Ok(told.len())
}

/// Whose token this is, as `tenant:user`. It has to allow to hear that user's channel: a name alone says nothing, since
/// other demonstrations give out tokens for any.
async fn who(demo: &Demo, headers: &HeaderMap) -> Result<String, Refusal> {
    let (user, grant) = bearer(&demo.node, headers).await?;
    let channel = Channel::parse(&format!("demo-bell:{user}"));
    if channel.is_ok_and(|channel| grant.may_subscribe(&channel)) {
        return Ok(user);
    }
    Err(Refusal::new(Reason::Forbidden, "this token is not one of a tenant's user"))
}

impl Bells {
    /// Gives what each user is to be told.
    fn add(&mut self, tenant: &str, words: Option<(&str, String)>, time: u64) -> Vec<(String, Notification)> {
        let (from, text) = words.unwrap_or_else(|| {
            self.told += 1;
            ("backend", NEWS[self.told % NEWS.len()].to_owned())
        });
        let users = TENANTS.iter().filter(|(name, _)| *name == tenant).flat_map(|(_, users)| users);
        let told = users.map(|user| {
            let user = format!("{tenant}:{user}");
            let bell = self.bells.entry(user.clone()).or_default();
            (user, bell.add(from, &text, time))
        });
        told.collect()
    }

    /// Gives what changed, if anything did.
    fn read(&mut self, user: &str, id: Option<u64>) -> Option<Told<Seen>> {
        let bell = self.bells.get_mut(user)?;
        let meant = |notification: &&mut Notification| id.is_none_or(|id| id == notification.id);
        let unread = bell.notifications.iter_mut().filter(|notification| !notification.read).filter(meant);
        let ids: Vec<u64> = unread
            .map(|notification| {
                notification.read = true;
                notification.id
            })
            .collect();
        if ids.is_empty() {
            return None;
        }
        bell.version += 1;
        Some(Told { version: bell.version, what: Seen { ids } })
    }
}

impl Bell {
    fn add(&mut self, from: &str, text: &str, time: u64) -> Notification {
        self.version += 1;
        let notification =
            Notification { id: self.version, from: from.into(), text: text.into(), time, read: false };
        self.notifications.push_front(notification.clone());
        self.notifications.truncate(KEPT_MAX);
        notification
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_of_the_tenant_is_told_and_nobody_else() {
        let mut bells = Bells::default();
        let told = bells.add("acme", Some(("ada", "high tide".into())), 7);
        assert_eq!(told.iter().map(|(user, _)| user.as_str()).collect::<Vec<_>>(), ["acme:ada", "acme:ben"]);
        assert!(bells.bells.keys().all(|user| user.starts_with("acme:")));
        assert!(bells.add("nobody", None, 8).is_empty());
    }

    #[test]
    fn what_was_read_is_told_once() {
        let mut bells = Bells::default();
        for n in 0..3 {
            bells.add("acme", Some(("ada", format!("{n}"))), n);
        }
        let read =
            |bells: &mut Bells, id| bells.read("acme:ben", id).map(|told| (told.version, told.what.ids));
        assert_eq!(read(&mut bells, Some(2)), Some((4, vec![2])));
        assert_eq!(read(&mut bells, Some(2)), None);
        assert_eq!(read(&mut bells, None), Some((5, vec![3, 1])));
        assert!(bells.bells["acme:ada"].notifications.iter().all(|notification| !notification.read));
        assert_eq!(bells.read("acme:zoe", None).map(|told| told.version), None);
    }

    #[test]
    fn a_bell_keeps_the_newest() {
        let mut bell = Bell::default();
        for n in 0..=KEPT_MAX as u64 {
            bell.add("ada", "tides", n);
        }
        assert_eq!((bell.notifications.len(), bell.notifications[0].id), (KEPT_MAX, KEPT_MAX as u64 + 1));
    }
}
