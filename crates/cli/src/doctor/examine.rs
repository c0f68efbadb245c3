//! In which order: who is there, what we may do, everything that answers at once, and last what takes waiting.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::args::Server;
use crate::exit::Failure;
use crate::show::print;
use crate::target::Target;
use crate::tls::Trust;

use super::args::Doctor;
use super::checks::answer::{self, Who};
use super::checks::{
    certificate, clock, compression, http2, idle, live, nodes, origin, polls, reach, requests, socket,
};
use super::finding::{Code, Verdict};
use super::fronts::Fronts;
use super::report::Report;
use super::route::{Answer, Route, STEP_MAX, seconds};

/// Redirects that are followed.
const HOPS_MAX: usize = 3;
/// How long the longest wait of a poll is watched: what clients ask for.
const POLL_WAIT_S: u64 = 25;
/// How long all may take that does not wait: that of --quick, with the second in which the rest is said.
const TALK_MAX: Duration = Duration::from_millis(9_500);
/// How long quiet connections may take to open and to be judged, beside being quiet.
const QUIET_MORE_MAX: Duration = Duration::from_secs(3);

/// Looks, and says what it found.
pub(crate) async fn run(asked: Doctor) -> Result<(), Failure> {
    asked.check()?;
    let target = Target::of(&asked.server())?;
    let began = Instant::now();
    let mut examination = Examination {
        asked: &asked,
        fronts: Fronts::default(),
        verdicts: Vec::new(),
        channel: None,
        are_apart: false,
        progress: Progress::default(),
    };
    let within = TALK_MAX + asked.idle().map_or(Duration::ZERO, |idle| idle + QUIET_MORE_MAX);
    if timeout(within, examination.run(target)).await.is_err() {
        let why = format!("what is not told of here was not done within {}", seconds(within));
        examination.verdicts.push(Verdict::wrong("the rest", Code::Unanswered, why));
    }
    examination.progress.end();
    let Examination { fronts, verdicts, channel, .. } = examination;
    let report = Report {
        url: asked.url.clone(),
        channel,
        origin: asked.origin.clone(),
        fronts,
        verdicts,
        took: began.elapsed(),
    };
    print(if asked.json { report.json() } else { report.text() }.as_bytes())?;
    report.outcome()
}

/// There is no going on; why stands in the verdicts.
struct Stop;

struct Examination<'a> {
    asked: &'a Doctor,
    fronts: Fronts,
    verdicts: Vec<Verdict>,
    /// The channel that is used, once one is.
    channel: Option<String>,
    /// Connections met different logs, so that nothing can be said by publishing and listening.
    are_apart: bool,
    progress: Progress,
}

