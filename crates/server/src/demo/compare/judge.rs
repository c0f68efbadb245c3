//! The verdict on what a page has seen: the one of `tidewire compare`, over the figures of the last seconds.

use serde::{Deserialize, Serialize};
use tidewire_compare::numbers::{bandwidth, bytes, count, per_second, percent, time_ms};
use tidewire_compare::verdict::Reason as Paragraph;
use tidewire_compare::{
    Case, Comparison, Cost, Faults, Latency, Measurement, Setting, Transport, Verdict, work_out,
};
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;

/// What the page counted in one window of time.
#[derive(Debug, Deserialize)]
pub(super) struct Scene {
    rate: f64,
    size: usize,
    poll_interval_s: f64,
    /// Clients of the worked case.
    crowd: u64,
    lanes: Vec<Lane>,
}

/// What one client of a lane, the browser, had of it; and what the lane's node spent for all of its clients.
#[derive(Debug, Deserialize)]
struct Lane {
    transport: Transport,
    wall_s: f64,
    /// Messages that its node took in that time.
    published: u64,
    requests: u64,
    empty: u64,
    up_bytes: u64,
    down_bytes: u64,
    deliveries: u64,
    latency: Option<PageLatency>,
    cpu_s: f64,
    clients: u64,
    memory_per_client: Option<f64>,
    lost: u64,
    duplicated: u64,
    gaps: u64,
}

#[derive(Debug, Deserialize)]
struct PageLatency {
    mean_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// What follows from it.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    headline: String,
    /// The figures in a few sentences.
    summary: String,
    /// The worked case in a few sentences; nothing where no lane can be judged.
    crowd: Option<String>,
    case: Case,
    reasons: Vec<Paragraph>,
    otherwise: Vec<Paragraph>,
    unjudged: Vec<String>,
}

/// No page watches longer.
const WALL_S_MAX: f64 = 3_600.0;
const CROWD_MAX: u64 = 1_000_000;

/// A stream on loopback whose messages are older than this in the middle has a machine with too much to do.
const LATE_MS: f64 = 200.0;

/// Judges a scene.
///
/// # Errors
/// `bad_request` where it cannot have been seen.
pub(super) fn judge(scene: Scene) -> Result<Judged, Refusal> {
    let is_possible = scene.rate > 0.0
        && scene.poll_interval_s > 0.0
        && (1..=CROWD_MAX).contains(&scene.crowd)
        && (1..=Transport::ALL.len()).contains(&scene.lanes.len())
        && scene
            .lanes
            .iter()
            .all(|lane| lane.clients > 0 && lane.cpu_s >= 0.0 && (0.1..=WALL_S_MAX).contains(&lane.wall_s));
    if !is_possible {
        return Err(Refusal::new(Reason::BadRequest, "these figures cannot have been counted"));
    }
    let rate = scene.rate;
    let comparison = compared(scene);
    let Verdict { headline, reasons, otherwise, unjudged, .. } = tidewire_compare::judge(&comparison, rate);
    let case = work_out(&comparison, rate);
    Ok(Judged {
        headline,
        summary: summary(&comparison, rate),
        crowd: crowd(&case),
        case,
        reasons,
        otherwise,
        unjudged,
    })
}

