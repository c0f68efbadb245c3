//! The address of a Redis, as `broker.url` has it: one server, or sentinels that know which server is the master.

use std::fmt;

use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo, TlsCertificates};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::endpoint::Endpoint;
use super::error::Error;
use super::link::Timeouts;
use super::sentinel::Sentinels;

/// Sentinels of one address, at most.
pub const SENTINELS_MAX: usize = 16;

const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where a Redis is found. Clones share what they learn about sentinels. What is shown of it holds no user and no password
/// (security rule S49).
#[derive(Clone)]
pub struct Address {
    place: Place,
}

#[derive(Clone)]
enum Place {
    Server(Endpoint),
    Sentinels(Sentinels),
}

impl Address {
    /// Reads one of
    ///
    /// ```text
    /// redis://[[user]:password@]host[:6379][/database]
    /// redis+sentinel://[[user]:password@]host[:26379],host[:26379],…/master-name[/database]
    /// ```
    ///
    /// or the same with `rediss`, which is TLS throughout, sentinels included. `ca`, certificates in PEM, then stands in
    /// place of the authorities that the system trusts. A character of user or password that means something in a URL is
    /// written with `%`. Sentinels get the user and the password too, if they ask for them.
    ///
    /// # Errors
    /// Names what is wrong, and quotes nothing: a password may stand anywhere in what cannot be read.
    pub fn parse(url: &str, ca: Option<&[u8]>) -> Result<Address, AddressError> {
        let (scheme, rest) = url.split_once("://").ok_or(AddressError::Scheme)?;
        let (tls, sentinels) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => return Err(AddressError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(AddressError::Options);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let settings = user.map_or(Ok(RedisConnectionInfo::default()), credentials)?;
        let reach = Reach::new(tls, ca)?;
        let place = if sentinels {
            let (master, database) = path.split_once('/').unwrap_or((path, ""));
            if !is_master_name(master) {
                return Err(AddressError::Master);
            }
            let hosts = hosts.split(',').map(|host| place(host, SENTINEL_PORT));
            let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
            if hosts.len() > SENTINELS_MAX {
                return Err(AddressError::Sentinels);
            }
            Place::Sentinels(Sentinels::new(hosts, master, reach, in_database(settings, database)?))
        } else {
            if hosts.contains(',') {
                return Err(AddressError::Hosts);
            }
            let (host, port) = place(hosts, SERVER_PORT)?;
            Place::Server(Endpoint::new(reach.address(host, port), in_database(settings, path)?))
        };
        Ok(Address { place })
    }

    /// Finds the master: the server itself, unasked, or the one that a sentinel names and that then says so too.
    ///
    /// Sentinels are asked in turn, first the one that was last believed. Those that are dead, know no such master or name
    /// a server that is none are passed over. Each may take `timeouts.dial` and `timeouts.answer` twice, and the server
    /// that it names as much again. Nothing is tried twice: that is the caller's, with a pause.
    ///
    /// # Errors
    /// [`Error::NoMaster`]; [`Error::Auth`] and [`Error::TooOld`] where that is what is wrong with the last that was asked.
    pub async fn master(&self, timeouts: Timeouts) -> Result<Endpoint, Error> {
        match &self.place {
            Place::Server(endpoint) => Ok(endpoint.clone()),
            Place::Sentinels(sentinels) => sentinels.master(timeouts).await,
        }
    }
}

impl Address {
    /// The number of the database.
    pub(super) fn database(&self) -> u32 {
        match &self.place {
            Place::Server(endpoint) => endpoint.database(),
            Place::Sentinels(sentinels) => sentinels.database(),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Server(endpoint) => write!(f, "{endpoint}"),
            Place::Sentinels(sentinels) => write!(f, "{sentinels}"),
        }
    }
}

/// How servers are reached: in the clear, or by TLS and whom it trusts.
#[derive(Clone)]
pub(super) struct Reach(ConnectionAddr);

impl Reach {
    fn new(tls: bool, ca: Option<&[u8]>) -> Result<Reach, AddressError> {
        let bare =
            |tls_params| ConnectionAddr::TcpTls { host: String::new(), port: 0, insecure: false, tls_params };
        match (tls, ca) {
            (false, None) => Ok(Reach(ConnectionAddr::Tcp(String::new(), 0))),
            (false, Some(_)) => Err(AddressError::CaWithoutTls),
            (true, None) => Ok(Reach(bare(None))),
            (true, Some(ca)) => {
                // Without one, nobody would be trusted, and nothing say why.
                if CertificateDer::pem_slice_iter(ca).next().is_none_or(|first| first.is_err()) {
                    return Err(AddressError::Ca);
                }
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) };
                let info = bare(None).into_connection_info().map_err(|_| AddressError::Ca)?;
                let client = Client::build_with_tls(info, certificates).map_err(|_| AddressError::Ca)?;
                Ok(Reach(client.get_connection_info().addr().clone()))
            }
        }
    }

    pub(super) fn address(&self, host: String, port: u16) -> ConnectionAddr {
        match &self.0 {
            ConnectionAddr::TcpTls { tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.0, ConnectionAddr::TcpTls { .. })
    }
}

