//! The composition root: everything that a node is made of, in the order it comes to life.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidewire_auth::dev::DevGate;
use tidewire_auth::secret::NoEntropy;
use tidewire_engine::Control;
use tokio::sync::watch;

use crate::admin::{self, Clients, Console, Passwords, Sources};
use crate::api::{self, Parts};
use crate::assembly::{self, Assembly, Ground};
use crate::census::Census;
use crate::config::{Settings, machine};
use crate::crowd::Crowd;
use crate::demo;
use crate::drain::{self, Ending};
use crate::entrance::{Entrance, Unusable};
use crate::health::Phase;
use crate::http::Http;
use crate::life;
use crate::listeners::Listeners;
use crate::manager::Manager;
use crate::node::Node;
use crate::outlets::{Loops, Seat};
use crate::ready_box::{Opened, ReadyBox};
use crate::reload::{self, Reloader, Surroundings};
use crate::shared::Beside;
use crate::signals::{Asked, Signals};
use crate::tls::Tls;

/// Why a node could not start. Exit code 1.
#[derive(Debug)]
pub enum Fatal {
    /// The address is taken, or not ours to take.
    Listen(SocketAddr, io::Error),
    /// A socket that was handed to us is of no use.
    Handed(io::Error),
    /// The system has no room for a thread, a descriptor or a random number.
    System(io::Error),
    /// The gate cannot be made of what is configured.
    Entrance(Unusable),
    /// The broker cannot be made of what is configured.
    Broker(String),
}

