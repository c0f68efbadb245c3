//! The verdict: which transport, for what reasons, and when polling is right; or why there is none.

use serde::Serialize;

use crate::comparison::{Comparison, sound};
use crate::measurement::{Measurement, Transport};
use crate::numbers::{bytes, count, list, per_second, percent, plural, time_ms, time_us, times};

/// What is to be said about one rate.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Messages a second.
    pub rate: f64,
    /// The crowd that was judged, or the largest where none could be.
    pub clients: u64,
    /// What to take, best first; nothing where nothing could be judged.
    pub pick: Vec<Transport>,
    /// The verdict in a sentence.
    pub headline: String,
    /// The figures that led to it.
    pub reasons: Vec<Reason>,
    /// When another choice than the pick is right.
    pub otherwise: Vec<Reason>,
    /// Runs that were left out, each with why.
    pub unjudged: Vec<String>,
}

/// One paragraph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What it speaks of, as a title.
    pub about: &'static str,
    /// A sentence or more.
    pub text: String,
}

/// Costs that differ by less are the same.
const SAME: f64 = 1.15;
/// The same for what was measured once: on a machine that does other things too, two runs of one thing differ as much.
const SAME_ONCE: f64 = 1.33;

/// Judges one crowd: see [`Comparison::judged_crowd`].
pub fn judge(comparison: &Comparison, rate: f64) -> Verdict {
    let unjudged = comparison.at(rate).filter_map(|run| {
        let (name, clients) = (run.transport.title(), plural(run.clients, "client"));
        Some(format!("{name} with {clients}: {}", run.doubt()?))
    });
    let mut verdict = Verdict {
        rate,
        clients: comparison.crowds(rate).last().copied().unwrap_or_default(),
        pick: Vec::new(),
        headline: "No verdict: fewer than two transports can be judged.".into(),
        reasons: Vec::new(),
        otherwise: Vec::new(),
        unjudged: unjudged.collect(),
    };
    if let Some(clients) = comparison.judged_crowd(rate) {
        verdict.clients = clients;
        let scene = comparison.scene(rate, clients);
        Judge::of(comparison, &scene).fill(&mut verdict);
    }
    verdict
}

/// The runs of one scene that can be judged.
struct Judge<'a> {
    size: usize,
    poll_interval_s: f64,
    poll: Option<&'a Measurement>,
    longpoll: Option<&'a Measurement>,
    sse: Option<&'a Measurement>,
    ws: Option<&'a Measurement>,
}

impl<'a> Judge<'a> {
    fn of(comparison: &Comparison, scene: &[&'a Measurement]) -> Judge<'a> {
        Judge {
            size: comparison.setting.size,
            poll_interval_s: comparison.setting.poll_interval_s,
            poll: sound(scene, Transport::Poll),
            longpoll: sound(scene, Transport::Longpoll),
            sse: sound(scene, Transport::Sse),
            ws: sound(scene, Transport::Ws),
        }
    }

    fn all(&self) -> Vec<&'a Measurement> {
        [self.poll, self.longpoll, self.sse, self.ws].into_iter().flatten().collect()
    }

    fn fill(&self, verdict: &mut Verdict) {
        if let Some(late) = self.late() {
            verdict.headline = late;
        } else {
            (verdict.pick, verdict.headline) = self.pick();
        }
        let reasons = [self.freshness(), self.asking(), self.cpu(), self.wire(), self.memory()];
        verdict.reasons = reasons.into_iter().flatten().collect();
        let otherwise = [self.rare(), self.closed(), self.held_back(), self.both_ways()];
        verdict.otherwise = otherwise.into_iter().flatten().collect();
    }

    /// The stream that costs the server less; the simpler one where that is not known or the same.
    fn stream(&self) -> Option<&'a Measurement> {
        let (Some(sse), Some(ws)) = (self.sse, self.ws) else { return self.sse.or(self.ws) };
        Some(if is_cheaper(ws, sse) { ws } else { sse })
    }

