//! A TCP proxy that does harm when it is told to.
//!
//! ```text
//!   subscribers, publishers ──▶ proxy ──▶ node        one a node
//!   nodes, replica, sentinels ──▶ proxy ──▶ redis     one a server; who dialed is told by /proc
//! ```

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::owner::{Owner, Owners};
use crate::weather::{Flow, Way, Weather};

/// A running proxy. It ends with its last owner.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    port: u16,
    to: AtomicU16,
    owners: Option<Owners>,
    state: Mutex<State>,
    accepted: AtomicU64,
    harmed: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    connections: Vec<Arc<Connection>>,
    /// What new connections go through.
    climate: Vec<(Whose, Weather)>,
    refuse: u64,
}

/// Whose connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    All,
    /// This one's.
    Of(Owner),
    /// Those of all nodes.
    Nodes,
}

/// A proxied connection.
#[derive(Debug)]
pub struct Connection {
    /// Who dialed.
    pub owner: Owner,
    listens: AtomicBool,
    hung_up: AtomicBool,
    fate: watch::Sender<Fate>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Fate {
    weather: Weather,
    reset: bool,
}

impl Connection {
    /// Whether it has subscribed to anything in Redis.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.listens.load(Relaxed)
    }

    /// Whether what it carries is thrown away, and who dialed has not noticed.
    #[must_use]
    pub fn is_swallowed(&self) -> bool {
        self.fate.borrow().weather.swallows() && !self.hung_up.load(Relaxed)
    }

    fn suffers(&self, weather: Weather) {
        self.fate.send_modify(|fate| {
            // Bytes are missing from what was swallowed, so nothing sensible can follow.
            fate.reset |= fate.weather.swallows() && fate.weather != weather;
            fate.weather = weather;
        });
    }

    fn is(&self, whose: Whose) -> bool {
        match whose {
            Whose::All => true,
            Whose::Of(owner) => self.owner == owner,
            Whose::Nodes => matches!(self.owner, Owner::Node(_)),
        }
    }
}

impl Proxy {
    /// Listens on a free port, and passes everything on to `to`. With `owners`, connections are told apart.
    ///
    /// # Errors
    /// There is no port.
    pub async fn start(to: u16, owners: Option<Owners>) -> io::Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (state, accepted, harmed) = Default::default();
        let shared = Arc::new(Shared { port, to: to.into(), owners, state, accepted, harmed });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Proxy { port, shared, task })
    }

    /// What exists and what comes goes through this, until [`Proxy::clear`].
    pub fn set(&self, whose: Whose, weather: Weather) {
        self.shared.state().climate.push((whose, weather));
        self.afflict(|connection| connection.is(whose), weather);
    }

    /// What exists goes through this, until [`Proxy::clear`]. Gives how many it hit.
    pub fn afflict(&self, mut whom: impl FnMut(&Connection) -> bool, weather: Weather) -> u64 {
        let state = self.shared.state();
        let hit = state.connections.iter().filter(|connection| whom(connection));
        hit.map(|connection| connection.suffers(weather)).count() as u64
    }

    /// Resets connections, both halves at once and unread. Gives how many.
    pub fn reset(&self, mut whom: impl FnMut(&Connection) -> bool) -> u64 {
        let state = self.shared.state();
        let hit = state.connections.iter().filter(|connection| whom(connection));
        hit.map(|connection| connection.fate.send_modify(|fate| fate.reset = true)).count() as u64
    }

    /// The next dials of nodes are reset at once.
    pub fn refuse(&self, dials: u64) {
        self.shared.state().refuse = dials;
    }

    /// Fair weather. What was swallowed is reset.
    pub fn clear(&self) {
        let mut state = self.shared.state();
        state.climate.clear();
        state.refuse = 0;
        state.connections.iter().for_each(|connection| connection.suffers(Weather::default()));
    }

    /// Connections from now on lead to another port; those that exist stay where they are.
    pub fn lead_to(&self, to: u16) {
        self.shared.to.store(to, Relaxed);
    }

    /// How many connections there are of `whom`.
    #[must_use]
    pub fn count(&self, mut whom: impl FnMut(&Connection) -> bool) -> u64 {
        self.shared.state().connections.iter().filter(|connection| whom(connection)).count() as u64
    }

    /// Connections accepted until now.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Relaxed)
    }

    /// Pieces delayed, held, swallowed, cut or refused until now.
    #[must_use]
    pub fn harmed(&self) -> u64 {
        self.shared.harmed.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.reset(|_| true);
    }
}