/// Whether it is a name that a host can have: an address, or letters, digits, `.`, `-` and `_`.
pub(super) fn is_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let named = (1..=253).contains(&host.len()) && host.bytes().all(plain);
    named || host.parse::<std::net::Ipv6Addr>().is_ok()
}

/// `host`, `host:port`, `[::1]` or `[::1]:port`.
fn place(text: &str, default_port: u16) -> Result<(String, u16), AddressError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(text) => {
            let (host, port) = text.split_once(']').ok_or(AddressError::Host)?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')) };
            (host, port.map(|port| port.ok_or(AddressError::Port)).transpose()?)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if !is_host(host) || host.contains(':') != text.starts_with('[') {
        return Err(AddressError::Host);
    }
    let port = match port {
        None => default_port,
        Some(port) => number(port).filter(|port| *port > 0).ok_or(AddressError::Port)?,
    };
    Ok((host.to_owned(), port))
}

fn is_master_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(plain)
}

fn in_database(settings: RedisConnectionInfo, text: &str) -> Result<RedisConnectionInfo, AddressError> {
    let database = if text.is_empty() { Some(0) } else { number(text) };
    Ok(settings.set_db(i64::from(database.ok_or(AddressError::Database)?)))
}

/// `:password` or `user:password`.
fn credentials(text: &str) -> Result<RedisConnectionInfo, AddressError> {
    let (user, password) = text.split_once(':').ok_or(AddressError::Password)?;
    let (user, password) = (unescaped(user)?, unescaped(password)?);
    if password.is_empty() {
        return Err(AddressError::Password);
    }
    let settings = RedisConnectionInfo::default().set_password(password);
    Ok(if user.is_empty() { settings } else { settings.set_username(user) })
}

/// Text with `%` and two hex digits for some of its bytes.
fn unescaped(text: &str) -> Result<String, AddressError> {
    let (mut bytes, mut read) = (text.bytes(), Vec::with_capacity(text.len()));
    while let Some(byte) = bytes.next() {
        read.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = digit().zip(digit()).ok_or(AddressError::Escape)?;
                u8::try_from(high << 4 | low).map_err(|_| AddressError::Escape)?
            }
            byte => byte,
        });
    }
    String::from_utf8(read).map_err(|_| AddressError::Escape)
}

