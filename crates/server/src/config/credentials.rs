//! How the values under `auth` are written: origins, hosts, keys, cookies, networks.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use axum::http::Uri;
use ipnet::IpNet;
use serde_json::Value;

use super::auth::{Algorithm, ApiKey, KeyFile, Scopes};
use super::kinds::{Form, Kind, Plain, items, list};
use super::secret::{MASK, Secret};

/// The longest that a ticket may wait to be spent (security rule S19).
const TICKET_TTL_MAX: Duration = Duration::from_secs(120);

/// The longest id of a key, in bytes (security rule S12).
const KID_BYTES_MAX: usize = 128;

/// The longest name of an API key, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What API keys begin with: found in the place of a hash, it is the key itself.
const API_KEY_PREFIX: &str = "tw_";

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
///
/// What is looked at here is the spelling that people get wrong; the gate has the last word.
pub struct Origins;

impl Kind for Origins {
    type Value = Vec<Box<str>>;
    const FORM: Form = Form::List("origins");

    fn read(text: &str, _: &Path) -> Result<Vec<Box<str>>, String> {
        items(text).map(origin).collect()
    }

    fn show(value: &Vec<Box<str>>) -> Value {
        list(value)
    }
}

fn origin(text: &str) -> Result<Box<str>, String> {
    if matches!(text, "*" | "null") {
        return Ok(text.into());
    }
    let wrong = |right: &str| Err(format!("`{text}` is not an origin; write {right}"));
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else {
        return wrong("the scheme, too, as in https://app.example");
    };
    if let Some(bare) = text.strip_suffix('/') {
        return wrong(&format!("it without the `/` at its end: {bare}"));
    }
    if rest.is_empty() || rest.contains(['/', '?', '#', '@', '%', '\\']) || rest.contains(char::is_whitespace)
    {
        return wrong("scheme, host and port alone, as in https://app.example:8443");
    }
    // A star stands for whole labels on the left: anything less matches names that belong to others (S3).
    if rest.strip_prefix("*.").unwrap_or(rest).contains('*') {
        return wrong("`*` as the whole first label, as in https://*.app.example");
    }
    Ok(text.into())
}

/// Names of this server.
pub struct Hosts;

impl Kind for Hosts {
    type Value = Vec<Box<str>>;
    const FORM: Form = Form::List("hosts");

    fn read(text: &str, _: &Path) -> Result<Vec<Box<str>>, String> {
        let host = |host: &str| {
            let strange = |char: char| char.is_whitespace() || "/?#@%*\\".contains(char);
            if host.contains(strange) {
                Err(format!("`{host}` is not a host; write app.example or app.example:8443"))
            } else {
                Ok(host.to_ascii_lowercase().into())
            }
        };
        items(text).map(host).collect()
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
        items(text).map(|text| key_file(text, folder)).collect()
    }

    fn show(value: &Vec<KeyFile>) -> Value {
        list(value)
    }
}

fn key_file(text: &str, folder: &Path) -> Result<KeyFile, String> {
    let json = |path: &str| Path::new(path).extension().is_some_and(|extension| extension == "json");
    let (first, rest) = text.split_once(':').unwrap_or((text, ""));
    let Some(algorithm) = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == first) else {
        if json(text) {
            return Ok(KeyFile::Jwk(folder.join(text)));
        }
        let known: Vec<&str> = Algorithm::ALL.into_iter().map(Algorithm::name).collect();
        return Err(format!(
            "`{text}` begins with no algorithm; write ES256:key.pem or ES256:my-kid:key.pem, with one of {}; \
             or name a JWK, a file that ends in .json",
            known.join(", ")
        ));
    };
    // `ES256::a:b.pem` has no id, and a path with a colon.
    let (kid, path) = rest.split_once(':').map_or((None, rest), |(kid, path)| (Some(kid), path));
    let kid = kid.filter(|kid| !kid.is_empty());
    if let Some(kid) = kid.filter(|kid| !is_kid(kid)) {
        return Err(format!("`{kid}` is no id of a key: 1 to {KID_BYTES_MAX} of A-Z a-z 0-9 . _ -"));
    }
    if path.is_empty() {
        return Err(format!("`{text}` names no file"));
    }
    if json(path) {
        return Err(format!("`{text}`: a JWK says itself what it is for; write {path} alone"));
    }
    Ok(KeyFile::Key { algorithm, kid: kid.map(Into::into), path: folder.join(path) })
}

