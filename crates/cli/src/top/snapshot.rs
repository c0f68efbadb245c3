//! One look, printed: as text for people and logs, or as JSON for scripts, once or a line a second.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::exit::Failure;
use crate::show::print;

use super::console::Console;
use super::numbers::{bytes, count, micros, percent, plural, rate, span};
use super::screen::ended;
use super::state::{Heard, Link, News, Order, State, View, Wanted};
use super::tables::{Table, reasons, table};
use super::watch::{NEWS_MAX, figures, list};

/// How long is listened before the first look: a node says what it does once a second, and the others of its cluster begin
/// to when they notice that somebody listens.
const LISTENED: Duration = Duration::from_millis(2_600);

/// How long the first figures may take.
const FIRST_MAX: Duration = Duration::from_secs(10);

/// Rows of a table in the text. JSON has all that were heard.
const ROWS_MAX: usize = 10;

/// Prints one look, or as JSON one a second until the output is closed.
///
/// # Errors
/// Nothing is heard, the console does not let us in any more, or the output is closed.
pub(super) async fn show(
    console: &Console,
    mut state: State,
    is_json: bool,
    is_once: bool,
) -> Result<(), Failure> {
    let (told, mut news) = mpsc::channel(NEWS_MAX);
    tokio::select! {
        // Whoever has logged in logs out, then too.
        () = ended() => match is_once {
            true => Err(Failure::Runtime("it was ended before it had looked".into())),
            false => Ok(()),
        },
        outcome = figures(console, &told) => outcome,
        outcome = look(console, &mut state, &mut news, is_json, is_once) => outcome,
    }
}

async fn look(
    console: &Console,
    state: &mut State,
    news: &mut mpsc::Receiver<News>,
    is_json: bool,
    is_once: bool,
) -> Result<(), Failure> {
    let began = Instant::now();
    let now_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    lists(console, state, &now_ms).await;
    let silent = || {
        Failure::TryAgain(format!(
            "no figures came from {} for {} s",
            console.target.authority,
            FIRST_MAX.as_secs()
        ))
    };
    while state.heard().own().is_none() {
        let some =
            timeout(FIRST_MAX.saturating_sub(began.elapsed()), news.recv()).await.map_err(|_| silent())?;
        if let Some(News::Cut { why, .. }) = &some {
            return Err(Failure::TryAgain(why.clone()));
        }
        state.hear(some.ok_or_else(silent)?, now_ms());
    }
    let is_shared = state.heard().own().is_some_and(|own| own.figures.broker.is_shared());
    // Long enough from the first look that the second tells rates.
    let mut next = if is_shared { began + LISTENED } else { Instant::now() + Duration::from_secs(1) };
    loop {
        loop {
            tokio::select! {
                () = sleep_until(next) => break,
                some = news.recv() => match some {
                    Some(some) => state.hear(some, now_ms()),
                    None => return Ok(()),
                },
            }
        }
        state.tick(now_ms());
        let asked = Instant::now();
        lists(console, state, &now_ms).await;
        if is_json {
            print(format!("{}\n", object(state.heard())).as_bytes())?;
        } else {
            print(text(state.heard()).as_bytes())?;
        }
        if is_once {
            return Ok(());
        }
        // What costs the node much is looked at less often.
        next = asked + Duration::from_secs(1).max(asked.elapsed() * 10);
    }
}

async fn lists(console: &Console, state: &mut State, now_ms: &dyn Fn() -> u64) {
    for view in [View::Channels, View::Connections, View::Refusals] {
        let wanted = Wanted { view, order: view.orders()[0], filter: String::new() };
        if let Some(news) = list(console, &wanted).await {
            state.hear(news, now_ms());
        }
    }
}

