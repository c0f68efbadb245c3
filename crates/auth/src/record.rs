//! Records: a grant as it lies in a vault, and what it is bound to.
//!
//! JSON, because a vault may be shared by nodes of two versions. A record with a field that this version does not know
//! is refused rather than read without it: the field might be a restriction.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidewire_hub::broker::Now;
use tidewire_hub::grant::{Grant, Holder, Scope, Token};
use tidewire_hub::pattern::Pattern;

/// The server's side of a ticket.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TicketRecord {
    pub(crate) pass: Pass,
    /// When it was sold, in milliseconds since 1970.
    pub(crate) minted_at_ms: u64,
    /// How long it was to last.
    pub(crate) ttl_ms: u64,
    /// The life of the vault that it was sold in (security rule S21).
    pub(crate) generation: u64,
}

/// The server's side of a session: what the spent ticket in a stream's URL still opens, for who has its cookie.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionRecord {
    pub(crate) pass: Pass,
    /// The digest of the ticket, in hexadecimal.
    pub(crate) ticket: Box<str>,
}

/// Who may do what, from where, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pass {
    holder: WrittenHolder,
    subscribe: Patterns,
    publish: Patterns,
    history: Patterns,
    presence: Patterns,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    only: Option<Patterns>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    except: Option<Patterns>,
    /// When the rights end, in milliseconds since 1970: another node's steady clock means nothing here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    ends_at_ms: Option<u64>,
    /// The origin of the page that bought it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) origin: Option<Box<str>>,
    /// The network of the client that bought it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) network: Option<IpAddr>,
}

type Patterns = Vec<Box<str>>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WrittenHolder {
    Developer {},
    Key { name: Box<str> },
    Token { subject: Box<str>, id: Option<Box<str>>, issued_at_s: u64 },
}

impl Pass {
    /// Writes a grant down. The control API is not among what can be passed on.
    pub(crate) fn of(grant: &Grant, now: Now) -> Pass {
        Pass {
            holder: write_holder(&grant.holder),
            subscribe: write(&grant.subscribe),
            publish: write(&grant.publish),
            history: write(&grant.history),
            presence: write(&grant.presence),
            only: grant.only.as_ref().map(write),
            except: grant.except.as_ref().map(write),
            ends_at_ms: grant.lasts_ms(now).map(|lasts_ms| now.wall_ms.saturating_add(lasts_ms)),
            origin: None,
            network: None,
        }
    }

    /// The grant that was written down; nothing where its time is over or it cannot be read.
    pub(crate) fn grant(&self, now: Now) -> Option<Grant> {
        let ends_at_ms = match self.ends_at_ms {
            Some(ends_at_ms) => {
                let lasts_ms = ends_at_ms.checked_sub(now.wall_ms).filter(|lasts_ms| *lasts_ms > 0)?;
                Some(now.monotonic_ms.saturating_add(lasts_ms))
            }
            None => None,
        };
        let only = confines(self.only.as_ref())?;
        let except = confines(self.except.as_ref())?;
        Some(Grant {
            holder: read_holder(&self.holder),
            subscribe: read(&self.subscribe)?,
            publish: read(&self.publish)?,
            history: read(&self.history)?,
            presence: read(&self.presence)?,
            only,
            except,
            admin: false,
            ends_at_ms,
        })
    }
}

fn write_holder(holder: &Holder) -> WrittenHolder {
    match holder {
        Holder::Developer => WrittenHolder::Developer {},
        Holder::Key(name) => WrittenHolder::Key { name: (**name).into() },
        Holder::Token(token) => {
            let Token { subject, id, issued_at_s } = (**token).clone();
            WrittenHolder::Token { subject, id, issued_at_s }
        }
    }
}

fn read_holder(holder: &WrittenHolder) -> Holder {
    match holder.clone() {
        WrittenHolder::Developer {} => Holder::Developer,
        WrittenHolder::Key { name } => Holder::Key(name.into()),
        WrittenHolder::Token { subject, id, issued_at_s } => {
            Holder::Token(Arc::new(Token { subject, id, issued_at_s }))
        }
    }
}

fn write(scope: &Scope) -> Patterns {
    scope.patterns().iter().map(|pattern| pattern.as_str().into()).collect()
}

/// What a grant is confined to or kept from, if anything; nothing where it cannot be read.
fn confines(patterns: Option<&Patterns>) -> Option<Option<Scope>> {
    patterns.map_or(Some(None), |patterns| read(patterns).map(Some))
}

