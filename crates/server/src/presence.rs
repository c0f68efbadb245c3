//! Presence on this node: who is counted, who is told, and who may ask (`docs/protocol.md`, "Presence").
//!
//! ```text
//! sequencer --joined---> Keeper --> Teller --> every outlet
//! outlet ----departed-->   │          ▲
//!                          └─> Roster ┘        where there are other nodes
//! ```

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tidewire_hub::admit::{ConnId, OutletId};
use tidewire_hub::broker::{Done, Figure, Now};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::{Command, Outlet};
use tidewire_hub::grant::Grant;
use tidewire_hub::presence::{
    Attendance, Change, LISTED_MAX, Members, News, Pace, Presence, Roster, Subject,
};
use tidewire_hub::reason::Reason;

use crate::publishes::Namespaces;

/// Counts the members of the channels of some namespaces. The others cost a look at a set, once a join.
#[derive(Default)]
pub struct Keeper {
    namespaces: HashSet<Box<str>>,
    /// Guests of two nodes, or of two runs of one, are not called alike.
    salt: u64,
    members: Mutex<Presence>,
    teller: Arc<Teller>,
    roster: Option<Arc<dyn Roster>>,
    /// The outlet whose subscribers nobody counts.
    uncounted: OnceLock<OutletId>,
}

impl Keeper {
    /// Counts nobody yet, and tells `teller`. `salt` is random. Without a roster this node is the only one.
    #[must_use]
    pub fn new(
        namespaces: &Namespaces,
        salt: u64,
        teller: Arc<Teller>,
        roster: Option<Arc<dyn Roster>>,
    ) -> Keeper {
        let kept = namespaces.iter().filter(|(_, own)| own.presence == Some(true));
        let namespaces = kept.map(|(name, _)| name.clone()).collect();
        let (members, uncounted) = (Mutex::default(), OnceLock::new());
        Keeper { namespaces, salt, members, teller, roster, uncounted }
    }

    /// Counts nobody of this outlet: its subscribers are the application that Tidewire is part of, and no visitors. Only the
    /// first call counts.
    pub fn pass_over(&self, outlet: OutletId) {
        let _ = self.uncounted.set(outlet);
    }

    /// Whether presence is kept on this channel.
    #[must_use]
    pub fn keeps(&self, channel: &Channel) -> bool {
        !self.namespaces.is_empty() && self.namespaces.contains(channel.namespace())
    }

    /// A connection that had joined these channels has left them.
    pub fn departed(&self, outlet: OutletId, conn: ConnId, grant: &Grant, channels: &[Channel], now: Now) {
        self.of_each(outlet, conn, grant, channels, |members, channel, subject| {
            let sessions = members.leave(channel, subject, now);
            if let Some(roster) = &self.roster {
                roster.update(channel, subject, Some(sessions));
            }
        });
    }

    /// Lets time pass: whoever has had no session for `grace` is a member no more. Called about once a second.
    pub fn tick(&self, grace: Duration, now: Now) {
        if self.namespaces.is_empty() {
            return;
        }
        let mut members = self.members();
        for (channel, subject) in members.tick(grace, now) {
            match &self.roster {
                Some(roster) => roster.update(&channel, &subject, None),
                None => self.teller.tell(News { channel, change: Change::Leave(subject) }),
            }
        }
        drop(members);
        self.teller.tick();
    }

    /// The members of a channel, at most [`LISTED_MAX`] of them by name.
    pub fn list(&self, channel: Channel, done: Done<Result<Members, Reason>>) {
        match &self.roster {
            Some(roster) => roster.members(channel, LISTED_MAX, done),
            None => {
                let listed = self.members().members(&channel, LISTED_MAX);
                done(Ok(listed));
            }
        }
    }

    /// Members of all channels on this node.
    #[must_use]
    pub fn count(&self) -> usize {
        self.members().count()
    }

    /// Changes that nobody was told of since the start.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.teller.untold.load(Ordering::Relaxed)
    }

    /// What else is counted where other nodes are.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        self.roster.as_ref().map(|roster| roster.figures()).unwrap_or_default()
    }

    fn of_each(
        &self,
        outlet: OutletId,
        conn: ConnId,
        grant: &Grant,
        channels: &[Channel],
        mut each: impl FnMut(&mut Presence, &Channel, &Subject),
    ) {
        let mut kept = channels.iter().filter(|channel| self.keeps(channel)).peekable();
        if kept.peek().is_none() || self.uncounted.get() == Some(&outlet) {
            return;
        }
        let guest = self.salt ^ conn.0.rotate_left(16) ^ u64::from(outlet.0);
        let subject = Subject::of(&grant.holder, guest);
        let mut members = self.members();
        for channel in kept {
            each(&mut members, channel, &subject);
        }
    }

    /// Nothing panics while it is held but for a count that is wrong already; the others' counts are still whole.
    fn members(&self) -> MutexGuard<'_, Presence> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attendance for Keeper {
    fn joined(&self, outlet: OutletId, conn: ConnId, grant: &Grant, channels: &ChannelSet) {
        self.of_each(outlet, conn, grant, channels, |members, channel, subject| {
            let joined = members.join(channel, subject);
            match &self.roster {
                Some(roster) => roster.update(channel, subject, Some(joined.sessions)),
                // The lock is held, so that a join is never told after the leave that follows it.
                None if joined.is_new => {
                    let change = Change::Join(subject.clone());
                    self.teller.tell(News { channel: channel.clone(), change });
                }
                None => {}
            }
        });
    }
}

/// Tells every outlet of this node of changes, as many as may be told.
#[derive(Default)]
pub struct Teller {
    outlets: OnceLock<Vec<Arc<dyn Outlet>>>,
    pace: Mutex<Pace>,
    untold: AtomicU64,
}

impl Teller {
    /// Names the outlets. Only the first call counts.
    pub fn tell_to(&self, outlets: impl IntoIterator<Item = Arc<dyn Outlet>>) {
        let _ = self.outlets.set(outlets.into_iter().collect());
    }

    /// Tells of a change, now or, where there are too many, as missed once the second is over.
    pub fn tell(&self, news: News) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let is_told = match &news.change {
            Change::Missed => {
                pace.miss(&news.channel);
                return;
            }
            Change::Join(_) | Change::Leave(_) => pace.allow(&news.channel),
        };
        let news = Arc::new(news);
        if !is_told || !self.send(&news) {
            self.untold.fetch_add(1, Ordering::Relaxed);
            pace.miss(&news.channel);
        }
    }

    /// Lets a second pass, and tells of what was missed in it.
    pub fn tick(&self) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        for channel in pace.tick() {
            let news = Arc::new(News { channel, change: Change::Missed });
            if !self.send(&news) {
                pace.miss(&news.channel);
            }
        }
    }

    /// Whether every outlet had room for it.
    fn send(&self, news: &Arc<News>) -> bool {
        let outlets = self.outlets.get().map_or(&[][..], Vec::as_slice);
        let told = outlets.iter().filter(|outlet| outlet.send(Command::Presence(news.clone())).is_ok());
        told.count() == outlets.len()
    }
}
