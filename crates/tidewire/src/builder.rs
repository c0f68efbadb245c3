//! Setting up.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::IpNet;
use tidewire_auth::allow::Origins;
use tidewire_auth::hosts::Hosts;
use tidewire_hub::admit::Transport;
use tidewire_hub::broker::Broker;
use tidewire_hub::channel::ChannelSet;
use tidewire_hub::deliver::Outlet;
use tidewire_hub::grant::{Grant as Rights, Scope};
use tidewire_hub::limits::{Limits, Retention};
use tidewire_server::api::Parts;
use tidewire_server::assembly::{self, Assembly, Ground};
use tidewire_server::census::Census;
use tidewire_server::config::broker::prefix;
use tidewire_server::config::namespace::{Publishers, SlowReader};
use tidewire_server::config::{NamespaceSettings, Secret, Settings, Sources, machine};
use tidewire_server::crowd::Crowd;
use tidewire_server::entrance::Entrance;
use tidewire_server::health::Phase;
use tidewire_server::node::Node;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::access::{Asked, Grant, Refusal};
use crate::error::StartError;
use crate::gate::{Application, Decision, Door, Judge};
use crate::hearing::Hearing;
use crate::live::{Inner, Tidewire};

/// Connections at once, unless told otherwise.
const CONNECTIONS_MAX: usize = 10_000;

/// Those of one address, and how many of them it opens a second. See [`Builder::per_address`].
const ADDRESS_CONNECTIONS_MAX: usize = 1_000;
const ADDRESS_ARRIVALS_PER_SECOND_MAX: u32 = 200;

/// How long Redis has for answering at the start.
const REDIS_WITHIN: Duration = Duration::from_secs(10);

/// What Tidewire will be. Nothing is looked at before [`Builder::start`].
#[must_use = "it is nothing before it is started"]
pub struct Builder {
    decide: Option<Arc<dyn Fn(Asked) -> Decision + Send + Sync>>,
    anybody: Option<Grant>,
    config_file: Option<PathBuf>,
    origins: Vec<Box<str>>,
    hosts: Vec<Box<str>>,
    changes: Vec<Change>,
}

