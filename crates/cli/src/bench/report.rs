//! What a run came to, for people and for programs.

use serde::Serialize;
use tidewire_load::faults::Faults;
use tidewire_load::{Measured, Plan, Transport};

use crate::exit::Failure;

/// The report.
pub(super) fn text(plan: &Plan, measured: &Measured) -> String {
    let mut rows = vec![
        ("delivered", deliveries(measured)),
        ("latency", latency(measured)),
        ("traffic", traffic(plan, measured)),
    ];
    if plan.transport.polls() {
        rows.push(("requests", requests(measured)));
    }
    rows.push(("server", server(measured)));
    if let Some(memory) = memory(measured) {
        rows.push(("memory", memory));
    }
    rows.push(("generator", generator(measured)));
    rows.push(("schedule", schedule(measured)));
    rows.push(("went wrong", conduct(&measured.faults)));
    let mut lines = vec![title(plan), String::new()];
    lines.extend(rows.into_iter().map(|(name, value)| format!("  {name:12}{value}")));
    for note in notes(measured) {
        lines.push(String::new());
        lines.extend(wrapped(&note));
    }
    lines.join("\n")
}

/// The same for programs: what was asked, what came of it.
pub(super) fn json(plan: &Plan, measured: &Measured) -> Result<Vec<u8>, Failure> {
    #[derive(Serialize)]
    struct Report<'m> {
        asked: Asked<'m>,
        #[serde(flatten)]
        measured: &'m Measured,
        deliveries_per_s: f64,
        generator_was_the_limit: bool,
    }
    #[derive(Serialize)]
    struct Asked<'m> {
        authority: &'m str,
        transport: Transport,
        subscribers: usize,
        channels: usize,
        rate: f64,
        payload_bytes: usize,
        duration_s: f64,
        warm_up_s: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        poll_interval_s: Option<f64>,
    }
    let asked = Asked {
        authority: &plan.target.authority,
        transport: plan.transport,
        subscribers: plan.subscribers,
        channels: plan.channels,
        rate: plan.rate,
        payload_bytes: plan.payload_bytes,
        duration_s: plan.duration.as_secs_f64(),
        warm_up_s: plan.warm_up.as_secs_f64(),
        poll_interval_s: (plan.transport == Transport::ShortPoll).then_some(plan.poll_interval.as_secs_f64()),
    };
    let report = Report {
        asked,
        measured,
        deliveries_per_s: measured.deliveries_per_s(),
        generator_was_the_limit: measured.is_generators(),
    };
    let mut bytes = serde_json::to_vec(&report)
        .map_err(|error| Failure::Runtime(format!("the result cannot be written: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// What must not have happened, as a sentence; nothing where it did not.
pub(super) fn wrong(faults: &Faults) -> Option<String> {
    (!faults.is_clean()).then(|| format!("not everything went well: {}", conduct(faults)))
}

fn title(plan: &Plan) -> String {
    let how = match plan.transport {
        Transport::ShortPoll => format!("poll every {}", seconds(plan.poll_interval.as_secs_f64())),
        other => other.name().to_owned(),
    };
    format!(
        "http://{} over {how}: {} of {}, {} of {} bytes, {}",
        plan.target.authority,
        plural(plan.subscribers as u64, "subscriber"),
        plural(plan.channels as u64, "channel"),
        if plan.rate == 1.0 { "1 message/s".to_owned() } else { format!("{} messages/s", number(plan.rate)) },
        count(plan.payload_bytes as u64),
        seconds(plan.duration.as_secs_f64()),
    )
}

fn deliveries(measured: &Measured) -> String {
    let per_s = count(measured.deliveries_per_s() as u64);
    let published = match (measured.published, measured.punctuality.due) {
        // One or two leave a moment after the end.
        (published, due) if published + 2 >= due => format!("{} published", count(published)),
        (published, due) => format!("{} of {} published in time", count(published), count(due)),
    };
    format!("{}, {per_s}/s; {published}", count(measured.deliveries))
}

fn latency(measured: &Measured) -> String {
    let of = &measured.latency;
    let each = [("p50", of.p50_ms), ("p99", of.p99_ms), ("p99.9", of.p999_ms), ("max", of.max_ms)];
    each.map(|(name, value)| format!("{name} {}", ms(value))).join("   ")
}

fn traffic(plan: &Plan, measured: &Measured) -> String {
    let traffic = &measured.traffic;
    let both = format!("{} down, {} up", bytes(traffic.bytes_down), bytes(traffic.bytes_up));
    if measured.deliveries == 0 {
        return both;
    }
    let each = (traffic.bytes_down + traffic.bytes_up) as f64 / measured.deliveries as f64;
    format!("{both}; {} bytes a delivery of {}", count(each.round() as u64), count(plan.payload_bytes as u64))
}

fn requests(measured: &Measured) -> String {
    let traffic = &measured.traffic;
    let empty = 100.0 * traffic.without_news as f64 / (traffic.requests as f64).max(1.0);
    let per_s = number(traffic.requests as f64 / measured.wall_s);
    let reopened = match traffic.reopened {
        0 => String::new(),
        reopened => format!("; {} opened anew", plural(reopened, "connection")),
    };
    format!("{}, {per_s}/s; {empty:.0} % answered without news{reopened}", count(traffic.requests))
}

fn server(measured: &Measured) -> String {
    let Some(server) = &measured.server else {
        return "not on this machine, or not to be looked at; --pid names its process".to_owned();
    };
    let processes = server.processes.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let busy = 100.0 * server.cpu_s / measured.wall_s;
    let mut text = format!("{} ({processes}): {busy:.0} % of a core", server.name);
    if server.cpu_s_per_million.is_finite() {
        text.push_str(&format!(", {} CPU s per million deliveries", number(server.cpu_s_per_million)));
    }
    text
}

fn memory(measured: &Measured) -> Option<String> {
    let memory = measured.server.as_ref()?.memory.as_ref()?;
    let each = memory.per_subscriber_kib(measured.subscribers).max(0.0);
    Some(format!("{}, {} KiB a subscriber", bytes((memory.end_kib * 1_024.0) as u64), number(each)))
}

fn generator(measured: &Measured) -> String {
    format!("{:.0} % of a core by its busiest thread", measured.generator.busiest_percent)
}

fn schedule(measured: &Measured) -> String {
    let punctuality = &measured.punctuality;
    match punctuality.late_for_answers + punctuality.late_itself {
        0 => "every message left in time".to_owned(),
        late => format!(
            "{} of {} left late, the latest by {}",
            count(late),
            plural(punctuality.due, "message"),
            ms(punctuality.latest_ms)
        ),
    }
}

fn conduct(faults: &Faults) -> String {
    let Faults { wrong, cut, refused, gaps } = *faults;
    let each = [
        (wrong.lost, "lost"),
        (wrong.duplicated, "duplicated"),
        (wrong.out_of_order, "out of order"),
        (wrong.corrupt, "corrupt"),
        (cut, "cut"),
        (refused, "refused"),
        (gaps, "gaps"),
    ];
    each.map(|(number, what)| format!("{} {what}", count(number))).join(", ")
}

fn notes(measured: &Measured) -> Vec<String> {
    let mut notes = Vec::new();
    if measured.was_busy() {
        notes.push(
            "The generator was the limit: a thread of it had no time left, so what was done a second is its figure and \
             not the server's. Give it more threads (--threads), or a machine of its own, or take a lower rate."
                .to_owned(),
        );
    }
    if measured.was_late() {
        notes.push(format!(
            "The schedule was not held: {} left late though a publisher was free, because the generator or \
             others had its cores. That is part of these latencies; measure from a quieter machine.",
            plural(measured.punctuality.late_itself, "message")
        ));
    }
    if measured.punctuality.late_for_answers > 0 {
        notes.push(format!(
            "Messages left late because all {} publishers waited for answers: the server answers publishes slower than \
             they come. With --publishers more may wait at once.",
            measured.punctuality.publishers
        ));
    }
    if measured.faults.wrong.corrupt > 0 {
        notes.push(
            "Somebody else publishes to these channels, or payloads arrived changed: name channels of your own with \
             --channel."
                .to_owned(),
        );
    }
    if let Some(refusal) = &measured.refusal {
        notes.push(format!("The first refusal: {refusal}"));
    }
    notes
}

/// A count with its digits in groups of three.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// Milliseconds with the digits that matter; what never arrived took for ever.
pub(super) fn ms(value: f64) -> String {
    if value.is_finite() { format!("{} ms", number(value)) } else { "never".to_owned() }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => count(value.round() as u64),
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn seconds(value: f64) -> String {
    format!("{} s", number(value))
}

fn bytes(value: u64) -> String {
    const UNITS: [&str; 4] = ["bytes", "KiB", "MiB", "GiB"];
    let (mut size, mut unit) = (value as f64, 0);
    while size >= 1_024.0 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1_024.0, unit + 1);
    }
    format!("{} {}", number(size), UNITS[unit])
}

fn plural(value: u64, what: &str) -> String {
    format!("{} {what}{}", count(value), if value == 1 { "" } else { "s" })
}

/// Lines of a note, as wide as the rows.
fn wrapped(note: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in note.split(' ') {
        let line = lines.last_mut().filter(|line| line.chars().count() + word.chars().count() < COLUMNS);
        match line {
            Some(line) => line.extend([" ", word]),
            None => lines.push(format!("  {word}")),
        }
    }
    // Each word brings its space, so that the first line begins with one of two.
    lines[0].insert(0, ' ');
    lines
}

const COLUMNS: usize = 79;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidewire_load::Target;
    use tidewire_load::ledger::Wrong;
    use tidewire_load::measured::{Generator, Memory, Punctuality, Quantiles, Server, Traffic};

    use super::*;

    fn plan() -> Plan {
        Plan { subscribers: 1_000, rate: 50.0, ..Plan::new(Target::at("127.0.0.1:8080".parse().unwrap())) }
    }

    fn measured() -> Measured {
        Measured {
            wall_s: 10.0,
            subscribers: 1_000,
            published: 500,
            deliveries: 500_000,
            latency: Quantiles { mean_ms: 0.5, p50_ms: 0.412, p99_ms: 1.9, p999_ms: 3.0, max_ms: 12.34 },
            traffic: Traffic { bytes_down: 91_000_000, ..Traffic::default() },
            publishing: Traffic::default(),
            faults: Faults::default(),
            refusal: None,
            punctuality: Punctuality { publishers: 4, due: 500, ..Punctuality::default() },
            server: Some(Server {
                processes: vec![4_711],
                name: "tidewire".to_owned(),
                cpu_s: 2.6,
                cpu_s_per_million: 5.2,
                memory: Some(Memory { before_kib: 9_000.0, connected_kib: 9_600.0, end_kib: 10_240.0 }),
            }),
            generator: Generator { cpu_s: 3.0, busiest_percent: 31.0 },
        }
    }

    #[test]
    fn a_report_says_what_was_asked_what_came_of_it_and_what_went_wrong() {
        let expected = "\
http://127.0.0.1:8080 over sse: 1 000 subscribers of 1 channel, 50 messages/s of 128 bytes, 10 s

  delivered   500 000, 50 000/s; 500 published
  latency     p50 0.41 ms   p99 1.90 ms   p99.9 3 ms   max 12.3 ms
  traffic     86.8 MiB down, 0 bytes up; 182 bytes a delivery of 128
  server      tidewire (4711): 26 % of a core, 5.20 CPU s per million deliveries
  memory      10 MiB, 0.60 KiB a subscriber
  generator   31 % of a core by its busiest thread
  schedule    every message left in time
  went wrong  0 lost, 0 duplicated, 0 out of order, 0 corrupt, 0 cut, 0 refused, 0 gaps";
        assert_eq!(text(&plan(), &measured()), expected);
        assert_eq!(wrong(&measured().faults), None);
    }

    #[test]
    fn a_lost_tail_takes_for_ever_and_fails_the_run() {
        let mut measured = measured();
        measured.faults.wrong = Wrong { lost: 2, ..Wrong::default() };
        measured.latency.max_ms = f64::INFINITY;
        assert!(text(&plan(), &measured).contains("max never"));
        assert!(wrong(&measured.faults).unwrap().contains("2 lost"));
        let json: serde_json::Value = serde_json::from_slice(&json(&plan(), &measured).unwrap()).unwrap();
        assert_eq!(
            (&json["latency"]["max_ms"], &json["faults"]["lost"]),
            (&serde_json::Value::Null, &2.into())
        );
    }

    #[test]
    fn a_generator_that_was_the_limit_says_so() {
        let mut measured = measured();
        measured.generator.busiest_percent = 97.0;
        measured.punctuality.late_for_answers = 5;
        measured.punctuality.late_itself = 20;
        measured.punctuality.latest_ms = 3.0;
        let text = text(&plan(), &measured);
        assert!(
            text.contains("The generator was the limit") && text.contains("all 4 publishers waited"),
            "{text}"
        );
        assert!(text.contains("25 of 500 messages left late"), "{text}");
    }

    #[test]
    fn polls_say_how_many_were_in_vain() {
        let plan =
            Plan { transport: Transport::ShortPoll, poll_interval: Duration::from_millis(500), ..plan() };
        let traffic = Traffic { requests: 20_000, without_news: 15_000, ..Traffic::default() };
        let text = text(&plan, &Measured { traffic, ..measured() });
        assert!(text.contains("over poll every 0.50 s"), "{text}");
        assert!(text.contains("requests    20 000, 2 000/s; 75 % answered without news"), "{text}");
    }

    #[test]
    fn a_server_elsewhere_has_no_costs() {
        let text = text(&plan(), &Measured { server: None, ..measured() });
        assert!(text.contains("--pid"), "{text}");
    }
}
