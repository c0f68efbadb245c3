//! Screens as text. `UPDATE_SCREENS=1 cargo test -p tidewire-cli top` writes those of `screens/` anew.

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;

use super::{NODE, busy, figures, told};
use crate::top::draw::draw;
use crate::top::plain::Plain;
use crate::top::state::{News, State, View};

fn screen(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| _ = draw(state, frame.area(), frame.buffer_mut())).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y: u16| {
        let cells: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        cells.trim_end().to_owned() + "\n"
    };
    (0..height).map(line).collect()
}

/// Compares a screen with the one that was looked at and found good.
fn check(name: &str, state: &State, width: u16, height: u16) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/top/tests/screens/{name}.txt"));
    let drawn = screen(state, width, height);
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(&path, &drawn).unwrap();
    }
    let good = std::fs::read_to_string(&path).unwrap();
    assert_eq!(drawn, good, "{name}:\n{drawn}");
    drawn
}

fn of(mut state: State, view: View) -> State {
    state.view = view;
    state
}

#[test]
fn a_screen_of_80_by_24_has_everything() {
    check("nodes", &busy(), 80, 24);
    check("channels", &of(busy(), View::Channels), 80, 24);
    check("connections", &of(busy(), View::Connections), 80, 24);
    check("refusals", &of(busy(), View::Refusals), 80, 24);
}

#[test]
fn a_larger_screen_has_more_columns_and_higher_graphs() {
    check("connections-140", &of(busy(), View::Connections), 140, 40);
    check("refusals-140", &of(busy(), View::Refusals), 140, 40);
}

#[test]
fn nodes_of_a_cluster_stand_side_by_side_and_a_silent_one_is_told() {
    let mut state = busy();
    for (number, at_ms) in [(2, 60_000), (1, 70_000)] {
        let mut figures = figures(&format!("web-{number}:8080-00000{number}"), 60.0, 6_000.0);
        figures.broker = serde_json::from_value(serde_json::json!({
            "kind": "redis", "state": "ready", "lag_ms": 12, "probe_us": 300, "waiting": 0,
        }))
        .unwrap();
        state.hear(told(figures), at_ms);
        (60..=at_ms / 1_000).for_each(|second| state.tick(second * 1_000));
    }
    state.hear(told(figures(NODE, 192.0, 19_194.0)), 70_000);
    let drawn = check("cluster", &state, 80, 24);
    assert!(drawn.contains("3 nodes, 1 silent") && drawn.contains("silent 9 s"), "{drawn}");
}

#[test]
fn a_cut_says_since_when_and_when_it_is_tried_again() {
    let mut state = busy();
    state.hear(
        News::Cut { why: "cannot reach 127.0.0.1:8080: Connection refused".into(), again_in_ms: 2_000 },
        60_000,
    );
    state.tick(62_100);
    let drawn = check("cut", &state, 80, 24);
    assert!(
        drawn.contains("cut off")
            && drawn.contains("Last heard 3 s ago, trying again now: Connection refused"),
        "{drawn}"
    );
}

#[test]
fn the_help_fits_the_smallest_screen() {
    let mut state = busy();
    state.press(KeyCode::Char('?'));
    let drawn = check("help", &state, 80, 24);
    assert!(drawn.contains("until the broker has the console's own message"));
    assert!(screen(&state, 60, 16).contains("q Esc Ctrl-C"));
}

#[test]
fn before_anything_was_heard_it_says_what_it_waits_for() {
    let drawn = check("opening", &State::new("127.0.0.1:8080"), 80, 24);
    assert!(drawn.contains("Waiting for the first figures."));
}

#[test]
fn a_screen_that_is_too_small_says_so_and_no_size_is_too_much() {
    let state = busy();
    assert!(
        screen(&state, 40, 10).contains("The terminal has 40×10; this takes"),
        "{}",
        screen(&state, 40, 10)
    );
    for view in View::ALL {
        for (width, height) in [(1, 1), (0, 0), (60, 16), (61, 17), (79, 23), (300, 100), (1_000, 16)] {
            let mut state = of(busy(), view);
            state.selected = usize::MAX;
            screen(&state, width, height);
        }
    }
}

#[test]
fn no_number_is_too_large_to_be_drawn() {
    const MOST: u64 = u64::MAX;
    let figures = |node: &str| {
        let said = serde_json::json!({
            "node": node, "time": MOST, "uptime_ms": MOST, "queued_bytes": MOST, "slow_consumers": MOST,
            "connections": { "sse": MOST, "ws": MOST, "poll": MOST, "http": MOST, "all": MOST },
            "rates": { "published": 1e308, "delivered": 1e308, "bytes_out": -1e308 },
            "gaps": { "epoch": MOST }, "refusals": { "forbidden": MOST }, "channels": MOST, "memory_bytes": MOST,
            "history_messages": MOST, "history_bytes": MOST, "cpu_percent": 1e308, "placed_us": MOST,
            "broker": { "kind": "redis", "state": "ready", "lag_ms": MOST, "probe_us": MOST, "waiting": MOST },
        });
        told(serde_json::from_value(said).unwrap())
    };
    let connection = serde_json::json!({ "channel_count": MOST, "age_ms": MOST, "backlog_bytes": MOST });
    let connections = serde_json::json!({ "connections": [connection], "matching": MOST });
    let mut state = State::new("127.0.0.1:8080");
    for second in [1, 2] {
        state.hear(figures("a:1-000001"), second * 1_000);
        state.hear(figures("b:1-000002"), second * 1_000);
        state.hear(
            News::Connections(Ok(serde_json::from_value(connections.clone()).unwrap())),
            second * 1_000,
        );
        state.tick(second * 1_000 + 500);
    }
    for view in View::ALL {
        state.view = view;
        for (width, height) in [(60, 16), (500, 200)] {
            assert!(
                !screen(&state, width, height).contains("00000000"),
                "no figure is hundreds of digits long"
            );
        }
    }
}

#[test]
fn nothing_that_a_client_wrote_reaches_the_terminal_as_an_order() {
    for view in View::ALL {
        let mut state = of(busy(), view);
        let mut figures = figures(NODE, 1.0, 1.0);
        figures.phase = Plain::of("\u{1b}[31mready");
        state.hear(told(figures), 60_500);
        state.hear(News::Cut { why: "a\u{1b}[2Jb".into(), again_in_ms: 0 }, 61_000);
        let drawn = screen(&state, 200, 40);
        let orders = drawn.chars().filter(|char| char.is_control() && *char != '\n').count();
        assert_eq!(orders, 0, "{drawn:?}");
        assert!(drawn.contains("a�[2Jb") && drawn.contains("�[31mready"));
    }
}