/// Everything that was heard.
fn object(heard: &Heard) -> Value {
    let nodes = heard.nodes.values().map(|node| {
        let mut said = json!(node.figures);
        said["silent_ms"] = json!(heard.now_ms.saturating_sub(node.heard_at_ms));
        said
    });
    let channels = heard.channels.list.as_ref().map(|list| json!(list.channels));
    let connections = heard.connections.list.as_ref().map(|list| json!(list.connections));
    let refusals = heard.refusals.list.as_ref().map(|list| json!(list.refusals));
    let link = match &heard.link {
        Link::Opening => json!({ "state": "opening" }),
        Link::Live => json!({ "state": "live" }),
        Link::Asked => json!({ "state": "one node" }),
        Link::Cut { why, .. } => json!({ "state": "cut off", "why": why }),
    };
    json!({
        "server": heard.server,
        "link": link,
        "time": heard.node_time_ms(),
        "nodes": nodes.collect::<Vec<_>>(),
        "channels": channels,
        "connections": connections,
        "refusals": refusals,
    })
}

/// The same for people.
fn text(heard: &Heard) -> String {
    let mut out = String::new();
    let now = heard.latest().unwrap_or_default();
    // Writing into a string cannot fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<13}{value}");
    };
    if let Some(own) = heard.own() {
        let figures = &own.figures;
        let (node, version, phase) = (&figures.node, &heard.about.version, &figures.phase);
        line("Node", format!("{node}, Tidewire {version}, {phase}, up {}", span(figures.uptime_ms)));
        let broker = &figures.broker;
        let mut kept =
            if broker.is_shared() { format!("Redis, {}", broker.state) } else { "memory".to_owned() };
        for (what, value) in [
            ("heard", broker.lag_ms.map(|ms| format!("{ms} ms ago"))),
            ("round trip", broker.probe_us.map(micros)),
            ("placed in", figures.placed_us.map(micros)),
        ] {
            if let Some(value) = value {
                let _ = write!(kept, ", {what} {value}");
            }
        }
        line("Messages in", kept);
    }
    line(
        "Rates",
        format!(
            "{}/s in, {}/s out, {}/s",
            rate(now.published),
            rate(now.delivered),
            bytes(now.bytes_out.max(0.0) as u64)
        ),
    );
    line(
        "Connections",
        format!(
            "{}: {} SSE, {} WebSocket, {} polling, {} of the API",
            count(now.all),
            count(now.sse),
            count(now.ws),
            count(now.poll),
            count(now.http)
        ),
    );
    line("Load", format!("CPU {}, memory {}", percent(now.cpu_percent), bytes(now.memory_bytes)));
    line(
        "Kept",
        format!(
            "{} in {}, {}",
            plural(now.history_messages, "message"),
            plural(now.channels, "channel"),
            bytes(now.history_bytes)
        ),
    );
    line(
        "Slow readers",
        format!("{} waiting to be read, {} ended", bytes(now.queued_bytes), count(now.slow_consumers)),
    );
    line("Told", reasons(heard));
    for (name, view) in [
        ("Nodes", View::Nodes),
        ("Channels", View::Channels),
        ("Connections", View::Connections),
        ("Refusals", View::Refusals),
    ] {
        section(&mut out, name, table(heard, view, view.orders()[0], ""), view);
    }
    out
}

fn section(out: &mut String, name: &str, table: Table, view: View) {
    let Table { columns, rows, note } = table;
    if rows.is_empty() {
        return;
    }
    let shown = rows.len().min(ROWS_MAX);
    let order = match view.orders()[0] {
        Order::Name => String::new(),
        order => format!(", by {}", order.name()),
    };
    let of = if shown < rows.len() { format!(", {shown} of {}", rows.len()) } else { String::new() };
    let note = if note.is_empty() || view == View::Refusals { String::new() } else { format!(" ({note})") };
    let _ = writeln!(out, "\n{name}{order}{of}{note}");
    let rows = &rows[..shown];
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(at)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(columns[at].head.chars().count())
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut write = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).zip(columns).map(|((cell, width), column)| {
            if column.is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(out, "  {}", line.trim_end());
    };
    write(&mut columns.iter().map(|column| column.head));
    for row in rows {
        write(&mut row.cells.iter().map(String::as_str));
    }
}