fn read(patterns: &Patterns) -> Option<Scope> {
    let patterns: Option<Vec<Pattern>> = patterns.iter().map(|text| Pattern::parse(text).ok()).collect();
    patterns.map(Scope::new)
}

/// A record as a vault keeps it.
pub(crate) fn encode(record: &impl Serialize) -> Bytes {
    // These types have no map keys but field names, and nothing else makes JSON fail. An empty value is no record.
    serde_json::to_vec(record).unwrap_or_default().into()
}

/// What a vault kept. Nothing where it is not what this version writes.
pub(crate) fn decode<T: DeserializeOwned>(value: &Bytes) -> Option<T> {
    serde_json::from_slice(value).ok()
}

/// The network of an address, as it is written down: /24 of IPv4, /64 of IPv6. That is what one household or one
/// office has, and what a phone changes all the time, which is why it is off by default (security rule S22).
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { monotonic_ms: 5_000, wall_ms: 1_700_000_000_000, micros: 0 };

    fn scope(patterns: &[&str]) -> Scope {
        Scope::new(patterns.iter().map(|pattern| Pattern::parse(pattern).unwrap()))
    }

    fn grant(holder: Holder) -> Grant {
        Grant {
            holder,
            subscribe: scope(&["prices", "orders:*"]),
            publish: scope(&["chat"]),
            history: scope(&["*"]),
            presence: Scope::none(),
            only: Some(scope(&["prices"])),
            except: Some(scope(&["user:*"])),
            admin: false,
            ends_at_ms: Some(NOW.monotonic_ms + 60_000),
        }
    }

    fn there_and_back(grant: &Grant, now: Now) -> Option<Grant> {
        let written = encode(&Pass::of(grant, NOW));
        decode::<Pass>(&written).unwrap().grant(now)
    }

    #[test]
    fn s19_whoever_buys_a_ticket_is_who_it_opens_for() {
        let token = Token { subject: "älice\"".into(), id: Some("t1".into()), issued_at_s: 1_699_999_990 };
        let nameless = Token { subject: "bob".into(), id: None, issued_at_s: 0 };
        let holders = [
            Holder::Developer,
            Holder::Key("shop".into()),
            Holder::Token(Arc::new(token)),
            Holder::Token(Arc::new(nameless)),
        ];
        for holder in holders {
            let grant = grant(holder);
            assert_eq!(there_and_back(&grant, NOW), Some(grant));
        }
        let forever = Grant { ends_at_ms: None, only: None, except: None, ..grant(Holder::Developer) };
        assert_eq!(there_and_back(&forever, NOW), Some(forever));
    }

    #[test]
    fn s19_a_ticket_does_not_pass_on_the_control_api() {
        assert!(!there_and_back(&Grant::everything(), NOW).unwrap().admin);
    }

    #[test]
    fn s25_rights_end_when_those_of_the_token_do_on_any_nodes_clock() {
        let grant = grant(Holder::Developer);
        // A node that started an hour earlier, half a minute later.
        let later = Now { monotonic_ms: 3_605_000, wall_ms: NOW.wall_ms + 30_000, micros: 0 };
        assert_eq!(there_and_back(&grant, later).unwrap().ends_at_ms, Some(3_635_000));
        let over = Now { wall_ms: NOW.wall_ms + 60_000, ..later };
        assert_eq!(there_and_back(&grant, over), None);
    }

    #[test]
    fn s21_a_record_that_cannot_be_read_as_a_whole_opens_nothing() {
        let written = String::from_utf8(encode(&Pass::of(&grant(Holder::Developer), NOW)).to_vec()).unwrap();
        for bad in [
            String::new(),
            "null".into(),
            written[..written.len() - 1].to_owned(),
            written.replacen('{', r#"{"narrower":true,"#, 1),
            written.replace("developer", "root"),
        ] {
            assert!(decode::<Pass>(&bad.clone().into()).is_none(), "{bad}");
        }
        let unreadable = written.replace("orders:*", "orders*");
        assert_eq!(decode::<Pass>(&unreadable.into()).unwrap().grant(NOW), None);
    }

    #[test]
    fn s22_a_network_is_a_slash_24_or_a_slash_64() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("203.0.113.77"), "203.0.113.0");
        assert_eq!(of("::ffff:203.0.113.77"), "203.0.113.0");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
