//! How the values under `auth` are written: origins, hosts, keys, cookies, networks.
//!
//! What is right is decided by the rooms of `tidewire_auth` that use the values, so that `tidewire check` and the gate
//! cannot disagree.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;
use tidewire_auth::jwt::{KeyFile, jwks};
use tidewire_auth::{TicketLimits, allow, api_key, hosts, rules};

use super::kinds::{Form, Kind, Plain, items, list};
use super::secret::{MASK, Secret};

/// Reads every item of a list, or says what is wrong with each that is wrong.
fn each<T, E: fmt::Display>(text: &str, read: impl Fn(&str) -> Result<T, E>) -> Result<Vec<T>, String> {
    let (mut values, mut wrong) = (Vec::new(), Vec::new());
    for item in items(text) {
        match read(item) {
            Ok(value) => values.push(value),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    if wrong.is_empty() { Ok(values) } else { Err(wrong.join("; ")) }
}

impl Kind for Secret {
    type Value = Secret;
    const FORM: Form = Form::Secret;

    fn read(text: &str, _: &Path) -> Result<Secret, String> {
        Ok(Secret::new(text))
    }

    fn show(_: &Secret) -> Value {
        MASK.into()
    }
}

/// Origins that are allowed.
pub struct Origins;

impl Kind for Origins {
    type Value = Vec<Box<str>>;
    const FORM: Form = Form::List("origins");

    fn read(text: &str, _: &Path) -> Result<Vec<Box<str>>, String> {
        each(text, |origin| allow::Origins::parse([origin]).map(|_| origin.into()))
    }

    fn show(value: &Vec<Box<str>>) -> Value {
        list(value)
    }
}

/// Names of this server.
pub struct Hosts;

impl Kind for Hosts {
    type Value = Vec<Box<str>>;
    const FORM: Form = Form::List("hosts");

    fn read(text: &str, _: &Path) -> Result<Vec<Box<str>>, String> {
        each(text, |host| hosts::Hosts::parse([host]).map(|_| host.into()))
    }

    fn show(value: &Vec<Box<str>>) -> Value {
        list(value)
    }
}

/// Files with keys.
pub struct KeyFiles;

impl Kind for KeyFiles {
    type Value = Vec<KeyFile>;
    const FORM: Form = Form::List("keys: `ALG:path`, `ALG:kid:path`, or the path of a JWK in .json");

    fn read(text: &str, folder: &Path) -> Result<Vec<KeyFile>, String> {
        each(text, |entry| match KeyFile::parse(entry) {
            Ok(file) => Ok(file.within(folder)),
            Err(error) => Err(format!("`{entry}`: {error}")),
        })
    }

    fn show(value: &Vec<KeyFile>) -> Value {
        list(value)
    }
}

/// Where a key set is fetched.
pub struct HttpsUrl;

impl Kind for HttpsUrl {
    type Value = Box<str>;
    const FORM: Form = Form::Text("https URL");

    fn read(text: &str, _: &Path) -> Result<Box<str>, String> {
        match jwks::read_url(text) {
            Ok(_) => Ok(text.into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Without its query, where some providers want a key of theirs (security rule S49).
    fn show(value: &Box<str>) -> Value {
        match value.split_once('?') {
            Some((address, _)) => format!("{address}?***").into(),
            None => (**value).into(),
        }
    }
}

/// Keys of backends.
pub struct ApiKeys;

impl Kind for ApiKeys {
    type Value = Vec<api_key::Entry>;
    const FORM: Form = Form::List("API keys: `NAME:SCOPES:SHA256HEX`, scopes joined by `+`");

    fn read(text: &str, _: &Path) -> Result<Vec<api_key::Entry>, String> {
        // Whoever mistakes what belongs here may have written the key itself, in any place: an entry is named by its name,
        // and only if that is one and no key.
        each(text, |entry| {
            let name = entry.split(':').next().filter(|name| !api_key::is_meant(name));
            entry.parse().map_err(|why| match (why, name) {
                (api_key::Why::Parts | api_key::Why::Name, _) | (_, None) => format!("an API key {why}"),
                (why, Some(name)) => format!("the API key `{name}` {why}"),
            })
        })
    }

    fn show(value: &Vec<api_key::Entry>) -> Value {
        list(value)
    }
}

/// The name of a cookie (RFC 6265 section 4.1.1).
pub struct CookieName;

impl Kind for CookieName {
    type Value = Box<str>;
    const FORM: Form = Form::Text("cookie name");

    fn read(text: &str, _: &Path) -> Result<Box<str>, String> {
        if rules::is_cookie_name(text) {
            Ok(text.into())
        } else {
            Err(format!("`{text}` is not the name of a cookie; write __Host-session"))
        }
    }

    fn show(value: &Box<str>) -> Value {
        (**value).into()
    }
}

/// How long a ticket waits.
pub struct TicketTtl;

impl Kind for TicketTtl {
    type Value = Duration;
    const FORM: Form = Form::Duration;

    fn read(text: &str, folder: &Path) -> Result<Duration, String> {
        let (ttl, ttl_max) = (Plain::read(text, folder)?, TicketLimits::default().ttl_max);
        if (Duration::from_secs(1)..=ttl_max).contains(&ttl) {
            Ok(ttl)
        } else {
            Err(format!("a ticket waits from 1s to {}s, not `{text}`", ttl_max.as_secs()))
        }
    }

    fn show(value: &Duration) -> Value {
        Plain::show(value)
    }
}

/// Networks, in CIDR notation (RFC 4632 section 3.1).
pub struct Networks;

impl Kind for Networks {
    type Value = Vec<IpNet>;
    const FORM: Form = Form::List("networks");

    fn read(text: &str, _: &Path) -> Result<Vec<IpNet>, String> {
        let network = |text: &str| {
            let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
            let network = text.parse::<IpNet>().ok().or_else(single);
            let wrong = || format!("`{text}` is not a network; write 10.0.0.0/8, 192.0.2.7 or fd00::/8");
            network.map(|network| network.trunc()).ok_or_else(wrong)
        };
        items(text).map(network).collect()
    }

    fn show(value: &Vec<IpNet>) -> Value {
        list(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use tidewire_auth::jwt::Algorithm;

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn read<K: Kind>(text: &str) -> Result<K::Value, String> {
        K::read(text, Path::new("/etc/tidewire"))
    }

    #[test]
    fn s2_an_origin_is_a_scheme_and_a_host_and_nothing_else() {
        for good in ["https://app.example", "http://localhost:3000", "https://*.app.example", "null", "*"] {
            assert_eq!(read::<Origins>(good).unwrap(), [Box::<str>::from(good)]);
        }
        for bad in [
            "app.example",
            "https://app.example/",
            "https://app.example/path",
            "https://",
            "https://user@app.example",
            "https://app*.example",
            "https://a.*.example",
            "https://%61pp.example",
            "ftp://app.example",
            "**",
        ] {
            assert!(read::<Origins>(bad).is_err(), "{bad}");
        }
        let slash = read::<Origins>("https://app.example/").unwrap_err();
        assert!(slash.ends_with("without the `/` at its end: https://app.example"), "{slash}");
    }

    #[test]
    fn s11_a_key_has_the_algorithm_that_the_configuration_gives_it() {
        let keys = read::<KeyFiles>("ES256:a.pem, EdDSA:2026-11:/keys/b.pem, keys.json").unwrap();
        let path = PathBuf::from("/etc/tidewire/a.pem");
        assert_eq!(keys[0], KeyFile::Key { algorithm: Algorithm::Es256, kid: None, path });
        let kid = Some("2026-11".into());
        let path = PathBuf::from("/keys/b.pem");
        assert_eq!(keys[1], KeyFile::Key { algorithm: Algorithm::EdDsa, kid, path });
        assert_eq!(keys[2], KeyFile::Jwk("/etc/tidewire/keys.json".into()));
        assert_eq!(keys[1].to_string(), "EdDSA:2026-11:/keys/b.pem");
        let colon = read::<KeyFiles>("ES256::/a:b.pem").unwrap();
        assert_eq!(colon[0].path(), Path::new("/a:b.pem"));
        assert_eq!(read::<KeyFiles>(&colon[0].to_string()).unwrap(), colon, "as it is written, it is read");
        for bad in
            ["none:a.pem", "a.pem", "es256:a.pem", "ES256", "ES256:", "ES256:a b:x.pem", "ES256:k:a.json"]
        {
            assert!(read::<KeyFiles>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn s12_a_key_set_comes_from_a_fixed_https_address() {
        assert!(read::<HttpsUrl>("https://id.example/.well-known/jwks.json").is_ok());
        for bad in [
            "http://id.example/jwks.json",
            "id.example/jwks.json",
            "https://",
            "https://user:canary@id.example/jwks.json",
            "https://id.example/{tenant}/jwks.json",
            "file:///etc/passwd",
        ] {
            let wrong = read::<HttpsUrl>(bad).unwrap_err();
            assert!(!wrong.contains("canary"), "{wrong}");
        }
    }

    #[test]
    fn s50_an_api_key_is_stored_as_its_hash() {
        let keys = read::<ApiKeys>(&format!("billing:publish+admin:{HASH}")).unwrap();
        assert_eq!((&*keys[0].name, keys[0].powers), ("billing", "publish+admin".parse().unwrap()));
        assert_eq!(ApiKeys::show(&keys), serde_json::json!(["billing:publish+admin:***"]));
        assert!(!format!("{keys:?}").contains("9f86"));
        assert_eq!(keys[0].line(), format!("billing:publish+admin:{HASH}"));
        let itself = read::<ApiKeys>("billing:publish:tw_canary").unwrap_err();
        assert!(itself.contains("`billing` holds the key itself") && !itself.contains("canary"), "{itself}");
        for bad in [
            "billing".to_owned(),
            format!("billing:{HASH}"),
            format!("billing:fly:{HASH}"),
            format!("billing::{HASH}"),
            format!(":publish:{HASH}"),
            "billing:publish:canary".to_owned(),
            format!("billing:publish:{HASH}0"),
            format!("tw_canary:fly:{HASH}"),
            "tw_canary:publish:canary".to_owned(),
            format!("canary canary:fly:{HASH}"),
            format!("billing:publish:+{}", &HASH[1..]),
        ] {
            let wrong = read::<ApiKeys>(&bad).unwrap_err();
            assert!(!wrong.contains("canary") && !wrong.contains(HASH), "{wrong}");
        }
    }

    #[test]
    fn s19_a_ticket_waits_two_minutes_at_most() {
        assert_eq!(read::<TicketTtl>("2m"), Ok(Duration::from_secs(120)));
        for bad in ["0", "121", "1h", "500ms"] {
            assert!(read::<TicketTtl>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn s41_a_trusted_proxy_is_a_network() {
        let networks = read::<Networks>("10.1.2.3/8, 192.0.2.7, ::1, fd00::/8").unwrap();
        assert_eq!(
            Networks::show(&networks),
            serde_json::json!(["10.0.0.0/8", "192.0.2.7/32", "::1/128", "fd00::/8"])
        );
        for bad in ["10.0.0.0/33", "proxy.example", "10.0.0", "10.0.0.0/8/8"] {
            assert!(read::<Networks>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn everything_that_is_wrong_with_a_list_is_said() {
        let wrong = read::<Origins>("a.example, https://b.example, ftp://c.example").unwrap_err();
        assert!(wrong.contains("`a.example`") && wrong.contains("`ftp://c.example`"), "{wrong}");
        assert!(!wrong.contains("b.example"), "{wrong}");
    }

    #[test]
    fn a_cookie_has_the_name_of_a_cookie() {
        assert!(read::<CookieName>("__Host-session").is_ok());
        for bad in ["a b", "a=b", "a;b", "é", "\"a\"", "tidewire_ticket"] {
            assert!(read::<CookieName>(bad).is_err(), "{bad}");
        }
    }
}
