//! One fetch of a key set: over HTTPS, from where the configuration says, with a bound on everything (security rule S16).

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Url};

use super::super::jwk;
use super::super::keys::KeyError;
use super::address::is_public;
use super::cache::Fetched;
use super::{JwksOptions, LASTS_MAX, LASTS_MIN};

/// From the look-up of the name to the last byte.
pub const FETCH_MAX: Duration = Duration::from_secs(5);

/// The largest key set, in bytes.
pub const BODY_BYTES_MAX: usize = 256 << 10;

/// Redirects followed, all on one host.
const REDIRECTS_MAX: usize = 3;

/// Where a set is, and the client that asks there.
pub(crate) struct Source {
    client: Client,
    url: Url,
}

impl Source {
    pub(crate) fn new(options: &JwksOptions) -> Result<Source, JwksError> {
        let JwksOptions { url, allow_private, ca_file } = options;
        let url = read_url(url)?;
        if !allow_private && literal(&url).is_some_and(|address| !is_public(address)) {
            return Err(JwksError::Private);
        }
        let mut client = Client::builder()
            .https_only(true)
            // A proxy would look names up by itself, and the addresses would escape us.
            .no_proxy()
            .referer(false)
            .redirect(Policy::custom(follow_on_one_host))
            .dns_resolver(Arc::new(Names { allow_private: *allow_private }))
            // Minutes pass between fetches: no connection is worth keeping, and every one is made to a checked address.
            .pool_max_idle_per_host(0);
        if let Some(path) = ca_file {
            let pem =
                std::fs::read(path).map_err(|error| JwksError::Authorities(error.to_string().into()))?;
            let authorities = Certificate::from_pem_bundle(&pem);
            let authorities =
                authorities.map_err(|error| JwksError::Authorities(error.to_string().into()))?;
            if authorities.is_empty() {
                return Err(JwksError::Authorities("there is no certificate in it".into()));
            }
            client = client.tls_certs_only(authorities);
        }
        let client = client.build().map_err(|error| JwksError::Client(innermost(&error).into()))?;
        Ok(Source { client, url })
    }

