//! multiplex: event streams over HTTP/2, many on each connection: what a delivery and what a stream costs.

use std::io;

use crate::figure::delivery::{CPU_PER_MILLION, Delivery};
use crate::figure::idle::{FILES_BUDGET, SETTLE, wait_until_closed};
use crate::generator::{Generator, PAYLOAD_BYTES};
use crate::meter::Holding;
use crate::options::Plan;
use crate::report::{Budget, Round, Table};
use crate::server::{Kind, Server, free_address};
use crate::tls::{self, Sessions};
use crate::wire::Way;
use tidewire_load::plan::Transport;

/// Streams of a connection, and connections.
const CASES: [(usize, usize); 2] = [(MANY, 100), (1, 1_000)];
/// From so many on, a stream has little of a connection to bear.
const MANY: usize = 100;
/// Messages a second.
const RATE: usize = 10;
/// Subscribers from here on are enough for that rate; fewer have as many more messages, fifty at most.
const SUBSCRIBERS: usize = 10_000;
const RATE_MAX: usize = 50;
const PUBLISHERS: usize = 16;
/// Streams outstanding while they gather; those of one connection are asked for together.
const GATHERING: usize = 64;

/// CPU per delivery over many streams, as a multiple of the floor's over as many connections.
const CPU_BUDGET: Budget = Budget::RatioAtMost(0.7);
/// KiB of user memory per stream, over many and over one.
const MEMORY_BUDGET: Budget = Budget::AtMost(2.0);
/// As above.
const LONE_MEMORY_BUDGET: Budget = Budget::AtMost(20.0);

const MEMORY: &str = "user KiB per stream";
const FILES_KEPT: &str = "open files kept";

/// A table for each case, over TLS and without. False if anything went wrong that must not.
pub fn measure(plan: &Plan) -> io::Result<bool> {
    let mut clean = true;
    for &tls in &plan.tls {
        for (streams, connections) in cases(plan) {
            let case = Case { tls, streams, connections, rate: rate(plan, streams * connections) };
            clean &= case.take(plan);
        }
    }
    Ok(clean)
}

/// The usual ones, or the one that was asked for.
fn cases(plan: &Plan) -> Vec<(usize, usize)> {
    match (plan.streams, plan.connections) {
        (None, None) => CASES.to_vec(),
        (streams, connections) => {
            let streams = streams.unwrap_or(MANY);
            let usual = CASES.iter().find(|(each, _)| *each == streams).map_or(100, |(_, usual)| *usual);
            vec![(streams, connections.unwrap_or(usual))]
        }
    }
}

fn rate(plan: &Plan, subscribers: usize) -> usize {
    plan.rate.unwrap_or((RATE * SUBSCRIBERS / subscribers).clamp(RATE, RATE_MAX))
}

/// How Tidewire is reached, and the options with which it is reached that way. Streams arrive as fast as they can, so how
/// many may do so in a second is not bounded.
pub fn way(tls: bool) -> (Way, Vec<String>) {
    let mut options = vec!["--set".to_owned(), "limits.arrivals_per_second_max=0".to_owned()];
    if !tls {
        return (Way::Plain, options);
    }
    options.push("--tls-self-signed".to_owned());
    (Way::Tls(tls::client(Sessions::None)), options)
}

struct Case {
    tls: bool,
    streams: usize,
    connections: usize,
    rate: usize,
}

impl Case {
    fn title(&self, seconds: usize) -> String {
        let Case { tls, streams, connections, rate } = self;
        format!(
            "multiplex: SSE over HTTP/2 {} TLS, {streams} streams on each of {connections} connections; {rate} messages a \
             second of {PAYLOAD_BYTES} bytes to all for {seconds} s; the floor has a connection a stream, HTTP/1.1",
            if *tls { "with" } else { "without" }
        )
    }

    fn take(&self, plan: &Plan) -> bool {
        let seconds = plan.seconds.unwrap_or(5);
        let mut table = Table::new(self.title(seconds));
        for number in 1..=plan.rounds {
            for &kind in &plan.servers {
                match self.round(plan, kind, seconds) {
                    Ok(round) => table.add(kind, round),
                    Err(error) => {
                        table.print();
                        println!("  round {number} of {} failed: {error}", kind.name());
                        return false;
                    }
                }
            }
        }
        table.print();
        table.is_clean()
    }

    /// One round with a fresh server.
    fn round(&self, plan: &Plan, kind: Kind, seconds: usize) -> io::Result<Round> {
        let (server, mut generator) = match kind {
            Kind::Floor => {
                let server = Server::start(kind, &plan.tidewire, plan.show_server)?;
                let generator = Generator::new(server.address, Transport::Sse)?;
                (server, generator)
            }
            Kind::Tidewire => {
                let ((way, options), address) = (way(self.tls), free_address()?);
                let show = plan.show_server;
                let server = Server::start_over(way.clone(), kind, &plan.tidewire, &options, address, show)?;
                (server, Generator::multiplexed(address, way, self.streams)?)
            }
        };
        let subscribers = self.streams * self.connections;
        // The call for readiness was a connection too: it has to be gone before the server is fresh.
        std::thread::sleep(SETTLE);
        let fresh = Holding::take(server.process())?;
        generator.subscribe(subscribers, GATHERING)?;
        generator.run_for(SETTLE)?;
        let connected = Holding::take(server.process())?;
        let mut delivery = Delivery::begin_with(&server, generator, PUBLISHERS)?;
        delivery.publish_on_schedule(self.rate, seconds)?;
        delivery.drain()?;
        let end = delivery.mark()?;
        let served = Holding::take(server.process())?;
        delivery.generator.leave();
        wait_until_closed(&server, &mut delivery.generator, fresh.files)?;
        let left = Holding::take(server.process())?;

        let mut round = delivery.into_round(end);
        let each = |holding: Holding| (holding.pss_kib - fresh.pss_kib) / subscribers as f64;
        round.row(MEMORY, each(connected));
        round.row("user KiB per stream, after all messages", each(served));
        round.row("user KiB per stream kept", each(left));
        let slab = (connected.slab_kib - fresh.slab_kib) / subscribers as f64;
        round.row("kernel slab KiB per stream, both ends", slab);
        round.row("user MiB fresh", fresh.pss_kib / 1_024.0);
        round.row("user MiB connected", connected.pss_kib / 1_024.0);
        round.row("user MiB after all left", left.pss_kib / 1_024.0);
        round.row("open files connected", connected.files as f64);
        round.row(FILES_KEPT, left.files as f64 - fresh.files as f64);
        if self.streams >= MANY {
            round.set_budget(CPU_PER_MILLION, CPU_BUDGET);
            round.set_budget(MEMORY, MEMORY_BUDGET);
        } else if self.streams == 1 {
            round.set_budget(MEMORY, LONE_MEMORY_BUDGET);
        }
        round.set_budget(FILES_KEPT, FILES_BUDGET);
        Ok(round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(streams: Option<usize>, connections: Option<usize>, expected: &[(usize, usize)]) {
        assert_eq!(cases(&Plan { streams, connections, ..Plan::default() }), expected);
    }

    #[test]
    fn what_is_not_asked_for_is_as_usual() {
        check(None, None, &CASES);
        check(Some(1), None, &[(1, 1_000)]);
        check(Some(30), None, &[(30, 100)]);
        check(None, Some(5), &[(100, 5)]);
    }

    #[test]
    fn fewer_subscribers_have_more_messages() {
        let rates = [10_000, 5_000, 1_000, 20_000].map(|subscribers| rate(&Plan::default(), subscribers));
        assert_eq!(rates, [10, 20, 50, 10]);
    }
}
