//! Listeners: the addresses that we open, or sockets that were opened for us.
//!
//! A socket that somebody else holds as well outlives this process: who connects while one process drains and the next
//! one starts waits in its queue, and is not refused (delivery rule R30). systemd's socket activation does that, and
//! whoever else speaks its protocol: `LISTEN_FDS` and `LISTEN_PID`, see sd_listen_fds(3).

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use socket2::{Domain, Socket, Type};

use crate::config::Settings;
use crate::serve::Fatal;

/// Where clients and watchers come in.
pub struct Listeners {
    /// One for each event loop, or one for hyper.
    pub public: Vec<TcpListener>,
    /// Where they listen.
    pub address: SocketAddr,
    /// Where those come in that watch us, if not with everybody else.
    pub admin: Option<TcpListener>,
    /// Whether `public` was handed to us, so that others may hold it, too.
    pub handed: bool,
}

impl Listeners {
    /// Takes the sockets that were handed to this process, that named `public` in place of `listen` and that named `admin` in
    /// place of `admin_listen`, or without these names the first and the second; and opens what was not.
    ///
    /// # Errors
    /// An address is taken, or not ours to take; what was handed over is no TCP listener, has no such name, reaches further
    /// than dev mode may, or would be served by nobody.
    pub fn open(settings: &Settings) -> Result<Listeners, Fatal> {
        // Read first, so that nobody takes other names for those of these sockets.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let (public, admin) = places(&names, sockets.len()).map_err(Fatal::Handed)?;
        let mut take =
            |place: Option<usize>| place.map_or(Ok(None), |place| sockets.take_tcp_listener(place));
        let (first, second) = (take(public).map_err(Fatal::Handed)?, take(admin).map_err(Fatal::Handed)?);
        let handed = first.is_some();
        let public = match first {
            Some(listener) => adopt(listener, settings)?,
            None => listen(settings)?,
        };
        let admin = match (settings.admin_listen, second) {
            (None, None) => None,
            (None, Some(_)) => return Err(unserved(NO_ADMIN)),
            (Some(_), Some(listener)) => {
                listens(&listener)?;
                reaches_no_further(&listener, settings)?;
                listener.set_nonblocking(true)?;
                Some(listener)
            }
            (Some(address), None) => Some(bind(address)?),
        };
        let address =
            public.first().and_then(|listener| listener.local_addr().ok()).unwrap_or(settings.listen);
        Ok(Listeners { public, address, admin, handed })
    }
}

/// Which of `count` sockets is for clients, and which for machines that watch us. systemd hands over those of several units in
/// an order of its own, and calls each as its unit says in `FileDescriptorName` (sd_listen_fds_with_names(3)).
fn places(names: &str, count: usize) -> io::Result<(Option<usize>, Option<usize>)> {
    let names: Vec<&str> = names.split(':').take(count).collect();
    let place = |wanted: &str| names.iter().position(|name| *name == wanted);
    let (public, admin) = (place(PUBLIC), place(ADMIN));
    // Whoever connects to a socket that nobody serves waits for ever.
    let is_twice = |wanted: &str| names.iter().filter(|name| **name == wanted).count() > 1;
    if let Some(name) = [PUBLIC, ADMIN].into_iter().find(|name| is_twice(name)) {
        return Err(io::Error::other(format!(
            "more than one is called `{name}`, and one is served; {DROP_IN}"
        )));
    }
    if public.is_none() && admin.is_none() {
        if count > 2 {
            return Err(io::Error::other(format!(
                "there are {count}, and two at most are served; {DROP_IN}"
            )));
        }
        return Ok(((count > 0).then_some(0), (count > 1).then_some(1)));
    }
    match names.iter().find(|name| **name != PUBLIC && **name != ADMIN) {
        Some(stray) => Err(io::Error::other(format!(
            "a socket is called `{stray}`; beside `{PUBLIC}` or `{ADMIN}` there may be only the other (FileDescriptorName=)"
        ))),
        None => Ok((public, admin)),
    }
}

const PUBLIC: &str = "public";
const ADMIN: &str = "admin";

/// The likeliest way to have too many.
const DROP_IN: &str = "in a drop-in, an empty `ListenStream=` first takes back the addresses before it";

const NO_ADMIN: &str =
    "there is one for admin_listen, which is `same`: give admin_listen an address, or hand over one socket";