impl Examination<'_> {
    /// Looks at everything, as far as it comes.
    async fn run(&mut self, target: Target) {
        self.progress.say("who is there");
        let Ok((route, protocol)) = self.arrive(target).await else { return };
        self.channel = Some(route.name().to_owned());
        let may_publish = self.may_publish(&route).await;
        self.progress.say("streams, sockets and polls");
        let passes = self.talk(&route, may_publish.is_ok(), protocol).await;
        if let Some(idle) = self.asked.idle() {
            self.progress.say(&format!("who cuts a quiet connection, for {}", seconds(idle)));
            self.keep_quiet(&route, idle, passes).await;
        }
    }

    /// Goes to where Tidewire answers, and says on the way what stood in it. With the route comes what ALPN chose.
    async fn arrive(&mut self, mut target: Target) -> Result<(Route, Option<Vec<u8>>), Stop> {
        for _ in 0..=HOPS_MAX {
            let (trust, protocol) = self.connect(&target).await?;
            target.trust = trust;
            let route = Route::new(target.clone(), self.asked.channel.as_deref());
            let request = route.get(&route.channel("answer"), &[]);
            let answered = match route.ask(request, STEP_MAX).await {
                Ok(answered) => answered,
                Err(why) => return self.stop(Verdict::wrong(answer::CHECK, Code::NotTidewire, why)),
            };
            self.fronts.look(&answered.headers);
            match answer::judge(&answered, target.token.is_some()) {
                Who::Tidewire => {
                    self.verdicts.push(Verdict::passed(answer::CHECK, said_by(&answered, &self.fronts)));
                    return Ok((route, protocol));
                }
                Who::Wrong(finding) => {
                    return self.stop(Verdict::of(answer::CHECK, vec![finding], ""));
                }
                Who::Elsewhere(to) => {
                    self.verdicts.push(answer::redirected(&target.url("/", &[]), &answered, &to));
                    target = self.follow(&target, &to).ok_or(Stop)?;
                }
            }
        }
        self.stop(Verdict::wrong(
            answer::CHECK,
            Code::NotTidewire,
            format!("it redirects more than {HOPS_MAX} times"),
        ))
    }

    /// Reaches the address, and shakes hands where it is TLS: whom to trust from here on, and what ALPN chose.
    async fn connect(&mut self, target: &Target) -> Result<(Option<Trust>, Option<Vec<u8>>), Stop> {
        let tried = reach::measure(target).await;
        let verdict = reach::judge(&target.host, &tried);
        if !reach::is_reached(&tried) {
            return self.stop(verdict);
        }
        self.verdicts.push(verdict);
        let Some(trust) = target.trust.clone() else { return Ok((None, None)) };
        let shaken = certificate::measure(target, &trust).await;
        let is_anybody_trusted = trust == Trust::Nobody;
        let verdict = certificate::judge(&target.host, &shaken, certificate::now_s(), is_anybody_trusted);
        let Ok(shaken) = shaken else { return self.stop(verdict) };
        self.verdicts.push(verdict);
        match shaken.doubt {
            None => Ok((Some(trust), shaken.protocol)),
            // Nothing of ours is shown to somebody who cannot say who he is.
            Some(_) if target.token.is_some() => {
                let why = "the token is not shown to a server whose certificate is not believed";
                self.stop(Verdict::left_out(answer::CHECK, why))
            }
            Some(_) => Ok((Some(Trust::Nobody), shaken.protocol)),
        }
    }

    /// The target of a redirect, as far as it is the same server's.
    fn follow(&mut self, from: &Target, to: &str) -> Option<Target> {
        let server = Server { url: base_of(from, to), ..self.asked.server() };
        let mut target = Target::of(&server).ok()?;
        if from.token.is_some() && !is_same_server(from, &target) {
            let why = format!("the token is not shown to `{}`; give that address", target.url("/", &[]));
            self.verdicts.push(Verdict::left_out(answer::CHECK, why));
            return None;
        }
        target.token = from.token.clone();
        Some(target)
    }

    /// Whether we may publish; if not, why not stands in the verdicts.
    async fn may_publish(&mut self, route: &Route) -> Result<(), ()> {
        let published = route.publish(&route.channel("rights"), "doctor").await;
        published.map(|_| ()).map_err(|why| self.verdicts.push(answer::judge_publish(&why)))
    }

    /// Everything that answers at once. Says whether what is said on a stream is heard.
    async fn talk(&mut self, route: &Route, may_publish: bool, protocol: Option<Vec<u8>>) -> bool {
        let logs = nodes::measure(route).await;
        // Between nodes that do not know of one another nothing that was published would be heard.
        self.are_apart = nodes::are_apart(&logs);
        let may_publish = may_publish && !self.are_apart;
        let heard = live::measure(route, may_publish).await;
        if let Some((_, head)) = &heard.head {
            self.fronts.look(&head.headers);
        }
        let passes = heard.passes();
        let origin = self.asked.origin.as_deref();
        let asked = async {
            match origin {
                Some(origin) => Some(origin::measure(route, origin).await),
                None => None,
            }
        };
        let hearing =
            async { if may_publish && passes { Some(nodes::measure_hearing(route).await) } else { None } };
        let together = async {
            tokio::join!(
                compression::measure(route, may_publish && passes),
                socket::measure(route, may_publish),
                http2::measure(route, protocol.as_deref()),
                polls::measure_long(route, may_publish),
                polls::measure_short(route, may_publish),
                requests::measure(route, may_publish),
                asked,
                hearing,
                route.ask(route.get(&route.channel("clock"), &[]), STEP_MAX),
            )
        };
        let first = [live::judge_first(&heard), live::judge_passing(&heard)];
        self.verdicts.extend(first);
        let (compressed, shaken, multiplexed, long, short, carried, origins, heard_by, dated) =
            together.await;
        self.verdicts.push(if passes || heard.head.is_some() {
            compression::judge(&compressed)
        } else {
            Verdict::left_out("compression", "there is no stream to compress")
        });
        self.verdicts.push(socket::judge(&shaken));
        self.verdicts.push(http2::judge(&multiplexed));
        self.verdicts.push(self.of_one_log(polls::judge_long(&long)));
        self.verdicts.push(self.of_one_log(polls::judge_short(&short)));
        self.verdicts.push(requests::judge(&carried));
        self.verdicts.push(origin::judge(origin, origins.as_ref()));
        self.verdicts.push(nodes::judge(&logs, heard_by.as_ref()));
        let front = dated.ok().and_then(|answer| clock::of_date(answer.header("date"), answer.at));
        let node = heard.dated.map(|(time_ms, at)| clock::of_message(time_ms, at));
        self.verdicts.push(clock::judge(clock::Clocks { front, node }));
        passes
    }

    /// Leaves a connection of each kind alone for a while, all at the same time.
    async fn keep_quiet(&mut self, route: &Route, idle: Duration, passes: bool) {
        let stream = async { if passes { Some(idle::watch_stream(route, idle).await) } else { None } };
        let wait_s = idle.as_secs().clamp(1, POLL_WAIT_S);
        let poll = async {
            let channel = route.channel("idle-poll");
            polls::wait(route, &channel, wait_s).await
        };
        let (stream, socket, poll) = tokio::join!(stream, idle::watch_socket(route, idle), poll);
        self.verdicts.push(match stream {
            Some(stream) => idle::judge(idle::STREAM, &stream),
            None => idle::left_out(idle::STREAM, "there is no stream, or it is held back"),
        });
        let opens = self
            .verdicts
            .iter()
            .any(|earlier| earlier.check == socket::CHECK && earlier.findings().is_empty());
        self.verdicts.push(match socket {
            Err(_) if !opens => idle::left_out(idle::SOCKET, "it does not open"),
            socket => idle::judge(idle::SOCKET, &socket),
        });
        let long = polls::Long { quiet: Some((Duration::from_secs(wait_s), poll)), woken: None };
        let verdict = self.of_one_log(polls::judge_long(&long));
        // One line for long polls: that of the longer wait, unless the shorter one was cut already.
        let earlier = self.verdicts.iter_mut().find(|earlier| earlier.check == verdict.check);
        if let Some(earlier) = earlier.filter(|earlier| earlier.findings().is_empty()) {
            *earlier = verdict;
        }
    }

    /// What a poll showed, unless its cursor may have been of another log.
    fn of_one_log(&self, verdict: Verdict) -> Verdict {
        if self.are_apart {
            Verdict::left_out(verdict.check, "the nodes are apart: see below")
        } else {
            verdict
        }
    }

    fn stop<T>(&mut self, verdict: Verdict) -> Result<T, Stop> {
        self.verdicts.push(verdict);
        Err(Stop)
    }
}

