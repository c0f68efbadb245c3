//! API keys: how backends say who they are (security rule S50).
//!
//! The configuration holds a key's name, what it may do, and its SHA-256; the key itself is with the backend alone.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use tidewire_hub::grant::{Grant, Holder, Scope};

use crate::secret::{self, Digest, NoEntropy, Secret};

/// What every API key begins with, so that it is never taken for a token, and is found by scanners of leaked secrets.
pub const PREFIX: &str = "tw_";

/// Keys that a configuration may have.
const KEYS_MAX: usize = 1_000;

/// Characters of a key's name.
const NAME_BYTES_MAX: usize = 64;

/// Whether a bearer credential is meant as an API key.
#[must_use]
pub fn is_meant(credential: &str) -> bool {
    credential.starts_with(PREFIX)
}

/// Makes a new key.
///
/// # Errors
/// [`NoEntropy`].
pub fn generate() -> Result<Secret, NoEntropy> {
    Secret::generate(PREFIX)
}

/// What an API key may do, on every channel but those that belong to subjects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Powers {
    /// To publish.
    pub publish: bool,
    /// To listen, and to read the past and the presence.
    pub subscribe: bool,
    /// To use the control API.
    pub admin: bool,
}

impl Powers {
    fn grant(self, name: &str) -> Grant {
        let scope = |holds| if holds { Scope::all() } else { Scope::none() };
        Grant {
            holder: Holder::Key(name.into()),
            subscribe: scope(self.subscribe),
            publish: scope(self.publish),
            history: scope(self.subscribe),
            presence: scope(self.subscribe),
            only: None,
            except: None,
            admin: self.admin,
            ends_at_ms: None,
        }
    }
}

impl FromStr for Powers {
    type Err = Why;

    fn from_str(text: &str) -> Result<Powers, Why> {
        let mut powers = Powers::default();
        for word in text.split('+') {
            let power = match word {
                "publish" => &mut powers.publish,
                "subscribe" => &mut powers.subscribe,
                "admin" => &mut powers.admin,
                _ => return Err(Why::Scope),
            };
            *power = true;
        }
        Ok(powers)
    }
}

impl fmt::Display for Powers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.publish, "publish"), (self.subscribe, "subscribe"), (self.admin, "admin")];
        let held: Vec<&str> = words.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect();
        f.write_str(&held.join("+"))
    }
}

/// What a configuration holds of an API key: `NAME:SCOPES:SHA256HEX`, where `SCOPES` are `publish`, `subscribe` and
/// `admin`, joined by `+`. The key itself is not in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who uses it, for logs and as the publisher of idempotency keys: 1 to 64 bytes of `A-Za-z0-9._-`.
    pub name: Box<str>,
    /// What it may do.
    pub powers: Powers,
    digest: Digest,
}

impl Entry {
    /// The entry that lets `key` in.
    ///
    /// # Errors
    /// [`Why::Name`].
    pub fn of(name: &str, powers: Powers, key: &Secret) -> Result<Entry, Why> {
        if is_name(name) {
            Ok(Entry { name: name.into(), powers, digest: key.digest() })
        } else {
            Err(Why::Name)
        }
    }

    /// As it is written, hash included.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}:{}:{}", self.name, self.powers, secret::hex(&self.digest))
    }
}

impl FromStr for Entry {
    type Err = Why;

    fn from_str(text: &str) -> Result<Entry, Why> {
        let parts: Vec<&str> = text.split(':').collect();
        let [name, scopes, digest] = parts[..] else { return Err(Why::Parts) };
        if !is_name(name) {
            return Err(Why::Name);
        }
        let powers = scopes.parse()?;
        if is_meant(digest) {
            return Err(Why::KeyItself);
        }
        let digest = secret::from_hex(digest).ok_or(Why::Digest)?;
        Ok(Entry { name: name.into(), powers, digest })
    }
}

// The hash of a long random key gives nothing away; that of a short one can be guessed against.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:***", self.name, self.powers)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The API keys of a configuration.
#[derive(Clone, Default)]
pub struct ApiKeys {
    by_digest: HashMap<Digest, Known>,
    by_name: HashMap<Arc<str>, Arc<Grant>>,
}