/// The scene as one run of each lane with one client.
fn compared(scene: Scene) -> Comparison {
    let Scene { rate, size, poll_interval_s, crowd, lanes } = scene;
    let seconds = lanes.iter().fold(0.0_f64, |most, lane| most.max(lane.wall_s)) as u64;
    let run = |lane: Lane| Measurement {
        transport: lane.transport,
        clients: 1,
        rate,
        published: lane.published,
        wall_s: lane.wall_s,
        requests: lane.requests,
        empty: lane.empty,
        bytes_up: lane.up_bytes,
        bytes_down: lane.down_bytes,
        deliveries: lane.deliveries,
        latency: lane.latency.map(|PageLatency { mean_ms, p50_ms, p99_ms }| Latency {
            mean_ms,
            p50_ms,
            p99_ms,
        }),
        server: Some(Cost {
            cpu_s: lane.cpu_s / lane.clients as f64,
            memory_per_client: lane.memory_per_client,
        }),
        cpu_spread: None,
        generator_busy: 0.0,
        late_itself: 0,
        faults: Faults { lost: lane.lost, duplicated: lane.duplicated, gaps: lane.gaps, ..Faults::default() },
    };
    let setting = Setting {
        url: None,
        size,
        poll_interval_s,
        seconds,
        rounds: 1,
        crowd,
        head_bytes: 0,
        machine: String::new(),
        version: String::new(),
        began_s: 0,
        command: String::new(),
    };
    Comparison { setting, runs: lanes.into_iter().map(run).collect() }
}

/// What polling comes to at this rate, and who is best at what.
fn summary(comparison: &Comparison, rate: f64) -> String {
    let sound: Vec<&Measurement> = comparison.runs.iter().filter(|run| run.doubt().is_none()).collect();
    let mut sentences = Vec::new();
    let is_late = |run: &&Measurement| run.latency.is_some_and(|latency| latency.p50_ms > LATE_MS);
    if sound.iter().filter(|run| run.transport.is_stream()).any(is_late) {
        sentences.push("This machine is at its limit, and the figures say so more than anything else: with fewer clients, or a lower rate, they would speak of the transports.".into());
    }
    if let Some(poll) = sound.iter().find(|run| run.transport == Transport::Poll) {
        let interval_s = comparison.setting.poll_interval_s;
        let empty = match poll.empty_share() {
            Some(share) if share > 0.0 => format!("{} of the answers are empty", percent(share)),
            _ => "no answer is empty".into(),
        };
        let age = poll
            .latency
            .map(|latency| format!(", and a message is {} old when it is read", time_ms(latency.mean_ms)));
        sentences.push(format!(
            "At {}, a short poll every {} asks {} a second; {empty}{}.",
            per_second(rate),
            time_ms(interval_s * 1e3),
            if interval_s == 1.0 { "once".into() } else { format!("{} times", count(1.0 / interval_s)) },
            age.unwrap_or_default(),
        ));
    }
    let least = |figure: fn(&Measurement) -> Option<f64>| {
        let figures = sound.iter().filter_map(|run| Some((figure(run)?, run.transport)));
        figures.min_by(|one, other| one.0.total_cmp(&other.0))
    };
    let in_bytes = least(|run| Some(run.up_per_message()? + run.down_per_message()?));
    let in_age = least(|run| Some(run.latency?.p50_ms));
    if let (Some((cheap, by)), Some((fast, fastest))) = (in_bytes, in_age) {
        sentences.push(format!(
            "Cheapest in bytes is {}, with {} a message; fastest is {}, with {}.",
            by.name(),
            bytes(cheap),
            fastest.name(),
            time_ms(fast)
        ));
    }
    sentences.join(" ")
}

