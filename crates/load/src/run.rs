//! One run, from the first connection to the verdict.
//!
//! ```text
//!   joining ---- settle -- warm-up --------- measuring ---------------- draining --- verdict
//!              |                        |                          |
//!              memory                   CPU, counts                CPU, counts, memory
//! ```

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::costs::{Charged, Reading};
use crate::error::Error;
use crate::faults::Faults;
use crate::measured::{Measured, Memory, Punctuality, Traffic};
use crate::plan::{Plan, Transport};
use crate::progress::{Phase, Progress};
use crate::publishing::{Publishing, Sent, run_number};
use crate::readers::{ChannelLedger, Readers};
use crate::schedule::Schedule;
use crate::shared::Shared;
use crate::{sys, verdict};

/// Measures. `look` is called a few times a second meanwhile, on the calling thread, which blocks until all is measured.
pub fn run(plan: &Plan, look: &mut dyn FnMut(&Progress)) -> Result<Measured, Error> {
    plan.check()?;
    make_room(plan)?;
    let shared = Shared::new(plan.thread_count());
    let run = run_number();
    let charged = Charged::find(plan.process, plan.target.address);
    thread::scope(|scope| {
        let shared = &shared;
        // Whatever happens below, threads have to end before the scope does.
        let _ends = StopOnDrop(shared);
        let before_kib = charged.memory_kib();
        let mut threads = Vec::new();
        for thread in 0..shared.readers.len() {
            let readers = Readers::new(plan, shared, run, thread)?;
            let work = move || readers.run().map_err(|error| shared.fail(error)).unwrap_or_default();
            threads.push(spawn(scope, format!("reader {thread}"), work)?);
        }
        let mut conductor = Conductor::new(plan, shared, look);
        conductor.join()?;
        conductor.rest(Phase::Joining, SETTLE)?;
        let connected_kib = charged.memory_kib();

        let start_ns = shared.now_ns() + START.as_nanos() as u64;
        let warm_up_ns = plan.warm_up.as_nanos() as u64;
        let whole_ns = warm_up_ns + plan.duration.as_nanos() as u64;
        let schedule = Schedule::new(start_ns, plan.rate, whole_ns);
        shared.from_ns.store(start_ns + warm_up_ns, Relaxed);
        shared.to_ns.store(start_ns + whole_ns, Relaxed);
        let publishing = Publishing::open(plan, shared, run, schedule)?;
        let work = move || publishing.run().map_err(|error| shared.fail(error)).unwrap_or_default();
        let publisher = spawn(scope, "publisher".to_owned(), work)?;
        conductor.rest(
            Phase::WarmUp,
            Duration::from_nanos((start_ns + warm_up_ns).saturating_sub(shared.now_ns())),
        )?;
        let from = Look::take(shared, &charged);
        conductor.rest(
            Phase::Measuring,
            Duration::from_nanos((start_ns + whole_ns).saturating_sub(shared.now_ns())),
        )?;
        let to = Look::take(shared, &charged);
        let end_kib = charged.memory_kib();
        conductor.drain()?;
        shared.stop();

        let sent = join(publisher);
        let seen: Vec<ChannelLedger> = threads.into_iter().flat_map(join).collect();
        if let Some(failure) = shared.take_failure() {
            return Err(failure);
        }
        let memory = match (before_kib, connected_kib, end_kib) {
            (Some(before_kib), Some(connected_kib), Some(end_kib)) => {
                Some(Memory { before_kib, connected_kib, end_kib })
            }
            _ => None,
        };
        Ok(measured(plan, shared, &charged, (&from, &to), memory, sent, seen))
    })
}

/// Between the last one joining and the first message.
const SETTLE: Duration = Duration::from_millis(300);
/// Before the first message, so that the thread that sends it is there in time.
const START: Duration = Duration::from_millis(20);
/// Between two looks.
const TICK: Duration = Duration::from_millis(100);
/// Connections that neither succeed nor fail for this long are a failure of the run.
const STALLED: Duration = Duration::from_secs(20);
/// Once nothing has arrived for this long, what is missing is lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Files beside the sockets.
const FILES_SPARE: u64 = 64;

struct StopOnDrop<'r>(&'r Shared);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// All meters and counts at one instant.
struct Look {
    at: Instant,
    costs: Reading,
    delivered: u64,
    numbered: u64,
    traffic: Traffic,
    publishing: Traffic,
}

impl Look {
    fn take(shared: &Shared, charged: &Charged) -> Look {
        Look {
            at: Instant::now(),
            costs: charged.read(),
            delivered: shared.sum(|readers| &readers.delivered),
            numbered: shared.publishing.numbered.load(Acquire),
            traffic: shared.traffic(),
            publishing: shared.publishing.traffic.read(),
        }
    }
}

/// Keeps the phases and reports them.
struct Conductor<'r> {
    plan: &'r Plan,
    shared: &'r Shared,
    look: &'r mut dyn FnMut(&Progress),
    looked: (Instant, u64),
}

