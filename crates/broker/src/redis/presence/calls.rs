//! Scripts and their answers.

use std::time::Duration;

use redis::{Cmd, Value};
use tidewire_hub::channel::Channel;
use tidewire_hub::presence::{Change, Member, Members, News, Subject};

use crate::redis::aside::Aside;
use crate::redis::error::Error;
use crate::redis::fence::NodeId;
use crate::redis::link::is_forgotten;
use crate::redis::script::{self, Script};

/// The longest name of a member, in bytes: no credentials give a longer one.
const SUBJECT_BYTES_MAX: usize = 512;

/// What one node is worth in a channel's score of a subject. A session is worth 1.
const NODE: u64 = 1 << 32;

/// Members that one call takes out. Redis answers nobody else meanwhile.
const REAPED_AT_ONCE: usize = 256;

/// What presence is called in Redis.
///
/// ```text
/// {tidewire:aside}:p:nodes        when the lease of each node ends
/// {tidewire:aside}:p:store        a name of this store, which a lost one takes along
/// {tidewire:aside}:p:n:<node>     "<channel> <subject>" and how many sessions it has there; "" and a version
/// {tidewire:aside}:p:c:<channel>  subjects, by nodes and sessions
/// {tidewire:aside}:p:<database>   Pub/Sub, which all databases of a server share (delivery rule R21)
/// ```
#[derive(Clone, Debug)]
pub(super) struct Names {
    tag: Box<str>,
    database: u32,
}

impl Names {
    pub(super) fn new(prefix: &str, database: u32) -> Names {
        Names { tag: format!("{{{prefix}:aside}}:p:").into(), database }
    }

    /// Where joins and leaves are told.
    pub(super) fn told(&self) -> String {
        format!("{}{}", self.tag, self.database)
    }

    fn nodes(&self) -> String {
        format!("{}nodes", self.tag)
    }

    fn store(&self) -> String {
        format!("{}store", self.tag)
    }

    fn node(&self, node: &str) -> String {
        format!("{}n:{node}", self.tag)
    }

    fn channels(&self) -> String {
        format!("{}c:", self.tag)
    }

    fn channel(&self, channel: &Channel) -> String {
        format!("{}c:{channel}", self.tag)
    }
}

/// The client of the scripts.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    pub(super) aside: Aside,
    pub(super) names: Names,
}

/// What a renewal gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Renewed {
    /// Whether the node has a lease now.
    pub(super) is_in: bool,
    /// The name of the store.
    pub(super) store: String,
    /// Nodes whose lease has run out.
    pub(super) dead: Vec<String>,
}

/// How many sessions a subject has; nothing where it is no member.
pub(super) type Row = (Channel, Subject, Option<u32>);

impl Calls {
    /// Takes (`enter`) or renews the lease of a node. `fresh` names the store if it is empty.
    pub(super) async fn renew(
        &self,
        node: NodeId,
        version: u64,
        lease: Duration,
        fresh: u64,
        enter: bool,
    ) -> Result<Renewed, Error> {
        let names = &self.names;
        let keys = [names.nodes(), names.store(), names.node(&node.to_string())];
        let mut call = script::PRESENCE_RENEW.call(&keys);
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        call.arg(node.to_string()).arg(version).arg(lease_ms).arg(format!("{fresh:016x}"));
        call.arg(if enter { "enter" } else { "" });
        let mut words = words(self.ask(&script::PRESENCE_RENEW, call).await?)?.into_iter();
        let is_in = match words.next().as_deref() {
            Some("IN") => true,
            Some("LOST") => false,
            _ => return Err(Error::malformed("renewal")),
        };
        let store = words.next().ok_or_else(|| Error::malformed("store"))?;
        Ok(Renewed { is_in, store, dead: words.collect() })
    }

    /// Writes rows of a node. False where its lease has run out.
    pub(super) async fn write(
        &self,
        node: NodeId,
        version: u64,
        rows: &[Row],
        quiet: bool,
    ) -> Result<bool, Error> {
        let mut keys = vec![self.names.nodes(), self.names.node(&node.to_string())];
        keys.extend(rows.iter().map(|(channel, ..)| self.names.channel(channel)));
        let mut call = script::PRESENCE_WRITE.call(&keys);
        call.arg(node.to_string()).arg(version).arg(self.names.told());
        call.arg(if quiet { "quiet" } else { "" });
        for (at, (channel, subject, sessions)) in rows.iter().enumerate() {
            call.arg(at + 3).arg(channel.as_str()).arg(subject.as_str());
            match sessions {
                Some(sessions) => call.arg(*sessions),
                None => call.arg("-"),
            };
        }
        match words(self.ask(&script::PRESENCE_WRITE, call).await?)?.first().map(String::as_str) {
            Some("IN") => Ok(true),
            Some("LOST") => Ok(false),
            _ => Err(Error::malformed("write")),
        }
    }