#[derive(Clone)]
struct Known {
    digest: Digest,
    grant: Arc<Grant>,
}

impl ApiKeys {
    /// The keys of these entries.
    ///
    /// # Errors
    /// Every entry that repeats a name or a key, or is one too many.
    pub fn new(entries: &[Entry]) -> Result<ApiKeys, Vec<ApiKeysError>> {
        let (mut keys, mut wrong) = (ApiKeys::default(), Vec::new());
        for (index, Entry { name, powers, digest }) in entries.iter().enumerate() {
            if index >= KEYS_MAX {
                wrong.push(ApiKeysError { index, why: Why::TooMany });
                break;
            }
            let (digest, grant) = (*digest, Arc::new(powers.grant(name)));
            if keys.by_name.insert((**name).into(), grant.clone()).is_some() {
                wrong.push(ApiKeysError { index, why: Why::NameTwice });
            }
            if keys.by_digest.insert(digest, Known { digest, grant }).is_some() {
                wrong.push(ApiKeysError { index, why: Why::KeyTwice });
            }
        }
        if wrong.is_empty() { Ok(keys) } else { Err(wrong) }
    }

    /// What a key may do, if it is one of them.
    ///
    /// The look-up is by digest, which nobody can aim at a neighbour's without inverting SHA-256; what it finds is
    /// compared in constant time all the same.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<Arc<Grant>> {
        let text = key.strip_prefix(PREFIX).filter(|text| secret::is_well_formed(text));
        text?;
        let digest = secret::digest(key);
        let known = self.by_digest.get(&digest)?;
        bool::from(known.digest.ct_eq(&digest)).then(|| known.grant.clone())
    }

    /// What the key of this name may do today: what was bought with a key lives no longer than it.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Grant>> {
        self.by_name.get(name)
    }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys").field("keys", &self.by_name.len()).finish_non_exhaustive()
    }
}

/// An entry that cannot stand beside the others. It is named by its place, as it may hold what it should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiKeysError {
    /// Which entry, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has not three parts.
    Parts,
    /// Its name is not 1 to 64 bytes of `A-Za-z0-9._-`.
    Name,
    /// A scope is none of those there are.
    Scope,
    /// Its third part is no SHA-256 in hexadecimal.
    Digest,
    /// Its third part is the key itself.
    KeyItself,
    /// Its name came before.
    NameTwice,
    /// Its key came before.
    KeyTwice,
    /// It is one too many.
    TooMany,
}

impl fmt::Display for ApiKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "API key {} {}", self.index + 1, self.why)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Parts => "is not written NAME:SCOPES:SHA256HEX",
            Why::Name => "has a name that is not 1 to 64 of A-Z a-z 0-9 . _ -",
            Why::Scope => "has a scope other than publish, subscribe and admin (joined by `+`)",
            Why::Digest => "does not end in the SHA-256 of the key, as 64 hexadecimal digits",
            Why::KeyItself => {
                "holds the key itself; put the key's SHA-256 there and keep the key with its backend"
            }
            Why::NameTwice => "has a name that came before",
            Why::KeyTwice => "has a key that came before",
            Why::TooMany => "is one too many",
        })
    }
}

