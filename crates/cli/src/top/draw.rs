//! Drawing: a screen out of what is known, into a buffer of cells. Pure, so that tests read screens as text.
//!
//! ```text
//! Tidewire 0.1.0  127.0.0.1:8080-3fa2b1  ready, up 3 h 12 min         live      head
//! Redis ready  heard 12 ms ago  round trip 300 µs                  3 nodes
//! In 1 204/s            peak 2 003   Out 120k/s             peak 130k           graphs
//! ▁▂▃▅▇                              ▁▂▃▅▇
//! Connections 1 204 +12   SSE 800 +10   WebSocket 400   polls 4                 figures
//! ...
//!  Nodes 3   Channels 120   Connections 1 204   Refusals 12    by name          tabs, and a table
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Block, Clear, Paragraph, RenderDirection, Sparkline, SparklineBar, Widget as _, Wrap,
};

use super::numbers::{bytes, change, count, micros, percent, plural, rate, span};
use super::state::{Heard, Link, Second, State, Totals, View};
use super::tables::{Column, Mark, Row, Table, table};

/// The smallest screen that shows anything of use.
pub(super) const WIDTH_MIN: u16 = 60;
/// The same in lines.
pub(super) const HEIGHT_MIN: u16 = 16;

/// Between two columns, and between two figures of a line.
const GAP: &str = "   ";

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const WORSE: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
const ALARM: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

/// Draws all of it. Gives back which row is selected, which is one of those that there are.
pub(super) fn draw(state: &State, area: Rect, buffer: &mut Buffer) -> usize {
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let (width, height) = (area.width, area.height);
        let words =
            format!("The terminal has {width}×{height}; this takes {WIDTH_MIN}×{HEIGHT_MIN}. q ends.");
        Paragraph::new(words).wrap(Wrap { trim: true }).render(area, buffer);
        return state.selected;
    }
    let heard = state.shown();
    let bars = match area.height {
        0..20 => 1,
        20..32 => 3,
        32..44 => 6,
        _ => 9,
    };
    let parts = [2, 1 + bars, 3, 1, 0, 1].map(|height| match height {
        0 => Constraint::Fill(1),
        height => Constraint::Length(height),
    });
    let [head, graphs, figures, tabs, below, foot] = Layout::vertical(parts).areas(area);
    draw_head(state, head, buffer);
    draw_graphs(heard, graphs, buffer);
    draw_figures(heard, figures, buffer);
    draw_tabs(state, tabs, buffer);
    let selected = draw_table(state, below, buffer);
    draw_foot(state, foot, buffer);
    if state.is_help_open {
        draw_help(area, buffer);
    }
    selected
}

fn draw_head(state: &State, area: Rect, buffer: &mut Buffer) {
    let heard = state.shown();
    let [first, second] = rows(area);
    let (word, style) = match (&state.heard().link, state.is_paused()) {
        (Link::Cut { .. }, _) => (" cut off ", ALARM.reversed()),
        (_, true) => (" paused ", WORSE.reversed()),
        (Link::Opening, _) => (" opening ", DIM.reversed()),
        (Link::Live, _) => (" live ", Style::new().fg(Color::Green).reversed()),
        (Link::Asked, _) => (" one node ", WORSE.reversed()),
    };
    let mut left = vec![Span::styled("Tidewire", STRONG)];
    if let Some(own) = heard.own() {
        let figures = &own.figures;
        let version = if figures.version.is_empty() { &heard.about.version } else { &figures.version };
        left.push(Span::raw(format!(" {version}{GAP}{}{GAP}", figures.node)));
        let phase_style = if &*figures.phase == "ready" { Style::new() } else { WORSE };
        left.push(Span::styled(figures.phase.to_string(), phase_style));
        left.push(Span::raw(format!(", up {}", span(figures.uptime_ms))));
    } else {
        left.push(Span::raw(format!("{GAP}{}", heard.server)));
    }
    beside(Line::from(left), Line::from(Span::styled(word, style)), first, buffer);
    let nodes = heard.nodes.len() as u64;
    let silent = heard.nodes.values().filter(|node| heard.is_silent(node)).count() as u64;
    let mut right = vec![Span::raw(plural(nodes, "node"))];
    if silent > 0 && nodes > 1 {
        right.push(Span::styled(format!(", {} silent", count(silent)), ALARM));
    }
    match &state.heard().link {
        // It is of now, also while the rest is paused.
        Link::Cut { .. } => {
            let words = cell(&cut(state.heard()), second.width, false);
            Line::from(Span::styled(words, ALARM)).render(second, buffer);
        }
        _ => beside(broker(heard), Line::from(right), second, buffer),
    }
}

