//! Serving: the accept loop for listeners that the engine does not have, and the connections that it hands over.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use bytes::Bytes;
use tidewire_engine::Proxies;
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::connection::{Connection, turn_away};
use super::http1::within_hypers_bounds;
use super::introduction;
use crate::census::Census;
use crate::health::Health;
use crate::tls::Tls;

/// A connection, with what has been read of it.
pub struct Incoming {
    /// The socket, non-blocking.
    pub socket: std::net::TcpStream,
    /// Who is at the other end, or behind the proxy that is.
    pub client: SocketAddr,
    /// Read before its time.
    pub bytes: Bytes,
    /// When its first byte must be here, or its first head where some of it already is.
    pub first_due: Duration,
}

/// Serves connections.
#[derive(Clone)]
pub struct Http {
    limits: Arc<ArcSwap<Limits>>,
    pub(super) census: Arc<Census>,
    pub(super) health: Arc<Health>,
    pub(super) router: Router,
    /// Turns true when connections that answer nothing shall close.
    pub(super) closing: watch::Receiver<bool>,
    /// Who introduces clients before they speak, on listeners of our own.
    proxies: Option<Arc<dyn Proxies>>,
    /// Whether others accept from its listener as well: a successor, once this node drains.
    yields: bool,
    /// What clients shake hands with, where they come over TLS.
    pub(super) tls: Option<Tls>,
    /// Whether its clients come in also where there is no room: they watch us.
    watched: bool,
}

impl Http {
    /// A server of `router`'s answers. A connection holds to the limits that it found. `closing` turns true at the end of a drain.
    #[must_use]
    pub fn new(
        limits: Arc<ArcSwap<Limits>>,
        census: Arc<Census>,
        health: Arc<Health>,
        router: Router,
        closing: watch::Receiver<bool>,
    ) -> Http {
        Http {
            limits,
            census,
            health,
            router,
            closing,
            proxies: None,
            tls: None,
            yields: false,
            watched: false,
        }
    }

    /// The same behind proxies that introduce their clients (PROXY protocol, security rule S41).
    #[must_use]
    pub fn behind(self, proxies: Arc<dyn Proxies>) -> Http {
        Http { proxies: Some(proxies), ..self }
    }

    /// The same for clients that come over TLS.
    #[must_use]
    pub fn over(self, tls: Tls) -> Http {
        Http { tls: Some(tls), ..self }
    }

    /// Who introduces clients here; nothing where nobody does.
    #[must_use]
    pub fn proxies(&self) -> Option<&Arc<dyn Proxies>> {
        self.proxies.as_ref()
    }

    /// The same for machines that watch us: they have a part of the descriptors that nobody else gets (rule S39).
    #[must_use]
    pub fn watched(self) -> Http {
        Http { watched: true, ..self }
    }

    /// The same over a listener that others hold, too: it leaves them whoever comes once a drain has begun.
    #[must_use]
    pub fn yielding(self) -> Http {
        Http { yields: true, ..self }
    }

    /// Whether others hold its listener, too.
    #[must_use]
    pub fn yields(&self) -> bool {
        self.yields
    }

    /// Accepts until the drain's end, or until its beginning where others go on. For listeners that no event loop has.
    pub async fn accept(self, listener: TcpListener) {
        let mut closing = self.closing.clone();
        loop {
            while !self.watched && self.census.is_overrun() {
                // Who comes now waits in the listener's queue.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closed(&mut closing) => return,
                () = self.health.draining(), if self.yields => return,
            };
            match accepted.and_then(|(socket, peer)| Ok((socket.into_std()?, peer))) {
                Ok((socket, peer)) => {
                    self.census.accept();
                    let _ = socket.set_nodelay(true);
                    tokio::spawn(self.clone().welcome(socket, peer));
                }
                // The client gave up while it waited in the queue.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Out of file descriptors, most likely; trying again at once would only burn the core (S39).
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection that nobody has read yet.
    async fn welcome(self, socket: std::net::TcpStream, peer: SocketAddr) {
        let first_due = self.limits.load().first_byte_max;
        let incoming = match self.proxies.as_ref().filter(|proxies| proxies.introduces(peer.ip())) {
            None => Incoming { socket, client: peer, bytes: Bytes::new(), first_due },
            Some(proxies) => {
                // It takes its room from now on, as one that is being served does.
                let _counted = self.census.count();
                let mut closing = self.closing.clone();
                let introduced = tokio::select! {
                    introduced = introduction::read(socket, peer, first_due, &**proxies) => introduced,
                    () = closed(&mut closing) => return,
                };
                let Some(incoming) = introduced else { return };
                incoming
            }
        };
        self.serve(incoming).await;
    }

    /// Serves one connection to its end.
    pub async fn serve(self, incoming: Incoming) {
        let Incoming { socket, client, bytes, first_due } = incoming;
        let (limits, counted) = (within_hypers_bounds(self.limits.load_full()), self.census.count());
        let Ok(socket) = TcpStream::from_std(socket) else { return };
        if !self.watched && self.census.is_overrun() {
            if self.tls.is_none() {
                turn_away(socket, &Refusal::new(Reason::Overloaded, TOO_MANY), limits.linger_max).await;
            }
            return;
        }
        // hyper forgets an answer that it cannot write at once where a client asked for an upgrade and has ended its side.
        // The socket has room; the runtime does not know yet.
        let _ = socket.writable().await;
        let surplus = !self.watched && self.census.is_over();
        let connection =
            Connection { client, limits, counted: Arc::new(counted), surplus, first_due, http: self };
        connection.open(socket, bytes).await;
    }
}

/// Resolves when connections shall close, which is also when nobody is left to say so.
pub(super) async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// How long accepting pauses when there is no room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What whoever is one too many is told.
pub(crate) const TOO_MANY: &str = "this node has as many connections as it may";