impl<'r> Conductor<'r> {
    fn new(plan: &'r Plan, shared: &'r Shared, look: &'r mut dyn FnMut(&Progress)) -> Conductor<'r> {
        Conductor { plan, shared, look, looked: (Instant::now(), 0) }
    }

    fn join(&mut self) -> Result<(), Error> {
        let (begun, mut progress, mut at) = (Instant::now(), Instant::now(), 0);
        loop {
            let joined = self.shared.sum(|readers| &readers.joined) as usize;
            if joined == self.plan.subscribers {
                return Ok(());
            }
            if joined > at {
                (progress, at) = (Instant::now(), joined);
            }
            if progress.elapsed() > STALLED {
                let (subscribers, seconds) = (self.plan.subscribers, STALLED.as_secs());
                return Err(Error::Stalled { joined, subscribers, seconds });
            }
            self.tick(Phase::Joining, begun, None, TICK / 10)?;
        }
    }

    /// Lets a phase pass.
    fn rest(&mut self, phase: Phase, time: Duration) -> Result<(), Error> {
        let begun = Instant::now();
        while let Some(left) = time.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            self.tick(phase, begun, Some(time), left.min(TICK))?;
        }
        Ok(())
    }

    /// Waits until everything has arrived, or nothing has for a while: a server that works off a queue has lost nothing.
    fn drain(&mut self) -> Result<(), Error> {
        let patience = match self.plan.transport {
            Transport::ShortPoll => PATIENCE + 2 * self.plan.poll_interval,
            _ => PATIENCE,
        };
        let (begun, mut progress, mut at) = (Instant::now(), Instant::now(), u64::MAX);
        loop {
            let outstanding = self.outstanding();
            if outstanding == 0 && self.shared.publishing.is_over.load(Acquire) {
                return Ok(());
            }
            if outstanding != at {
                (progress, at) = (Instant::now(), outstanding);
            }
            if progress.elapsed() > patience {
                return Ok(());
            }
            self.tick(Phase::Draining, begun, None, TICK / 10)?;
        }
    }

    fn outstanding(&self) -> u64 {
        let due = self.shared.publishing.due.load(Acquire);
        due.saturating_sub(self.shared.sum(|readers| &readers.delivered))
    }

    fn tick(
        &mut self,
        phase: Phase,
        begun: Instant,
        of: Option<Duration>,
        time: Duration,
    ) -> Result<(), Error> {
        thread::sleep(time);
        if let Some(failure) = self.shared.take_failure() {
            return Err(failure);
        }
        let (at, deliveries) = self.looked;
        if at.elapsed() < TICK {
            return Ok(());
        }
        let now = self.shared.sum(|readers| &readers.delivered);
        let deliveries_per_s = (now - deliveries) as f64 / at.elapsed().as_secs_f64();
        self.looked = (Instant::now(), now);
        let latency = Some(self.shared.latency()).filter(|latency| latency.count() > 0);
        let publishing = &self.shared.publishing;
        (self.look)(&Progress {
            phase,
            elapsed: begun.elapsed(),
            of,
            joined: self.shared.sum(|readers| &readers.joined) as usize,
            published: publishing.numbered.load(Relaxed),
            deliveries: now,
            deliveries_per_s,
            latency: latency.map(|latency| latency.quantiles(0)),
            cut: self.shared.sum(|readers| &readers.cut),
            refused: publishing.refused.load(Relaxed),
            gaps: self.shared.sum(|readers| &readers.gaps),
            late: publishing.late_for_answers.load(Relaxed) + publishing.late_itself.load(Relaxed),
        });
        Ok(())
    }
}

/// Makes sure of a file for every connection.
fn make_room(plan: &Plan) -> Result<(), Error> {
    let needed = (plan.subscribers + plan.publisher_count()) as u64 + FILES_SPARE;
    let allowed =
        sys::raise_open_files().map_err(|error| Error::system("raise the limit of open files", error))?;
    if needed > allowed { Err(Error::OpenFiles { needed, allowed }) } else { Ok(()) }
}

fn measured(
    plan: &Plan,
    shared: &Shared,
    charged: &Charged,
    (from, to): (&Look, &Look),
    memory: Option<Memory>,
    sent: Sent,
    seen: Vec<ChannelLedger>,
) -> Measured {
    let wall_s = to.at.duration_since(from.at).as_secs_f64();
    let wrong = verdict::judge(plan, &sent, seen);
    let deliveries = to.delivered - from.delivered;
    Measured {
        wall_s,
        subscribers: plan.subscribers,
        published: to.numbered - from.numbered,
        deliveries,
        latency: shared.latency().quantiles(wrong.lost),
        traffic: to.traffic.since(from.traffic),
        publishing: to.publishing.since(from.publishing),
        faults: Faults {
            wrong,
            cut: shared.sum(|readers| &readers.cut),
            refused: shared.publishing.refused.load(Relaxed),
            gaps: shared.sum(|readers| &readers.gaps),
        },
        refusal: sent.refusal,
        punctuality: Punctuality {
            publishers: plan.publisher_count(),
            due: sent.due,
            // Those of the measured time, though some of them left only after it.
            late_for_answers: shared.publishing.late_for_answers.load(Relaxed),
            late_itself: shared.publishing.late_itself.load(Relaxed),
            latest_ms: sent.latest_ns as f64 / 1e6,
        },
        server: charged.server(&from.costs, &to.costs, deliveries, memory),
        generator: from.costs.generator_until(&to.costs, wall_s),
    }
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: String,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Error> {
    let spawned = thread::Builder::new().name(name).spawn_scoped(scope, work);
    spawned.map_err(|error| Error::system("start a thread", error))
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
