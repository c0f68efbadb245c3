//! What is run, in which order, and what beside what. The quickest to fail comes first.

use std::thread::{self, JoinHandle};

use crate::machine;
use crate::run;
use crate::tally::Tally;
use crate::tier::{SEEDS, Tier};

/// Everything that CI runs.
///
/// First the code is judged, which takes both cores; the binary is built in what time that leaves, and what the machine lacks is
/// fetched. Then there are lanes, each of which takes its tiers one after another: two that wait more than they work, the one for
/// browsers and the other for everybody else; and at a lower priority one for those that ask for nothing but time of a core. At
/// last, alone, those that would not bear company.
pub fn everything() -> Tally {
    let binary = thread::spawn(|| Tier::release().patient().run());
    // Whoever needs what cannot be had will say so.
    let machine = thread::spawn(machine::ready);
    let mut total = in_turn([Tier::fmt(), Tier::clippy(), Tier::unit()]);
    let _ = machine.join();
    total += with(joined(binary), || {
        let lanes = [
            thread::spawn(|| in_turn(patient_tiers())),
            thread::spawn(|| in_turn(browser_tiers())),
            thread::spawn(|| {
                // The last three wait more than all others: for rights that end, for links that are given up, and for who
                // cuts what is quiet.
                in_turn(wire_tiers()) + beside([Tier::auth(), Tier::cluster(), Tier::doctor()])
            }),
        ];
        lanes.into_iter().map(joined).sum::<Tally>() + in_turn([Tier::faults(), Tier::costs()])
    });
    total
}

/// Browsers, and the pages that they are shown.
fn browser_tiers() -> Vec<Tier> {
    vec![Tier::browser(), Tier::client(), Tier::console(), Tier::book()]
}

/// Other people's clients, and bytes that no client would send.
fn wire_tiers() -> Vec<Tier> {
    vec![
        Tier::e2e(),
        Tier::python(),
        Tier::examples(),
        Tier::proxies(),
        Tier::packaging(),
        Tier::http2(),
        Tier::hostile(),
        Tier::api(),
        Tier::metrics(),
        // One suite, every outlet: what the sockets' event loops do, hyper in front of them must do too.
        Tier::e2e().on_epoll("e2e epoll"),
        Tier::e2e().on_tokio("e2e tokio"),
        Tier::python().on_tokio("python tokio"),
    ]
}

/// Those that end as they end, however long they take.
fn patient_tiers() -> Vec<Tier> {
    let tiers = [
        Tier::conformance(),
        Tier::conformance_http2(),
        Tier::sim(SEEDS),
        Tier::sim_redis(SEEDS),
        Tier::mutants(),
        Tier::mutants_redis(),
        Tier::loom(),
        Tier::doc(),
        Tier::clippy_bare(),
        Tier::deny(),
    ];
    tiers.into_iter().map(Tier::patient).collect()
}

/// Builds the binary and runs what looks at it.
pub fn with_binary(tiers: impl FnOnce() -> Tally) -> Tally {
    with(Tier::release().run(), tiers)
}

/// Runs what looks at a binary that was `built`. Without a new one nothing is run: what an old one does says nothing.
fn with(built: Tally, tiers: impl FnOnce() -> Tally) -> Tally {
    if built.failed > 0 {
        println!("there is no binary to look at; the tiers that need one were not run");
        return built;
    }
    built + tiers()
}

/// What is only there with the feature `acme`. It is left out of [`everything`], since it has all be built twice.
pub fn acme() -> Tally {
    in_turn([Tier::clippy_acme(), Tier::unit_acme()])
        + with(Tier::release_acme().run(), || Tier::acme().run())
}

/// The same for the feature `otlp`.
pub fn otlp() -> Tally {
    in_turn([Tier::clippy_otlp(), Tier::unit_otlp()])
        + with(Tier::release_otlp().run(), || Tier::otlp().run())
}

/// Runs tiers one after another. A failure does not keep the rest from being tried.
pub fn in_turn(tiers: impl IntoIterator<Item = Tier>) -> Tally {
    tiers.into_iter().map(Tier::run).sum()
}

/// Runs tiers at the same time.
fn beside(tiers: impl IntoIterator<Item = Tier>) -> Tally {
    let running: Vec<_> = tiers.into_iter().map(|tier| thread::spawn(move || tier.run())).collect();
    running.into_iter().map(joined).sum()
}

/// What a thread came to. One that panicked has failed.
fn joined(running: JoinHandle<Tally>) -> Tally {
    running.join().unwrap_or(Tally { passed: 0, failed: 1 })
}

/// Every fuzz target, for `seconds` each.
pub fn fuzz(seconds: &str) -> Tally {
    let targets = run::command("cargo", &["metadata", "--no-deps", "--format-version=1"])
        .current_dir(run::repository().join("fuzz"))
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let mut total = Tally::default();
    for target in binaries(&targets) {
        total += Tier::fuzz(target, seconds).run();
    }
    total
}

/// The names of the binary targets in cargo's metadata, which is JSON of a shape that does not change.
fn binaries(metadata: &str) -> Vec<String> {
    let targets = metadata.split("\"kind\":[\"bin\"]").skip(1);
    let name = |text: &str| Some(text.split_once("\"name\":\"")?.1.split_once('"')?.0.to_owned());
    targets.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_targets_are_found_in_cargos_metadata() {
        let metadata = r#"{"targets":[{"kind":["bin"],"crate_types":["bin"],"name":"http1_head","src_path":"x"},
            {"kind":["lib"],"name":"not_me"},{"kind":["bin"],"crate_types":["bin"],"name":"cursor"}]}"#;
        assert_eq!(binaries(metadata), ["http1_head", "cursor"]);
    }
}