/// What is known while nothing is heard: since when, and when it is tried again.
fn cut(heard: &Heard) -> String {
    let Link::Cut { why, again_at_ms } = &heard.link else { return String::new() };
    // The address stands above already.
    let why = why.strip_prefix(&*format!("cannot reach {}: ", heard.server)).unwrap_or(why);
    let last = heard.silent_ms().map_or_else(String::new, |ms| format!("Last heard {} ago, ", span(ms)));
    match again_at_ms.saturating_sub(heard.now_ms).div_ceil(1_000) {
        0 => format!("{last}trying again now: {why}"),
        s => format!("{last}trying again in {s} s: {why}"),
    }
}

fn broker(heard: &Heard) -> Line<'static> {
    let Some(own) = heard.own() else {
        return Line::from(Span::styled("Waiting for the first figures.", DIM));
    };
    let (broker, placed) = (&own.figures.broker, own.figures.placed_us);
    let style = if &*broker.state == "ready" { Style::new() } else { ALARM };
    let mut parts = Vec::new();
    if broker.is_shared() {
        parts.push(Span::styled(format!("Redis {}", broker.state), style));
        parts.extend(broker.lag_ms.map(|ms| Span::raw(format!("{GAP}heard {ms} ms ago"))));
        parts.extend(broker.probe_us.map(|us| Span::raw(format!("{GAP}round trip {}", micros(us)))));
        let waiting = broker.waiting.filter(|waiting| *waiting > 0);
        parts.extend(waiting.map(|waiting| Span::styled(format!("{GAP}{} waiting", count(waiting)), WORSE)));
    } else {
        parts.push(Span::styled("Messages in memory", style));
    }
    parts.extend(placed.map(|us| Span::raw(format!("{GAP}placed in {}", micros(us)))));
    if heard.link == Link::Asked {
        parts = vec![Span::styled(
            format!("Redis {}: only the node that was asked is shown", broker.state),
            ALARM,
        )];
    }
    Line::from(parts)
}

fn draw_graphs(heard: &Heard, area: Rect, buffer: &mut Buffer) {
    let [left, _, right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)]).areas(area);
    let now = heard.latest().unwrap_or_default();
    let stale = is_stale(heard);
    let received = format!("{}/s", rate(now.published));
    draw_graph("In", &received, heard, |totals| totals.published, Color::Cyan, stale, left, buffer);
    let sent = format!("{}/s{GAP}{}/s", rate(now.delivered), bytes(now.bytes_out.max(0.0) as u64));
    draw_graph("Out", &sent, heard, |totals| totals.delivered, Color::Green, stale, right, buffer);
}

#[allow(clippy::too_many_arguments, reason = "two calls, side by side, whose differences are these")]
fn draw_graph(
    name: &str,
    now: &str,
    heard: &Heard,
    of: fn(&Totals) -> f64,
    colour: Color,
    is_stale: bool,
    area: Rect,
    buffer: &mut Buffer,
) {
    let [title, graph] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let seconds: Vec<&Second> = heard.seconds.iter().rev().take(usize::from(area.width)).collect();
    let known = seconds.iter().filter_map(|second| second.totals);
    let peak = known.map(|totals| of(&totals)).fold(0.0, f64::max);
    let left = Line::from(vec![Span::styled(format!("{name} "), STRONG), Span::raw(now.to_owned())]);
    let right = Line::from(Span::styled(format!("peak {}", rate(peak)), DIM));
    beside(left, right, title, buffer);
    // Tenths, so that what happens less often than once a second shows.
    let bar = |second: &&Second| {
        let value = second.totals.map(|totals| (of(&totals).max(0.0) * 10.0) as u64);
        // A second of which nothing is known is no second without messages.
        SparklineBar::from(value)
    };
    let style = if is_stale { DIM } else { Style::new().fg(colour) };
    Sparkline::default()
        .data(seconds.iter().map(bar))
        .direction(RenderDirection::RightToLeft)
        .absent_value_symbol("·")
        .absent_value_style(DIM)
        .max(((peak * 10.0) as u64).max(1))
        .style(style)
        .render(graph, buffer);
}

