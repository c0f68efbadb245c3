//! One run of the comparison: its lanes, and the tasks that publish, count and wait for it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tidewire_compare::Transport;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::crowd::{self, Crowd, Place};
use super::lane::{self, Lane};
use super::proxy::Way;
use super::{CHANNEL, Front, message};
use crate::demo::Demo;

/// Clients of each lane beside the browser's.
pub(super) const CLIENTS_MAX: u32 = 300;
/// Deliveries a second to the crowd of each lane: more would measure how this machine copes with its own crowd.
const DELIVERIES_MAX: f64 = 2_000.0;
/// Messages that wait for a node that is slow to take them. Then the publisher waits, and the page shows the rate that was reached.
const QUEUE_MAX: usize = 64;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A run that nobody looks at ends after so many looks: a minute.
const UNSEEN_MAX: u32 = 120;

/// How long a crowd may take to come together, or to leave.
const GATHERING_MAX: Duration = Duration::from_secs(15);
const GATHERING_LOOK: Duration = Duration::from_millis(20);
/// Between the last one joining and a look at memory.
const SETTLE: Duration = Duration::from_millis(300);
/// They come first, so that what a node needs for its first client is not charged to all others.
const FIRST: u32 = 8;
/// A crowd that grows by less says little about a client.
const GROWN_MIN: u32 = 32;

/// What a visitor sets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// Messages a second.
    pub rate: f64,
    /// Bytes of each.
    pub size: usize,
    /// From one short poll of a client to its next.
    pub poll_interval_s: u32,
    /// Clients of each lane beside the browser's.
    pub clients: u32,
}

impl Settings {
    /// The same, if it is within bounds; with fewer clients where so many could not be served on a machine that runs them too.
    ///
    /// # Errors
    /// `bad_request`.
    pub(super) fn checked(mut self) -> Result<Settings, Refusal> {
        let wrong = |detail: &str| Err(Refusal::new(Reason::BadRequest, detail.to_owned()));
        if !(0.1..=50.0).contains(&self.rate) {
            return wrong("the rate is from 0.1 to 50 messages a second");
        }
        if !(message::BYTES_MIN..=16 << 10).contains(&self.size) {
            return wrong("a message has from 16 bytes to 16 KiB");
        }
        if !(1..=30).contains(&self.poll_interval_s) {
            return wrong("a poll comes every 1 to 30 seconds");
        }
        if self.clients > CLIENTS_MAX {
            return wrong("a lane has at most 300 clients beside the browser's");
        }
        self.clients = self.clients.min((DELIVERIES_MAX / self.rate) as u32);
        Ok(self)
    }
}

/// What the publisher goes by.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rate: f64,
    size: usize,
    /// An experiment needs silence.
    silent: bool,
    /// The crowd is coming together, and memory is looked at.
    gathering: bool,
}

/// A run. Dropping it ends its nodes and everything else.
pub(super) struct Run {
    pub number: u64,
    settings: Settings,
    lanes: Arc<[Lane]>,
    plan: watch::Sender<Plan>,
    way: watch::Sender<Way>,
    asked: Arc<crowd::Asked>,
    memory: Arc<Memory>,
    experiment: Option<AbortHandle>,
    gathering: Option<AbortHandle>,
    _crowd: Crowd,
    /// Aborted when they are dropped.
    tasks: JoinSet<()>,
}

/// Bytes of memory for each client, of each lane; nothing before it was measured.
#[derive(Default)]
struct Memory(Mutex<Vec<Option<f64>>>);

/// What is told twice a second.
#[derive(Serialize)]
struct Told<'a> {
    run: u64,
    now_us: u64,
    /// The number of the newest message.
    newest: u64,
    is_gathering: bool,
    is_silent: bool,
    is_down: bool,
    settings: &'a Settings,
    memory_per_client: Vec<Option<f64>>,
    lanes: Vec<lane::Figures>,
}

#[derive(Serialize)]
struct Over {
    run: u64,
    why: &'static str,
}

static RUNS: AtomicU64 = AtomicU64::new(0);

