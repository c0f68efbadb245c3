//! The tables, as text: which columns there are, which rows, and in which order. Drawing and printing choose among them.

use std::cmp::Reverse;

use super::numbers::{age, bytes, count, percent, rate, span};
use super::said::{Channel, Connection, Refusal};
use super::state::{Heard, Node, Order, View};

/// A table before anybody knows how wide it may be.
pub(super) struct Table {
    pub columns: &'static [Column],
    pub rows: Vec<Row>,
    /// What is to be said of the rows: that there are more, or why there are none.
    pub note: String,
}

/// A column: its head, and how it gives way where there is no room.
#[derive(Debug)]
pub(super) struct Column {
    pub head: &'static str,
    /// Characters that it takes at least.
    pub width: u16,
    pub is_number: bool,
    /// Columns with the greatest go first where there is no room; those with 0 stay.
    pub gives_way: u8,
    /// Whether it takes of what is left over.
    pub stretches: bool,
}

/// A row and what is to be noticed about it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub cells: Vec<String>,
    pub mark: Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Plain,
    /// It is behind.
    Slow,
    /// It is of before.
    Stale,
}

const fn long(head: &'static str, width: u16, gives_way: u8) -> Column {
    Column { head, width, is_number: false, gives_way, stretches: true }
}

const fn text(head: &'static str, width: u16, gives_way: u8) -> Column {
    Column { head, width, is_number: false, gives_way, stretches: false }
}

const fn number(head: &'static str, width: u16, gives_way: u8) -> Column {
    Column { head, width, is_number: true, gives_way, stretches: false }
}

const NODES: &[Column] = &[
    long("NODE", 22, 0),
    text("STATE", 11, 1),
    number("CONN", 6, 1),
    number("IN/s", 6, 2),
    number("OUT/s", 6, 1),
    number("QUEUED", 8, 3),
    number("CPU", 5, 1),
    number("MEMORY", 8, 2),
    number("UP", 11, 5),
    text("BROKER", 14, 4),
    text("VERSION", 9, 6),
];

const CHANNELS: &[Column] = &[
    long("CHANNEL", 24, 0),
    number("IN/s", 7, 1),
    number("SUBSCRIBERS", 11, 1),
    number("SSE", 6, 3),
    number("WS", 6, 3),
    number("POLL", 6, 3),
    number("KEPT", 7, 1),
    number("BYTES", 9, 2),
];

const CONNECTIONS: &[Column] = &[
    number("QUEUED", 8, 0),
    text("OVER", 5, 1),
    long("WHO", 12, 0),
    long("ADDRESS", 15, 1),
    number("AGE", 6, 1),
    number("MESSAGES", 8, 3),
    long("CHANNELS", 22, 0),
];

const REFUSALS: &[Column] = &[
    number("AGO", 6, 1),
    text("REASON", 22, 0),
    text("FROM", 15, 1),
    long("ASKED", 20, 2),
    long("WORDS", 40, 5),
    long("ORIGIN", 22, 6),
];

/// The table of `view`, with the rows that hold `filter`.
pub(super) fn table(heard: &Heard, view: View, order: Order, filter: &str) -> Table {
    let (columns, mut rows, mut note) = match view {
        View::Nodes => (NODES, nodes(heard, order), String::new()),
        View::Channels => (CHANNELS, channels(heard, order), channels_note(heard)),
        View::Connections => (CONNECTIONS, connections(heard, order), connections_note(heard)),
        View::Refusals => (REFUSALS, refusals(heard, order), reasons(heard)),
    };
    if !filter.is_empty() {
        // Letter for letter, as the server does it: a row must not vanish once the server has been asked.
        rows.retain(|row| row.cells.iter().any(|cell| cell.contains(filter)));
    }
    let why = match view {
        View::Nodes => None,
        View::Channels => heard.channels.why.as_ref(),
        View::Connections => heard.connections.why.as_ref(),
        View::Refusals => heard.refusals.why.as_ref(),
    };
    if let Some(why) = why {
        note = format!("not heard: {why}");
    }
    Table { columns, rows, note }
}