    /// A stream that is no fresher than a poll says that something else was measured: a server with too much to do.
    fn late(&self) -> Option<String> {
        let (stream, poll) = (self.stream()?, self.poll?);
        let (late, interval) = (stream.latency?.p99_ms, poll.latency?.p99_ms);
        (late >= interval).then(|| {
            format!(
                "No verdict: with this crowd {} took up to {}, no less than short polling. Somebody was at their limit; measure a smaller crowd, or on a quieter machine.",
                stream.transport.name(),
                time_ms(late),
            )
        })
    }

    fn pick(&self) -> (Vec<Transport>, String) {
        let Some(stream) = self.stream() else {
            let headline =
                "Long polling for what must be fresh, of the two that can be judged; no stream can.".into();
            return (vec![Transport::Longpoll], headline);
        };
        let mut pick = vec![stream.transport];
        let mut headline = match (self.sse, self.ws) {
            (Some(sse), Some(ws)) if !differ(sse, ws) => {
                pick.push(Transport::Ws);
                "SSE; WebSocket where clients send too".to_owned()
            }
            (Some(_), Some(_)) if stream.transport == Transport::Ws => {
                "WebSocket; SSE where a browser's own reconnection is worth its price".to_owned()
            }
            (Some(_), Some(_)) => "SSE; WebSocket only where clients send too".to_owned(),
            _ => stream.transport.name().to_owned(),
        };
        match self.poll {
            Some(poll) if is_cheaper(poll, stream) => {
                pick.push(Transport::Poll);
                let age = poll.latency.map_or(0.0, |latency| latency.mean_ms);
                headline.push_str(&format!(
                    ". Short polling takes less of the server here, where a message may be {} old",
                    time_ms(age)
                ));
            }
            _ => {}
        }
        headline.push('.');
        (pick, headline)
    }

    fn freshness(&self) -> Option<Reason> {
        let ages: Vec<String> = by_age(self.all())
            .into_iter()
            .filter_map(|run| {
                let latency = run.latency?;
                let (mean, p99) = (time_ms(latency.mean_ms), time_ms(latency.p99_ms));
                Some(format!("{mean} by {} (p99 {p99})", run.transport.name()))
            })
            .collect();
        let mut text = format!("A message was on average this old when a client had it: {}.", list(&ages));
        if self.poll.is_some() {
            let (interval, half) =
                (time_ms(self.poll_interval_s * 1e3), time_ms(self.poll_interval_s * 500.0));
            text.push_str(&format!(
                " Who asks every {interval} finds what is {half} old on average, however fast the server is."
            ));
        }
        (!ages.is_empty()).then_some(Reason { about: "Freshness", text })
    }

    fn asking(&self) -> Option<Reason> {
        let mut sentences = Vec::new();
        if let Some(poll) = self.poll {
            let empty = match poll.empty_share() {
                Some(share) if share > 0.0 => {
                    format!("{} of the answers had no message in them", percent(share))
                }
                _ => "every answer had a message in it".into(),
            };
            let asked = count(poll.requests_per_s());
            sentences.push(format!(
                "Short polling asked {asked} times a second, and {empty}; it asks as often when there is nothing to tell."
            ));
        }
        if let Some(longpoll) = self.longpoll {
            let each = longpoll.requests as f64 / longpoll.deliveries as f64;
            sentences.push(format!(
                "Long polling asked again after every answer: {} requests a second, {} for each message.",
                count(longpoll.requests_per_s()),
                count(each)
            ));
        }
        if self.stream().is_some() && !sentences.is_empty() {
            sentences.push("A stream asks once.".into());
        }
        (!sentences.is_empty()).then(|| Reason { about: "Requests", text: sentences.join(" ") })
    }

