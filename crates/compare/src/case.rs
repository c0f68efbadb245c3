//! The worked case: what a crowd would ask of a server, worked out from a crowd that was measured.
//!
//! The rule is plain: requests, bytes, CPU and memory grow with the number of clients. It leaves out that a message is
//! published once, however many there are to hear it, and so it says too much rather than too little. Where two crowds
//! were measured, the rule is tried on them, and how far it was off is told beside what it says.

use serde::Serialize;

use crate::comparison::Comparison;
use crate::measurement::{Measurement, Transport};

/// One crowd at one rate, over every transport that could be judged.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// How many there are.
    pub clients: u64,
    /// Messages a second.
    pub rate: f64,
    /// From one short poll of a client to its next.
    pub poll_interval_s: f64,
    /// Those that could be judged.
    pub rows: Vec<Row>,
}

/// What the crowd takes over one transport.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which one.
    pub transport: Transport,
    /// The crowd that was measured. The same number as the case's where nothing had to be worked out.
    pub measured_clients: u64,
    /// Requests of all of them.
    pub requests_per_s: f64,
    /// From 0 to 1, as measured; `None` for streams.
    pub empty_share: Option<f64>,
    /// Bytes from all of them, heads included.
    pub up_bytes_per_s: f64,
    /// Bytes to all of them.
    pub down_bytes_per_s: f64,
    /// Cores of the server's machine that are busy all the time.
    pub cores: Option<f64>,
    /// User memory that clients hold, in bytes.
    pub memory: Option<f64>,
    /// How old a message was when a client had it, on average and at most for 99 of 100. As measured: a crowd that needs
    /// more cores than there are waits longer.
    pub age_ms: f64,
    /// See `age_ms`.
    pub age_p99_ms: f64,
    /// How far the rule was off for CPU when it was tried from the smallest crowd on the largest; 0.1 is a tenth too high.
    pub tried: Option<Trial>,
}

/// The rule, tried on what was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Trial {
    /// The crowd that it was worked out from.
    pub from_clients: u64,
    /// The crowd that it was held to.
    pub to_clients: u64,
    /// How far it was off: 0.1 is a tenth too high.
    pub off: f64,
}

impl Row {
    /// Whether nothing had to be worked out.
    pub fn is_measured(&self, case: &Case) -> bool {
        self.measured_clients == case.clients
    }
}

/// Works the case out at one rate, from the crowd that is judged: one crowd for all transports, since what does not grow
/// with it weighs more in a small one.
pub fn work_out(comparison: &Comparison, rate: f64) -> Case {
    let clients = comparison.setting.crowd;
    let mut scene = comparison.judged_crowd(rate).map_or(Vec::new(), |judged| comparison.scene(rate, judged));
    scene.sort_by_key(|run| run.transport);
    let rows = scene.into_iter().filter(|run| run.doubt().is_none());
    let rows = rows.filter_map(|run| row(comparison, run, clients)).collect();
    Case { clients, rate, poll_interval_s: comparison.setting.poll_interval_s, rows }
}

fn row(comparison: &Comparison, largest: &Measurement, clients: u64) -> Option<Row> {
    let latency = largest.latency?;
    let factor = clients as f64 / largest.clients as f64;
    let per_s = |sum: u64| sum as f64 / largest.wall_s * factor;
    Some(Row {
        transport: largest.transport,
        measured_clients: largest.clients,
        requests_per_s: per_s(largest.requests),
        empty_share: largest.empty_share(),
        up_bytes_per_s: per_s(largest.bytes_up),
        down_bytes_per_s: per_s(largest.bytes_down),
        cores: largest.server_cores().map(|cores| cores * factor),
        memory: largest.memory_per_client().map(|bytes| bytes * clients as f64),
        age_ms: latency.mean_ms,
        age_p99_ms: latency.p99_ms,
        tried: tried(comparison, largest),
    })
}

/// Tries the rule from the smallest crowd that can be judged.
fn tried(comparison: &Comparison, largest: &Measurement) -> Option<Trial> {
    let same = |run: &&Measurement| run.transport == largest.transport && run.doubt().is_none();
    let smallest = comparison.at(largest.rate).filter(same).min_by_key(|run| run.clients)?;
    if smallest.clients >= largest.clients {
        return None;
    }
    let off = smallest.cpu_us_per_client_s()? / largest.cpu_us_per_client_s()? - 1.0;
    Some(Trial { from_clients: smallest.clients, to_clients: largest.clients, off })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::compared;

    fn row_of(case: &Case, transport: Transport) -> &Row {
        case.rows.iter().find(|row| row.transport == transport).unwrap()
    }

    #[test]
    fn ten_thousand_who_poll_every_five_seconds_ask_two_thousand_times_a_second() {
        let case = work_out(&compared(&[100, 1_000]), 1.0);
        let poll = row_of(&case, Transport::Poll);
        assert_eq!((case.clients, case.poll_interval_s, poll.measured_clients), (10_000, 5.0, 1_000));
        assert_eq!(poll.requests_per_s, 2_000.0);
        assert_eq!(poll.age_ms, 2_500.0);
        // 60 µs a request.
        assert!((poll.cores.unwrap() - 0.12).abs() < 1e-9);
        // 2 140 bytes a request, both ways.
        assert_eq!(poll.up_bytes_per_s + poll.down_bytes_per_s, 4_280_000.0);
        assert_eq!(row_of(&case, Transport::Sse).requests_per_s, 0.0);
        assert_eq!(row_of(&case, Transport::Longpoll).requests_per_s, 10_000.0);
        assert_eq!(row_of(&case, Transport::Sse).memory, Some(6_000_000.0));
    }

    #[test]
    fn the_rule_is_tried_on_the_two_crowds_that_were_measured() {
        let mut comparison = compared(&[100, 1_000]);
        // The smaller crowd took half as much again a client: publishing is the same for both.
        for run in comparison.runs.iter_mut().filter(|run| run.clients == 100) {
            run.server.as_mut().unwrap().cpu_s *= 1.5;
        }
        let trial = row_of(&work_out(&comparison, 1.0), Transport::Sse).tried.unwrap();
        assert_eq!((trial.from_clients, trial.to_clients), (100, 1_000));
        assert!((trial.off - 0.5).abs() < 1e-9, "{}", trial.off);
        assert!(row_of(&work_out(&compared(&[100]), 1.0), Transport::Sse).tried.is_none());
    }

    #[test]
    fn all_transports_are_worked_out_from_one_crowd_and_those_in_doubt_are_left_out() {
        let mut comparison = compared(&[100, 1_000]);
        for run in &mut comparison.runs {
            run.faults.lost = u64::from(run.transport == Transport::Sse && run.clients == 1_000);
        }
        let case = work_out(&comparison, 1.0);
        assert_eq!(case.rows.iter().map(|row| row.measured_clients).collect::<Vec<_>>(), [100; 4]);
        comparison
            .runs
            .iter_mut()
            .for_each(|run| run.faults.lost = u64::from(run.transport == Transport::Ws));
        let case = work_out(&comparison, 1.0);
        assert_eq!(case.rows.iter().map(|row| row.measured_clients).collect::<Vec<_>>(), [1_000; 3]);
    }

    #[test]
    fn a_crowd_that_was_measured_is_not_called_worked_out() {
        let mut comparison = compared(&[1_000]);
        comparison.setting.crowd = 1_000;
        let case = work_out(&comparison, 1.0);
        assert!(case.rows.iter().all(|row| row.is_measured(&case)));
    }
}