impl State {
    fn refuses(&mut self) -> bool {
        let refuses = self.refuse > 0;
        self.refuse -= u64::from(refuses);
        refuses
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn harm(&self) {
        self.harmed.fetch_add(1, Relaxed);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, from)) = listener.accept().await else { continue };
        shared.accepted.fetch_add(1, Relaxed);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let owner =
                shared.owners.as_ref().map_or(Owner::Other, |owners| owners.of(from.port(), shared.port));
            // Sentinels are not kept from seeing the truth.
            if matches!(owner, Owner::Node(_)) && shared.state().refuses() {
                shared.harm();
                let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
                return;
            }
            let connection = Connection {
                owner,
                listens: AtomicBool::new(false),
                hung_up: AtomicBool::new(false),
                fate: watch::channel(Fate::default()).0,
            };
            let connection = Arc::new(connection);
            {
                let mut state = shared.state();
                let weather = state
                    .climate
                    .iter()
                    .rev()
                    .find(|(whose, _)| connection.is(*whose))
                    .map(|(_, weather)| *weather);
                connection.suffers(weather.unwrap_or_default());
                state.connections.push(Arc::clone(&connection));
            }
            carry(client, &connection, &shared).await;
            shared.state().connections.retain(|other| !Arc::ptr_eq(other, &connection));
        });
    }
}

async fn carry(mut client: TcpStream, connection: &Connection, shared: &Shared) {
    // The kernel knows no difference between a server that is not there and one that resets.
    let server = dial(shared.to.load(Relaxed)).await;
    let Ok(mut server) = server else {
        let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let reset = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let mut fate = connection.fate.subscribe();
        let up = pump(client_reads, server_writes, connection, shared, |weather| weather.up, true);
        let down = pump(server_reads, client_writes, connection, shared, |weather| weather.down, false);
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.is_err(),
            _ = fate.wait_for(|fate| fate.reset) => true,
        }
    };
    if reset {
        let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
        let _ = SockRef::from(&server).set_linger(Some(Duration::ZERO));
    }
}

/// Dials with a small receive buffer, so that a held connection fills soon.
async fn dial(port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(64 * 1024)?;
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    connection: &Connection,
    shared: &Shared,
    way: fn(Weather) -> Way,
    scout: bool,
) -> io::Result<()> {
    let mut fate = connection.fate.subscribe();
    let (mut buffer, mut hoard, mut passed) = (vec![0; 16 * 1024], Vec::new(), 0u64);
    loop {
        let now = way(fate.borrow_and_update().weather);
        if now.flow == Flow::Pass && !hoard.is_empty() {
            to.write_all(&std::mem::take(&mut hoard)).await?;
        }
        if now.flow == Flow::Hold {
            shared.harm();
            changed(&mut fate).await?;
            continue;
        }
        let most = if now.bytes_per_second == 0 {
            buffer.len()
        } else {
            (now.bytes_per_second / 20).clamp(1, 16_384) as usize
        };
        let read = tokio::select! {
            read = from.read(&mut buffer[..most]) => read?,
            changed = changed(&mut fate) => {
                changed?;
                continue;
            }
        };
        // The weather may have turned since the read began.
        let now = way(fate.borrow().weather);
        if read == 0 {
            connection.hung_up.fetch_or(scout, Relaxed);
            if now.flow == Flow::Swallow {
                shared.harm();
                changed(&mut fate).await?;
                continue;
            }
            to.write_all(&hoard).await?;
            return to.shutdown().await;
        }
        let bytes = &buffer[..read];
        if scout && bytes.windows(9).any(|word| word.eq_ignore_ascii_case(b"SUBSCRIBE")) {
            connection.listens.store(true, Relaxed);
        }
        match now.flow {
            Flow::Swallow => {
                shared.harm();
                continue;
            }
            Flow::Hoard => {
                shared.harm();
                hoard.extend_from_slice(bytes);
                if hoard.len() > HOARD_BYTES_MAX {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                continue;
            }
            // A read that was under way when the hoard was set free is younger than all of it.
            Flow::Hold | Flow::Pass => to.write_all(&std::mem::take(&mut hoard)).await?,
        }
        passed += read as u64;
        if now.reset_after > 0 && passed >= now.reset_after {
            shared.harm();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let slow = 1_000 * read as u64 / now.bytes_per_second.max(1) * u64::from(now.bytes_per_second > 0);
        let jitter = now.jitter_ms * (passed % 17) / 16;
        let wait = now.latency_ms + jitter + slow;
        if wait > 0 {
            shared.harm();
            sleep(Duration::from_millis(wait)).await;
        }
        if now.sliced {
            shared.harm();
            for byte in bytes {
                to.write_all(&[*byte]).await?;
                tokio::task::yield_now().await;
            }
        } else {
            to.write_all(bytes).await?;
        }
    }
}

/// Waits until the weather changes.
async fn changed(fate: &mut watch::Receiver<Fate>) -> io::Result<()> {
    fate.changed().await.map_err(|_| io::ErrorKind::ConnectionReset.into())
}

/// What a way keeps at most.
const HOARD_BYTES_MAX: usize = 16 << 20;