/// What stands before the channel in an address that `from` redirects to (RFC 3986 section 4.2).
fn base_of(from: &Target, to: &str) -> String {
    let to = match to.strip_prefix("//") {
        Some(_) if from.trust.is_some() => format!("https:{to}"),
        Some(_) => format!("http:{to}"),
        None if to.starts_with('/') => from.origin() + to,
        None => to.to_owned(),
    };
    to.split_once("/c/").map_or(to.as_str(), |(base, _)| base).to_owned()
}

/// Whether what is one server's is also the other's to see: the same port, or the usual step from HTTP to TLS. On another port
/// of the same host may be somebody else.
fn is_same_server(from: &Target, to: &Target) -> bool {
    let at = |target: &Target| (target.trust.is_some(), target.port);
    from.host == to.host && (at(from) == at(to) || (at(from), at(to)) == ((false, 80), (true, 443)))
}

fn said_by(answer: &Answer, fronts: &Fronts) -> String {
    let front = fronts.words().map(|words| format!(", through {words}")).unwrap_or_default();
    format!("by Tidewire{front}, in {:?}, after {}", answer.version, seconds(answer.took))
}

/// A line on standard error that says what takes so long, where somebody looks.
#[derive(Default)]
struct Progress {
    is_shown: bool,
}

impl Progress {
    fn say(&mut self, what: &str) {
        let mut err = std::io::stderr();
        if err.is_terminal() {
            self.is_shown = true;
            let _ = write!(err, "\r\x1b[Klooking at {what} …").and_then(|()| err.flush());
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let mut err = std::io::stderr();
            let _ = write!(err, "\r\x1b[K").and_then(|()| err.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::of(&Server { url: url.into(), ..Server::default() }).unwrap()
    }

    #[test]
    fn a_redirect_leads_where_it_says() {
        let from = target("https://rt.example/live");
        for (to, base) in [
            ("/other/c/doctor:1", "https://rt.example/other"),
            ("/c/doctor:1", "https://rt.example"),
            ("//ws.example/c/doctor:1", "https://ws.example"),
            ("http://rt.example/c/doctor:1?x", "http://rt.example"),
            ("https://rt.example/elsewhere", "https://rt.example/elsewhere"),
        ] {
            assert_eq!(base_of(&from, to), base);
        }
    }

    #[test]
    fn a_token_follows_a_redirect_to_the_same_server_alone() {
        let follows = |from: &str, to: &str| is_same_server(&target(from), &target(to));
        assert!(follows("http://rt.example", "https://rt.example/live"));
        assert!(follows("http://rt.example:8080", "http://rt.example:8080/live"));
        for (from, to) in [
            ("https://rt.example", "https://rt.example:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:9000"),
            ("http://rt.example:8080", "https://rt.example:8443"),
            ("https://rt.example", "http://rt.example"),
            ("https://rt.example", "https://other.example"),
        ] {
            assert!(!follows(from, to), "{from} {to}");
        }
    }
}