impl Run {
    /// Starts the nodes, and everything around them.
    ///
    /// # Errors
    /// When a node cannot be started.
    pub(super) async fn start(demo: Arc<Demo>, settings: Settings) -> io::Result<Run> {
        // Numbers of an earlier process of this page's server are not to be taken for ours.
        let number = message::now_us() + RUNS.fetch_add(1, Relaxed);
        let (way, ways) = watch::channel(Way::default());
        let opened =
            try_join_all(Transport::ALL.map(|transport| Lane::open(transport, ways.clone()))).await?;
        let (lanes, proxies): (Vec<Lane>, Vec<_>) = opened.into_iter().unzip();
        let lanes: Arc<[Lane]> = lanes.into();
        let mut tasks = JoinSet::new();
        for proxy in proxies {
            tasks.spawn(proxy.serve());
        }
        let plan = Plan { rate: settings.rate, size: settings.size, silent: false, gathering: false };
        let (plan, plans) = watch::channel(plan);
        let (newest, newest_seen) = watch::channel(0);
        tasks.spawn(publish(lanes.clone(), plans, newest));
        let asked = Arc::new(crowd::Asked::default());
        let place = |lane: &Lane| Place {
            transport: lane.transport,
            address: lane.address,
            counts: lane.crowd.clone(),
        };
        let crowd = Crowd::start(lanes.iter().map(place).collect(), asked.clone())?;
        let memory: Arc<Memory> = Arc::default();
        let mut run = Run {
            number,
            settings: Settings { clients: 0, ..settings },
            lanes,
            plan,
            way,
            asked,
            memory,
            experiment: None,
            gathering: None,
            _crowd: crowd,
            tasks,
        };
        let told = Teller {
            number,
            demo,
            lanes: run.lanes.clone(),
            newest: newest_seen,
            plan: run.plan.subscribe(),
            way: run.way.subscribe(),
            asked: run.asked.clone(),
            memory: run.memory.clone(),
        };
        run.tasks.spawn(told.tell());
        run.set(settings);
        Ok(run)
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings
    }

    /// Where the browser goes.
    pub(super) fn fronts(&self) -> Vec<Front> {
        let front = |lane: &Lane| Front {
            transport: lane.transport,
            url: format!("http://{}/c/{}", lane.front, lane::CHANNEL),
            process: lane.process,
        };
        self.lanes.iter().map(front).collect()
    }

    /// Goes by other settings from now on.
    pub(super) fn set(&mut self, settings: Settings) -> Settings {
        self.asked.poll_interval_ms.store(u64::from(settings.poll_interval_s) * 1_000, Relaxed);
        self.plan.send_modify(|plan| (plan.rate, plan.size) = (settings.rate, settings.size));
        if settings.clients != self.settings.clients {
            self.replace(|run| &mut run.gathering);
            let gathering = gather(
                self.settings.clients,
                settings.clients,
                self.lanes.clone(),
                self.asked.clone(),
                self.plan.clone(),
                self.memory.clone(),
            );
            self.gathering = Some(self.tasks.spawn(gathering));
        }
        self.settings = settings;
        settings
    }

    /// Takes the network away from all lanes of the browser.
    pub(super) fn drop_network(&mut self, seconds: Duration) {
        self.begin_experiment();
        let way = self.way.clone();
        way.send_modify(|way| way.down = true);
        self.experiment = Some(self.tasks.spawn(async move {
            sleep(seconds).await;
            way.send_modify(|way| way.down = false);
        }));
    }

    /// Publishes nothing for a while, before proxies that cut what is quiet for longer than `patience`.
    pub(super) fn fall_silent(&mut self, seconds: Duration, patience: Duration) {
        self.begin_experiment();
        let (way, plan) = (self.way.clone(), self.plan.clone());
        plan.send_modify(|plan| plan.silent = true);
        way.send_modify(|way| way.patience = Some(patience));
        self.experiment = Some(self.tasks.spawn(async move {
            sleep(seconds).await;
            way.send_modify(|way| way.patience = None);
            plan.send_modify(|plan| plan.silent = false);
        }));
    }

    /// There is one at a time: the one before ends where it is.
    fn begin_experiment(&mut self) {
        self.replace(|run| &mut run.experiment);
        self.way.send_replace(Way::default());
        self.plan.send_modify(|plan| plan.silent = false);
    }