fn number(digits: &str) -> Option<u16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It begins with none of the four schemes.
    Scheme,
    /// It has a `?` or a `#`.
    Options,
    /// A user without a password, or neither.
    Password,
    /// A `%` without two hex digits, or what they stand for is no text.
    Escape,
    /// A host is missing, or no name and no address.
    Host,
    /// A port is no number from 1 to 65535.
    Port,
    /// The database is no number up to 65535.
    Database,
    /// Several hosts, and not of sentinels.
    Hosts,
    /// More than [`SENTINELS_MAX`] sentinels.
    Sentinels,
    /// The sentinels' name for the master is missing, or cannot be one.
    Master,
    /// `ca` is no certificate in PEM.
    Ca,
    /// `ca` is given and the scheme is not TLS.
    CaWithoutTls,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressError::Scheme => {
                "begins with redis://, rediss://, redis+sentinel:// or rediss+sentinel://"
            }
            AddressError::Options => "takes no options; in a password, write ? as %3F and # as %23",
            AddressError::Password => "needs user:password@ or :password@ before the host, or nothing there",
            AddressError::Escape => {
                "has a % in user or password without two hex digits; write % itself as %25"
            }
            AddressError::Host => "needs a host: a name, an IPv4 address, or an IPv6 address in brackets",
            AddressError::Port => "needs a port from 1 to 65535 behind the colon",
            AddressError::Database => {
                "needs the number of a database behind the last slash, or nothing there"
            }
            AddressError::Hosts => "names several hosts; with sentinels, begin with redis+sentinel://",
            AddressError::Sentinels => "names more than 16 sentinels",
            AddressError::Master => {
                "needs the master's name behind the sentinels: redis+sentinel://host/name"
            }
            AddressError::Ca => "needs certificates in PEM as its authorities",
            AddressError::CaWithoutTls => {
                "has authorities but no TLS; begin with rediss:// or rediss+sentinel://"
            }
        })
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        Address::parse(url, None).unwrap().to_string()
    }

    fn refusal(url: &str) -> AddressError {
        Address::parse(url, None).unwrap_err()
    }

    #[test]
    fn an_address_is_one_server_or_some_sentinels() {
        assert_eq!(shown("redis://localhost"), "redis://localhost:6379/0");
        assert_eq!(shown("rediss://10.0.0.1:7000/3"), "rediss://10.0.0.1:7000/3");
        assert_eq!(shown("redis://[::1]/"), "redis://[::1]:6379/0");
        assert_eq!(shown("redis://[fe80::2]:1"), "redis://[fe80::2]:1/0");
        assert_eq!(shown("redis+sentinel://a,b:7,[::1]:8/m/2"), "redis+sentinel://a:26379,b:7,[::1]:8/m/2");
        assert_eq!(shown("rediss+sentinel://a/my.master-1"), "rediss+sentinel://a:26379/my.master-1/0");
    }

    #[test]
    fn an_address_that_cannot_be_read_says_why() {
        use AddressError::*;
        for (url, error) in [
            ("", Scheme),
            ("localhost:6379", Scheme),
            ("http://a", Scheme),
            ("redis://", Host),
            ("redis://a b", Host),
            ("redis://::1", Host),
            ("redis://[a]", Host),
            ("redis://[::1", Host),
            ("redis://[::1]7", Port),
            ("redis://a:", Port),
            ("redis://a:0", Port),
            ("redis://a:65536", Port),
            ("redis://a:+1", Port),
            ("redis://a/x", Database),
            ("redis://a/-1", Database),
            ("redis://a/1/", Database),
            ("redis://a,b", Hosts),
            ("redis://a?db=1", Options),
            ("redis://:pass#word@a", Options),
            ("redis://user@a", Password),
            ("redis://user:@a", Password),
            ("redis://:a%2@a", Escape),
            ("redis://:%ff@a", Escape),
            ("redis+sentinel://a", Master),
            ("redis+sentinel://a/", Master),
            ("redis+sentinel://a/b c", Master),
            ("redis+sentinel://a,,b/m", Host),
            ("redis+sentinel://a/m/x", Database),
        ] {
            assert_eq!(refusal(url), error, "{url}");
        }
        let many = format!("redis+sentinel://{}/m", vec!["a"; SENTINELS_MAX + 1].join(","));
        assert_eq!(refusal(&many), Sentinels);
    }

    #[test]
    fn s49_an_address_shows_no_password() {
        for url in [
            "redis://canary-user:canary-%40word@a/1",
            "rediss+sentinel://:canary@word@a,b/m",
            "redis://canary:canary/canary@a",
            "redis://canary@a",
            "canary://canary:canary@a",
        ] {
            match Address::parse(url, None) {
                Ok(address) => assert!(!format!("{address:?} {address}").contains("canary")),
                Err(error) => assert!(!format!("{error:?} {error}").contains("canary")),
            }
        }
        assert_eq!(unescaped("%40a%3A%25").unwrap(), "@a:%");
    }

    #[test]
    fn authorities_come_with_tls_and_are_certificates() {
        assert_eq!(Address::parse("redis://a", Some(b"x")).unwrap_err(), AddressError::CaWithoutTls);
        for ca in [&b""[..], b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(Address::parse("rediss://a", Some(ca)).unwrap_err(), AddressError::Ca);
        }
    }
}