fn nodes(heard: &Heard, order: Order) -> Vec<Row> {
    let mut nodes: Vec<_> = heard.nodes.values().collect();
    let cpu = |node: &Node| node.figures.cpu_percent.unwrap_or(0.0);
    let out = |node: &Node| node.figures.rate("delivered");
    match order {
        Order::Out => nodes.sort_by(|a, b| out(b).total_cmp(&out(a))),
        Order::Connections => nodes.sort_by_key(|node| Reverse(node.figures.connections.all)),
        Order::Queued => nodes.sort_by_key(|node| Reverse(node.figures.queued_bytes)),
        Order::Cpu => nodes.sort_by(|a, b| cpu(b).total_cmp(&cpu(a))),
        _ => {}
    }
    let row = |node: &Node| {
        let figures = &node.figures;
        let silent_ms = heard.now_ms.saturating_sub(node.heard_at_ms);
        let (state, mark) = if heard.is_silent(node) {
            (format!("silent {}", age(silent_ms)), Mark::Stale)
        } else {
            (figures.phase.to_string(), Mark::Plain)
        };
        let broker = match (&*figures.broker.kind, &*figures.broker.state) {
            ("memory", "ready") => "memory".to_owned(),
            (kind, state) => format!("{kind} {state}"),
        };
        let cells = vec![
            figures.node.to_string(),
            state,
            count(figures.connections.all),
            rate(figures.rate("published")),
            rate(figures.rate("delivered")),
            bytes(figures.queued_bytes),
            figures.cpu_percent.map_or_else(String::new, percent),
            figures.memory_bytes.map_or_else(String::new, bytes),
            span(figures.uptime_ms),
            broker,
            figures.version.to_string(),
        ];
        Row { cells, mark }
    };
    nodes.into_iter().map(row).collect()
}

fn channels(heard: &Heard, order: Order) -> Vec<Row> {
    let mut channels: Vec<&Channel> = heard.channels.list.iter().flat_map(|list| &list.channels).collect();
    let rate_of = |channel: &Channel| channel.rate.unwrap_or(0.0);
    match order {
        Order::Subscribers => channels.sort_by_key(|channel| Reverse(channel.receivers.all())),
        Order::Kept => channels.sort_by_key(|channel| Reverse(channel.messages)),
        Order::Name => channels.sort_by(|a, b| a.channel.cmp(&b.channel)),
        _ => channels.sort_by(|a, b| {
            // Quiet channels stand in the order of their subscribers.
            rate_of(b).total_cmp(&rate_of(a)).then(b.receivers.all().cmp(&a.receivers.all()))
        }),
    }
    let row = |channel: &Channel| {
        let receivers = channel.receivers;
        let cells = vec![
            channel.channel.to_string(),
            channel.rate.map_or_else(|| "…".to_owned(), rate),
            count(receivers.all()),
            count(receivers.sse),
            count(receivers.ws),
            count(receivers.poll),
            count(channel.messages),
            bytes(channel.bytes),
        ];
        Row { cells, mark: Mark::Plain }
    };
    channels.into_iter().map(row).collect()
}

fn channels_note(heard: &Heard) -> String {
    let here = here(heard);
    match &heard.channels.list {
        None => "asking…".to_owned(),
        Some(list) if list.channels.is_empty() => format!("no channel is in use{here}"),
        Some(list) if list.more => format!("{} of many{here}", list.channels.len()),
        Some(_) => here.trim_start().to_owned(),
    }
}

/// Lists are one node's, which has to be said where there are others.
fn here(heard: &Heard) -> &'static str {
    if heard.nodes.len() > 1 { " at the node that was asked" } else { "" }
}