    fn replace(&mut self, which: fn(&mut Run) -> &mut Option<AbortHandle>) {
        if let Some(task) = which(self).take() {
            task.abort();
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

/// Publishes the same messages to all nodes, on a schedule.
async fn publish(lanes: Arc<[Lane]>, mut plan: watch::Receiver<Plan>, newest: watch::Sender<u64>) {
    let mut queues = Vec::new();
    let mut publishers = JoinSet::new();
    for at in 0..lanes.len() {
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        queues.push(queue);
        let lanes = lanes.clone();
        publishers.spawn(async move {
            if let Err(error) = lanes[at].publish(messages).await {
                tracing::warn!(
                    "the comparison's {} lane has no publisher: {error}",
                    lanes[at].transport.name()
                );
            }
        });
    }
    let mut last = Instant::now();
    for number in 1.. {
        let size = loop {
            let now = *plan.borrow_and_update();
            if now.silent || now.gathering {
                if plan.changed().await.is_err() {
                    return;
                }
                last = Instant::now();
                continue;
            }
            let due = last + Duration::from_secs_f64(1.0 / now.rate);
            tokio::select! {
                changed = plan.changed() => if changed.is_err() { return },
                () = sleep_until(due) => {
                    // Whoever is late does not catch up: a burst would be another experiment.
                    last = due.max(Instant::now() - LOOK_EVERY);
                    break now.size;
                }
            }
        };
        let message: Arc<str> = message::write(number, message::now_us(), size).into();
        for queue in &queues {
            if queue.send(message.clone()).await.is_err() {
                return;
            }
        }
        newest.send_replace(number);
    }
}

/// Has a crowd come together or leave, and looks at the nodes' memory before and after. Nothing is published meanwhile.
async fn gather(
    from: u32,
    to: u32,
    lanes: Arc<[Lane]>,
    asked: Arc<crowd::Asked>,
    plan: watch::Sender<Plan>,
    memory: Arc<Memory>,
) {
    plan.send_modify(|plan| plan.gathering = true);
    let first = from.max(to.min(FIRST));
    let has_grown = to >= first + GROWN_MIN;
    if has_grown && together(&lanes, &asked, first).await {
        sleep(SETTLE).await;
        let before: Vec<Option<f64>> = lanes.iter().map(Lane::memory_kib).collect();
        if together(&lanes, &asked, to).await {
            sleep(SETTLE).await;
            let each = |(lane, before): (&Lane, &Option<f64>)| {
                let grown_kib = lane.memory_kib()? - (*before)?;
                Some(grown_kib.max(0.0) * 1024.0 / f64::from(to - first))
            };
            memory.set(lanes.iter().zip(&before).map(each).collect());
        }
    } else {
        together(&lanes, &asked, to).await;
    }
    plan.send_modify(|plan| plan.gathering = false);
}

/// Whether as many are there in every lane, within the time they have.
async fn together(lanes: &[Lane], asked: &crowd::Asked, clients: u32) -> bool {
    asked.clients.store(clients as usize, Relaxed);
    let all = async {
        while lanes.iter().any(|lane| lane.crowd.look().joined != clients as usize) {
            sleep(GATHERING_LOOK).await;
        }
    };
    timeout(GATHERING_MAX, all).await.is_ok()
}

impl Memory {
    fn set(&self, each: Vec<Option<f64>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = each;
    }

    fn look(&self) -> Vec<Option<f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Tells the page, and ends the run when nobody listens.
struct Teller {
    number: u64,
    demo: Arc<Demo>,
    lanes: Arc<[Lane]>,
    newest: watch::Receiver<u64>,
    plan: watch::Receiver<Plan>,
    way: watch::Receiver<Way>,
    asked: Arc<crowd::Asked>,
    memory: Arc<Memory>,
}

impl Teller {
    async fn tell(self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unseen = 0;
        let why = loop {
            looks.tick().await;
            if self.newest.has_changed().is_err() {
                break "one of its servers has ended";
            }
            match self.demo.say(CHANNEL, Some("figures"), &self.told()).await {
                Ok(receipt) => {
                    let listeners = receipt.receivers.sse + receipt.receivers.ws + receipt.receivers.poll;
                    unseen = if listeners == 0 { unseen + 1 } else { 0 };
                }
                Err(refusal) if refusal.reason == Reason::Draining => break "the server is going away",
                Err(_) => unseen += 1,
            }
            if unseen >= UNSEEN_MAX {
                break "nobody has looked for a minute";
            }
        };
        let _ = self.demo.say(CHANNEL, Some("over"), &Over { run: self.number, why }).await;
        // This task is one of those that end with the run.
        let (demo, number) = (self.demo.clone(), self.number);
        tokio::spawn(async move { demo.compare.end(number).await });
    }

    fn told(&self) -> impl Serialize {
        let plan = *self.plan.borrow();
        let settings = Settings {
            rate: plan.rate,
            size: plan.size,
            poll_interval_s: (self.asked.poll_interval_ms.load(Relaxed) / 1_000) as u32,
            clients: self.asked.clients.load(Relaxed) as u32,
        };
        serde_json::json!(Told {
            run: self.number,
            now_us: message::now_us(),
            newest: *self.newest.borrow(),
            is_gathering: plan.gathering,
            is_silent: plan.silent,
            is_down: self.way.borrow().down,
            settings: &settings,
            memory_per_client: self.memory.look(),
            lanes: self.lanes.iter().map(Lane::figures).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: Settings = Settings { rate: 2.0, size: 128, poll_interval_s: 5, clients: 100 };

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        assert_eq!(SET.checked().unwrap(), SET);
        for wrong in [
            Settings { rate: 0.0, ..SET },
            Settings { rate: f64::NAN, ..SET },
            Settings { rate: 51.0, ..SET },
            Settings { size: 8, ..SET },
            Settings { size: 1 << 20, ..SET },
            Settings { poll_interval_s: 0, ..SET },
            Settings { clients: 301, ..SET },
        ] {
            assert_eq!(wrong.checked().unwrap_err().reason, Reason::BadRequest, "{wrong:?}");
        }
    }

    #[test]
    fn a_crowd_is_no_larger_than_this_machine_can_serve_beside_it() {
        assert_eq!(Settings { rate: 50.0, clients: 300, ..SET }.checked().unwrap().clients, 40);
        assert_eq!(Settings { rate: 0.1, clients: 300, ..SET }.checked().unwrap().clients, 300);
    }
}
