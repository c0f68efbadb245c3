//! The rules of the fence: with all of them nothing goes wrong in any order of events, and without any one something does.

use stateright::{Checker as _, HasDiscoveries, Model as _};
use tidewire_fence::{Fence, NEVER_SILENT, NO_FALSE_GAP, ONE_NAME, Rules};

/// Two promotions; nobody dies.
fn promotions(rules: Rules) -> Fence {
    Fence { rules, publishes: 2, failovers: 2, deaths: 0 }
}

/// One promotion, and a node that dies when it likes.
fn a_death(rules: Rules) -> Fence {
    Fence { rules, publishes: 3, failovers: 1, deaths: 1 }
}

/// The first fact that does not hold, with the way there.
fn broken(model: Fence) -> Option<(&'static str, String)> {
    let search = model.checker().finish_when(HasDiscoveries::AnyFailures);
    let search = search.spawn_bfs().join();
    println!("{model:?}: {} states", search.unique_state_count());
    [ONE_NAME, NEVER_SILENT, NO_FALSE_GAP].into_iter().find_map(|fact| {
        let way = search.discovery(fact)?.into_actions();
        println!("{fact}: {way:?}");
        Some((fact, format!("{way:?}")))
    })
}

fn breaks(model: Fence, fact: &str) {
    assert_eq!(broken(model).map(|(fact, _)| fact), Some(fact));
}

#[test]
fn r17_whatever_was_acknowledged_is_delivered_or_announced_after_any_two_promotions() {
    assert_eq!(broken(promotions(Rules::ALL)), None);
}

#[test]
fn r17_the_same_holds_where_a_node_dies() {
    assert_eq!(broken(a_death(Rules::ALL)), None);
}

#[test]
fn r15_without_a_new_generation_an_id_names_two_messages() {
    breaks(promotions(Rules { fence: false, ..Rules::ALL }), ONE_NAME);
}

#[test]
fn r17_without_witnesses_a_lost_tail_is_silent() {
    breaks(promotions(Rules { witness: false, ..Rules::ALL }), NEVER_SILENT);
}

#[test]
fn r17_who_tells_of_its_last_generation_alone_forgets_what_was_acknowledged_before() {
    breaks(promotions(Rules { every_generation: false, ..Rules::ALL }), NEVER_SILENT);
}

#[test]
fn r17_a_generation_that_nobody_knows_any_more_was_one_all_the_same() {
    breaks(promotions(Rules { dead_generations: false, ..Rules::ALL }), NEVER_SILENT);
}

#[test]
fn r17_a_witness_that_died_without_a_word_would_be_missed() {
    breaks(a_death(Rules { dead_witness: false, ..Rules::ALL }), NEVER_SILENT);
}

#[test]
fn r17_a_node_that_went_back_to_a_server_it_had_left_could_die_with_what_it_saw_there() {
    breaks(a_death(Rules { no_return: false, ..Rules::ALL }), NEVER_SILENT);
}
