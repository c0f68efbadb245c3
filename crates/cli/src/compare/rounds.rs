//! Several rounds of one run as one measurement: medians, with how far the rounds lay apart.

use tidewire_compare::measurement::{Cost, Faults, Latency, Measurement, Spread};

/// Whatever went wrong in any round went wrong. Of figures that put a run in doubt the worst one counts.
pub(crate) fn gathered(rounds: &[Measurement]) -> Option<Measurement> {
    let first = rounds.first()?;
    if rounds.len() == 1 {
        return Some(first.clone());
    }
    let whole = |of: fn(&Measurement) -> u64| median(rounds.iter().map(|run| of(run) as f64)).round() as u64;
    let worst = |of: fn(&Measurement) -> u64| rounds.iter().map(of).max().unwrap_or_default();
    let latencies: Option<Vec<Latency>> = rounds.iter().map(|run| run.latency).collect();
    let latency = |of: fn(&Latency) -> f64| median(latencies.iter().flatten().map(of));
    let costs: Option<Vec<Cost>> = rounds.iter().map(|run| run.server).collect();
    let memory: Option<Vec<f64>> = rounds.iter().map(Measurement::memory_per_client).collect();
    let cpu: Option<Vec<f64>> = rounds.iter().map(Measurement::cpu_us_per_message).collect();
    let silent = rounds.iter().any(|run| run.deliveries == 0);
    Some(Measurement {
        published: whole(|run| run.published),
        wall_s: median(rounds.iter().map(|run| run.wall_s)),
        requests: whole(|run| run.requests),
        empty: whole(|run| run.empty),
        bytes_up: whole(|run| run.bytes_up),
        bytes_down: whole(|run| run.bytes_down),
        deliveries: if silent { 0 } else { whole(|run| run.deliveries) },
        latency: latencies.is_some().then(|| Latency {
            mean_ms: latency(|latency| latency.mean_ms),
            p50_ms: latency(|latency| latency.p50_ms),
            p99_ms: latency(|latency| latency.p99_ms),
        }),
        server: costs.map(|costs| Cost {
            cpu_s: median(costs.iter().map(|cost| cost.cpu_s)),
            memory_per_client: memory.map(|all| median(all.into_iter())),
        }),
        cpu_spread: cpu.map(|all| Spread {
            least: all.iter().copied().fold(f64::INFINITY, f64::min),
            most: all.iter().copied().fold(0.0, f64::max),
        }),
        generator_busy: rounds.iter().map(|run| run.generator_busy).fold(0.0, f64::max),
        late_itself: worst(|run| run.late_itself),
        faults: rounds.iter().fold(Faults::default(), |sum, run| sum.and(run.faults)),
        ..first.clone()
    })
}

/// The middle one, or between the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    if low == high { low } else { f64::midpoint(low, high) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_compare::measurement::Transport;
    use tidewire_compare::sample::measured;

    fn three(change: impl Fn(usize, &mut Measurement)) -> Measurement {
        let mut rounds = vec![measured(Transport::Sse, 100); 3];
        rounds.iter_mut().enumerate().for_each(|(at, run)| change(at, run));
        gathered(&rounds).unwrap()
    }

    #[test]
    fn a_figure_is_the_median_of_its_rounds_and_says_how_far_they_lay_apart() {
        let run = three(|at, run| run.server.as_mut().unwrap().cpu_s *= [3.0, 1.0, 2.0][at]);
        assert_eq!(run.cpu_us_per_message(), Some(12.0));
        let Spread { least, most } = run.cpu_spread.unwrap();
        assert!((least - 6.0).abs() < 1e-9 && (most - 18.0).abs() < 1e-9);
        assert_eq!(median([1.0, 4.0].into_iter()), 2.5);
        assert_eq!(median([f64::INFINITY; 2].into_iter()), f64::INFINITY);
    }

    #[test]
    fn what_went_wrong_once_is_not_outvoted() {
        assert_eq!(three(|at, run| run.faults.lost = at as u64 / 2).faults.lost, 1);
        assert!(three(|at, run| run.generator_busy = [0.1, 0.95, 0.1][at]).doubt().is_some());
        assert!(three(|at, run| run.late_itself = [0, 0, 10][at]).doubt().is_some());
        assert!(three(|at, run| run.deliveries *= [0, 1, 1][at]).doubt().is_some());
        assert_eq!(three(|_, _| ()).doubt(), None);
    }

    #[test]
    fn one_round_is_taken_as_it_is_and_none_is_nothing() {
        let one = measured(Transport::Ws, 100);
        assert!(gathered(std::slice::from_ref(&one)).unwrap().cpu_spread.is_none());
        assert!(gathered(&[]).is_none());
    }
}