fn draw_figures(heard: &Heard, area: Rect, buffer: &mut Buffer) {
    let [connections, process, trouble] = rows(area);
    let now = heard.latest().unwrap_or_default();
    let before = heard.before().unwrap_or(now);
    let changed =
        |now: u64, before: u64| change(i64::try_from(now).unwrap_or(0) - i64::try_from(before).unwrap_or(0));
    let counted = |name: &str, now: u64, before: u64| {
        let by = changed(now, before);
        let style = if by.starts_with('-') { Color::Magenta } else { Color::Green };
        let mut parts = vec![Span::raw(format!("{name} ")), Span::styled(count(now), STRONG)];
        if !by.is_empty() {
            parts.push(Span::styled(format!(" {by}"), style));
        }
        parts
    };
    let by_transport = vec![
        counted("Connections", now.all, before.all),
        counted("SSE", now.sse, before.sse),
        counted("WebSocket", now.ws, before.ws),
        counted("polls", now.poll, before.poll),
        counted("API", now.http, before.http),
    ];
    joined(by_transport, area.width).render(connections, buffer);
    let named = |name: &str, value: String| vec![Span::raw(format!("{name} ")), Span::styled(value, STRONG)];
    let kept = format!("{} in {}", count(now.history_messages), bytes(now.history_bytes));
    let of_processes = vec![
        named("CPU", percent(now.cpu_percent)),
        named("memory", bytes(now.memory_bytes)),
        named("channels", count(now.channels)),
        named("messages kept", kept),
    ];
    joined(of_processes, area.width).render(process, buffer);
    // What only ever rises: that it did is what matters.
    let risen = |name: &str, now: u64, before: u64| {
        let more = now.saturating_sub(before);
        let style = if more > 0 { WORSE } else { STRONG };
        let mut parts = vec![Span::raw(format!("{name} ")), Span::styled(count(now), style)];
        if more > 0 {
            parts.push(Span::styled(format!(" +{}", count(more)), WORSE));
        }
        parts
    };
    let of_trouble = vec![
        named("Waiting to be read", bytes(now.queued_bytes)),
        risen("slow readers ended", now.slow_consumers, before.slow_consumers),
        risen("gaps", now.gaps, before.gaps),
        risen("refusals", now.refusals, before.refusals),
    ];
    joined(of_trouble, area.width).render(trouble, buffer);
    if is_stale(heard) {
        buffer.set_style(area, DIM);
    }
}

fn draw_tabs(state: &State, area: Rect, buffer: &mut Buffer) {
    let heard = state.shown();
    let now = heard.latest().unwrap_or_default();
    let mut left = Vec::new();
    for view in View::ALL {
        let (name, number) = match view {
            View::Nodes => ("Nodes", heard.nodes.len() as u64),
            View::Channels => ("Channels", now.channels),
            View::Connections => ("Connections", now.all),
            View::Refusals => ("Refusals", now.refusals),
        };
        let style = if view == state.view { STRONG.reversed() } else { Style::new() };
        left.push(Span::styled(format!(" {name} {} ", count(number)), style));
        left.push(Span::raw(" "));
    }
    let mut right = Vec::new();
    if state.is_typing || !state.filter.is_empty() {
        right.push(Span::styled(format!("/{}", state.filter), WORSE));
        right.push(Span::raw(if state.is_typing { "▏ " } else { "  " }));
    }
    right.push(Span::styled(format!("by {}", state.order().name()), DIM));
    beside(Line::from(left), Line::from(right), area, buffer);
}

