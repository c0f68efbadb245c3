//! The outlets of a node: event loops over sockets, and one over pipes for what the API server holds.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tidewire_engine::pipes::{self, Pipes};
use tidewire_engine::{Control, Counters, Inbox};
use tidewire_hub::admit::OutletId;
use tidewire_hub::broker::Broker;
use tidewire_hub::deliver::Outlet;
use tidewire_hub::limits::Limits;

use crate::census::Census;
use crate::config::Io;
use crate::http::Http;

/// An outlet that the broker knows and no thread serves yet.
pub struct Seat {
    id: OutletId,
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
    explain: bool,
}

impl Seat {
    /// Makes a new outlet known to the broker. `explain` makes it say inside a stream why one was refused: dev mode.
    #[must_use]
    pub fn new(broker: &dyn Broker, limits: &Limits, explain: bool) -> Seat {
        let inbox = Inbox::new(limits);
        Seat { id: broker.attach(inbox.clone()), inbox, counters: Arc::default(), explain }
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// The inboxes of these outlets by their names.
    #[must_use]
    pub fn inboxes<'a>(seats: impl IntoIterator<Item = &'a Seat>) -> HashMap<OutletId, Arc<dyn Outlet>> {
        seats.into_iter().map(|seat| (seat.id, seat.inbox.clone() as Arc<dyn Outlet>)).collect()
    }

    /// Starts the outlet over pipes, by the clock that began at `epoch`.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn run_pipes(self, control: Arc<dyn Control>, limits: &Limits, epoch: Instant) -> io::Result<Pipes> {
        let Seat { id: outlet, inbox, counters, explain } = self;
        // A pipe is a stream, and a connection of HTTP/2 has many. Connections themselves are counted by the census.
        let most = limits.connections_max.saturating_mul(limits.streams_per_connection_max);
        let limits = Arc::new(Limits { connections_max: most, ..limits.clone() });
        pipes::spawn(pipes::Options { outlet, inbox, control, limits, counters, epoch, explain })
    }
}

/// Event loops over sockets that still run.
#[derive(Clone, Debug)]
pub struct Loops {
    running: Arc<AtomicUsize>,
    io: Io,
    epoch: Instant,
}

impl Loops {
    /// None yet. They will write through `io`, by the clock that began at `epoch`.
    #[must_use]
    pub fn new(io: Io, epoch: Instant) -> Loops {
        Loops { running: Arc::default(), io, epoch }
    }

    /// How many still run. A loop ends with its last connection after a drain.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Starts an event loop for each seat and listener; what is no subscription goes to `http`.
    ///
    /// # Errors
    /// The kernel has no descriptor or thread for one of them, or no io_uring where it is demanded.
    #[cfg(target_os = "linux")]
    pub fn run(
        &self,
        seats: Vec<Seat>,
        listeners: Vec<std::net::TcpListener>,
        control: &Arc<dyn Control>,
        limits: &Arc<Limits>,
        census: &Arc<Census>,
        http: &Http,
    ) -> io::Result<()> {
        use tidewire_engine::sockets::{self, Sends};

        let sends = match self.io {
            Io::Uring => Sends::Uring,
            Io::Epoll => Sends::Write,
            Io::Auto | Io::Tokio => Sends::Auto,
        };

        for (seat, listener) in seats.into_iter().zip(listeners) {
            let Seat { id: outlet, inbox, counters, explain } = seat;
            let (control, limits, hand_off) = (control.clone(), limits.clone(), hand_off(http.clone()));
            let proxies = http.proxies().cloned();
            let census = census.clone();
            let has_room = Box::new(move || !census.is_overrun());
            let thread = sockets::spawn(sockets::Options {
                outlet,
                inbox,
                listener,
                has_heir: http.yields(),
                control,
                limits,
                counters,
                epoch: self.epoch,
                sends,
                explain,
                proxies,
                has_room,
                hand_off,
            })?;
            self.running.fetch_add(1, Ordering::AcqRel);
            let running = self.running.clone();
            std::thread::Builder::new().name(format!("tidewire-wait-{}", outlet.0)).spawn(move || {
                // A loop that panicked for good has ended as well.
                let _ = thread.join();
                running.fetch_sub(1, Ordering::AcqRel);
            })?;
        }
        Ok(())
    }

    /// There are no event loops over sockets on this system.
    ///
    /// # Errors
    /// None.
    #[cfg(not(target_os = "linux"))]
    pub fn run(
        &self,
        _: Vec<Seat>,
        _: Vec<std::net::TcpListener>,
        _: &Arc<dyn Control>,
        _: &Arc<Limits>,
        _: &Arc<Census>,
        _: &Http,
    ) -> io::Result<()> {
        Ok(())
    }
}

/// Takes connections out of an event loop's hands. Bounded by `connections_max`, not by a queue.
#[cfg(target_os = "linux")]
fn hand_off(http: Http) -> Box<dyn Fn(tidewire_engine::HandOff) + Send> {
    let runtime = tokio::runtime::Handle::current();
    Box::new(move |handed| {
        let tidewire_engine::HandOff { stream: socket, client, bytes, deadline: first_due } = handed;
        let incoming = crate::http::Incoming { socket, client, bytes: bytes.into(), first_due };
        runtime.spawn(http.clone().serve(incoming));
    })
}
