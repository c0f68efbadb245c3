//! The simulation itself: it passes, it repeats itself, and it notices.

use tidewire_sim::cluster;
use tidewire_sim::mutant::Mutant;
use tidewire_sim::tally::Tally;
use tidewire_sim::world;

const STEPS: usize = 3_000;

#[test]
fn a_few_seeds_keep_every_invariant() {
    let tally = Tally::default();
    for seed in 0..30 {
        if let Err(failure) = world::run(seed, STEPS, None, &tally) {
            panic!("seed {seed}: {}\n{}", failure.violation, failure.story);
        }
    }
    for seen in ["fault: ", "barriers", "gaps: trimmed", "gaps: epoch", "resumes", "slow consumers", "drains"]
    {
        assert!(tally.sum(seen) > 0, "{seen} never happened\n{tally}");
    }
}

#[test]
fn a_seed_repeats_itself() {
    let [one, other] = [(); 2].map(|()| {
        let tally = Tally::default();
        world::run(7, STEPS, None, &tally).expect("seed 7 passes");
        tally.to_string()
    });
    assert_eq!(one, other);
}

#[test]
fn every_mutant_is_caught() {
    for mutant in Mutant::ALL {
        let caught = (0..60).find_map(|seed| world::run(seed, STEPS, Some(mutant), &Tally::default()).err());
        assert!(caught.is_some(), "{mutant:?} lives");
    }
}

/// Unoptimised, a seed takes half a minute: more of them, and the bugs put in on purpose, are tiers of their own.
const FEWER_STEPS: usize = 600;

#[test]
fn several_nodes_over_redis_keep_every_invariant() {
    let tally = Tally::default();
    for seed in 0..3 {
        if let Err(failure) = cluster::world::run(seed, FEWER_STEPS, None, &tally) {
            panic!("seed {seed}: {}\n{}", failure.violation, failure.story);
        }
    }
    for seen in ["fault: ", "resumes"] {
        assert!(tally.sum(seen) > 0, "{seen} never happened\n{tally}");
    }
}

#[test]
fn a_seed_of_several_nodes_repeats_itself() {
    let [one, other] = [(); 2].map(|()| {
        let tally = Tally::default();
        cluster::world::run(7, FEWER_STEPS, None, &tally).expect("seed 7 passes");
        tally.to_string()
    });
    assert_eq!(one, other);
}