impl std::fmt::Display for Fatal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fatal::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "{address} is in use: another process listens there; stop it, or choose another --listen"
                )
            }
            Fatal::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Fatal::Handed(error) => write!(f, "cannot use the socket that was handed over: {error}"),
            Fatal::System(error) => write!(f, "cannot start: {error}"),
            Fatal::Entrance(error) => error.fmt(f),
            Fatal::Broker(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Fatal {}

impl From<Unusable> for Fatal {
    fn from(error: Unusable) -> Fatal {
        Fatal::Entrance(error)
    }
}

impl From<io::Error> for Fatal {
    fn from(error: io::Error) -> Fatal {
        Fatal::System(error)
    }
}

/// Runs a node until it is told to end and has drained, or is told twice.
///
/// # Errors
/// When it cannot start.
pub fn run(settings: &Settings, surroundings: &dyn Surroundings) -> Result<Ending, Fatal> {
    machine::forbid_core_dumps();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Publishes and pages; subscribers are the event loops' own business.
        .worker_threads(if settings.engine_listens() { settings.shards.min(2) } else { settings.shards })
        .thread_name("tidewire-api")
        .enable_all()
        .build()?;
    runtime.block_on(serve(settings, surroundings))
}

async fn serve(settings: &Settings, surroundings: &dyn Surroundings) -> Result<Ending, Fatal> {
    let mut furnished = settings.clone();
    if settings.demo {
        demo::furnish(&mut furnished);
    }
    let settings = &furnished;
    let mut signals = Signals::listen()?;
    let manager = Manager::of_environment();

    // Where clients come in. First, because a taken address is the likeliest mistake.
    let Listeners { public: mut listeners, address, admin, handed } = Listeners::open(settings)?;

    life::started(settings, address, admin.as_ref().and_then(|admin| admin.local_addr().ok()));
    let began = Instant::now();

    // Where messages are kept, what nodes share, and who listens.
    let ground = Ground::open(settings)?;
    let (limits, broker) = (ground.limits.clone(), ground.broker.clone());
    let loops = if settings.engine_listens() { listeners.len() } else { 0 };
    let outlets = loops + 1;
    let share = reload::share(&limits, outlets);
    let sockets: Vec<Seat> = (0..loops).map(|_| ground.seat(&share, settings.dev)).collect();
    let pipes = ground.seat(&share, settings.dev);

    // Who decides.
    let demos = settings.demo.then(|| demo::open(settings)).transpose()?;
    let (mut node, entrance) = if settings.dev {
        let gate = DevGate::new(settings.dev_public);
        let node = match &demos {
            Some(demos) => {
                let gate = demos.gate(gate, ground.revocations.clone())?;
                Node::new(Arc::new(gate), broker.clone(), limits.clone())
            }
            None => Node::new(Arc::new(gate), broker.clone(), limits.clone()),
        };
        (node, None)
    } else {
        let vault = ground.beside.as_ref().map(Beside::vault);
        let entrance = Arc::new(Entrance::open(settings, ground.revocations.clone(), vault)?);
        let mut node = Node::new(entrance.gate.clone(), broker.clone(), limits.clone());
        node.crowd = Some(Arc::new(Crowd::new(limits.clone())));
        node.runtime = Some(tokio::runtime::Handle::current());
        (node, Some(entrance))
    };
    node.spans = surroundings.spans();
    let node = ground.furnish(node, settings)?;
    // Machines that watch us are no clients: they come by an address of their own, and bring no credentials.
    let admin_address = admin.as_ref().and_then(|listener| listener.local_addr().ok());
    let watched = admin_address.map(|address| {
        let gate = Arc::new(DevGate::new(!address.ip().is_loopback()));
        let mut watched = Node::new(gate, broker.clone(), limits.clone());
        watched.health = node.health.clone();
        watched.turned_away = node.turned_away.clone();
        watched.spans = node.spans.clone();
        watched.strict_readiness = node.strict_readiness;
        Arc::new(watched)
    });
    let census = Census::new(sockets.iter().map(Seat::counters).collect(), limits.connections_max);

    // What is answered to requests that are no subscriptions.
    let assembly =
        Assembly::new(&ground, node.clone(), census.clone(), &share, &sockets, pipes, HashMap::new())?;
    let Assembly { plane, pipes, pipe_counters, counters, metrics, .. } = assembly;
    let control: Arc<dyn Control> = Arc::new(plane.clone());
    let name = name_of(address);
    let is_shared = settings.broker.url.is_some();
    let turned_away = node.turned_away.clone();
    let sources = Sources { name, outlets: counters, broker, is_shared, census: census.clone(), turned_away };
    let (passwords, made_up) = passwords(settings)?;
    let lookout = ground.beside.as_ref().map(Beside::lookout);
    let clients = Clients { port: address.port(), secure: settings.tls.is_on() };
    let console =
        admin::Parts { node: node.clone(), plane: plane.clone(), sources, lookout, passwords, clients };
    let console = Arc::new(Console::new(console));
    if let Some(figures) = surroundings.figures() {
        metrics.watch_surroundings(figures);
    }
    if let Some(entrance) = &entrance {
        metrics.watch_entrance(entrance.clone());
    }
    let parts = Parts { node: node.clone(), pipes, metrics: metrics.clone(), console: Some(console.clone()) };
    let demo = demos.map(|demos| demos.start(settings, &node));
    let (closing, closes) = watch::channel(false);
    let http =
        |router| Http::new(node.live_limits(), census.clone(), node.health.clone(), router, closes.clone());
    let public = http(api::router(&parts, admin.is_none(), demo));
    let public = if settings.proxy_protocol { public.behind(node.clone()) } else { public };
    let public = if handed { public.yielding() } else { public };
    let public = match open_tls(settings)? {
        Some(tls) => {
            metrics.watch_identities(tls.identities());
            public.over(tls)
        }
        None => public,
    };

    // Who watches us comes first, and nobody else before it is known who was thrown out.
    if let (Some(admin), Some(node)) = (admin, watched.clone()) {
        let parts = Parts { node, ..parts };
        tokio::spawn(
            http(api::admin_router(&parts)).watched().accept(tokio::net::TcpListener::from_std(admin)?),
        );
    }
    // Whoever started us hears from now on why we are not ready yet.
    manager.watch(node.clone(), plane.clone(), census.clone());
    if let Some(ledger) = node.ledger.as_ref().filter(|_| !settings.dev) {
        tokio::select! {
            () = ledger.ready() => {}
            () = signals.end() => {
                // Nobody has come yet, so nobody has to leave.
                manager.stopping(Duration::ZERO);
                life::ended(&node, &census, Ending::Empty, began);
                return Ok(Ending::Empty);
            }
        }
    }

    // Now they may come.
    let running = Loops::new(settings.io, node.clock.epoch());
    if settings.engine_listens() {
        running.run(sockets, std::mem::take(&mut listeners), &control, &share, &census, &public)?;
    }
    for listener in listeners {
        tokio::spawn(public.clone().accept(tokio::net::TcpListener::from_std(listener)?));
    }
    tokio::spawn(assembly::tick(plane.clone(), ground.revocations.clone(), entrance.clone()));
    tokio::spawn(admin::beat(console.clone()));
    if let (Some(entrance), Some(generations)) = (entrance.clone(), ground.generations()) {
        tokio::spawn(assembly::follow(generations, entrance));
    }
    node.health.enter(Phase::Ready);
    life::ready(&node, loops, began);
    let dev = settings.dev;
    let (public, demo, shared) = (settings.dev_public, settings.demo, settings.broker.url.is_some());
    let secure = settings.tls.is_on();
    let opened = match made_up {
        Some(password) => Opened::With(password),
        None if console.is_on() => Opened::AsConfigured,
        None => Opened::Off,
    };
    ReadyBox { address, admin: admin_address, dev, public, demo, shared, secure, console: opened }.print();

    let (settings, reloaded) = (settings.clone(), plane.clone());
    let mut reloader =
        Reloader { settings, node: node.clone(), watched, plane: reloaded, entrance, console, outlets };
    while signals.next().await == Asked::Reload {
        manager.reloading();
        manager.reloaded(reloader.reload(surroundings));
    }
    let settings = &reloader.settings;
    let within = settings.drain_within();
    let began = Instant::now();
    life::draining(&node, &census, within);
    manager.stopping(within);
    let ending = tokio::select! {
        ending = drain::drain(&node, &plane, &census, &running, &pipe_counters, &closing, within) => {
            assembly::say_goodbye(&node).await;
            ending
        }
        () = signals.end() => Ending::CutShort,
    };
    life::ended(&node, &census, ending, began);
    Ok(ending)
}

/// The passwords of the console, and the one that dev mode made up because none is configured.
fn passwords(settings: &Settings) -> Result<(Passwords, Option<String>), Fatal> {
    let console = &settings.console;
    let no_entropy = |error: NoEntropy| Fatal::System(io::Error::other(error));
    if settings.dev && console.password.is_none() && console.viewer_password.is_none() {
        let password = admin::random_password().map_err(no_entropy)?;
        let passwords = Passwords::random(&password);
        let passwords = if settings.dev_public { passwords } else { passwords.letting_this_machine_look() };
        return Ok((passwords, Some(password)));
    }
    let passwords = Passwords::of(console.password.as_ref(), console.viewer_password.as_ref());
    Ok((passwords.map_err(no_entropy)?, None))
}

/// What this life of this node is called among others. "Every address" tells no machine from another.
fn name_of(address: SocketAddr) -> Box<str> {
    let machine = address.ip().is_unspecified().then(machine::name).flatten();
    let number = getrandom::u32().unwrap_or_default() >> 8;
    match machine {
        Some(machine) => format!("{machine}:{}-{number:06x}", address.port()).into(),
        None => format!("{address}-{number:06x}").into(),
    }
}

/// TLS where it is configured, with files that are looked at from now on.
fn open_tls(settings: &Settings) -> Result<Option<Tls>, Fatal> {
    if !settings.tls.is_on() {
        return Ok(None);
    }
    let tls = Tls::open(&settings.tls).map_err(Unusable::from)?;
    tokio::spawn(tls.identities().watch());
    Ok(Some(tls))
}
