//! What is run, in which order, and what beside what. The quickest to fail comes first.

use std::thread;

use crate::run;
use crate::tally::Tally;
use crate::tier::{SEEDS, Tier};

/// Everything that CI runs.
///
/// What is quick to fail goes first, one after another, since each takes both cores. Then there are two lanes: tiers that
/// look at the clock one after another in the one, most of which wait more than they work, and beside them, at a lower
/// priority, those that ask for nothing but time of a core.
pub fn everything() -> Tally {
    let mut total = in_turn([Tier::fmt(), Tier::clippy(), Tier::unit()]);
    total += with_binary(|| {
        let patient = thread::spawn(|| in_turn(patient_tiers()));
        let mut total = in_turn([
            Tier::e2e(),
            Tier::python(),
            Tier::examples(),
            Tier::proxies(),
            Tier::browser(),
            Tier::client(),
            Tier::console(),
            Tier::book(),
            Tier::packaging(),
            Tier::http2(),
            Tier::hostile(),
            Tier::api(),
            Tier::metrics(),
            Tier::costs(),
        ]);
        // All wait more than they work: for rights that end, for links that are given up, and for who cuts what is quiet.
        total += beside([Tier::auth(), Tier::cluster(), Tier::doctor()]);
        total += Tier::faults().run();
        // One suite, every outlet: what the sockets' event loops do, hyper in front of them must do too.
        total += in_turn([
            Tier::e2e().on_epoll("e2e epoll"),
            Tier::e2e().on_tokio("e2e tokio"),
            Tier::python().on_tokio("python tokio"),
        ]);
        total + patient.join().unwrap_or(Tally { passed: 0, failed: 1 })
    });
    total
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

/// Builds the binary and runs what looks at it. Without a new binary nothing is run: what an old one does says nothing.
pub fn with_binary(tiers: impl FnOnce() -> Tally) -> Tally {
    let mut total = Tier::release().run();
    if total.failed == 0 {
        total += tiers();
    } else {
        println!("there is no binary to look at; the tiers that need one were not run");
    }
    total
}

/// What is only there with the feature `acme`. It is left out of [`everything`], since it has all be built twice.
pub fn acme() -> Tally {
    in_turn([Tier::clippy_acme(), Tier::unit_acme()]) + built(Tier::release_acme(), Tier::acme())
}

/// The same for the feature `otlp`.
pub fn otlp() -> Tally {
    in_turn([Tier::clippy_otlp(), Tier::unit_otlp()]) + built(Tier::release_otlp(), Tier::otlp())
}

/// Builds a binary, and looks at it if there is one.
fn built(binary: Tier, look: Tier) -> Tally {
    let built = binary.run();
    if built.failed > 0 {
        println!("there is no binary to look at; its tests were not run");
        return built;
    }
    built + look.run()
}

/// Runs tiers one after another. A failure does not keep the rest from being tried.
pub fn in_turn(tiers: impl IntoIterator<Item = Tier>) -> Tally {
    let mut total = Tally::default();
    for tier in tiers {
        total += tier.run();
    }
    total
}

/// Runs tiers at the same time.
fn beside(tiers: impl IntoIterator<Item = Tier>) -> Tally {
    let running: Vec<_> = tiers.into_iter().map(|tier| thread::spawn(move || tier.run())).collect();
    let mut total = Tally::default();
    for tier in running {
        total += tier.join().unwrap_or(Tally { passed: 0, failed: 1 });
    }
    total
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
