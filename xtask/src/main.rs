//! The project's chores, one short verb each: `cargo xtask VERB`. CI speaks the same verbs.
//!
//! ```text
//! test         everything below but acme, otlp, book, msrv, release, rolling, upgrade, scan, siege, races, long faults, bench and fuzz, in tiers; the last line is `N passed, N failed`
//! fmt          rewrites the code as rustfmt has it
//! lint         rustfmt, clippy and rustdoc without a warning
//! deny         licences, bans and sources of the dependencies
//! unit         cargo test of the whole workspace, and loom's interleavings of the inbox
//! sim [SEEDS]  the seeded simulation, and whether its ledger catches bugs put in on purpose
//! e2e          npm's eventsource and ws, curl; Python's clients and raw sockets
//! tokio        the same against `engine.io=tokio`
//! epoll        the same against `engine.io=epoll`, without io_uring
//! examples     the programs of examples/, in every language that this machine has
//! conformance  the 517 Autobahn cases, as they are and over HTTP/2
//! http2        TLS and HTTP/2 from outside: frames, floods, WebSockets on streams, other people's clients
//! acme         certificates from an ACME server: clippy, unit tests and a binary with that feature, which is built beside the
//!              others in target/acme, against Debian's pebble; minutes
//! otlp         traces: the same with that feature, in target/otlp, exported to a collector of the tests; minutes
//! scan         every check of testssl.sh, and waits of the default length; minutes
//! proxies      a real nginx, HAProxy and Caddy in front
//! doctor       the same, told wrong things on purpose: `tidewire doctor` names them
//! hostile      clients that mean harm: sieges of seconds, and what brought other servers down
//! auth         who may come in: tickets, rights that end, keys that change, secrets that stay one
//! faults [...] real nodes and a real Redis that are killed, stopped, cut off, emptied and flooded, for ten minutes or
//!              `--seconds N`, `--rounds N`, `--seed N`, `--only F5,F8`; `faults --list` names them
//! cluster      nodes that share a Redis: replaced under load, deaf, failed over, refused, and emptied
//! rolling      twenty deploys of three nodes, each way, with its tally; minutes
//! upgrade [REV]  nodes of REV (the commit before) replaced by those of this one under load, and back, over one Redis; minutes
//! races        10 000 tickets with eight racers for each
//! siege        the sieges at their full size, against the default deadlines; minutes
//! metrics      what a node tells of itself, before a real Prometheus
//! costs        what a delivery costs in system calls and instructions
//! api          the HTTP surface against docs/openapi.yaml, by schemathesis
//! browser      Chromium and Firefox: their own EventSource and WebSocket, and every page, against payloads and for everybody
//! screenshots  a picture of every page, light and dark, wide and narrow, in target/screenshots; gates nothing
//! client       the browser client: its own tests, and Chromium and Firefox with servers and networks that fail
//! console      whether what the server embeds of the console is what its sources give
//! book         the documentation as a book, in target/book; builds mdBook into target/tools, which takes minutes once
//! snippets     every command and snippet of the README and of the book, dev mode's box, and the guides for who moves here
//! packaging    what is shipped around the binary: units, completions, manual pages, compose.yaml, the service manager's protocol
//! msrv         whether it compiles with the oldest Rust that it states, where there is one
//! licences     prints the licences of what the binary is made of
//! release      builds, packs, describes and tries a release of this commit, in target/release-VERSION
//! bench [...]  Tidewire beside the floor; prints figures, gates nothing on time
//! bench peers [...]  Tidewire beside nchan, uWebSockets, Socket.IO and others, which it installs; writes docs/benchmarks.md
//! fuzz [SECONDS]  every fuzz target for so long
//! ```

mod book;
mod licences;
mod machine;
mod previous;
mod release;
mod run;
mod schedule;
mod tally;
mod tier;

use std::process::ExitCode;