impl std::error::Error for ApiKeysError {}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_hub::channel::Channel;

    const PUBLISH: Powers = Powers { publish: true, subscribe: false, admin: false };

    fn keys(entries: &[&str]) -> Result<ApiKeys, Why> {
        let entries: Result<Vec<Entry>, Why> = entries.iter().map(|entry| entry.parse()).collect();
        ApiKeys::new(&entries?).map_err(|wrong| wrong[0].why)
    }

    fn entry(name: &str, powers: Powers, key: &Secret) -> String {
        Entry::of(name, powers, key).unwrap().line()
    }

    #[test]
    fn s50_a_key_is_known_by_its_hash_alone() {
        let key = generate().unwrap();
        let line = entry("shop", PUBLISH, &key);
        assert!(!line.contains(key.reveal()));
        let keys = keys(&[&line]).unwrap();
        let grant = keys.find(key.reveal()).unwrap();
        assert_eq!(grant.holder, Holder::Key("shop".into()));
        assert_eq!(keys.named("shop"), Some(&grant));
        for wrong in ["", "tw_", &key.reveal()[..45], &format!("{}x", key.reveal()), &key.reveal()[3..]] {
            assert_eq!(keys.find(wrong), None, "{wrong:?}");
        }
        assert_eq!(keys.find(generate().unwrap().reveal()), None);
        assert_eq!(keys.find(&secret::hex(&key.digest())), None, "the hash does not open what the key opens");
    }

    #[test]
    fn s50_a_key_tells_itself_from_a_token() {
        assert!(is_meant(generate().unwrap().reveal()));
        assert!(!is_meant("eyJhbGciOiJIUzI1NiJ9.e30.x"));
    }

    #[test]
    fn a_key_does_what_its_scopes_say() {
        let key = generate().unwrap();
        let grant = |scopes: &str| {
            let keys = keys(&[&entry("k", scopes.parse().unwrap(), &key)]).unwrap();
            keys.find(key.reveal()).unwrap()
        };
        let channel = Channel::parse("orders:42").unwrap();
        let may = |scopes: &str| {
            let grant = grant(scopes);
            [grant.may_publish(&channel), grant.may_subscribe(&channel), grant.admin]
        };
        assert_eq!(may("publish"), [true, false, false]);
        assert_eq!(may("subscribe"), [false, true, false]);
        assert_eq!(may("admin"), [false, false, true]);
        assert_eq!(may("admin+subscribe+publish"), [true, true, true]);
        assert!(grant("subscribe").may_read_history(&channel));
        assert!(!grant("subscribe").may_subscribe(&Channel::parse("user:alice").unwrap()));
        assert_eq!(grant("publish").ends_at_ms, None);
    }

    #[test]
    fn an_entry_that_is_no_key_says_why() {
        let hash = secret::hex(&generate().unwrap().digest());
        let other = secret::hex(&generate().unwrap().digest());
        let of = |name: &str, scopes: &str, hash: &str| format!("{name}:{scopes}:{hash}");
        let wrong = |entry: String| keys(&[&entry]).unwrap_err();
        assert_eq!(wrong(String::new()), Why::Parts);
        assert_eq!(wrong(of("a", "publish", "") + ":"), Why::Parts);
        assert_eq!(wrong(of("", "publish", &hash)), Why::Name);
        assert_eq!(wrong(of("a b", "publish", &hash)), Why::Name);
        assert_eq!(wrong(of(&"a".repeat(65), "publish", &hash)), Why::Name);
        for scopes in ["", "write", "publish,admin", "publish+", "Publish"] {
            assert_eq!(wrong(of("a", scopes, &hash)), Why::Scope, "{scopes:?}");
        }
        assert_eq!(wrong(of("a", "publish", "abc")), Why::Digest);
        assert_eq!(wrong(of("a", "publish", generate().unwrap().reveal())), Why::KeyItself);
        let twice = |a: String, b: String| keys(&[&a, &b]).unwrap_err();
        assert_eq!(twice(of("a", "publish", &hash), of("a", "publish", &other)), Why::NameTwice);
        assert_eq!(twice(of("a", "publish", &hash), of("b", "admin", &hash.to_uppercase())), Why::KeyTwice);
    }

    #[test]
    fn s49_a_key_put_where_its_hash_belongs_is_not_repeated() {
        let key = generate().unwrap();
        let error = format!("a:publish:{}", key.reveal()).parse::<Entry>().unwrap_err();
        let shown = format!("{error} {error:?} {:?}", ApiKeys::default());
        assert!(!shown.contains(&key.reveal()[3..]), "{shown}");
    }
    #[test]
    fn s49_an_entry_shows_its_hash_to_the_file_alone() {
        let key = generate().unwrap();
        let entry = Entry::of("shop", PUBLISH, &key).unwrap();
        assert_eq!(format!("{entry} {entry:?}"), "shop:publish:*** shop:publish:***");
        assert_eq!(entry.line().parse(), Ok(entry));
    }
}
