//! What is done to a started peer, and the rows that it comes to.

use std::io;
use std::time::Duration;

use crate::generator::Faults;
use crate::meter::Reading;
use crate::peers::audience::Audience;
use crate::peers::figure::{GENERATOR, OTHERS};
use crate::peers::options::Plan;
use crate::peers::roster::{Peer, Program};
use crate::peers::start::Started;

/// A figure's name and what it came to.
pub type Rows = Vec<(&'static str, f64)>;

/// What one scenario came to.
pub type Outcome = (&'static str, io::Result<Rows>);

/// Of fan. More than can be unanswered at a healthy server; with none idle a message leaves late, and its latency says so.
const FAN_PUBLISHERS: usize = 16;
/// Twice as many publishers as messages outstanding: an answer that is late must not keep the next message waiting.
const SATURATE_PUBLISHERS: usize = 32;
/// Messages a second of fan.
const FAN_RATE: u64 = 50;
/// Of channels.
const CHANNELS: usize = 1_000;
/// Of channels: so many publishes are unanswered at all times.
const CHANNELS_PUBLISHERS: usize = 64;
/// Of idle: between connect and accepted, at any time.
const CONNECTING: usize = 64;
/// A head may leave before the server has joined the subscriber to its channel.
const SETTLE: Duration = Duration::from_millis(500);
/// Before memory is read: time for both sides to finish what they put off.
const REST: Duration = Duration::from_millis(800);
/// How long a server may take to close what its clients have closed.
const CLOSING_MAX: Duration = Duration::from_secs(5);
/// What just-in-time compilers and allocators need to know what they are up to.
const WARM_UP: Duration = Duration::from_millis(600);
/// The same between two scenarios of one process.
const PRESS_WARM_UP: Duration = Duration::from_millis(300);

/// What happens to one fresh process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// fan, saturate, channels.
    Delivery,
    /// idle.
    Idle,
}

impl Stage {
    /// Whether a scenario belongs to it.
    pub fn has(self, scenario: &str) -> bool {
        (scenario == "idle") == (self == Stage::Idle)
    }

    /// Does everything of this stage that was asked.
    pub fn measure(self, peer: &Peer, started: &Started, plan: &Plan) -> Vec<Outcome> {
        let asked = |name: &&str| self.has(name) && plan.scenarios.contains(name);
        match self {
            Stage::Idle => {
                ["idle"].into_iter().filter(asked).map(|name| (name, idle(started, plan))).collect()
            }
            Stage::Delivery => {
                let names: Vec<_> = ["fan", "saturate-4", "saturate-16"].into_iter().filter(asked).collect();
                let mut outcomes = deliver(started, plan, &names);
                outcomes.extend(
                    ["channels"].into_iter().filter(asked).map(|name| (name, channels(peer, started, plan))),
                );
                outcomes
            }
        }
    }
}

/// Fan and saturate: one crowd, one process.
fn deliver(started: &Started, plan: &Plan, names: &[&'static str]) -> Vec<Outcome> {
    let all_fail = |error: &io::Error| {
        names.iter().map(|name| (*name, Err(io::Error::other(error.to_string())))).collect::<Vec<_>>()
    };
    if names.is_empty() {
        return Vec::new();
    }
    let gather = || -> io::Result<Audience> {
        let mut audience = Audience::new(started.address, 1)?;
        audience.gather(plan.subscribers, started.address.dialect.joining_max())?;
        audience.open_publishers(FAN_PUBLISHERS)?;
        audience.run_for(SETTLE)?;
        schedule(&mut audience, WARM_UP)?;
        audience.drain()?;
        Ok(audience)
    };
    let mut audience = match gather() {
        Ok(audience) => audience,
        Err(error) => return all_fail(&error),
    };
    let mut outcomes = Vec::new();
    for name in names {
        let outcome = match *name {
            "fan" => fan(&mut audience, started, plan.fan),
            "saturate-4" => saturate(&mut audience, started, plan.press, 4),
            _ => saturate(&mut audience, started, plan.press, 16),
        };
        outcomes.push((*name, outcome));
    }
    outcomes
}

fn fan(audience: &mut Audience, started: &Started, time: Duration) -> io::Result<Rows> {
    let before = audience.tally().faults();
    let watch = Watch::begin(audience, started, before)?;
    schedule(audience, time)?;
    audience.drain()?;
    watch.end(audience, started)?.delivery()
}

/// Publishes on a schedule that does not wait for the server.
fn schedule(audience: &mut Audience, time: Duration) -> io::Result<()> {
    let interval_ns = 1_000_000_000 / FAN_RATE;
    let start_ns = audience.now_ns() + interval_ns;
    for message in 0..time.as_nanos() as u64 / interval_ns {
        let due_ns = start_ns + message * interval_ns;
        audience.run_until(due_ns, |_| false)?;
        audience.publish(due_ns)?;
    }
    audience.run_for(Duration::from_nanos(interval_ns))
}

fn saturate(
    audience: &mut Audience,
    started: &Started,
    time: Duration,
    outstanding: usize,
) -> io::Result<Rows> {
    let before = audience.tally().faults();
    audience.open_publishers(SATURATE_PUBLISHERS)?;
    press(audience, PRESS_WARM_UP, |audience| audience.outstanding() < outstanding)?;
    let watch = Watch::begin(audience, started, before)?;
    press(audience, time, |audience| audience.outstanding() < outstanding)?;
    // What is still on its way is no loss, but the clock stops here.
    let taken = watch.end(audience, started)?;
    audience.drain()?;
    taken.after_drain(audience).delivery()
}

fn channels(peer: &Peer, started: &Started, plan: &Plan) -> io::Result<Rows> {
    if peer.program == Program::Floor {
        return Err(io::Error::other("the floor has one channel"));
    }
    // The crowd before has just left, and has to be gone.
    std::thread::sleep(REST);
    let mut audience = Audience::new(started.address, CHANNELS)?;
    audience.gather(1, started.address.dialect.joining_max())?;
    audience.open_publishers(CHANNELS_PUBLISHERS)?;
    audience.run_for(SETTLE)?;
    press(&mut audience, WARM_UP / 2, |_| true)?;
    let watch = Watch::begin(&mut audience, started, Faults::default())?;
    press(&mut audience, plan.press, |_| true)?;
    let taken = watch.end(&audience, started)?;
    audience.drain()?;
    taken.after_drain(&audience).publishing()
}

/// Publishes at once whenever a publisher is idle and there is `room`.
fn press(audience: &mut Audience, time: Duration, room: impl Fn(&Audience) -> bool) -> io::Result<()> {
    let until_ns = audience.now_ns() + time.as_nanos() as u64;
    while audience.now_ns() < until_ns {
        while audience.has_idle_publisher() && room(audience) {
            audience.publish(audience.now_ns())?;
        }
        audience.turn(Duration::from_millis(10))?;
    }
    Ok(())
}

fn idle(started: &Started, plan: &Plan) -> io::Result<Rows> {
    // The call for readiness was a connection too: it has to be gone before the server is fresh.
    std::thread::sleep(REST);
    let connections = plan.connections as f64;
    let fresh = started.memory()?;
    let mut audience = Audience::new(started.address, 1)?;
    let watch = Watch::begin(&mut audience, started, Faults::default())?;
    audience.gather(plan.connections, CONNECTING)?;
    let accepted = watch.end(&audience, started)?;
    audience.run_for(REST)?;
    // A server may put work off until after the head; it belongs to the connection all the same.
    let settled = watch.end(&audience, started)?;
    let connected = started.memory()?;
    let faults = settled.faults;
    audience.leave();
    let limit_ns = audience.now_ns() + CLOSING_MAX.as_nanos() as u64;
    while audience.now_ns() < limit_ns && started.memory()?.files > fresh.files {
        audience.run_for(Duration::from_millis(100))?;
    }
    audience.run_for(REST)?;
    let left = started.memory()?;
    let each = |kib: f64, fresh_kib: f64| (kib - fresh_kib) / connections;
    let mut rows = vec![
        ("user", each(connected.pss_kib, fresh.pss_kib)),
        ("slab", each(connected.slab_kib, fresh.slab_kib)),
        ("kept", each(left.pss_kib, fresh.pss_kib)),
        ("fresh", fresh.pss_kib / 1_024.0),
        ("connect", settled.server_s * 1e6 / connections),
        ("accepted", connections / accepted.wall_s),
    ];
    rows.extend(accepted.busy());
    rows.extend(wrong(faults));
    Ok(rows)
}

/// Meters and counters at the beginning of what is measured.
struct Watch {
    reading: Reading,
    backend_s: f64,
    before: Faults,
    delivered: u64,
    answered: u64,
    reads: u64,
}

/// What passed since then.
struct Taken {
    server_s: f64,
    generator_percent: f64,
    others_percent: f64,
    wall_s: f64,
    delivered: f64,
    answered: f64,
    reads: f64,
    /// p50, p99, p99.9 and the longest, in milliseconds.
    latency_ms: [f64; 4],
    before: Faults,
    faults: Faults,
}

impl Watch {
    /// `before` is what had gone wrong when nothing was on its way yet.
    fn begin(audience: &mut Audience, started: &Started, before: Faults) -> io::Result<Watch> {
        audience.forget_latency();
        let tally = audience.tally();
        Ok(Watch {
            before,
            delivered: tally.delivered,
            answered: tally.answered,
            reads: tally.reads,
            backend_s: started.backend_s(),
            reading: Reading::take(started.process())?,
        })
    }

    fn end(&self, audience: &Audience, started: &Started) -> io::Result<Taken> {
        let spent = self.reading.spent_until(Reading::take(started.process())?);
        let backend_s = started.backend_s() - self.backend_s;
        let tally = audience.tally();
        let taken = Taken {
            server_s: spent.server_s,
            generator_percent: spent.generator_percent(),
            others_percent: 100.0 * (spent.others_s - backend_s).max(0.0) / spent.wall_s,
            wall_s: spent.wall_s,
            delivered: (tally.delivered - self.delivered) as f64,
            answered: (tally.answered - self.answered) as f64,
            reads: (tally.reads - self.reads) as f64,
            latency_ms: [0.0; 4],
            before: self.before,
            faults: Faults::default(),
        };
        Ok(taken.after_drain(audience))
    }
}

impl Taken {
    /// Judges latency and faults once nothing more arrives.
    fn after_drain(mut self, audience: &Audience) -> Taken {
        let (tally, before) = (audience.tally(), self.before);
        let mut faults = tally.faults();
        // What was lost before may have arrived after all.
        faults.wrong.lost = faults.wrong.lost.saturating_sub(before.wrong.lost);
        faults.wrong.duplicated -= before.wrong.duplicated;
        faults.wrong.out_of_order -= before.wrong.out_of_order;
        faults.wrong.corrupt -= before.wrong.corrupt;
        faults.cut -= before.cut;
        faults.refused -= before.refused;
        faults.gaps -= before.gaps;
        self.faults = faults;
        self.latency_ms =
            [0.5, 0.99, 0.999, 1.0].map(|share| tally.latency.quantile_ms(share, faults.wrong.lost));
        self
    }

    fn delivery(&self) -> io::Result<Rows> {
        self.expect(self.delivered)?;
        let [p50, p99, p999, max] = self.latency_ms;
        let mut rows = vec![
            ("rate", self.delivered / self.wall_s),
            ("cpu", self.server_s * 1e6 / self.delivered),
            ("p50", p50),
            ("p99", p99),
            ("p99.9", p999),
            ("max", max),
            ("per read", self.delivered / self.reads),
        ];
        rows.extend(self.busy());
        rows.extend(wrong(self.faults));
        Ok(rows)
    }

    fn publishing(&self) -> io::Result<Rows> {
        self.expect(self.answered.min(self.delivered))?;
        let mut rows =
            vec![("publishes", self.answered / self.wall_s), ("cpu", self.server_s * 1e6 / self.answered)];
        rows.extend(self.busy());
        rows.extend(wrong(self.faults));
        Ok(rows)
    }

    /// A peer of which nothing arrived has no figures.
    fn expect(&self, count: f64) -> io::Result<()> {
        let lost = self.faults.wrong.lost;
        if count > 0.0 {
            Ok(())
        } else {
            Err(io::Error::other(format!("nothing arrived, {lost} deliveries were lost")))
        }
    }

    fn busy(&self) -> Rows {
        let server = 100.0 * self.server_s / self.wall_s;
        vec![("server", server), (GENERATOR, self.generator_percent), (OTHERS, self.others_percent)]
    }
}

/// What must not happen, in the words of the raw figures.
pub const WRONG: [&str; 7] = ["lost", "duplicated", "out of order", "corrupt", "cut", "refused", "gaps"];

fn wrong(faults: Faults) -> Rows {
    let Faults { wrong, cut, refused, gaps } = faults;
    let counts = [wrong.lost, wrong.duplicated, wrong.out_of_order, wrong.corrupt, cut, refused, gaps];
    WRONG.into_iter().zip(counts.map(|count| count as f64)).collect()
}
