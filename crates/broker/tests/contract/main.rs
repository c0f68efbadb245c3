//! The contract that every broker passes: one suite, a list of facts for each backend, and what only several nodes can show.
//! In the simulation the same broker runs over a model of Redis (`tests/sim`), where time, lag and loss are turned by hand.

#![allow(clippy::unwrap_used)] // The suite's own words are not test functions, yet a panic is their report too.

mod backends;
mod bench;
mod nodes;
#[path = "../support/server.rs"]
#[allow(dead_code)] // The tests of the log need more of it.
mod server;
mod suite;

macro_rules! contract {
    ($backend:ident: $($fact:ident)*) => {
        mod $backend {
            $(#[test] fn $fact() { crate::suite::$fact(crate::backends::$backend); })*
        }
    };
}

contract! { memory:
    r1_subscribers_see_messages_in_the_order_of_their_ids
    r5_a_gap_on_one_channel_begins_at_the_cursor_of_the_others
    r5_a_trimmed_history_is_a_gap_that_says_where_it_is_whole_again
    r6_a_start_with_tail_or_earliest_has_no_position
    r6_an_outlet_is_told_how_far_it_has_been_fed
    r7_a_cursor_of_another_log_is_a_gap_and_everything_that_is_kept
    r8_a_message_names_the_one_before_it_on_its_channel
    r9_history_and_feed_meet_without_hole_or_repeat
    r10_who_is_far_behind_gets_pages_and_joins_with_the_last
    r12_interest_ends_when_as_many_have_left_as_joined
    r13_an_outlet_that_was_full_catches_up_in_order
    r13_what_was_trimmed_behind_a_barrier_is_announced
    r22_a_full_key_table_refuses_and_never_forgets_early
    r22_a_key_is_forgotten_after_its_time
    r22_a_repeated_key_happens_once_and_another_payload_conflicts
    r23_a_drain_refuses_new_publishes_and_repeats_old_answers
    s6_only_who_joins_is_told_of_and_before_the_admit_is_there
    s37_histories_keep_to_the_memory_budget_and_say_so
    a_namespace_keeps_as_many_as_its_own_rule_says
    a_namespace_keeps_by_rules_of_its_own
    another_ttl_holds_for_what_is_kept_already
    other_retentions_hold_for_what_is_kept_already
    a_message_keeps_the_trace_of_its_publish
    a_long_poll_joins_only_when_nothing_waits_for_it
    a_page_is_bounded_by_bytes_too_and_never_empty
    channels_are_bounded_and_idle_ones_make_room
    messages_older_than_the_ttl_are_trimmed
}

// Not here, since it is rightly otherwise:
// - what lasts by time: Redis expires by its own clock, a stream as a whole when its newest message is over;
// - the budget for histories bounds what a node remembers, and not what is kept: that is `maxmemory`, whose refusal is
//   `broker_full` (`redis_log`, R15);
// - a full table of keys: keys are Redis's, and expire there;
// - a drain: what is published can be read on other nodes, so nothing is refused;
// - the bound on channels: it bounds those that a node follows, and nobody publishes to those.
contract! { redis:
    r1_subscribers_see_messages_in_the_order_of_their_ids
    r5_a_gap_on_one_channel_begins_at_the_cursor_of_the_others
    r5_a_trimmed_history_is_a_gap_that_says_where_it_is_whole_again
    r6_a_start_with_tail_or_earliest_has_no_position
    r6_an_outlet_is_told_how_far_it_has_been_fed
    r7_a_cursor_of_another_log_is_a_gap_and_everything_that_is_kept
    r8_a_message_names_the_one_before_it_on_its_channel
    r9_history_and_feed_meet_without_hole_or_repeat
    r10_who_is_far_behind_gets_pages_and_joins_with_the_last
    r12_interest_ends_when_as_many_have_left_as_joined
    r13_an_outlet_that_was_full_catches_up_in_order
    r13_what_was_trimmed_behind_a_barrier_is_announced
    r22_a_repeated_key_happens_once_and_another_payload_conflicts
    s6_only_who_joins_is_told_of_and_before_the_admit_is_there
    a_namespace_keeps_as_many_as_its_own_rule_says
    other_retentions_hold_for_what_is_kept_already
    a_message_keeps_the_trace_of_its_publish
    a_long_poll_joins_only_when_nothing_waits_for_it
    a_page_is_bounded_by_bytes_too_and_never_empty
}