use tally::Tally;
use tier::Tier;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((verb, rest)) = arguments.split_first() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let seeds = rest.first().map_or(tier::SEEDS, String::as_str);
    let report = match verb.as_str() {
        "test" => schedule::everything(),
        "fmt" => return run::through("cargo", &["fmt", "--all"]),
        "bench" if rest.first().is_some_and(|figure| figure == "peers") => return bench_peers(&rest[1..]),
        "bench" => {
            let bench = ["run", "--release", "--package", "tidewire-benches", "--"];
            let arguments: Vec<&str> = bench.into_iter().chain(rest.iter().map(String::as_str)).collect();
            return run::through("cargo", &arguments);
        }
        "faults" => {
            let faults = ["run", "--release", "--package", "tidewire-faults", "--"];
            let arguments: Vec<&str> = faults.into_iter().chain(rest.iter().map(String::as_str)).collect();
            let built = schedule::with_binary(Tally::default);
            return if built.failed == 0 { run::through("cargo", &arguments) } else { ExitCode::FAILURE };
        }
        "fuzz" => schedule::fuzz(rest.first().map_or("60", String::as_str)),
        "lint" => schedule::in_turn([Tier::fmt(), Tier::clippy(), Tier::doc()]),
        "deny" => schedule::in_turn([Tier::deny()]),
        "unit" => schedule::in_turn([Tier::unit(), Tier::loom()]),
        "sim" => schedule::in_turn([
            Tier::sim(seeds),
            Tier::mutants(),
            Tier::sim_redis(seeds),
            Tier::mutants_redis(),
        ]),
        "e2e" => schedule::with_binary(|| schedule::in_turn([Tier::e2e(), Tier::python()])),
        "examples" => schedule::with_binary(|| schedule::in_turn([Tier::examples()])),
        "tokio" => schedule::with_binary(|| {
            schedule::in_turn([Tier::e2e().on_tokio("e2e tokio"), Tier::python().on_tokio("python tokio")])
        }),
        "conformance" => {
            schedule::with_binary(|| schedule::in_turn([Tier::conformance(), Tier::conformance_http2()]))
        }
        "http2" => schedule::with_binary(|| schedule::in_turn([Tier::http2()])),
        "acme" => schedule::acme(),
        "otlp" => schedule::otlp(),
        "scan" => schedule::with_binary(|| schedule::in_turn([Tier::scan()])),
        "proxies" => schedule::with_binary(|| schedule::in_turn([Tier::proxies()])),
        "doctor" => schedule::with_binary(|| schedule::in_turn([Tier::doctor()])),
        "hostile" => schedule::with_binary(|| schedule::in_turn([Tier::hostile()])),
        "auth" => schedule::with_binary(|| schedule::in_turn([Tier::auth()])),
        "cluster" => schedule::with_binary(|| schedule::in_turn([Tier::cluster()])),
        "rolling" => schedule::with_binary(|| schedule::in_turn([Tier::rolling()])),
        "upgrade" => {
            let revision = rest.first().map_or(previous::BEFORE, String::as_str).to_owned();
            schedule::with_binary(|| schedule::in_turn([Tier::upgrade(revision)]))
        }
        "races" => schedule::with_binary(|| schedule::in_turn([Tier::races()])),
        "siege" => schedule::with_binary(|| schedule::in_turn([Tier::siege()])),
        "metrics" => schedule::with_binary(|| schedule::in_turn([Tier::metrics()])),
        "costs" => schedule::with_binary(|| schedule::in_turn([Tier::costs()])),
        "epoll" => schedule::with_binary(|| {
            schedule::in_turn([Tier::e2e().on_epoll("e2e epoll"), Tier::python().on_epoll("python epoll")])
        }),
        "api" => schedule::with_binary(|| schedule::in_turn([Tier::api()])),
        "browser" => schedule::with_binary(|| schedule::in_turn([Tier::browser()])),
        "screenshots" => schedule::with_binary(|| schedule::in_turn([Tier::screenshots()])),
        "client" => schedule::with_binary(|| schedule::in_turn([Tier::client()])),
        "console" => schedule::in_turn([Tier::console()]),
        "book" => return book::build(),
        "licences" => return licences::print(),
        "snippets" => schedule::with_binary(|| schedule::in_turn([Tier::book()])),
        "packaging" => schedule::with_binary(|| schedule::in_turn([Tier::packaging()])),
        "msrv" => schedule::in_turn([Tier::msrv()]),
        "release" => release::make(rest),
        unknown => {
            eprintln!("there is no verb `{unknown}`\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!("{report}");
    if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Installs the peers, builds both binaries, and measures.
fn bench_peers(arguments: &[String]) -> ExitCode {
    let built = schedule::with_binary(Tally::default);
    match machine::peers() {
        Ok(mut bench) if built.failed == 0 => run::status(bench.args(arguments)),
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "cargo xtask test | fmt | lint | deny | unit | sim | e2e | examples | tokio | epoll | conformance | http2 | acme | otlp | scan | proxies | doctor | hostile | faults | cluster | rolling | upgrade | siege | auth | races | metrics | costs | api | browser | screenshots | client | console | book | snippets | packaging | msrv | release | bench | fuzz";