    pub(crate) async fn fetch(&self) -> Result<Fetched, FetchError> {
        tokio::time::timeout(FETCH_MAX, self.fetch_whole()).await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn fetch_whole(&self) -> Result<Fetched, FetchError> {
        let request =
            self.client.get(self.url.clone()).header(ACCEPT, "application/jwk-set+json, application/json");
        let mut response = request.send().await.map_err(|error| FetchError::of(&error))?;
        if response.status() != 200 {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        if response.content_length().is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
            return Err(FetchError::TooLarge);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| FetchError::of(&error))? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let jwk::Fetched { keys, passed_over, misnamed } =
            jwk::read_remote(&body).map_err(FetchError::Unreadable)?;
        tracing::debug!(keys = keys.keys().len(), passed_over, "fetched the key set");
        if misnamed > 0 {
            // Tokens of theirs are refused, and who looks for the cause finds it here. The name may hold anything.
            tracing::warn!(keys = misnamed, "passed over keys of the set: {}", KeyError::Kid);
        }
        let lasts_ms = lasts_s(response.headers()) * 1_000;
        Ok(Fetched { keys, digest: digest(&SHA256, &body).as_ref().to_vec(), lasts_ms })
    }
}

/// Reads the URL of a key set. No error repeats it: whoever puts a password into one would find it in a log.
///
/// # Errors
/// [`JwksError::Url`].
pub fn read_url(text: &str) -> Result<Url, JwksError> {
    // A URL that a client helps to write leads where the client likes (security rule S12).
    if text.contains(['{', '}']) {
        return Err(JwksError::Url("it has braces, and nothing is ever filled in"));
    }
    let url = Url::parse(text).map_err(|_| JwksError::Url("it cannot be read"))?;
    if url.scheme() != "https" {
        return Err(JwksError::Url("it does not begin with https://"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(JwksError::Url("it has a user name, a password or a fragment"));
    }
    Ok(url)
}

/// How long an answer is good: its `max-age`, where that lies in our bounds. `no-store` and `no-cache` get the least.
fn lasts_s(headers: &HeaderMap) -> u64 {
    let mut lasts_s = LASTS_MIN.as_secs();
    let values = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let directive = directive.trim().to_ascii_lowercase();
        match directive.split_once('=') {
            None if directive == "no-store" || directive == "no-cache" => return LASTS_MIN.as_secs(),
            Some(("max-age", seconds)) => lasts_s = seconds.trim_matches('"').parse().unwrap_or(lasts_s),
            _ => {}
        }
    }
    lasts_s.clamp(LASTS_MIN.as_secs(), LASTS_MAX.as_secs())
}

fn follow_on_one_host(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let origin =
        |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    let first = attempt.previous().first().map(origin);
    if first != Some(origin(attempt.url())) || attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error(Refused::Redirect);
    }
    attempt.follow()
}

/// An address that is written in the URL itself, which no look-up of a name would check.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Looks names up, and refuses those that lead into private networks.
struct Names {
    allow_private: bool,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<_> = found.collect();
            // One is enough: which of them would be asked is not ours to say.
            if !allow_private && found.iter().any(|address| !is_public(address.ip())) {
                return Err(Refused::Private.into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// What we refuse while the client is at work. It comes back inside of the client's own error.
#[derive(Clone, Copy, Debug)]
enum Refused {
    Private,
    Redirect,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl Error for Refused {}

/// Why a key set cannot be fetched as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksError {
    /// Something is wrong with the URL.
    Url(&'static str),
    /// It lies on this machine or in a private network.
    Private,
    /// The file of authorities cannot be used.
    Authorities(Box<str>),
    /// The client cannot be made. The system's authorities may be missing.
    Client(Box<str>),
}

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JwksError::Url(why) => write!(f, "the URL of the key set cannot be used: {why}"),
            JwksError::Private => f.write_str(
                "the URL of the key set is a private address; allow it if your issuer is in your own network",
            ),
            JwksError::Authorities(why) => write!(f, "the authorities for the key set cannot be read: {why}"),
            JwksError::Client(why) => write!(f, "cannot prepare to fetch the key set: {why}"),
        }
    }
}

impl Error for JwksError {}

/// Why a fetch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// It took longer than [`FETCH_MAX`].
    TimedOut,
    /// The name leads to this machine or into a private network.
    Private,
    /// It was sent to another host, or from place to place.
    Redirected,
    /// The answer is not 200.
    Status(u16),
    /// The answer has more than [`BODY_BYTES_MAX`] bytes.
    TooLarge,
    /// The answer is not a set of keys.
    Unreadable(KeyError),
    /// The connection failed: no address, no route, no certificate that we trust.
    Failed(Box<str>),
}

impl FetchError {
    fn of(error: &reqwest::Error) -> FetchError {
        match refused(error) {
            Some(Refused::Private) => FetchError::Private,
            Some(Refused::Redirect) => FetchError::Redirected,
            None => FetchError::Failed(innermost(error).into()),
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::TimedOut => write!(f, "no answer within {} s", FETCH_MAX.as_secs()),
            FetchError::Private => f.write_str("the name leads to a private address"),
            FetchError::Redirected => f.write_str("it redirects to another host, or in a circle"),
            FetchError::Status(status) => write!(f, "the answer is {status}"),
            FetchError::TooLarge => write!(f, "the answer has more than {BODY_BYTES_MAX} bytes"),
            FetchError::Unreadable(why) => write!(f, "the answer cannot be used: {why}"),
            FetchError::Failed(why) => f.write_str(why),
        }
    }
}

impl Error for FetchError {}

fn refused(error: &reqwest::Error) -> Option<Refused> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return Some(*refused);
        }
        cause = error.source();
    }
    None
}

/// The cause of causes: those around it only say that a request failed, and repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn s16_a_set_is_good_for_5_to_60_minutes() {
        for (value, seconds) in [
            ("max-age=600", 600),
            ("public, max-age=1200, must-revalidate", 1_200),
            ("Max-Age=\"900\"", 900),
            ("max-age=1", 300),
            ("max-age=86400", 3_600),
            ("max-age=99999999999999999999999", 300),
            ("max-age=-1", 300),
            ("max-age=3000, no-store", 300),
            ("no-cache", 300),
            ("", 300),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(value))]);
            assert_eq!(lasts_s(&headers), seconds, "{value}");
        }
        assert_eq!(lasts_s(&HeaderMap::new()), 300);
    }

    #[test]
    fn s16_a_url_is_https_and_public_or_it_is_refused() {
        let new = |url: &str, allow_private| {
            Source::new(&JwksOptions { url: url.into(), allow_private, ca_file: None }).map(|_| ()).err()
        };
        for url in [
            "http://a.example/keys",
            "file:///etc/passwd",
            "ftp://a",
            "keys",
            "https://u:p@a/",
            "https://a/#x",
            "https://a/{tenant}/keys",
        ] {
            assert!(matches!(new(url, true), Some(JwksError::Url(_))), "{url}");
        }
        for url in [
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://10.0.0.1:8443/k",
            "https://169.254.169.254/latest",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://[::ffff:127.0.0.1]/",
            "https://0/",
        ] {
            assert_eq!(new(url, false), Some(JwksError::Private), "{url}");
        }
    }
}