fn is_kid(kid: &str) -> bool {
    (1..=KID_BYTES_MAX).contains(&kid.len())
        && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Where a key set is fetched.
pub struct HttpsUrl;

impl Kind for HttpsUrl {
    type Value = Box<str>;
    const FORM: Form = Form::Text("https URL");

    fn read(text: &str, _: &Path) -> Result<Box<str>, String> {
        let url: Option<Uri> = text.parse().ok();
        let host = url.as_ref().filter(|url| url.scheme_str() == Some("https")).and_then(Uri::authority);
        // Braces are what a template has, and a URL that a client helps to write leads where it likes (S12). A
        // password would end up in logs, so the text is not repeated.
        match host {
            Some(host) if !host.as_str().contains('@') && !text.contains(['{', '}']) => Ok(text.into()),
            _ => Err("this is not an https:// URL with a host, and without a user name or braces".into()),
        }
    }

    fn show(value: &Box<str>) -> Value {
        (**value).into()
    }
}

/// Keys of backends.
pub struct ApiKeys;

impl Kind for ApiKeys {
    type Value = Vec<ApiKey>;
    const FORM: Form = Form::List("API keys: `NAME:SCOPES:SHA256HEX`, scopes joined by `+`");

    fn read(text: &str, _: &Path) -> Result<Vec<ApiKey>, String> {
        items(text).map(api_key).collect()
    }

    fn show(value: &Vec<ApiKey>) -> Value {
        list(value)
    }
}

fn api_key(text: &str) -> Result<ApiKey, String> {
    // Whoever mistakes what belongs here may have written the key itself: messages name the name and nothing else.
    let parts: Vec<&str> = text.split(':').collect();
    let [name, scopes, hash] = parts[..] else {
        return Err("an API key is written NAME:SCOPES:SHA256HEX, as in billing:publish:9f86d0…".into());
    };
    if !is_kid(name) || name.len() > NAME_BYTES_MAX {
        return Err(format!("the name of an API key has 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -"));
    }
    let mut held = Scopes::default();
    for scope in scopes.split('+') {
        match scope {
            "publish" => held.publish = true,
            "subscribe" => held.subscribe = true,
            "admin" => held.admin = true,
            _ => return Err(format!("`{name}`: scopes are publish, subscribe and admin, joined by `+`")),
        }
    }
    if hash.starts_with(API_KEY_PREFIX) {
        return Err(format!(
            "`{name}`: this is the key itself; put its SHA-256 here, and leave the key with its backend"
        ));
    }
    let Some(sha256) = hex(hash) else {
        return Err(format!("`{name}`: the last part is the SHA-256 of the key, in 64 hexadecimal digits"));
    };
    Ok(ApiKey { name: name.into(), scopes: held, sha256 })
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// The name of a cookie (RFC 6265 section 4.1.1).
pub struct CookieName;

impl Kind for CookieName {
    type Value = Box<str>;
    const FORM: Form = Form::Text("cookie name");

    fn read(text: &str, _: &Path) -> Result<Box<str>, String> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.bytes().all(token) && text.len() <= KID_BYTES_MAX {
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
        let ttl = Plain::read(text, folder)?;
        if (Duration::from_secs(1)..=TICKET_TTL_MAX).contains(&ttl) {
            Ok(ttl)
        } else {
            Err(format!("a ticket waits from 1s to {}s, not `{text}`", TICKET_TTL_MAX.as_secs()))
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

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn read<K: Kind>(text: &str) -> Result<K::Value, String> {
        K::read(text, Path::new("/etc/tidewire"))
    }

    #[test]
    fn s2_an_origin_is_a_scheme_and_a_host_and_nothing_else() {
        for good in ["https://app.example", "http://localhost:3000", "https://*.app.example", "null", "*"] {
            assert_eq!(read::<Origins>(good).unwrap(), [good.into()]);
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
        assert_eq!(keys[0].scopes, Scopes { publish: true, subscribe: false, admin: true });
        assert_eq!(keys[0].sha256[..3], [0x9f, 0x86, 0xd0]);
        assert_eq!(ApiKeys::show(&keys), serde_json::json!(["billing:publish+admin:***"]));
        assert!(!format!("{keys:?}").contains("9f86"));
        assert_eq!(keys[0].entry(), format!("billing:publish+admin:{HASH}"));
        let itself = read::<ApiKeys>("billing:publish:tw_canary").unwrap_err();
        assert!(itself.contains("the key itself") && !itself.contains("canary"), "{itself}");
        for bad in [
            "billing".to_owned(),
            format!("billing:{HASH}"),
            format!("billing:fly:{HASH}"),
            format!("billing::{HASH}"),
            format!(":publish:{HASH}"),
            "billing:publish:canary".to_owned(),
            format!("billing:publish:{HASH}0"),
            format!("billing:publish:+{}", &HASH[1..]),
        ] {
            let wrong = read::<ApiKeys>(&bad).unwrap_err();
            assert!(!wrong.contains("canary") && !wrong.contains(HASH), "{wrong}");
        }
    }

    #[test]
    fn s19_a_ticket_waits_two_minutes_at_most() {
        assert_eq!(read::<TicketTtl>("2m"), Ok(TICKET_TTL_MAX));
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
    fn a_cookie_has_the_name_of_a_cookie() {
        assert!(read::<CookieName>("__Host-session").is_ok());
        for bad in ["a b", "a=b", "a;b", "é", "\"a\""] {
            assert!(read::<CookieName>(bad).is_err(), "{bad}");
        }
    }
}