fn draw_table(state: &State, area: Rect, buffer: &mut Buffer) -> usize {
    let heard = state.shown();
    let Table { columns, rows, note } = table(heard, state.view, state.order(), &state.filter);
    let note_lines = u16::from(!note.is_empty());
    let detail_lines = match state.view {
        View::Nodes | View::Channels => 1,
        View::Connections => 2,
        View::Refusals => 3,
    };
    let parts = [Constraint::Length(1), Constraint::Fill(1), Constraint::Length(detail_lines)];
    let [head, body, detail, below] =
        Layout::vertical(parts.into_iter().chain([Constraint::Length(note_lines)])).areas(area);
    let fitted = fit(columns, area.width);
    let line = |text: &dyn Fn(usize) -> String| {
        let cells = fitted.iter().map(|(at, width)| cell(&text(*at), *width, columns[*at].is_number));
        cells.collect::<Vec<_>>().join("  ")
    };
    Line::from(Span::styled(line(&|at| columns[at].head.to_owned()), DIM.underlined())).render(head, buffer);
    let selected = state.selected.min(rows.len().saturating_sub(1));
    let offset = (selected + 1).saturating_sub(usize::from(body.height));
    for ((at, row), y) in rows.iter().enumerate().skip(offset).zip(body.y..body.bottom()) {
        let Row { cells, mark } = row;
        let style = match mark {
            Mark::Plain => Style::new(),
            Mark::Slow => WORSE,
            Mark::Stale => DIM,
        };
        let style = if at == selected { style.reversed() } else { style };
        let text = line(&|at| cells.get(at).cloned().unwrap_or_default());
        Line::from(Span::styled(text, style)).render(Rect { y, height: 1, ..body }, buffer);
    }
    match rows.get(selected) {
        Some(row) => draw_detail(columns, row, &fitted, detail, buffer),
        None if !state.filter.is_empty() => {
            let words = format!("Nothing here holds `{}`. Esc shows everything.", state.filter);
            Paragraph::new(words).style(DIM).render(body, buffer);
        }
        None => {}
    }
    Line::from(Span::styled(note, DIM)).render(below, buffer);
    if is_stale(heard) {
        buffer.set_style(body, DIM);
    }
    selected
}

/// What of the selected row there was no room for.
fn draw_detail(columns: &[Column], row: &Row, fitted: &[(usize, u16)], area: Rect, buffer: &mut Buffer) {
    let is_whole = |at: usize, cell: &str| {
        fitted.iter().any(|(shown, width)| *shown == at && Span::raw(cell).width() <= usize::from(*width))
    };
    let mut parts = Vec::new();
    for (at, cell) in
        row.cells.iter().enumerate().filter(|(at, cell)| !cell.is_empty() && !is_whole(*at, cell))
    {
        let head = columns[at].head.to_lowercase();
        // In one piece: a line ends before the head of a value and not behind it.
        parts.push(Span::styled(format!("{head}\u{a0}"), DIM));
        parts.push(Span::raw(format!("{cell}{GAP}")));
    }
    Paragraph::new(Line::from(parts)).wrap(Wrap { trim: true }).render(area, buffer);
}

fn draw_foot(state: &State, area: Rect, buffer: &mut Buffer) {
    let keys: &[(&str, &str)] = match state.is_typing {
        true => &[("Enter", "keeps it"), ("Esc", "shows everything")],
        false => &[
            ("Tab", "table"),
            ("↑↓", "row"),
            ("s", "sort"),
            ("/", "filter"),
            ("p", if state.is_paused() { "go on" } else { "pause" }),
            ("?", "help"),
            ("q", "quit"),
        ],
    };
    let parts = keys.iter().flat_map(|(key, does)| {
        [Span::styled(format!(" {key} "), Style::new().reversed()), Span::raw(format!(" {does} "))]
    });
    Line::from(parts.collect::<Vec<_>>()).render(area, buffer);
}

const HELP: &[(&str, &str)] = &[
    ("Tab ← → 1 2 3 4", "another table"),
    ("↑ ↓ PgUp PgDn Home End", "another row; all of it stands below"),
    ("s", "sort by another column"),
    ("/", "show only rows that hold a text; Esc ends it"),
    ("p", "hold the picture still, and go on"),
    ("q Esc Ctrl-C", "quit"),
    ("", ""),
    ("+12 -3", "more or fewer than ten seconds ago"),
    ("In", "messages placed: published, here or at any node"),
    ("Out", "messages queued to subscribers"),
    ("Waiting to be read", "queued bytes that sockets have not taken"),
    ("API", "connections of the API server: requests,"),
    ("", "pages, and what comes over TLS or HTTP/2"),
    ("placed in", "until the broker has the console's own message"),
];

