//! A lane: one transport with a node of its own, so that what the node costs is what the transport costs.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tidewire_compare::Transport;
use tidewire_load::meter::{self, Holding};
use tidewire_load::{answer::Answer, request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::crowd;
use super::proxy::{Counts, Proxy, Seen, Way};
use crate::private::Private;

/// The one channel of every node.
pub(super) const CHANNEL: &str = "compare";

/// More often than by default, so that nobody has to wait to see what they are for.
pub(super) const HEARTBEAT_S: u32 = 4;

/// Far less than the patience of a node with a connection that is kept alive.
const USED_WITHIN: Duration = Duration::from_secs(1);

/// A node, the proxy before it, and what is known of both.
pub(super) struct Lane {
    pub transport: Transport,
    /// Where the browser connects.
    pub front: SocketAddr,
    /// Where the crowd does.
    pub address: SocketAddr,
    pub process: u32,
    counts: Arc<Counts>,
    pub crowd: Arc<crowd::Counts>,
    published: AtomicU64,
    cpu: Mutex<Cpu>,
    /// Dropping it ends the node.
    _private: Private,
}

/// What a lane has come to, since it began.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub transport: Transport,
    #[serde(flatten)]
    seen: Seen,
    /// Messages that its node has taken.
    published: u64,
    /// Nanoseconds of CPU that its node has used.
    cpu_ns: u64,
    crowd: crowd::Seen,
}

/// A sum over threads that rises only. A thread that ends takes its figure out of the meter; what it used since the look
/// before is lost, and nothing else.
#[derive(Debug, Default)]
struct Cpu {
    meter_ns: u64,
    sum_ns: u64,
}

impl Cpu {
    /// Takes what the meter says, and gives back the sum.
    fn reads(&mut self, meter_ns: u64) -> u64 {
        self.sum_ns += meter_ns.saturating_sub(self.meter_ns);
        self.meter_ns = meter_ns;
        self.sum_ns
    }
}

impl Lane {
    /// Starts a node and puts a proxy before it.
    pub(super) async fn open(transport: Transport, way: watch::Receiver<Way>) -> io::Result<(Lane, Proxy)> {
        let private = tokio::task::spawn_blocking(|| {
            let heartbeat = format!("limits.heartbeat={HEARTBEAT_S}s");
            let ping = format!("limits.ping={HEARTBEAT_S}s");
            // What is published between two of the rarest polls, at the highest rate, and a little more.
            Private::start(&["--set", &heartbeat, "--set", &ping, "--set", "history.messages_max=2000"])
        });
        let private = private.await.map_err(io::Error::other)??;
        let proxy = Proxy::open(private.address, way).await?;
        let lane = Lane {
            transport,
            front: proxy.address()?,
            address: private.address,
            process: private.process,
            counts: proxy.counts(),
            crowd: Arc::default(),
            published: AtomicU64::new(0),
            cpu: Mutex::default(),
            _private: private,
        };
        Ok((lane, proxy))
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            transport: self.transport,
            seen: self.counts.look(),
            published: self.published.load(Relaxed),
            cpu_ns: {
                let mut cpu = self.cpu.lock().unwrap_or_else(PoisonError::into_inner);
                // What cannot be read, since the node has ended, stands still.
                let meter_ns = meter::threads_cpu_ns(self.process).unwrap_or(cpu.meter_ns);
                cpu.reads(meter_ns)
            },
            crowd: self.crowd.look(),
        }
    }

    /// The node's own memory, in KiB; nothing where this user may not read it.
    pub(super) fn memory_kib(&self) -> Option<f64> {
        Holding::take(self.process).ok().map(|held| held.pss_kib)
    }

    /// Publishes what comes, one after the other, over one connection, until nothing more does.
    ///
    /// # Errors
    /// When the node goes away, or says no.
    pub(super) async fn publish(&self, mut messages: mpsc::Receiver<Arc<str>>) -> io::Result<()> {
        let target = tidewire_load::Target::at(self.address);
        let mut socket = self.connect().await?;
        let mut used = Instant::now();
        let mut answer = Vec::new();
        while let Some(message) = messages.recv().await {
            // The node ends connections that nobody uses, and might just now.
            if used.elapsed() > USED_WITHIN {
                socket = self.connect().await?;
            }
            let mut bytes = request::publish(&target, CHANNEL, message.len());
            bytes.extend_from_slice(message.as_bytes());
            socket.write_all(&bytes).await?;
            answer.clear();
            loop {
                if socket.read_buf(&mut answer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                match Answer::read(&answer) {
                    Ok(None) => {}
                    Ok(Some(Answer { status: 200, .. })) => break,
                    Ok(Some(_)) | Err(_) => return Err(io::Error::other("the node did not take a message")),
                }
            }
            self.published.fetch_add(1, Relaxed);
            used = Instant::now();
        }
        Ok(())
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_rises_when_a_thread_has_taken_its_figure_with_it() {
        let mut cpu = Cpu::default();
        assert_eq!([100, 150, 90, 110].map(|meter_ns| cpu.reads(meter_ns)), [100, 150, 150, 170]);
    }
}