fn connections(heard: &Heard, order: Order) -> Vec<Row> {
    let mut connections: Vec<&Connection> =
        heard.connections.list.iter().flat_map(|list| &list.connections).collect();
    match order {
        Order::Oldest => connections.sort_by_key(|connection| Reverse(connection.age_ms)),
        Order::Messages => connections.sort_by_key(|connection| Reverse(connection.messages)),
        Order::Address => connections.sort_by(|a, b| a.address.cmp(&b.address)),
        _ => connections.sort_by_key(|connection| Reverse((connection.backlog_bytes, connection.age_ms))),
    }
    let row = |connection: &Connection| {
        let named: Vec<&str> = connection.channels.iter().map(|channel| &**channel).collect();
        let others = connection.channel_count.saturating_sub(named.len() as u64);
        let others = if others == 0 { String::new() } else { format!(" and {others} more") };
        let cells = vec![
            bytes(connection.backlog_bytes),
            over(&connection.transport),
            connection.who.shown().to_owned(),
            connection.address.to_string(),
            age(connection.age_ms),
            count(connection.messages),
            format!("{}{others}", named.join(" ")),
        ];
        Row { cells, mark: if connection.backlog_bytes > 0 { Mark::Slow } else { Mark::Plain } }
    };
    connections.into_iter().map(row).collect()
}

/// How it receives, in five characters.
fn over(transport: &str) -> String {
    transport.replace("ws tidewire.", "ws ")
}

fn connections_note(heard: &Heard) -> String {
    let (here, Some(list)) = (here(heard), &heard.connections.list) else { return "asking…".to_owned() };
    match list.connections.len() as u64 {
        0 => format!("nobody is connected{here}"),
        shown if shown < list.matching => {
            format!("{shown} of {}{here}: those with the most queued", count(list.matching))
        }
        _ => here.trim_start().to_owned(),
    }
}

fn refusals(heard: &Heard, order: Order) -> Vec<Row> {
    let mut refusals: Vec<&Refusal> = heard.refusals.list.iter().flat_map(|list| &list.refusals).collect();
    match order {
        Order::Code => refusals.sort_by(|a, b| a.code.cmp(&b.code)),
        Order::Address => refusals.sort_by(|a, b| a.client.cmp(&b.client)),
        _ => {}
    }
    let now_ms = heard.node_time_ms();
    let row = |refusal: &Refusal| {
        let cells = vec![
            now_ms.map_or_else(String::new, |now_ms| age(now_ms.saturating_sub(refusal.time))),
            format!("{} {}", refusal.status, refusal.code),
            refusal.client.as_deref().unwrap_or_default().to_owned(),
            format!("{} {}", refusal.asked, refusal.path).trim_start().to_owned(),
            refusal.detail.to_string(),
            refusal.origin.as_deref().unwrap_or_default().to_owned(),
        ];
        Row { cells, mark: Mark::Plain }
    };
    refusals.into_iter().map(row).collect()
}

/// Gaps and refusals by reason, of all nodes, the most frequent first.
pub(super) fn reasons(heard: &Heard) -> String {
    let by_reason =
        |of: fn(&super::said::Figures) -> &std::collections::BTreeMap<super::plain::Plain, u64>| {
            let mut sums = std::collections::BTreeMap::<&str, u64>::new();
            for (reason, number) in heard.nodes.values().flat_map(|node| of(&node.figures)) {
                let sum = sums.entry(reason).or_default();
                *sum = sum.saturating_add(*number);
            }
            let mut sums: Vec<_> = sums.into_iter().collect();
            sums.sort_by_key(|(_, number)| Reverse(*number));
            let sums: Vec<String> =
                sums.into_iter().map(|(reason, number)| format!("{reason} {}", count(number))).collect();
            if sums.is_empty() { "none".to_owned() } else { sums.join(", ") }
        };
    format!(
        "gaps: {}; refusals: {}",
        by_reason(|figures| &figures.gaps),
        by_reason(|figures| &figures.refusals)
    )
}