    fn cpu(&self) -> Option<Reason> {
        let costs: Vec<(f64, Transport)> = self
            .all()
            .into_iter()
            .filter_map(|run| Some((run.cpu_us_per_message()?, run.transport)))
            .collect();
        let Some(&(least, cheapest)) = costs.iter().min_by(|one, other| one.0.total_cmp(&other.0)) else {
            let text =
                "Not known: the server is on another machine, and only there can its CPU and memory be read.";
            return Some(Reason { about: "Server CPU", text: text.into() });
        };
        let mut costs = costs;
        costs.sort_by(|one, other| one.0.total_cmp(&other.0));
        let words: Vec<String> = costs
            .iter()
            .map(|&(cost, transport)| {
                let more = if transport == cheapest || cost < least * SAME {
                    String::new()
                } else {
                    format!(", {} as much", times(cost, least))
                };
                format!("{} by {}{more}", time_us(cost), transport.name())
            })
            .collect();
        let text = format!("A message took the server {}.", words.join("; "));
        Some(Reason { about: "Server CPU", text })
    }

    fn wire(&self) -> Option<Reason> {
        let words: Vec<String> = self
            .all()
            .into_iter()
            .filter_map(|run| {
                let (up, down) = (run.up_per_message()?, run.down_per_message()?);
                Some(format!("{} down and {} up by {}", bytes(down), bytes(up), run.transport.name()))
            })
            .collect();
        let text = format!(
            "A message of {} cost each client, heads included, {}.",
            bytes(self.size as f64),
            list(&words)
        );
        (!words.is_empty()).then_some(Reason { about: "Bytes", text })
    }

    fn memory(&self) -> Option<Reason> {
        let words: Vec<String> = self
            .all()
            .into_iter()
            .filter_map(|run| {
                Some(format!("{} by {}", bytes(run.memory_per_client()?), run.transport.name()))
            })
            .collect();
        let text = format!(
            "A client held {} of the server's memory, without the kernel's buffers for its connection.",
            list(&words)
        );
        (!words.is_empty()).then_some(Reason { about: "Memory", text })
    }

    /// From which interval on polls cost less than a stream. A longer interval gathers more messages into an answer, so
    /// what an answer costs is not the same for all intervals, and the figure is the least that it can be.
    fn rare(&self) -> Option<Reason> {
        let about = "Short polling, for what may be old";
        let fallback = "A page that is looked at now and then, or shows what changes by the hour, needs no connection that stays open.";
        let costs = self.poll.zip(self.stream()).and_then(|(poll, stream)| {
            Some((poll.cpu_us_per_client_s()?, stream.cpu_us_per_client_s()?, stream.transport.name()))
        });
        let Some((poll_us, stream_us, name)) = costs.filter(|(_, stream_us, _)| *stream_us > 0.0) else {
            return Some(Reason { about, text: fallback.into() });
        };
        let even_s = self.poll_interval_s * poll_us / stream_us;
        let interval = time_ms(self.poll_interval_s * 1e3);
        let text = if even_s <= self.poll_interval_s {
            format!(
                "Every {interval} it took the server {} of what {name} took, because one answer brings all that has gathered. {fallback}",
                percent(poll_us / stream_us)
            )
        } else {
            format!(
                "At this rate a poll takes less of the server than {name} from an interval of {} on, at the earliest (worked out), with messages half as old on average. {fallback}",
                time_ms(even_s * 1e3)
            )
        };
        Some(Reason { about, text })
    }

    fn closed(&self) -> Option<Reason> {
        let text = "What every client may see alike can be answered by a cache in front: a short poll has an ETag, and nothing new is a 304 without a body. A cache cannot hold a stream.";
        self.poll.map(|_| Reason { about: "Short polling, behind a cache", text: text.into() })
    }

    fn held_back(&self) -> Option<Reason> {
        let longpoll = self.longpoll?;
        let price = self.stream().and_then(|stream| {
            let (more, less) = (longpoll.cpu_us_per_message()?, stream.cpu_us_per_message()?);
            Some(format!(" It took {} the CPU of {}.", times(more, less), stream.transport.name()))
        });
        let age = longpoll.latency.map_or(0.0, |latency| latency.mean_ms);
        let text = format!(
            "A network that holds streams back until they end lets a long poll pass, with messages {} old on average here.{}",
            time_ms(age),
            price.unwrap_or_default()
        );
        Some(Reason { about: "Long polling, where streams are cut", text })
    }