/// What is set here, laid over what a file says.
type Change = Box<dyn FnOnce(&mut Settings) + Send>;

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            decide: None,
            anybody: None,
            config_file: None,
            origins: Vec::new(),
            hosts: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Has the application decide on every request: it is asked once for each subscription, publish and look at who is there,
    /// after the page's origin was screened and there is room.
    ///
    /// It may take its time: it runs on the runtime that [`Builder::start`] is called on, and holds up nobody. After ten
    /// seconds, the request is refused for now; one that panics refuses its own request alone, with `500`. One whose client has
    /// gone meanwhile is dropped where it awaits something, like a handler of axum's. As many are made at once as there may be
    /// [connections](Builder::connections_max); who comes beyond is told to come back.
    ///
    /// What is the application's to decide has no tickets, and no connection is renewed (`refresh` in `tidewire.v1`): a browser
    /// comes with its cookies, and comes back where its grant has ended. Both are answered `unsupported`.
    pub fn on_authorize<F, D>(self, decide: F) -> Builder
    where
        F: Fn(Asked) -> D + Send + Sync + 'static,
        D: Future<Output = Result<Grant, Refusal>> + Send + 'static,
    {
        Builder { decide: Some(Arc::new(move |asked| Box::pin(decide(asked)))), ..self }
    }

    /// Lets everybody come in with this grant, whoever they are. Nothing else opens the door without a decision.
    pub fn anybody(self, grant: Grant) -> Builder {
        Builder { anybody: Some(grant), ..self }
    }

    /// Takes what a server would from this `tidewire.toml`: keys, origins, namespaces, limits, Redis. What is set here as
    /// well counts more, and the environment (`TIDEWIRE_…`) is not looked at. Without [`on_authorize`](Builder::on_authorize)
    /// and [`anybody`](Builder::anybody), tokens, API keys and tickets are verified as a server does, and pages are those that
    /// `auth.origins` names. What concerns listeners, TLS, dev mode, the console and the demonstrations is left to the
    /// application.
    pub fn config_file(self, path: impl Into<PathBuf>) -> Builder {
        Builder { config_file: Some(path.into()), ..self }
    }

    /// Pages of these origins may use it as well, and send their visitors' cookies: `https://shop.example`,
    /// `https://*.example`. Those of the site that the application is need not be named, unless a proxy calls it by another
    /// name than browsers do.
    pub fn origins<O: Into<Box<str>>>(mut self, origins: impl IntoIterator<Item = O>) -> Builder {
        self.origins.extend(origins.into_iter().map(Into::into));
        self
    }

    /// The names that this application is called by. A page that calls it by another is refused: its name was pointed here
    /// later (DNS rebinding). Wanted where [`anybody`](Builder::anybody) may come in on a private network.
    pub fn hosts<H: Into<Box<str>>>(mut self, hosts: impl IntoIterator<Item = H>) -> Builder {
        self.hosts.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// Keeps messages in this Redis (7.0 or newer), and shares them with every other node there: applications and servers
    /// alike. Without it, they are kept in this process, and end with it.
    pub fn redis(self, url: impl AsRef<str>) -> Builder {
        let url = Secret::new(url.as_ref());
        self.change(move |settings| settings.broker.url = Some(url))
    }

    /// What names in Redis begin with: nodes with the same prefix are one cluster. Default `tidewire`; 1 to 64 of
    /// `A-Z a-z 0-9 . _ -`.
    pub fn redis_prefix(self, prefix: impl Into<Box<str>>) -> Builder {
        let prefix = prefix.into();
        self.change(move |settings| settings.broker.prefix = prefix)
    }

    /// What every channel keeps of its past: so many messages, for so long. Default 1 000 and one hour. A subscriber that
    /// comes back within that misses nothing.
    pub fn history(self, messages: usize, ttl: Duration) -> Builder {
        self.change(move |settings| settings.history = Retention { messages_max: messages, ttl })
    }

    /// What is different for the channels of one namespace: those whose first segment this is, `chat` for `chat:42`.
    pub fn namespace(self, name: impl Into<Box<str>>, set: impl FnOnce(Namespace) -> Namespace) -> Builder {
        let (name, Namespace(own)) = (name.into(), set(Namespace(NamespaceSettings::default())));
        self.change(move |settings| {
            if own.slow_reader == Some(SlowReader::Conflate) {
                settings.limits.conflate.push(name.clone());
            }
            settings.namespaces.insert(name, own);
        })
    }

    /// Proxies that are believed when they say who a client is (`Forwarded`, `X-Forwarded-For`).
    pub fn trusted_proxies(self, networks: impl IntoIterator<Item = IpNet>) -> Builder {
        let networks: Vec<IpNet> = networks.into_iter().collect();
        self.change(move |settings| settings.trusted_proxies = networks)
    }

    /// The largest payload in bytes. Default 64 KiB.
    pub fn message_bytes_max(self, bytes: usize) -> Builder {
        self.change(move |settings| settings.limits.message_bytes_max = bytes)
    }

    /// Streams, WebSockets and polls at once; whoever comes beyond is told to come back. Default 10 000.
    pub fn connections_max(self, connections: usize) -> Builder {
        self.change(move |settings| settings.limits.connections_max = connections)
    }

    /// Streams, WebSockets and long polls of one client's address at once, and how many of them it may open a second. Default
    /// 1 000 and 200: more than a server allows, since each stream of an HTTP/2 connection counts here, and everybody behind a
    /// proxy that is not among the [`trusted_proxies`](Builder::trusted_proxies) has one address. Neither is 0; the largest
    /// number is no limit. Without [`ConnectInfo`](axum::extract::ConnectInfo) nobody is counted.
    pub fn per_address(self, connections: usize, a_second: u32) -> Builder {
        self.change(move |settings| {
            settings.limits.address_connections_max = connections;
            settings.limits.address_arrivals_per_second_max = a_second;
        })
    }

    /// Bytes that histories and queues may take together. Default a quarter of the machine's or the container's memory.
    pub fn memory_budget(self, bytes: usize) -> Builder {
        self.change(move |settings| settings.limits.memory_budget = bytes)
    }

    /// How long the pause of a quiet stream is before it says that it lives. Default 15 s, give or take 20 %; 1 s is the
    /// least.
    pub fn heartbeat(self, every: Duration) -> Builder {
        self.change(move |settings| settings.limits.heartbeat = every)
    }

    fn change(mut self, change: impl FnOnce(&mut Settings) + Send + 'static) -> Builder {
        self.changes.push(Box::new(change));
        self
    }

    /// Starts it. Its own work is done on threads of its own, and what the application decides on the runtime that this is
    /// called on.
    ///
    /// With Redis, it is awaited for ten seconds that Redis answers: before that, nobody knows whose rights were taken back.
    /// The runtime has its timer (`enable_time`), or every decision of the application's fails.
    ///
    /// # Errors
    /// [`StartError`] has them all: nobody decides, no runtime, a setting that cannot be used, no Redis within ten seconds, and a
    /// system that has no thread left.
    pub async fn start(self) -> Result<Tidewire, StartError> {
        let here = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let Builder { decide, anybody, config_file, origins, hosts, changes } = self;
        let mut settings = settings(config_file)?;
        changes.into_iter().for_each(|change| change(&mut settings));
        check(&settings)?;
        settings.auth.origins.extend(origins);
        settings.auth.hosts.extend(hosts);
        let decider = match (decide, anybody) {
            (Some(decide), _) => {
                let at_once = settings.limits.connections_max;
                Decider::Judge(Judge::Application(Application::new(decide, here, at_once)))
            }
            (None, Some(grant)) => Decider::Judge(Judge::Anybody(grant)),
            (None, None) if settings.auth.verifies() => Decider::Keys,
            (None, None) => return Err(StartError::NobodyDecides),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tidewire")
            .enable_all()
            .build()?;
        let live = assemble(runtime, &settings, decider)?;
        if let Some(ledger) = &live.0.node.ledger {
            let ready = ledger.clone();
            let ready = async move { ready.ready().await };
            if tokio::time::timeout(REDIS_WITHIN, ready).await.is_err() {
                return Err(StartError::RedisUnreachable);
            }
        }
        live.0.node.health.enter(Phase::Ready);
        Ok(live)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("decides", &self.decide.is_some())
            .field("anybody", &self.anybody)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

/// What is different for the channels of one namespace.
#[derive(Clone, Debug)]
#[must_use]
pub struct Namespace(NamespaceSettings);

impl Namespace {
    /// What a channel keeps of its past: so many messages, for so long. None at all is kept with 0: who comes back then hears
    /// of a gap.
    pub fn history(mut self, messages: usize, ttl: Duration) -> Namespace {
        (self.0.messages_max, self.0.ttl) = (Some(messages), Some(ttl));
        self
    }

    /// Whether it is kept who is connected, and told to those whose grant allows it.
    pub fn presence(mut self, is_kept: bool) -> Namespace {
        self.0.presence = Some(is_kept);
        self
    }

    /// Has browsers that read too slowly skip to the newest message of each channel, with a gap in place of the others,
    /// rather than being ended: for prices and cursors.
    pub fn conflate(mut self) -> Namespace {
        self.0.slow_reader = Some(SlowReader::Conflate);
        self
    }

    /// Takes messages of the application alone, whatever grants say.
    pub fn publish_from_here_alone(mut self) -> Namespace {
        self.0.publish = Some(Publishers::Keys);
        self
    }

    /// Messages a second that one channel takes. Default 10 000.
    pub fn messages_per_second_max(mut self, messages: NonZeroU32) -> Namespace {
        self.0.publishes_per_second_max = Some(messages.get());
        self
    }
}

enum Decider {
    Judge(Judge),
    Keys,
}

fn settings(file: Option<PathBuf>) -> Result<Settings, StartError> {
    let limits = Limits {
        memory_budget: machine::memory_bytes() / 4,
        connections_max: CONNECTIONS_MAX,
        address_connections_max: ADDRESS_CONNECTIONS_MAX,
        address_arrivals_per_second_max: ADDRESS_ARRIVALS_PER_SECOND_MAX,
        ..Limits::default()
    };
    let mut defaults = Settings::within(limits);
    defaults.has_listeners = false;
    let Some(path) = file else { return Ok(defaults) };
    let wrong = |problem: String| StartError::Setting(problem.into());
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(&path).map_err(|error| wrong(format!("cannot read {name}: {error}")))?;
    let sources = Sources { file: Some((name, text)), environment: Vec::new(), flags: Vec::new() };
    let resolved = sources.resolve(defaults).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        wrong(problems.join("; "))
    })?;
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    Ok(resolved.settings)
}

/// Looks at what a file would have been held to.
fn check(settings: &Settings) -> Result<(), StartError> {
    let wrong = |problem: String| Err(StartError::Setting(problem.into()));
    for name in settings.namespaces.keys() {
        if name.contains(':') || tidewire_hub::channel::Channel::parse(name).is_err() {
            return wrong(format!(
                "`{}` is no namespace: it is the first segment of channel names",
                name.escape_debug()
            ));
        }
    }
    if let Err(problem) = prefix(&settings.broker.prefix) {
        return wrong(format!("redis_prefix: {problem}"));
    }
    let Limits { message_bytes_max, connections_max, memory_budget, heartbeat, .. } = settings.limits;
    let of_address = settings.limits.address_connections_max;
    let a_second = settings.limits.address_arrivals_per_second_max;
    match (message_bytes_max, connections_max) {
        (0, _) => wrong("message_bytes_max is 0, and no message could be published".into()),
        (_, 0) => wrong("connections_max is 0, and nobody could come in".into()),
        _ if of_address == 0 || a_second == 0 => wrong(format!(
            "per_address is {of_address} and {a_second} a second, and nobody could come in; `MAX` is no limit"
        )),
        _ if message_bytes_max > memory_budget => wrong(format!(
            "one message of {message_bytes_max} bytes is more than the memory_budget of {memory_budget}"
        )),
        _ if heartbeat < Duration::from_secs(1) => {
            wrong(format!("heartbeat is {heartbeat:?}; 1 s is the least"))
        }
        _ => Ok(()),
    }
}

fn assemble(runtime: Runtime, settings: &Settings, decider: Decider) -> Result<Tidewire, StartError> {
    // Until it is part of something that ends it in order.
    let mut runtime = Background(Some(runtime));
    let handle = runtime.handle();
    let _entered = handle.enter();
    let ground = Ground::open(settings)?;
    let unusable = |error: &dyn fmt::Display| StartError::Setting(error.to_string().into());
    let (judge, entrance) = match decider {
        Decider::Judge(judge) => (judge, None),
        Decider::Keys => {
            let vault = ground.beside.as_ref().map(tidewire_server::shared::Beside::vault);
            let entrance = Entrance::open(settings, ground.revocations.clone(), vault);
            let entrance = Arc::new(entrance.map_err(|error| unusable(&error))?);
            (Judge::Keys(entrance.gate.clone()), Some(entrance))
        }
    };
    let origins = Origins::parse(settings.auth.origins.iter().map(|origin| &**origin));
    let hosts = Hosts::parse(settings.auth.hosts.iter().map(|host| &**host));
    let door = Door {
        origins: origins.map_err(|error| unusable(&error))?,
        hosts: hosts.map_err(|error| unusable(&error))?,
        keys: entrance.as_ref().map(|entrance| entrance.gate.clone()),
    };
    let mut node = Node::new(Arc::new(door), ground.broker.clone(), ground.limits.clone());
    node.crowd = Some(Arc::new(Crowd::new(ground.limits.clone())));
    node.runtime = Some(handle.clone());
    let node = ground.furnish(node, settings)?;

    // Two outlets: pipes for browsers, and one for whoever listens here.
    let pipes = ground.seat(&ground.limits, false);
    let hearing = Arc::new(Hearing::default());
    let outlet = ground.broker.attach(hearing.clone());
    node.presence.pass_over(outlet);
    let (broker, clock, later) = (Arc::downgrade(&ground.broker), node.clock.clone(), handle.clone());
    hearing.give_back_with(move |channels: ChannelSet| {
        let (broker, clock) = (broker.clone(), clock.clone());
        // The sequencer stands where this is called.
        later.spawn(async move {
            if let Some(broker) = broker.upgrade() {
                Broker::leave(&*broker, outlet, Transport::Ws, &channels, clock.now());
            }
        });
    });
    let census = Census::new(vec![pipes.counters()], settings.limits.connections_max);
    let others = [(outlet, hearing.clone() as Arc<dyn Outlet>)].into();
    let assembly = Assembly::new(&ground, node.clone(), census, &ground.limits, &[], pipes, others)?;

    handle.spawn(assembly::tick(assembly.plane.clone(), ground.revocations.clone(), entrance.clone()));
    if let Some(entrance) = &entrance {
        assembly.metrics.watch_entrance(entrance.clone());
    }
    if let (Some(entrance), Some(generations)) = (entrance, ground.generations()) {
        handle.spawn(assembly::follow(generations, entrance));
    }
    let parts = Parts {
        node: node.clone(),
        pipes: assembly.pipes.clone(),
        metrics: assembly.metrics.clone(),
        console: None,
    };
    let own = Arc::new(Rights { publish: Scope::all(), ..Rights::everything() });
    let (is_ending, ended) = (AtomicBool::new(false), watch::Sender::new(None));
    let runtime = Mutex::new(runtime.0.take());
    let inner = Inner { node, assembly, parts, judge, hearing, outlet, own, is_ending, ended, runtime };
    Ok(Tidewire(Arc::new(inner)))
}

/// A runtime that does not wait for its threads when it is dropped, which is not allowed where tasks run.
struct Background(Option<Runtime>);

impl Background {
    fn handle(&self) -> Handle {
        self.0.as_ref().expect("it is there until it is taken, at the end").handle().clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
