//! The proxy before a lane's node: the browser's connections of one lane, counted byte by byte, and cut when it is asked.
//!
//! It stands where a load balancer does, so what it sees is what a network between the page and the server would carry. It
//! reads nothing of it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// A browser has six connections to a server; some are on their way out while others come.
const CONNECTIONS_MAX: usize = 64;

const BUFFER_BYTES: usize = 16 * 1024;

/// What a proxy does with connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// No connection stands, and none is made: the network is gone.
    pub down: bool,
    /// How long a connection may be without a byte, either way; nothing for as long as it likes.
    pub patience: Option<Duration>,
}

/// What a proxy has seen.
#[derive(Debug, Default)]
pub(super) struct Counts {
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    opened: AtomicU64,
    dropped: AtomicU64,
    idled: AtomicU64,
    turned_away: AtomicU64,
    open: AtomicUsize,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Seen {
    /// Bytes from the browser, heads and frames included, TCP's own left out.
    pub up_bytes: u64,
    /// Bytes to the browser.
    pub down_bytes: u64,
    /// Connections that were made.
    pub opened: u64,
    /// Connections that were cut because the network went away.
    pub dropped: u64,
    /// Connections that were cut because they were quiet.
    pub idled: u64,
    /// Connections that were not made because there was no network.
    pub turned_away: u64,
    /// Connections that stand.
    pub open: usize,
}

impl Counts {
    pub(super) fn look(&self) -> Seen {
        Seen {
            up_bytes: self.up_bytes.load(Relaxed),
            down_bytes: self.down_bytes.load(Relaxed),
            opened: self.opened.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            idled: self.idled.load(Relaxed),
            turned_away: self.turned_away.load(Relaxed),
            open: self.open.load(Relaxed),
        }
    }
}

/// A listener on loopback. It serves for as long as `serve` is polled.
pub(super) struct Proxy {
    listener: TcpListener,
    upstream: SocketAddr,
    way: watch::Receiver<Way>,
    counts: Arc<Counts>,
}

impl Proxy {
    /// Listens on a port of its own, before `upstream`.
    pub(super) async fn open(upstream: SocketAddr, way: watch::Receiver<Way>) -> io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Proxy { listener, upstream, way, counts: Arc::default() })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// Serves until it is dropped, and its connections with it.
    pub(super) async fn serve(self) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            // Out of files: whoever waits is still there a moment later.
            let Ok((client, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            if self.way.borrow().down || connections.len() >= CONNECTIONS_MAX {
                self.counts.turned_away.fetch_add(1, Relaxed);
                continue;
            }
            let (upstream, way, counts) = (self.upstream, self.way.clone(), self.counts.clone());
            connections.spawn(async move {
                counts.opened.fetch_add(1, Relaxed);
                let open = Open::new(&counts.open);
                // A connection that breaks has ended, and that is all there is to it.
                let _ = carry(client, upstream, way, &counts).await;
                drop(open);
            });
        }
    }
}

/// Counts a connection for as long as it stands.
struct Open<'c>(&'c AtomicUsize);

impl Open<'_> {
    fn new(count: &AtomicUsize) -> Open<'_> {
        count.fetch_add(1, Relaxed);
        Open(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Carries bytes both ways until one side ends, or the way does.
async fn carry(
    mut client: TcpStream,
    upstream: SocketAddr,
    mut way: watch::Receiver<Way>,
    counts: &Counts,
) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut up, mut down) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let mut heard = Instant::now();
    loop {
        let Way { down: is_down, patience } = *way.borrow_and_update();
        if is_down {
            counts.dropped.fetch_add(1, Relaxed);
            return Ok(());
        }
        let silence = async {
            match patience {
                Some(patience) => sleep_until(heard + patience).await,
                None => std::future::pending().await,
            }
        };
        let carried = tokio::select! {
            changed = way.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
            () = silence => {
                counts.idled.fetch_add(1, Relaxed);
                return Ok(());
            }
            read = from_client.read(&mut up) => {
                let count = read?;
                counts.up_bytes.fetch_add(count as u64, Relaxed);
                (count, to_server.write_all(&up[..count]).await)
            }
            read = from_server.read(&mut down) => {
                let count = read?;
                counts.down_bytes.fetch_add(count as u64, Relaxed);
                (count, to_client.write_all(&down[..count]).await)
            }
        };
        match carried {
            (0, _) => return Ok(()),
            (_, written) => written?,
        }
        heard = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it is sent, and a proxy before it.
    async fn echo() -> (SocketAddr, watch::Sender<Way>, Arc<Counts>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let upstream = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = client.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let (way, ways) = watch::channel(Way::default());
        let proxy = Proxy::open(upstream, ways).await.unwrap();
        let (address, counts) = (proxy.address().unwrap(), proxy.counts());
        tokio::spawn(proxy.serve());
        (address, way, counts)
    }

    async fn say(client: &mut TcpStream, word: &[u8]) {
        client.write_all(word).await.unwrap();
        let mut heard = vec![0; word.len()];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, word);
    }

    async fn ended(client: &mut TcpStream) -> bool {
        !matches!(client.read(&mut [0]).await, Ok(1))
    }

    #[tokio::test]
    async fn every_byte_is_counted_on_its_way() {
        let (address, _way, counts) = echo().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        say(&mut client, b"hello").await;
        say(&mut client, b"you").await;
        let seen = counts.look();
        assert_eq!((seen.up_bytes, seen.down_bytes, seen.opened, seen.open), (8, 8, 1, 1));
    }

    #[tokio::test]
    async fn without_a_network_no_connection_stands_and_none_is_made() {
        let (address, way, counts) = echo().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        say(&mut client, b"hello").await;
        way.send_modify(|way| way.down = true);
        assert!(ended(&mut client).await);
        let mut early = TcpStream::connect(address).await.unwrap();
        assert!(ended(&mut early).await);
        way.send_modify(|way| way.down = false);
        let mut late = TcpStream::connect(address).await.unwrap();
        say(&mut late, b"back").await;
        let seen = counts.look();
        assert_eq!((seen.dropped, seen.turned_away, seen.opened), (1, 1, 2));
    }

    #[tokio::test]
    async fn a_quiet_connection_is_cut_once_patience_is_over() {
        let (address, way, counts) = echo().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        say(&mut client, b"hello").await;
        way.send_modify(|way| way.patience = Some(Duration::from_millis(10)));
        assert!(ended(&mut client).await);
        assert_eq!((counts.look().idled, counts.look().dropped), (1, 0));
    }
}
