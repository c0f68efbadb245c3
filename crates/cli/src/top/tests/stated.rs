//! What is known after what was heard.

use ratatui::crossterm::event::KeyCode;

use super::{NODE, busy, figures, opened, told};
use crate::top::plain::Plain;
use crate::top::state::{Link, News, Order, Pressed, State, View};
use crate::top::tables::{Mark, table};

fn press(state: &mut State, keys: &str) {
    for key in keys.chars() {
        assert_eq!(state.press(KeyCode::Char(key)), Pressed::Nothing, "{key}");
    }
}

fn first_cells(state: &State) -> Vec<String> {
    let shown = table(state.shown(), state.view, state.order(), &state.filter);
    shown.rows.into_iter().map(|row| row.cells[0].clone()).collect()
}

#[test]
fn nodes_are_summed_and_one_that_is_silent_does_not_count() {
    let mut state = State::new("a:1");
    state.hear(told(figures("a:1-000001", 10.0, 100.0)), 1_000);
    state.hear(told(figures("b:1-000002", 20.0, 200.0)), 1_000);
    let totals = state.shown().totals().unwrap();
    assert_eq!((totals.published, totals.delivered, totals.all), (30.0, 300.0, 2_428));
    state.hear(told(figures("a:1-000001", 10.0, 100.0)), 5_000);
    assert_eq!(state.shown().totals().unwrap().delivered, 100.0, "b has been silent for four seconds");
    let shown = table(state.shown(), View::Nodes, Order::Name, "");
    assert_eq!((shown.rows[1].cells[1].as_str(), shown.rows[1].mark), ("silent 4 s", Mark::Stale));
    state.tick(61_000);
    assert_eq!(state.shown().nodes.len(), 1, "and is forgotten after a minute");
}

#[test]
fn what_is_placed_in_a_log_that_nodes_share_is_counted_once() {
    let mut state = State::new("a:1");
    for node in ["a:1-000001", "b:1-000002"] {
        let mut figures = figures(node, 50.0, 100.0);
        figures.broker.kind = Plain::of("redis");
        state.hear(told(figures), 1_000);
    }
    let totals = state.shown().totals().unwrap();
    assert_eq!((totals.published, totals.delivered), (50.0, 200.0));
}

#[test]
fn a_node_that_was_started_again_is_not_shown_twice() {
    let mut state = State::new("a:1");
    state.hear(told(figures("[::1]:8080-000001", 1.0, 1.0)), 0);
    state.hear(told(figures("[::1]:8080-000002", 1.0, 1.0)), 500);
    state.hear(told(figures("web-1:8080-000003", 1.0, 1.0)), 500);
    let names: Vec<String> = state.shown().nodes.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["[::1]:8080-000002", "web-1:8080-000003"]);
}

#[test]
fn a_cut_is_told_with_its_reason_and_ends_with_the_next_figures() {
    let mut state = busy();
    state.hear(News::Cut { why: "cannot reach a:1".into(), again_in_ms: 2_000 }, 61_000);
    assert_eq!(state.heard().link, Link::Cut { why: Plain::of("cannot reach a:1"), again_at_ms: 63_000 });
    state.tick(64_100);
    assert_eq!((state.heard().silent_ms(), state.heard().totals()), (Some(5_000), None));
    assert!(state.heard().latest().is_some(), "what was known last stays to be looked at");
    state.hear(opened(NODE), 65_000);
    state.hear(told(figures(NODE, 1.0, 2.0)), 65_100);
    assert_eq!((&state.heard().link, state.heard().totals().unwrap().delivered), (&Link::Live, 2.0));
    let gone = state.heard().seconds.iter().filter(|second| second.totals.is_none()).count();
    assert!(gone > 0, "the graph shows when nothing was known");
}

#[test]
fn a_second_of_which_nothing_is_known_is_none_without_messages() {
    let mut state = State::new("a:1");
    state.tick(3_000);
    assert!(state.shown().seconds.iter().all(|second| second.totals.is_none()));
    state.tick(u64::MAX / 2);
    assert_eq!(state.shown().seconds.len(), 600, "whoever slept long has a bound too");
}

#[test]
fn slow_readers_come_first_and_a_rate_is_known_from_the_second_look_on() {
    let mut state = busy();
    state.view = View::Connections;
    assert_eq!(first_cells(&state), ["256 KiB", "0 B", "0 B"]);
    assert_eq!(table(state.shown(), state.view, state.order(), "").rows[0].mark, Mark::Slow);
    state.view = View::Channels;
    let rows = table(state.shown(), state.view, state.order(), "").rows;
    let rates: Vec<&str> = rows.iter().map(|row| row.cells[1].as_str()).collect();
    assert_eq!(rates, ["450", "15", "0"]);
}

#[test]
fn keys_change_what_is_shown() {
    let mut state = busy();
    state.press(KeyCode::Tab);
    assert_eq!((state.view, state.order()), (View::Channels, Order::Rate));
    press(&mut state, "sss");
    assert_eq!(
        (state.order(), first_cells(&state)),
        (Order::Name, ["chat:42", "prices", "user:alice"].map(String::from).into())
    );
    press(&mut state, "/aliceq");
    assert_eq!((state.filter.as_str(), state.is_typing), ("aliceq", true), "q is a letter here");
    state.press(KeyCode::Backspace);
    state.press(KeyCode::Enter);
    assert_eq!(
        (first_cells(&state), state.wanted().filter),
        (vec!["user:alice".to_owned()], "alice".to_owned())
    );
    assert_eq!(
        (state.press(KeyCode::Esc), state.filter.as_str()),
        (Pressed::Nothing, ""),
        "first the filter goes"
    );
    state.press(KeyCode::BackTab);
    state.press(KeyCode::Left);
    assert_eq!(state.view, View::Refusals);
    press(&mut state, "?");
    assert!(state.is_help_open);
    assert_eq!(state.press(KeyCode::Esc), Pressed::Nothing, "then the help");
    assert!(!state.is_help_open);
    assert_eq!(state.press(KeyCode::Esc), Pressed::Quit);
    assert_eq!(state.press(KeyCode::Char('q')), Pressed::Quit);
}

#[test]
fn a_pause_holds_the_picture_and_not_the_news() {
    let mut state = busy();
    press(&mut state, "p");
    state.hear(told(figures(NODE, 7.0, 7.0)), 61_000);
    assert!(state.is_paused() && state.shown().latest().unwrap().published != 7.0);
    press(&mut state, "p");
    assert_eq!(state.shown().latest().unwrap().published, 7.0);
}

#[test]
fn a_filter_is_bounded_and_holds_nothing_that_a_terminal_obeys() {
    let mut state = busy();
    press(&mut state, "/");
    (0..100).for_each(|_| _ = state.press(KeyCode::Char('\u{9b}')));
    assert_eq!(state.filter, "\u{fffd}".repeat(64));
}

#[test]
fn a_list_that_is_not_to_be_had_says_why() {
    let mut state = busy();
    state.hear(
        News::Connections(Err("the connections are being looked at already (overloaded).".into())),
        61_000,
    );
    state.view = View::Connections;
    let shown = table(state.shown(), state.view, state.order(), "");
    assert!(shown.note.starts_with("not heard: the connections are"), "{}", shown.note);
    assert_eq!(shown.rows.len(), 3, "and what was heard before stays");
}