/// What a larger crowd would take, in words.
fn crowd(case: &Case) -> Option<String> {
    let row = |transport| case.rows.iter().find(|row| row.transport == transport);
    let clients = count(case.clients as f64);
    let mut sentences = Vec::new();
    if let Some(poll) = row(Transport::Poll) {
        let asked = case.clients as f64 / case.poll_interval_s;
        let empty = poll.empty_share.filter(|share| *share > 0.0);
        let empty = empty.map(|share| format!(", {} of them for nothing", count(share * asked)));
        sentences.push(format!(
            "{clients} clients that poll every {} ask {} times a second{}, and move {}.",
            time_ms(case.poll_interval_s * 1e3),
            count(asked),
            empty.unwrap_or_default(),
            bandwidth(poll.up_bytes_per_s + poll.down_bytes_per_s),
        ));
    }
    if let Some(stream) = row(Transport::Sse).or(row(Transport::Ws)) {
        let cores = stream.cores.map(|cores| format!(" and {} of a core", percent(cores)));
        sentences.push(format!(
            "Over {} they ask once, and take {}{}; a message is {} old.",
            stream.transport.name(),
            bandwidth(stream.up_bytes_per_s + stream.down_bytes_per_s),
            cores.unwrap_or_default(),
            time_ms(stream.age_ms),
        ));
    }
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten seconds at two messages a second, polls every five.
    fn scene() -> Scene {
        let lane = |transport, requests, up_bytes, down_bytes, age_ms, cpu_s| Lane {
            transport,
            wall_s: 10.0,
            published: 20,
            requests,
            empty: 0,
            up_bytes,
            down_bytes,
            deliveries: 20,
            latency: Some(PageLatency { mean_ms: age_ms, p50_ms: age_ms, p99_ms: age_ms * 2.0 }),
            cpu_s,
            clients: 101,
            memory_per_client: Some(600.0),
            lost: 0,
            duplicated: 0,
            gaps: 0,
        };
        Scene {
            rate: 2.0,
            size: 128,
            poll_interval_s: 5.0,
            crowd: 10_000,
            lanes: vec![
                lane(Transport::Poll, 2, 1_000, 5_600, 2_500.0, 0.02),
                lane(Transport::Longpoll, 20, 12_000, 9_000, 3.0, 0.09),
                lane(Transport::Sse, 0, 0, 3_600, 1.2, 0.01),
                lane(Transport::Ws, 0, 0, 4_400, 1.0, 0.01),
            ],
        }
    }

    #[test]
    fn the_sentences_follow_the_figures() {
        let judged = judge(scene()).unwrap();
        assert_eq!(
            judged.summary,
            "At 2 messages a second, a short poll every 5 s asks 0.2 times a second; no answer is empty, and a message is 2.5 s old when it is read. \
             Cheapest in bytes is SSE, with 180 B a message; fastest is WebSocket, with 1 ms."
        );
        assert!(judged.headline.starts_with("SSE; WebSocket where clients send too"), "{}", judged.headline);
        assert!(judged.unjudged.is_empty() && judged.reasons.len() == 5);
    }

    #[test]
    fn a_machine_at_its_limit_is_said_to_be() {
        let mut seen = scene();
        seen.lanes[2].latency = Some(PageLatency { mean_ms: 400.0, p50_ms: 400.0, p99_ms: 900.0 });
        assert!(judge(seen).unwrap().summary.starts_with("This machine is at its limit"));
    }

    #[test]
    fn ten_thousand_who_poll_every_five_seconds_ask_two_thousand_times_a_second() {
        let mut seen = scene();
        seen.lanes[0].empty = 1;
        let words = judge(seen).unwrap().crowd.unwrap();
        assert!(
            words.starts_with("10 000 clients that poll every 5 s ask 2 000 times a second, 1 000 of them for nothing, and move 52.8 Mbit/s."),
            "{words}"
        );
        // 10 ms of CPU in ten seconds for 101 clients.
        assert!(words.contains("Over SSE they ask once, and take 28.8 Mbit/s and 10 % of a core"), "{words}");
    }

    #[test]
    fn a_lane_that_lost_something_is_not_judged() {
        let mut seen = scene();
        seen.lanes[2].lost = 1;
        let judged = judge(seen).unwrap();
        assert_eq!(judged.unjudged, ["SSE with 1 client: 1 lost"]);
        assert!(!judged.summary.contains("SSE"), "{}", judged.summary);
    }

    #[test]
    fn figures_that_nobody_can_have_counted_are_refused() {
        let wrong: [fn(&mut Scene); 5] = [
            |scene| scene.rate = 0.0,
            |scene| scene.lanes[0].wall_s = 0.0,
            |scene| scene.crowd = 0,
            |scene| scene.lanes.clear(),
            |scene| scene.lanes[0].clients = 0,
        ];
        for spoil in wrong {
            let mut seen = scene();
            spoil(&mut seen);
            assert_eq!(judge(seen).unwrap_err().reason, Reason::BadRequest);
        }
    }
}