fn draw_help(area: Rect, buffer: &mut Buffer) {
    let width = 74.min(area.width);
    let height = (HELP.len() as u16 + 2).min(area.height);
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buffer);
    let frame = Block::bordered().title(" Any key goes back ");
    let inner = frame.inner(place);
    frame.render(place, buffer);
    for ((keys, does), y) in HELP.iter().zip(inner.y..inner.bottom()) {
        let line = Line::from(vec![Span::styled(format!(" {keys:<23} "), STRONG), Span::raw(*does)]);
        line.render(Rect { y, height: 1, ..inner }, buffer);
    }
}

/// Whether what is shown is of before.
fn is_stale(heard: &Heard) -> bool {
    matches!(heard.link, Link::Opening | Link::Cut { .. })
        || heard.silent_ms().is_some_and(|ms| ms >= super::state::SILENT_MS)
}

/// Which columns there is room for, by their place, and how wide each is.
fn fit(columns: &[Column], width: u16) -> Vec<(usize, u16)> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let needed = |kept: &[usize]| {
        let gaps = 2 * kept.len().saturating_sub(1);
        gaps + kept.iter().map(|at| usize::from(columns[*at].width)).sum::<usize>()
    };
    while needed(&kept) > usize::from(width) {
        // The last of those that give way most.
        let Some(place) = (0..kept.len()).max_by_key(|place| (columns[kept[*place]].gives_way, *place))
        else {
            break;
        };
        if columns[kept[place]].gives_way == 0 {
            break;
        }
        kept.remove(place);
    }
    let mut left = usize::from(width).saturating_sub(needed(&kept));
    let mut elastic = kept.iter().filter(|at| columns[**at].stretches).count();
    let widths = kept.iter().map(|at| {
        let column = &columns[*at];
        if !column.stretches {
            return (*at, column.width);
        }
        let more = left / elastic;
        (left, elastic) = (left - more, elastic - 1);
        (*at, column.width + u16::try_from(more).unwrap_or(0))
    });
    widths.collect()
}

/// A text in exactly so many columns of the terminal; `…` says that there was more.
fn cell(text: &str, width: u16, is_number: bool) -> String {
    let width = usize::from(width);
    let wide = |text: &str| Span::raw(text.to_owned()).width();
    let mut shown = text.to_owned();
    if wide(&shown) > width {
        while wide(&shown) >= width && shown.pop().is_some() {}
        shown.push('…');
    }
    let padding = " ".repeat(width.saturating_sub(wide(&shown)));
    if is_number { format!("{padding}{shown}") } else { format!("{shown}{padding}") }
}

/// One line, at the left, and one at the right, which goes first where there is no room for both.
fn beside(left: Line<'_>, right: Line<'_>, area: Rect, buffer: &mut Buffer) {
    let right_width = u16::try_from(right.width()).unwrap_or(u16::MAX).min(area.width);
    let room = area.width.saturating_sub(right_width + 1);
    left.render(Rect { width: room, ..area }, buffer);
    right.alignment(Alignment::Right).render(area_at_right(area, right_width), buffer);
}

fn area_at_right(area: Rect, width: u16) -> Rect {
    Rect { x: area.right() - width, width, ..area }
}

/// Figures in a line, as many of the first ones as there is room for: half of a number is a wrong one.
fn joined(parts: Vec<Vec<Span<'static>>>, width: u16) -> Line<'static> {
    let mut line = Line::default();
    for part in parts {
        let gap = if line.spans.is_empty() { "" } else { GAP };
        let part = Line::from(part);
        if line.width() + gap.len() + part.width() > usize::from(width) {
            break;
        }
        line.push_span(gap);
        line.extend(part.spans);
    }
    line
}

/// The lines of an area.
fn rows<const N: usize>(area: Rect) -> [Rect; N] {
    Layout::vertical([Constraint::Length(1); N]).areas(area)
}