    /// Takes out members of a node that is gone, slice by slice. `own` is one whose name the caller had.
    pub(super) async fn reap(&self, node: &str, own: bool) -> Result<(), Error> {
        loop {
            let keys = [self.names.nodes(), self.names.node(node)];
            let mut call = script::PRESENCE_REAP.call(&keys);
            call.arg(node).arg(self.names.told()).arg(self.names.channels()).arg(REAPED_AT_ONCE);
            call.arg(if own { "own" } else { "" });
            match words(self.ask(&script::PRESENCE_REAP, call).await?)?.first().map(String::as_str) {
                Some("MORE") => {}
                Some("GONE" | "ALIVE") => return Ok(()),
                _ => return Err(Error::malformed("reap")),
            }
        }
    }

    /// The members of a channel, at most `count_max` of them, by name.
    pub(super) async fn list(&self, channel: &Channel, count_max: usize) -> Result<Members, Error> {
        let mut call = script::PRESENCE_LIST.call(&[self.names.channel(channel)]);
        call.arg(count_max);
        let mut words = words(self.ask(&script::PRESENCE_LIST, call).await?)?.into_iter();
        let number = |word: Option<String>| {
            word.and_then(|word| word.parse::<u64>().ok()).ok_or_else(|| Error::malformed("number"))
        };
        let count = usize::try_from(number(words.next())?).unwrap_or(usize::MAX);
        let mut listed = Vec::new();
        while let Some(subject) = words.next() {
            let sessions = u32::try_from(number(words.next())? % NODE).unwrap_or(u32::MAX);
            listed.push(Member { subject: Subject::told(&subject), sessions });
        }
        listed.sort_unstable_by(|one, other| one.subject.cmp(&other.subject));
        Ok(Members { listed, count })
    }

    /// Calls a script by its hash, and again with its text where Redis has forgotten it (fault F15).
    async fn ask(&self, script: &Script, call: Cmd) -> Result<Value, Error> {
        let mut answers = self.aside.ask(std::slice::from_ref(&call)).await?;
        if answers.last().is_some_and(is_forgotten) {
            answers = self.aside.ask(&[script.load(), call]).await?;
        }
        match answers.pop() {
            Some(Value::ServerError(error)) => Err(Error::of_reply(&error)),
            Some(answer) => Ok(answer),
            None => Err(Error::malformed("no answer")),
        }
    }
}

/// Reads what was told over Pub/Sub; nothing where it is junk (fault F33).
pub(super) fn read_news(bytes: &[u8]) -> Option<News> {
    let (kind, rest) = std::str::from_utf8(bytes).ok()?.split_at_checked(1)?;
    if kind == "?" {
        return Some(News { channel: Channel::parse(rest).ok()?, change: Change::Missed });
    }
    let (channel, subject) = rest.split_once(' ')?;
    if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX {
        return None;
    }
    let subject = Subject::told(subject);
    let change = match kind {
        "+" => Change::Join(subject),
        "-" => Change::Leave(subject),
        _ => return None,
    };
    Some(News { channel: Channel::parse(channel).ok()?, change })
}

fn words(answer: Value) -> Result<Vec<String>, Error> {
    redis::from_redis_value(answer).map_err(|_| Error::malformed("answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f33_what_is_told_is_read_strictly() {
        let told = |change| Some(News { channel: Channel::parse("chat:1").unwrap(), change });
        let subject = || Subject::told("alice b");
        assert_eq!(read_news(b"+chat:1 alice b"), told(Change::Join(subject())));
        assert_eq!(read_news(b"-chat:1 alice b"), told(Change::Leave(subject())));
        assert_eq!(read_news(b"?chat:1"), told(Change::Missed));
        let long = format!("+chat:1 {}", "x".repeat(SUBJECT_BYTES_MAX + 1));
        for junk in [
            &b""[..],
            b"+",
            b"+chat:1",
            b"+chat:1 ",
            b"!chat:1 a",
            b"?",
            b"+ch}at a",
            b"+\xff a",
            long.as_bytes(),
        ] {
            assert_eq!(read_news(junk), None, "{junk:?}");
        }
        assert_eq!(read_news("é".as_bytes()), None, "no cut through a character");
    }
}