    fn both_ways(&self) -> Option<Reason> {
        let text = "Cursors, games and editors send as often as they receive: over one WebSocket, without a request each time. It needs a client that reconnects; a browser's EventSource does that by itself.";
        self.ws.map(|_| Reason { about: "WebSocket, for both ways", text: text.into() })
    }
}

fn differ(one: &Measurement, other: &Measurement) -> bool {
    is_cheaper(one, other) || is_cheaper(other, one)
}

/// Whether one clearly takes less of the server than the other: with several rounds, the worst of it less than the best of
/// the other.
fn is_cheaper(one: &Measurement, other: &Measurement) -> bool {
    let (Some(one_us), Some(other_us)) = (one.cpu_us_per_client_s(), other.cpu_us_per_client_s()) else {
        return false;
    };
    match (one.cpu_spread, other.cpu_spread) {
        (Some(one), Some(other)) => one.most < other.least && one_us * SAME < other_us,
        _ => one_us * SAME_ONCE < other_us,
    }
}

fn by_age(mut runs: Vec<&Measurement>) -> Vec<&Measurement> {
    let age = |run: &Measurement| run.latency.map_or(f64::INFINITY, |latency| latency.mean_ms);
    runs.sort_by(|one, other| age(one).total_cmp(&age(other)));
    runs
}