fn unserved(why: &str) -> Fatal {
    Fatal::Handed(io::Error::other(why))
}

/// Refuses a socket that nobody can connect to: one that is not listening, or one client's, as `Accept=yes` hands over.
#[cfg(target_os = "linux")]
fn listens(listener: &TcpListener) -> Result<(), Fatal> {
    match rustix::net::sockopt::socket_acceptconn(listener) {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(unserved("it does not listen; a socket unit says `ListenStream=`, and not `Accept=yes`"))
        }
        Err(error) => Err(Fatal::Handed(error.into())),
    }
}

/// Elsewhere kernels do not say.
#[cfg(not(target_os = "linux"))]
fn listens(_: &TcpListener) -> Result<(), Fatal> {
    Ok(())
}

/// Refuses what the configuration could not have: an address that leaves this machine in dev mode.
fn reaches_no_further(listener: &TcpListener, settings: &Settings) -> Result<(), Fatal> {
    let address = listener.local_addr().map_err(Fatal::Handed)?;
    if settings.dev && !settings.dev_public && !address.ip().is_loopback() {
        return Err(Fatal::Handed(io::Error::other(format!(
            "dev mode lets everybody publish and subscribe, so it does not listen on {address}; say --dev-public if \
             everybody who can reach this machine may"
        ))));
    }
    Ok(())
}

fn adopt(listener: TcpListener, settings: &Settings) -> Result<Vec<TcpListener>, Fatal> {
    listens(&listener)?;
    reaches_no_further(&listener, settings)?;
    #[cfg(target_os = "linux")]
    if settings.engine_listens() {
        return tidewire_engine::sockets::share(listener, settings.shards).map_err(Fatal::Handed);
    }
    listener.set_nonblocking(true)?;
    Ok(vec![listener])
}

fn listen(settings: &Settings) -> Result<Vec<TcpListener>, Fatal> {
    #[cfg(target_os = "linux")]
    if settings.engine_listens() {
        let listeners = tidewire_engine::sockets::listen(settings.listen, settings.shards, false);
        return listeners.map_err(|error| Fatal::Listen(settings.listen, error));
    }
    Ok(vec![bind(settings.listen)?])
}

/// A listener with the engine's queue: the standard library's holds 128, and whoever finds it full tries again after a
/// second.
fn bind(address: SocketAddr) -> Result<TcpListener, Fatal> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // As the standard library does: elsewhere it would let others listen beside us.
        #[cfg(not(windows))]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bind().map_err(|error| Fatal::Listen(address, error))
}

/// Connections that may wait to be accepted; Linux caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_socket_is_known_by_its_name_or_else_by_its_place() {
        let places = |names, count| places(names, count).unwrap();
        assert_eq!(places("", 0), (None, None));
        // What a unit is called if it says nothing, once for each of its sockets.
        assert_eq!(places("tidewire.socket", 1), (Some(0), None));
        assert_eq!(places("tidewire.socket:tidewire.socket", 2), (Some(0), Some(1)));
        assert_eq!(places("admin:public", 2), (Some(1), Some(0)));
        assert_eq!(places("admin", 1), (None, Some(0)));
        // Names of sockets that somebody else was handed mean nothing.
        assert_eq!(places("admin:public", 0), (None, None));
        assert!(super::places("public:metrics", 2).unwrap_err().to_string().contains("`metrics`"));
    }

    #[test]
    fn no_socket_is_left_for_nobody_to_serve() {
        // A unit with two addresses, as it becomes when a drop-in adds one: both have its name.
        let refused = |names, count| places(names, count).unwrap_err().to_string();
        assert!(refused("public:public", 2).contains("more than one is called `public`"));
        assert!(refused("admin:public:admin", 3).contains("more than one is called `admin`"));
        assert!(refused("", 3).contains("there are 3"));
    }

    #[test]
    fn a_burst_of_clients_waits_in_the_queue_and_not_before_it() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let wait = Duration::from_millis(900);
        let connect = |_| std::net::TcpStream::connect_timeout(&address, wait).unwrap();
        // Nobody accepts them, and still none has to send its first packet twice.
        let clients: Vec<_> = (0..400).map(connect).collect();
        assert_eq!(clients.len(), 400);
    }
}