impl Verdict {
    /// What was judged, as a sentence says it.
    pub fn scene(&self) -> String {
        format!("{} clients, {}", count(self.clients as f64), per_second(self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::compared;

    fn change(comparison: &mut Comparison, transport: Transport, change: impl Fn(&mut Measurement)) {
        comparison.runs.iter_mut().filter(|run| run.transport == transport).for_each(change);
    }

    fn text<'a>(reasons: &'a [Reason], about: &str) -> &'a str {
        &reasons.iter().find(|reason| reason.about.contains(about)).unwrap().text
    }

    #[test]
    fn a_stream_is_fresher_cheaper_and_asks_once() {
        let verdict = judge(&compared(&[100, 1_000]), 1.0);
        assert_eq!(verdict.pick, [Transport::Sse, Transport::Ws]);
        assert_eq!(verdict.headline, "SSE; WebSocket where clients send too.");
        assert_eq!(verdict.clients, 1_000);
        assert!(text(&verdict.reasons, "Freshness").contains("2.5 s by short polling (p99 4.95 s)"));
        assert!(text(&verdict.reasons, "Requests").starts_with("Short polling asked 200 times a second"));
        let cpu = text(&verdict.reasons, "CPU");
        assert!(
            cpu.ends_with("12 µs by short polling, 2.0 × as much; 45 µs by long polling, 7.5 × as much."),
            "{cpu}"
        );
        assert!(text(&verdict.reasons, "Bytes").contains("160 B down and 0 B up by SSE"));
        // A poll costs 12 µs a client and second at five seconds, and SSE 6.
        assert!(text(&verdict.otherwise, "may be old").contains("10 s on, at the earliest (worked out)"));
    }

    #[test]
    fn polling_is_called_cheaper_where_it_is() {
        let mut comparison = compared(&[1_000]);
        change(&mut comparison, Transport::Poll, |run| run.server.as_mut().unwrap().cpu_s /= 10.0);
        let verdict = judge(&comparison, 1.0);
        assert_eq!(verdict.pick, [Transport::Sse, Transport::Ws, Transport::Poll]);
        assert!(verdict.headline.contains("may be 2.5 s old"), "{}", verdict.headline);
        assert!(text(&verdict.otherwise, "may be old").contains("20 % of what SSE took"));
    }

    #[test]
    fn the_stream_that_costs_clearly_less_comes_first() {
        let mut comparison = compared(&[1_000]);
        change(&mut comparison, Transport::Sse, |run| run.server.as_mut().unwrap().cpu_s *= 2.0);
        assert_eq!(judge(&comparison, 1.0).pick, [Transport::Ws]);
        change(&mut comparison, Transport::Ws, |run| run.server.as_mut().unwrap().cpu_s *= 4.0);
        assert_eq!(judge(&comparison, 1.0).pick, [Transport::Sse]);
    }

    #[test]
    fn streams_whose_rounds_overlap_are_the_same() {
        let spread = |least, most| Some(crate::measurement::Spread { least, most });
        let mut comparison = compared(&[1_000]);
        change(&mut comparison, Transport::Sse, |run| {
            run.server.as_mut().unwrap().cpu_s *= 1.3;
            run.cpu_spread = spread(6.5, 8.5);
        });
        change(&mut comparison, Transport::Ws, |run| run.cpu_spread = spread(5.5, 7.0));
        assert_eq!(judge(&comparison, 1.0).pick, [Transport::Sse, Transport::Ws]);
        change(&mut comparison, Transport::Ws, |run| run.cpu_spread = spread(5.5, 6.4));
        assert_eq!(judge(&comparison, 1.0).pick, [Transport::Ws]);
    }

    #[test]
    fn a_run_that_lost_a_message_is_not_judged_and_the_others_are() {
        let mut comparison = compared(&[1_000]);
        change(&mut comparison, Transport::Sse, |run| run.faults.lost = 1);
        let verdict = judge(&comparison, 1.0);
        assert_eq!(verdict.pick, [Transport::Ws]);
        assert_eq!(verdict.unjudged, ["SSE with 1 000 clients: 1 lost"]);
        assert!(verdict.reasons.iter().all(|reason| !reason.text.contains("SSE")), "{:?}", verdict.reasons);
    }

    #[test]
    fn where_the_generator_was_the_limit_the_smaller_crowd_is_judged() {
        let mut comparison = compared(&[100, 1_000]);
        for run in comparison.runs.iter_mut().filter(|run| run.clients == 1_000) {
            run.generator_busy = 0.99;
        }
        let verdict = judge(&comparison, 1.0);
        assert_eq!((verdict.clients, verdict.unjudged.len()), (100, 4));
        assert!(verdict.unjudged[0].contains(">99 %") || verdict.unjudged[0].contains("99 %"));
    }

    #[test]
    fn with_nothing_sound_there_is_no_verdict_but_every_reason_for_that() {
        let mut comparison = compared(&[1_000]);
        comparison.runs.iter_mut().for_each(|run| run.faults.duplicated = 7);
        let verdict = judge(&comparison, 1.0);
        assert!(verdict.headline.starts_with("No verdict"), "{}", verdict.headline);
        assert!(verdict.pick.is_empty() && verdict.reasons.is_empty() && verdict.otherwise.is_empty());
        assert_eq!(verdict.unjudged.len(), 4);
    }

    #[test]
    fn a_stream_as_late_as_a_poll_is_a_server_at_its_limit_and_no_verdict() {
        let mut comparison = compared(&[1_000]);
        for transport in [Transport::Sse, Transport::Ws] {
            change(&mut comparison, transport, |run| run.latency.as_mut().unwrap().p99_ms = 6_000.0);
        }
        let verdict = judge(&comparison, 1.0);
        assert!(
            verdict.headline.starts_with("No verdict") && verdict.pick.is_empty(),
            "{}",
            verdict.headline
        );
    }

    #[test]
    fn without_the_servers_process_nothing_is_said_about_cpu_but_that_it_is_unknown() {
        let mut comparison = compared(&[1_000]);
        comparison.runs.iter_mut().for_each(|run| run.server = None);
        let verdict = judge(&comparison, 1.0);
        assert_eq!(verdict.pick, [Transport::Sse, Transport::Ws]);
        assert!(text(&verdict.reasons, "CPU").starts_with("Not known"));
        assert!(verdict.reasons.iter().all(|reason| reason.about != "Memory"));
    }
}
